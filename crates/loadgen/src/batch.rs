//! What the answer to a batch means for each of its items.

use crate::{audit::Entry, body::Outcome, load, work::Op};

/// One item, judged by the API's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Executed, as asked.
    Done(Entry),
    /// Decided against, for good.
    Refused,
    /// Not executed this time.
    NotNow,
    /// It may have been executed.
    Unsure,
}

impl Judged {
    pub(crate) fn of(op: &Op, outcome: &Outcome) -> Judged {
        let Outcome { status, entry, code } = *outcome;
        if status < 300 {
            let is_asked = |it: &Entry| (it.deed, it.amount) == (op.deed, i64::from(op.amount));
            // A success that is not of this item is none.
            return entry.filter(is_asked).map_or(Judged::Unsure, Judged::Done);
        }
        load::judge(status, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Identity, Position},
        work::Deed,
    };
    use wire::Code;

    #[test]
    fn an_item_is_judged_like_a_request_alone() {
        let op = Op { account: 0, deed: Deed::Debit, amount: 5, to: None };
        let after = Position { posted: 1, version: 1 };
        let entry = |amount| Entry { id: Identity(1), deed: Deed::Debit, amount, after };
        let judge = |status, amount: Option<i64>, code| {
            Judged::of(&op, &Outcome { status, entry: amount.map(entry), code })
        };
        assert_eq!(judge(201, Some(5), None), Judged::Done(entry(5)));
        assert_eq!(judge(201, Some(6), None), Judged::Unsure, "of something else");
        assert_eq!(judge(201, None, None), Judged::Unsure);
        assert_eq!(judge(409, None, Some(Code::InsufficientFunds)), Judged::Refused);
        assert_eq!(judge(503, None, Some(Code::PartitionMoving)), Judged::NotNow);
        assert_eq!(judge(504, None, Some(Code::OutcomeUnknown)), Judged::Unsure);
    }
}
