//! What only all nodes of a service together can tell: its list of accounts and its books.

use super::{
    ask::Ask,
    attempts::{Attempt, Attempts, Next},
    cursor,
    render::{Page, TrialBalance},
    service::Service,
};
use net::clock;
use std::collections::btree_map::Entry;
use wire::{AccountId, AccountState, PartitionId, Reply, Timestamp, call::Failure, query::Books};

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
        let mut attempts = Attempts::new(self.asking);
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
            let pause = match gather(service, asked, &mut attempts).await {
                Ok(parts) => return Ok(parts),
                Err(Next::Report(Err(failure))) => return Err(failure),
                Err(Next::Report(Ok(_))) => return Err(Failure::Malformed),
                Err(Next::Again(pause)) => pause,
            };
            service.count_repeat();
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
    rows: Vec<AccountState>,
    more: bool,
}

impl Parts for AccountParts {
    fn take(&mut self, reply: Reply) -> Option<Reply> {
        let Reply::Accounts { partitions, rows, more } = reply else { return Some(reply) };
        self.partitions.extend(partitions);
        self.rows.extend(rows);
        self.more |= more;
        None
    }

    fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.iter().copied()
    }
}

impl AccountParts {
    /// The newest `limit` of all, newest first. Each node gave its newest `limit`, so none is
    /// missing.
    pub(super) fn page(mut self, service: &str, limit: u32) -> Page<AccountState> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.rows.sort_unstable_by(|a, b| place(b).cmp(&place(a)));
        let more = self.more || limit < self.rows.len();
        self.rows.truncate(limit);
        let last = self.rows.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor::seal_accounts(service, place(last)));
        Page { rows: self.rows, next_cursor }
    }
}

/// An account's place in the list: newer ones, and of equal age higher ids, come first.
fn place(state: &AccountState) -> (Timestamp, &AccountId) {
    (state.created_at, &state.id)
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
