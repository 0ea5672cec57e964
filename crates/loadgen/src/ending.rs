//! Waits for transfers that were answered as being on their way: they must end by themselves.

use crate::{
    body,
    errand::{After, Errands},
    letter::Letters,
    log::{Log, OnTheWay},
    news::News,
};
use stdx::Moment;

/// The transfers of a log that have no end, on their way to one.
pub(crate) struct Ending<'a> {
    letters: &'a Letters,
    log: &'a mut Log,
    open: Vec<OnTheWay>,
    whole: u64,
    /// So many have been seen to end.
    pub(crate) ended: u64,
    news: &'a mut dyn FnMut(News<'_>),
}

impl<'a> Ending<'a> {
    /// Takes them out of the log.
    pub(crate) fn new(
        letters: &'a Letters,
        log: &'a mut Log,
        news: &'a mut dyn FnMut(News<'_>),
    ) -> Ending<'a> {
        let open = std::mem::take(&mut log.on_the_way);
        let whole = u64::try_from(open.len()).unwrap_or(u64::MAX);
        Ending { letters, log, open, whole, ended: 0, news }
    }
}

impl Errands for Ending<'_> {
    type Errand = OnTheWay;

    fn next(&mut self) -> Option<OnTheWay> {
        self.open.pop()
    }

    fn write(&self, transfer: &OnTheWay, out: &mut Vec<u8>) {
        self.letters.find_transfer(out, &transfer.id);
    }

    fn answered(
        &mut self,
        transfer: OnTheWay,
        now: Moment,
        status: u16,
        body: &[u8],
    ) -> After<OnTheWay> {
        if status == 404 {
            // It was acknowledged, and nobody knows it: the auditor will say so.
            self.log.on_the_way.push(transfer);
            return After::Done;
        }
        let OnTheWay { op, sent, .. } = transfer;
        let told = body::transfer(body, self.letters.parties(op), op.amount);
        let told = told.filter(|it| status == 200 && it.end.is_some());
        let Some(told) = told else { return After::Again(transfer) };
        self.log.transferred(op, &told, sent, now);
        self.ended += 1;
        After::Done
    }

    /// It stays on its way, which the auditor will not have.
    fn gave_up(&mut self, transfer: OnTheWay) -> Result<(), String> {
        self.log.on_the_way.push(transfer);
        Ok(())
    }

    fn tell(&mut self) {
        let (done, whole) = (self.ended, self.whole);
        (self.news)(News::Step { label: "waiting for transfers", done, whole });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tests::plan, work::Deed, work::Op};

    fn on_the_way() -> OnTheWay {
        let op = Op { account: 0, deed: Deed::Debit, amount: 5, to: Some(1) };
        OnTheWay { op, id: "tr_1".into(), sent: Moment::ZERO }
    }

    fn told(status: &str, credit: &str) -> String {
        format!(
            r#"{{"id":"tr_1","from":{{"service":"a","account":"bench-r-0"}},"to":{{"service":"b","account":"bench-r-1"}},"amount":5,"currency":"EUR","status":"{status}","reason":null,"debit":"tx_1","credit":{credit}}}"#
        )
    }

    #[test]
    fn a_transfer_is_waited_for_until_it_has_an_end() {
        let letters = Letters::new(&plan("127.0.0.1:1"));
        let mut log = Log::new(2, 100);
        log.on_the_way.push(on_the_way());
        let mut nothing = |_: News<'_>| ();
        let mut ending = Ending::new(&letters, &mut log, &mut nothing);
        let transfer = ending.next().unwrap();
        let mut out = Vec::new();
        ending.write(&transfer, &mut out);
        assert!(out.starts_with(b"GET /v1/transfers/tr_1 HTTP/1.1\r\n"));
        let body = told("pending", "null");
        let again = ending.answered(transfer, Moment::ZERO, 200, body.as_bytes());
        let After::Again(transfer) = again else { panic!("it has no end") };
        let body = told("completed", r#""tx_2""#);
        assert!(matches!(
            ending.answered(transfer, Moment::ZERO, 200, body.as_bytes()),
            After::Done
        ));
        assert_eq!(ending.ended, 1);
        assert_eq!((log.transfers.len(), log.on_the_way.len()), (1, 0));
        assert_eq!((log.totals[0].sum, log.totals[1].sum), (-5, 5));
    }

    #[test]
    fn one_that_never_ends_stays_on_its_way() {
        let letters = Letters::new(&plan("127.0.0.1:1"));
        let mut log = Log::new(2, 100);
        let mut nothing = |_: News<'_>| ();
        let mut ending = Ending::new(&letters, &mut log, &mut nothing);
        assert_eq!(ending.gave_up(on_the_way()), Ok(()));
        assert!(matches!(ending.answered(on_the_way(), Moment::ZERO, 404, b"{}"), After::Done));
        assert_eq!(log.on_the_way.len(), 2);
    }
}
