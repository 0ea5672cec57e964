//! Asks again, with the same key, about every write whose outcome is unknown: the tree must know.

use crate::{
    audit::Write,
    batch::Judged,
    body,
    errand::{After, Errands},
    letter::{Key, Letters},
    log::{Doubt, Log},
    news::News,
};
use stdx::Moment;
use wire::Code;

/// The doubts of a log, on their way to being none.
pub(crate) struct Settling<'a> {
    letters: &'a Letters,
    log: &'a mut Log,
    open: Vec<Doubt>,
    whole: u64,
    /// Turned out to have been executed, or were executed now.
    pub(crate) executed: u64,
    /// Turned out to be refused.
    pub(crate) refused: u64,
    news: &'a mut dyn FnMut(News<'_>),
}

impl<'a> Settling<'a> {
    /// Takes the doubts out of the log that can be asked about.
    pub(crate) fn new(
        letters: &'a Letters,
        log: &'a mut Log,
        news: &'a mut dyn FnMut(News<'_>),
    ) -> Settling<'a> {
        let doubts = std::mem::take(&mut log.doubts);
        let (open, without_key) = doubts.into_iter().partition(|it| it.key != Key::None);
        log.doubts = without_key;
        let whole = u64::try_from(Vec::len(&open)).unwrap_or(u64::MAX);
        Settling { letters, log, open, whole, executed: 0, refused: 0, news }
    }
}

impl Settling<'_> {
    /// All of a batch must be known before any of it is.
    fn batch(&mut self, doubt: Doubt, now: Moment, body: &[u8]) -> After<Doubt> {
        let ids = doubt.batch.iter().map(|op| self.letters.account(op.account));
        let Some(outcomes) = body::outcomes(body, ids) else { return After::Again(doubt) };
        let judged: Vec<Judged> =
            doubt.batch.iter().zip(&outcomes).map(|(op, it)| Judged::of(op, it)).collect();
        if judged.iter().any(|it| matches!(it, Judged::NotNow | Judged::Unsure)) {
            return After::Again(doubt);
        }
        for (op, judged) in doubt.batch.iter().zip(judged) {
            match judged {
                Judged::Done(entry) => {
                    let (account, sent, answered) = (op.account, doubt.sent, now);
                    self.log.wrote(Write { account, entry, sent, answered });
                    self.executed += 1;
                }
                Judged::Refused | Judged::NotNow | Judged::Unsure => self.refused += 1,
            }
        }
        After::Done
    }
}

impl Errands for Settling<'_> {
    type Errand = Doubt;

    fn next(&mut self) -> Option<Doubt> {
        self.open.pop()
    }

    fn write(&self, doubt: &Doubt, out: &mut Vec<u8>) {
        match &*doubt.batch {
            [] => self.letters.op(out, doubt.op, &doubt.key),
            ops => self.letters.batch(out, ops, &doubt.key),
        }
    }

    fn answered(&mut self, doubt: Doubt, now: Moment, status: u16, body: &[u8]) -> After<Doubt> {
        let Doubt { op, sent, .. } = &doubt;
        if status < 300 && !doubt.batch.is_empty() {
            return self.batch(doubt, now, body);
        }
        if status < 300 && op.to.is_some() {
            let told = body::transfer(body, self.letters.parties(*op), op.amount);
            let Some(told) = told else { return After::Again(doubt) };
            self.log.transferred(*op, &told, *sent, now);
            self.executed += 1;
            return After::Done;
        }
        if status < 300 {
            let id = self.letters.account(op.account);
            let entry = body::transaction(body, &id)
                .filter(|it| (it.deed, it.amount) == (op.deed, i64::from(op.amount)));
            let Some(entry) = entry else { return After::Again(doubt) };
            let (account, sent, answered) = (op.account, *sent, now);
            self.log.wrote(Write { account, entry, sent, answered });
            self.executed += 1;
            return After::Done;
        }
        match (status, body::code(body)) {
            (_, Some(Code::KeyInUse)) | (408 | 429 | 500.., _) => After::Again(doubt),
            (404 | 409 | 422, _) => {
                self.refused += 1;
                After::Done
            }
            (_, _) => After::Again(doubt),
        }
    }

    /// It stays unknown.
    fn gave_up(&mut self, doubt: Doubt) -> Result<(), String> {
        self.log.doubt(doubt);
        Ok(())
    }

    fn tell(&mut self) {
        let done = self.executed + self.refused;
        (self.news)(News::Step { label: "asking again", done, whole: self.whole });
    }
}
