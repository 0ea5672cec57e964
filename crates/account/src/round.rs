//! A question that every executor of a node has to answer, for each its engine's part: the answers
//! gather until all are there.

use std::cell::{Cell, RefCell};
use wire::{
    Call, PartitionId, Reply, Transfer, call::Failure, limits, pages::AccountPages, query::Query,
};

/// One caller who waits for all. `C` is whom to answer.
#[derive(Debug)]
pub(crate) struct Round<C> {
    caller: RefCell<Option<C>>,
    left: Cell<usize>,
    /// The longest list.
    limit: u32,
    replies: RefCell<Vec<Reply>>,
}

impl<C> Round<C> {
    /// The round of a call, when it is one for all of the `count` executors; otherwise whoever
    /// called, for one of them to answer.
    pub(crate) fn of(call: &Call, caller: C, count: usize) -> Result<Round<C>, C> {
        let limit = match call {
            Call::Query(Query::Accounts(listing)) => listing.limit,
            Call::Query(Query::Trial | Query::Pending) => 0,
            Call::Query(
                Query::Account(_)
                | Query::Transaction(_)
                | Query::Transactions(_)
                | Query::Hold(_)
                | Query::Transfer(_)
                | Query::Events { .. },
            )
            | Call::Execute(_)
            | Call::Reverse(_)
            | Call::Batch(_) => return Err(caller),
        };
        Ok(Round {
            caller: RefCell::new(Some(caller)),
            left: Cell::new(count),
            limit,
            replies: RefCell::default(),
        })
    }

    /// Takes an answer in; with the last one, whom to tell what all of them say.
    pub(crate) fn add(&self, reply: Reply) -> Option<(C, Reply)> {
        self.replies.borrow_mut().push(reply);
        self.left.set(self.left.get().saturating_sub(1));
        if 0 < self.left.get() {
            return None;
        }
        let caller = self.caller.take()?;
        Some((caller, together(self.replies.take(), self.limit)))
    }
}

/// One answer of several: a failure if one of them is.
fn together(replies: Vec<Reply>, limit: u32) -> Reply {
    let (mut partitions, mut books) = (Vec::new(), Vec::new());
    let mut pages = AccountPages::default();
    let (mut is_trial, mut pending) = (false, None::<Vec<Transfer>>);
    for reply in replies {
        match reply {
            Reply::Accounts { partitions: its, rows, more } => {
                partitions.extend::<Vec<PartitionId>>(its);
                pages.add(rows, more);
            }
            Reply::Trial(some) => {
                is_trial = true;
                books.extend(some);
            }
            Reply::Pending(some) => pending.get_or_insert_with(Vec::new).extend(some),
            Reply::Failed(failure) => return Reply::Failed(failure),
            Reply::Outcome(_)
            | Reply::Account(_)
            | Reply::Transaction(_)
            | Reply::Transactions { .. }
            | Reply::Hold(_)
            | Reply::Transfer(_)
            | Reply::Events { .. }
            | Reply::Batch(_) => return Reply::Failed(Failure::Malformed),
        }
    }
    if let Some(mut pending) = pending {
        pending.truncate(limits::PENDING_ROWS_MAX);
        return Reply::Pending(pending);
    }
    if is_trial {
        return Reply::Trial(books);
    }
    let (rows, more) = pages.page(limit);
    Reply::Accounts { partitions, rows, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{AccountId, AccountState, Currency, Status, Timestamp, query::Listing};

    fn row(id: &str, at: i64) -> AccountState {
        AccountState {
            id: AccountId::parse(id).unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            status: Status::Open,
            posted: 0,
            held: 0,
            overdraft_limit: 0,
            version: 0,
            created_at: Timestamp(at),
            updated_at: Timestamp(at),
            metadata: "{}".into(),
        }
    }

    fn part(partition: u16, rows: &[(&str, i64)], more: bool) -> Reply {
        let rows = rows.iter().map(|(id, at)| row(id, *at)).collect();
        Reply::Accounts { partitions: vec![PartitionId(partition)], rows, more }
    }

    #[track_caller]
    fn check(parts: Vec<Reply>, limit: u32, expected: &str) {
        let listing = Listing { before: None, limit };
        let call = Call::Query(Query::Accounts(listing));
        let round = Round::of(&call, 7, parts.len()).unwrap();
        let told: Vec<_> = parts.into_iter().filter_map(|it| round.add(it)).collect();
        let [(7, reply)] = &told[..] else { panic!("{told:?}") };
        let shown = if let Reply::Accounts { partitions, rows, more } = reply {
            let ids: Vec<String> = rows.iter().map(|it| it.id.to_string()).collect();
            format!("{} {} {more}", partitions.len(), ids.join(""))
        } else {
            format!("{reply:?}")
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn parts_of_a_list_become_one() {
        check(
            vec![part(0, &[("d", 4), ("b", 2)], false), part(1, &[("c", 3)], false)],
            9,
            "2 dcb false",
        );
        check(
            vec![part(0, &[("d", 4), ("b", 2)], false), part(1, &[("c", 3)], false)],
            2,
            "2 dc true",
        );
        // Below `c` the second engine may have more, which is newer than `b`.
        check(
            vec![part(0, &[("d", 4), ("b", 2)], false), part(1, &[("c", 3)], true)],
            9,
            "2 dc true",
        );
        check(vec![part(0, &[], false), part(1, &[], false)], 9, "2  false");
        let away = Reply::Failed(Failure::EngineUnavailable);
        check(vec![part(0, &[("d", 4)], false), away], 9, "Failed(EngineUnavailable)");
    }

    #[test]
    fn what_is_of_one_partition_is_no_round() {
        let account = Query::Account(AccountId::parse("alice").unwrap());
        assert_eq!(Round::of(&Call::Query(account), 7, 2).unwrap_err(), 7);
        let round = Round::of(&Call::Query(Query::Trial), 7, 2).unwrap();
        assert!(round.add(Reply::Trial(Vec::new())).is_none());
        assert_eq!(round.add(Reply::Trial(Vec::new())), Some((7, Reply::Trial(Vec::new()))));
        let round = Round::of(&Call::Query(Query::Pending), 7, 2).unwrap();
        assert!(round.add(Reply::Pending(Vec::new())).is_none());
        assert_eq!(round.add(Reply::Pending(Vec::new())), Some((7, Reply::Pending(Vec::new()))));
    }
}
