//! The set-up: opens the accounts and puts money on them.

use crate::{
    audit::Position,
    body,
    errand::{After, Errands},
    letter::Letters,
    news::News,
    work::Deed,
};
use stdx::Moment;

/// What every account begins with, in minor units: enough for 10^9 debits of the largest amount.
pub(crate) const FUNDS: i64 = 1_000_000_000_000;

/// One request of the set-up.
pub(crate) enum Step {
    Open(u32),
    Fund(u32),
}

/// Opens accounts 0 to `count`.
pub(crate) struct Opening<'a> {
    letters: &'a Letters,
    count: u32,
    begun: u32,
    funded: u32,
    /// Where each account stands when the load begins.
    pub(crate) openings: Vec<Position>,
    news: &'a mut dyn FnMut(News<'_>),
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        letters: &'a Letters,
        count: u32,
        news: &'a mut dyn FnMut(News<'_>),
    ) -> Opening<'a> {
        let places = usize::try_from(count).expect("accounts fit memory");
        let openings = vec![Position { posted: 0, version: 0 }; places];
        Opening { letters, count, begun: 0, funded: 0, openings, news }
    }
}

impl Errands for Opening<'_> {
    type Errand = Step;

    fn next(&mut self) -> Option<Step> {
        let account = self.begun;
        (account < self.count).then(|| {
            self.begun += 1;
            Step::Open(account)
        })
    }

    fn write(&self, step: &Step, out: &mut Vec<u8>) {
        match step {
            Step::Open(account) => self.letters.open(out, *account),
            Step::Fund(account) => self.letters.fund(out, *account, FUNDS),
        }
    }

    fn answered(&mut self, step: Step, _now: Moment, status: u16, body: &[u8]) -> After<Step> {
        let code = || match body::code(body) {
            Some(code) => format!(" {}", code.text()),
            None => String::new(),
        };
        match (&step, status) {
            (_, 429 | 500..) => After::Again(step),
            (Step::Open(account), 201) => After::Then(Step::Fund(*account)),
            (Step::Fund(account), 201) => {
                let id = self.letters.account(*account);
                let entry = body::transaction(body, &id)
                    .filter(|it| (it.deed, it.amount) == (Deed::Credit, FUNDS));
                let Some(entry) = entry else {
                    return After::Failed(format!("the answer to a credit of {id} is none"));
                };
                let place = usize::try_from(*account).expect("accounts fit memory");
                self.openings[place] = entry.after;
                self.funded += 1;
                After::Done
            }
            (Step::Open(account) | Step::Fund(account), _) => {
                let id = self.letters.account(*account);
                let service = self.letters.service(*account);
                let code = code();
                After::Failed(format!("service {service} did not open {id}: {status}{code}"))
            }
        }
    }

    fn gave_up(&mut self, _step: Step) -> Result<(), String> {
        Err("an account could not be opened".to_owned())
    }

    fn tell(&mut self) {
        let (done, whole) = (u64::from(self.funded), u64::from(self.count));
        (self.news)(News::Step { label: "opening accounts", done, whole });
    }
}
