//! What only all nodes of a service together can tell: its list of accounts and its books.

use super::{
    ask::{Ask, Blame},
    attempts::{Attempt, Attempts, Next},
    cursor,
    render::{Page, TrialBalance},
    service::Service,
};
use net::clock;
use std::collections::btree_map::Entry;
use wire::{AccountState, PartitionId, Reply, call::Failure, pages::AccountPages, query::Books};

/// The parts that the nodes gave of one list.
pub(super) trait Parts: Default {
    /// Takes one node's reply; returns it when it is of another kind.
    fn take(&mut self, reply: Reply) -> Option<Reply>;

    /// The partitions that were answered for, as the nodes named them.
    fn partitions(&self) -> impl Iterator<Item = PartitionId>;
}

impl Ask {
    /// Asks all owners at once, and again until every partition was answered for once.
    pub(super) async fn everybody<P: Parts>(&self, service: &Service) -> Result<P, Failure> {
        let mut attempts = Attempts::new(self.asking, self.attempts_before);
        self.blame(Blame::Service);
        service.requested(clock::now());
        while clock::now() < self.deadline {
            let version = service.owners_version();
            let owners = service.owners().all();
            let Some(owners) = owners else {
                service.owners_changed(version, self.deadline).await;
                continue;
            };
            // All are sent before the first is waited for.
            let count = attempts.count();
            let asked: Vec<_> = owners
                .into_iter()
                .map(|(node, partition)| self.once(service, node, partition, count))
                .collect();
            let (pause, denied) = match gather(service, asked, &mut attempts).await {
                Ok(parts) => return Ok(parts),
                Err(Next::Report(Err(failure))) => return Err(failure),
                Err(Next::Report(Ok(_))) => return Err(Failure::Malformed),
                Err(Next::Again { pause, denied }) => (pause, denied),
            };
            if !service.may_repeat() {
                return Err(denied);
            }
            let until = self.deadline.min(clock::now() + pause);
            service.owners_changed(version, until).await;
        }
        Err(attempts.give_up())
    }
}

/// Waits for all answers and puts them together; what to do instead when that fails.
async fn gather<P: Parts>(
    service: &Service,
    asked: Vec<impl Future<Output = Attempt>>,
    attempts: &mut Attempts,
) -> Result<P, Next> {
    let mut parts = P::default();
    for answer in asked {
        let misfit = match answer.await {
            Attempt::Replied(reply) => parts.take(reply).map(Attempt::Replied),
            attempt @ (Attempt::TurnedAway | Attempt::Garbled | Attempt::Lost(_)) => Some(attempt),
        };
        if let Some(attempt) = misfit {
            return Err(attempts.judge(attempt));
        }
    }
    if service.owners().is_cover(parts.partitions()) {
        return Ok(parts);
    }
    // A partition moved between two of them while they answered.
    Err(attempts.judge(Attempt::Replied(Reply::Failed(Failure::NotOwner))))
}

/// Rows of accounts from all nodes.
#[derive(Debug, Default)]
pub(super) struct AccountParts {
    partitions: Vec<PartitionId>,
    pages: AccountPages,
}

impl Parts for AccountParts {
    fn take(&mut self, reply: Reply) -> Option<Reply> {
        let Reply::Accounts { partitions, rows, more } = reply else { return Some(reply) };
        self.partitions.extend(partitions);
        self.pages.add(rows, more);
        None
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.iter().copied()
    }
}

impl AccountParts {
    /// The newest `limit` of all, newest first; fewer where a node's part ended earlier.
    pub(super) fn page(self, service: &str, limit: u32) -> Page<AccountState> {
        let (rows, more) = self.pages.page(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor =
            last.map(|last| cursor::seal_accounts(service, (last.created_at, &last.id)));
        Page { rows, next_cursor }
    }
}

/// Books of partitions from all nodes.
#[derive(Debug, Default)]
pub(super) struct TrialParts {
    books: Vec<Books>,
}

impl Parts for TrialParts {
    fn take(&mut self, reply: Reply) -> Option<Reply> {
        let Reply::Trial(books) = reply else { return Some(reply) };
        self.books.extend(books);
        None
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.books.iter().map(|books| books.partition)
    }
}

impl TrialParts {
    /// The sums over all partitions; `None` when they are beyond what 128 bits hold, which no
    /// sound books are.
    pub(super) fn sum(self) -> Option<TrialBalance> {
        let mut trial = TrialBalance::default();
        for books in self.books {
            trial.heads.insert(books.partition, books.head);
            for part in books.currencies {
                match trial.currencies.entry(part.currency) {
                    Entry::Vacant(entry) => {
                        entry.insert(part);
                    }
                    Entry::Occupied(mut entry) => {
                        let sum = entry.get_mut();
                        sum.debits = sum.debits.checked_add(part.debits)?;
                        sum.credits = sum.credits.checked_add(part.credits)?;
                    }
                }
            }
        }
        Some(trial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{AccountId, Currency, Status, Timestamp};

    fn row(age: i64) -> AccountState {
        AccountState {
            id: AccountId::parse(&format!("n{age}")).unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            status: Status::Open,
            posted: 0,
            held: 0,
            overdraft_limit: 0,
            version: 0,
            metadata: "{}".into(),
            created_at: Timestamp(1_000 - age),
            updated_at: Timestamp(1_000 - age),
        }
    }

    /// The ages on the page of these parts, youngest first, and whether there are more.
    fn page(parts: &[(&[i64], bool)], limit: u32) -> (Vec<i64>, bool) {
        let mut gathered = AccountParts::default();
        for (ages, more) in parts {
            let rows = ages.iter().copied().map(row).collect();
            let partitions = [].into();
            assert_eq!(gathered.take(Reply::Accounts { partitions, rows, more: *more }), None);
        }
        let page = gathered.page("a", limit);
        let ages = page.rows.iter().map(|row| 1_000 - row.created_at.0).collect();
        let cursor = page.next_cursor.map(|it| cursor::open_accounts("a", &it).unwrap());
        let last = page.rows.last().map(|row| (row.created_at, row.id.clone()));
        assert!(cursor.is_none() || cursor == last);
        (ages, cursor.is_some())
    }

    #[test]
    fn a_page_is_the_youngest_of_all_parts() {
        assert_eq!(page(&[(&[], false), (&[], false)], 3), (vec![], false));
        assert_eq!(page(&[(&[1, 4], false), (&[2], false)], 3), (vec![1, 2, 4], false));
        assert_eq!(page(&[(&[1, 4], false), (&[2, 3], false)], 3), (vec![1, 2, 3], true));
        assert_eq!(page(&[(&[1, 4, 5], true), (&[2, 3, 6], true)], 3), (vec![1, 2, 3], true));
    }

    /// A node may give fewer than were asked for: what it left out is not to be passed over.
    #[test]
    fn a_page_ends_where_a_part_that_leaves_something_out_ends() {
        assert_eq!(page(&[(&[1, 3], true), (&[2, 4, 5], false)], 9), (vec![1, 2, 3], true));
        assert_eq!(page(&[(&[2, 4, 5], false), (&[1, 3], true)], 9), (vec![1, 2, 3], true));
        assert_eq!(page(&[(&[1, 3], true), (&[2], true)], 9), (vec![1, 2], true));
        assert_eq!(page(&[(&[1], true), (&[2], false)], 9), (vec![1], true));
    }
}
