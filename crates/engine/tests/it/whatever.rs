//! What a teller is asked besides openings, debits and credits: holds, reversals, transfers.

use crate::support::{Branch, P0, Rig, SERVICE, Teller, eur, id, open, post};
use ledger::{Object, Partition};
use stdx::Rng;
use wire::{
    Action, Amount, Code, Delivery, Epoch, Kind, Seq, ServiceTag, TransactionId, TransferId,
    hold::{EndHold, HoldEnd, PlaceHold},
    reversal::Reverse,
    transfer::{Party, Receive, Send, Settle},
};

/// A new owner has every hold that is active and every transfer on its way, whether the views have
/// them or only the journal, and nothing that has ended.
pub(crate) fn what_is_open_is_loaded(rig: &dyn Rig) {
    let mut branch = Branch::new(rig);
    let hold = |amount| {
        let (account, amount) = (id("alice"), Amount::new(amount).unwrap());
        Action::Hold(PlaceHold { account, amount, currency: eur(), seconds: 60 })
    };
    let party = |service: &str| Party { service: service.into(), account: id("alice") };
    let (from, to, amount) = (party("a"), party("b"), Amount::new(5).unwrap());
    let send = Action::Send(Box::new(Send { from, to, amount, currency: eur() }));
    let credit = post("alice", Kind::Credit, 100);
    branch.act(vec![open("alice"), credit, hold(1), hold(2), send.clone(), send.clone()]);
    branch.project();
    let mine = &branch.tellers[0].partition;
    let first =
        mine.objects().find_map(|it| if let Object::Hold(it) = it { Some(it) } else { None });
    let first = first.unwrap().clone();
    let sent = mine.pending().next().unwrap().clone();
    let end = EndHold { account: id("alice"), hold: first.id, how: HoldEnd::Release };
    let settle = sent.settle(Delivery::Refused(Code::NoSuchAccount));
    branch.act(vec![Action::EndHold(end), Action::Settle(settle), hold(3), send]);
    let loaded = branch.engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((loaded.watermark.seq, loaded.open.len()), (Seq(1), 4));
    let (service, mark, external) = (ServiceTag::of(SERVICE), loaded.watermark, loaded.external);
    let mut heir = Partition::new(service, P0, Epoch(2), mark, external);
    for (account, state) in loaded.accounts {
        heir.admit(account, state).unwrap();
    }
    let open = loaded.open.into_iter().map(|it| (it.key(), Some(it)));
    for (key, object) in open.chain(loaded.objects) {
        heir.admit_object(key, object).unwrap();
    }
    heir.replay(&loaded.tail[0].0, loaded.tail[0].1).unwrap();
    let mine = &branch.tellers[0].partition;
    assert_eq!(heir.open_count(), 4);
    assert!(heir.objects().eq(mine.objects()));
    assert!(heir.pending().eq(mine.pending()));
    branch.project();
    let loaded = branch.engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((loaded.tail.len(), loaded.open.len()), (0, 4));
    assert!(loaded.open.iter().all(Object::is_open));
}

impl Teller {
    /// Whatever comes of these; what names an object names one that there is, as a rule.
    pub(crate) fn of_objects(&self, rng: &mut Rng, account: &str, amount: i64) -> Action {
        let (account, currency) = (id(account), eur());
        let amount = Amount::new(amount).unwrap();
        let place = PlaceHold { account: account.clone(), amount, currency, seconds: 60 };
        match rng.below(8) {
            0 | 1 => Action::Hold(place),
            2 => self.end(rng).map_or(Action::Hold(place), Action::EndHold),
            3 => self.reverse(rng).map_or(Action::Hold(place), Action::Reverse),
            4 | 5 => {
                let party =
                    |service: &str| Party { service: service.into(), account: account.clone() };
                let (from, to) = (party("a"), party("b"));
                Action::Send(Box::new(Send { from, to, amount, currency }))
            }
            6 => {
                // Few enough that some come twice.
                let transfer = TransferId::from_bits(1 << 100 | rng.below(40) as u128);
                Action::Receive(Receive { transfer, account, amount, currency })
            }
            _ => self.settle(rng).map_or(Action::Hold(place), Action::Settle),
        }
    }

    fn end(&self, rng: &mut Rng) -> Option<EndHold> {
        let holds: Vec<_> = self
            .partition
            .objects()
            .filter_map(|it| if let Object::Hold(hold) = it { Some(hold) } else { None })
            .collect();
        let hold = holds.get(rng.below(holds.len().max(1)))?;
        let part = Amount::new(1 + hold.amount.minor() / 2);
        let ends = [HoldEnd::Release, HoldEnd::Capture(None), HoldEnd::Capture(part)];
        let how = ends[rng.below(3)];
        Some(EndHold { account: hold.account.clone(), hold: hold.id, how })
    }

    fn reverse(&self, rng: &mut Rng) -> Option<Reverse> {
        let plain: Vec<_> = self.postings.iter().filter(|it| it.transfer().is_none()).collect();
        let posting = plain.get(rng.below(plain.len().max(1)))?;
        Some(Reverse {
            transaction: posting.id,
            account: posting.account.clone(),
            kind: posting.kind,
            amount: posting.amount,
            currency: posting.currency,
        })
    }

    fn settle(&self, rng: &mut Rng) -> Option<Settle> {
        let pending: Vec<_> = self.partition.pending().collect();
        let transfer = pending.get(rng.below(pending.len().max(1)))?;
        let delivery = match rng.below(2) {
            0 => Delivery::Credited(TransactionId::from_bits(9)),
            _ => Delivery::Refused(Code::NoSuchAccount),
        };
        Some(transfer.settle(delivery))
    }
}
