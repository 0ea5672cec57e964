//! Whether the engine can be reached, and whether what it was last given is in doubt.
//!
//! A node that has lost its engine keeps what waits for a while: a broken connection is mended in
//! milliseconds, and a database that starts again is there in a second or two. Then it says that
//! the engine is not available, which is definite, to everybody but those whose commands may have
//! been executed: of these nothing is known until the engine says.

use super::Executor;
use ledger::Record;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use stdx::Moment;
use wire::{KeyHash, PartitionId, call::Failure};

/// How long the engine may be away before those who wait for it are told, and who comes later at
/// once.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// By which connection the engine was last tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Commit,
    LookUp,
}

/// What is known of the engine.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// Since when there is no way to commit.
    no_commit_since: Option<Moment>,
    /// Since when nothing can be looked up.
    no_look_up_since: Option<Moment>,
    /// When the batch that is in the engine's hands was staged.
    staged_at: Option<Moment>,
    /// The keys of that batch, if nobody knows what has become of it.
    doubt: Option<BTreeSet<KeyHash>>,
    /// Those who waited have been told.
    has_told: bool,
}

impl Contact {
    pub(super) fn staged(&mut self, now: Moment) {
        self.staged_at = Some(now);
    }

    /// The batch has ended, this way or that: the engine has said so.
    pub(super) fn ended(&mut self) {
        (self.staged_at, self.doubt) = (None, None);
        self.back(Way::Commit);
    }

    /// The engine could not be reached this way.
    pub(super) fn away(&mut self, way: Way, now: Moment) {
        self.since(way).get_or_insert(now);
    }

    /// The engine was reached this way.
    pub(super) fn back(&mut self, way: Way) {
        *self.since(way) = None;
        if self.away_since().is_none() {
            self.has_told = false;
        }
    }

    /// The batch in the engine's hands may or may not be durable. Patience counts from when it was
    /// staged: it has been tried for as long.
    pub(super) fn doubt<'a>(&mut self, now: Moment, batch: impl Iterator<Item = &'a Arc<Record>>) {
        let keys = batch.flat_map(|record| record.items.iter().map(|item| item.key));
        self.doubt = Some(keys.collect());
        self.away(Way::Commit, self.staged_at.unwrap_or(now));
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether a command under this key may have been executed by the batch in doubt.
    pub(super) fn doubts(&self, key: KeyHash) -> bool {
        self.doubt.as_ref().is_some_and(|keys| keys.contains(&key))
    }

    /// What to tell whoever waits with a command under this key, which is in no batch.
    pub(super) fn failure(&self, key: KeyHash) -> Failure {
        if self.doubts(key) { Failure::OutcomeUnknown } else { Failure::EngineUnavailable }
    }

    /// The engine has been away for too long.
    pub(super) fn is_given_up(&self, now: Moment) -> bool {
        self.away_since().is_some_and(|since| since + PATIENCE <= now)
    }

    /// When to tell those who wait; `None` when the engine is there, or they have been told.
    pub(super) fn patience_ends(&self) -> Option<Moment> {
        self.away_since().filter(|_| !self.has_told).map(|since| since + PATIENCE)
    }

    /// True once in a time of absence, when it is time to tell those who wait.
    pub(super) fn is_to_tell(&mut self, now: Moment) -> bool {
        let is_now = !self.has_told && self.is_given_up(now);
        self.has_told |= is_now;
        is_now
    }

    /// Since when the engine has been away.
    pub(super) fn away_since(&self) -> Option<Moment> {
        [self.no_commit_since, self.no_look_up_since].into_iter().flatten().min()
    }

    fn since(&mut self, way: Way) -> &mut Option<Moment> {
        match way {
            Way::Commit => &mut self.no_commit_since,
            Way::LookUp => &mut self.no_look_up_since,
        }
    }
}

impl<T> Executor<T> {
    /// A batch of the partition may or may not be durable.
    pub(super) fn is_in_doubt(&self, partition: PartitionId) -> bool {
        self.contact.is_in_doubt() && self.committing.iter().any(|(of, ..)| *of == partition)
    }

    /// The engine could not be reached this way, just now.
    pub fn engine_away(&mut self, way: Way, now: Moment) {
        self.contact.away(way, now);
    }

    /// The engine was reached this way, just now.
    pub fn engine_back(&mut self, way: Way) {
        self.contact.back(way);
    }

    /// Whether the batch in the engine's hands is durable is not known, until it has ended all the
    /// same. Nobody is told anything of it, and its partitions answer nothing from memory.
    pub fn doubt(&mut self, now: Moment) {
        self.contact.doubt(now, self.committing.iter().map(|(_, record, _)| record));
    }

    /// When [`Executor::lose_patience`] has something to do: the engine is away.
    pub fn patience_ends(&self) -> Option<Moment> {
        self.contact.patience_ends()
    }

    /// Tells those who wait for an engine that has been away for too long that nothing of theirs
    /// was executed, or that it may have been.
    pub fn lose_patience(&mut self, now: Moment) {
        if !self.contact.is_to_tell(now) {
            return;
        }
        for desk in self.desks.values_mut() {
            let of_key = |key| self.contact.failure(key);
            desk.turn_away(Failure::EngineUnavailable, of_key, &mut self.out);
        }
        self.leave_reads(None, Failure::EngineUnavailable);
    }

    /// Since when the engine has been away; `None` while it is there, as far as is known.
    pub fn away_since(&self) -> Option<Moment> {
        self.contact.away_since()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn those_who_wait_are_told_once_in_a_time_of_absence() {
        let mut contact = Contact::default();
        assert_eq!((contact.patience_ends(), contact.is_to_tell(at(9_000))), (None, false));
        contact.away(Way::LookUp, at(1_000));
        contact.away(Way::Commit, at(1_500));
        contact.away(Way::LookUp, at(2_500)); // Tried again.
        assert_eq!(contact.patience_ends(), Some(at(3_000)));
        assert!(!contact.is_to_tell(at(2_999)) && !contact.is_given_up(at(2_999)));
        assert!(contact.is_to_tell(at(3_000)) && contact.is_given_up(at(3_000)));
        assert!(!contact.is_to_tell(at(3_001)) && contact.patience_ends().is_none());
        contact.back(Way::LookUp);
        assert!(contact.is_given_up(at(3_500)), "no way to commit since 1500");
        assert!(!contact.is_to_tell(at(3_500)), "it is the same time of absence");
        contact.back(Way::Commit);
        assert!(!contact.is_given_up(at(9_000)));
        contact.away(Way::Commit, at(9_000));
        assert!(contact.is_to_tell(at(11_000)));
    }

    #[test]
    fn patience_with_a_batch_in_doubt_counts_from_when_it_was_staged() {
        let mut contact = Contact::default();
        contact.staged(at(1_000));
        contact.doubt(at(2_500), [].into_iter());
        assert!(contact.is_in_doubt());
        assert_eq!(contact.patience_ends(), Some(at(3_000)));
        contact.ended();
        assert!(!contact.is_in_doubt() && contact.away_since().is_none());
    }
}
