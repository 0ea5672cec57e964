//! Reads from memory that wait until the engine has said whether this node still owns what they
//! are about.
//!
//! They gather while the previous confirmation runs, without a timer; then one confirmation is for
//! all of them. It begins after the last of them has arrived, so whoever was answered before it
//! arrived, by this node or by a later owner, is seen: by a later owner's there is no confirmation.

use super::{Executor, QUESTIONS_MAX, Question};
use crate::gathering::Asker;
use ledger::{Known, Object, ObjectKey};
use std::collections::BTreeSet;
use stdx::Moment;
use wire::{AccountId, Epoch, PartitionId, Reply, TransactionId, call::Failure, query::History};

/// A read that waits.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) caller: T,
    /// From then on nobody wants the answer.
    pub(super) deadline: Moment,
    pub(super) tenure: (PartitionId, Epoch),
    pub(super) asked: Asked,
}

#[derive(Debug)]
pub(super) enum Asked {
    Account(AccountId),
    /// Whether there is such an account is answered from memory.
    History(History),
    /// Whether it was reversed is answered from memory, if that knows.
    Transaction(TransactionId),
    /// A hold or a transfer.
    Object(ObjectKey),
}

/// The reads that wait. `T` is whom to answer.
#[derive(Debug)]
pub(super) struct Reads<T> {
    /// Arrived since the confirmation under way began.
    gathered: Vec<Read<T>>,
    confirming: Option<Confirming<T>>,
}

/// What one confirmation is about.
#[derive(Debug)]
pub(super) struct Confirming<T> {
    pub(super) held: Vec<(PartitionId, Epoch)>,
    pub(super) reads: Vec<Read<T>>,
}

impl<T> Default for Reads<T> {
    fn default() -> Reads<T> {
        Reads { gathered: Vec::new(), confirming: None }
    }
}

impl<T> Reads<T> {
    pub(super) fn gather(&mut self, read: Read<T>) {
        self.gathered.push(read);
    }

    /// Begins a confirmation for everything that has gathered and is not about a partition in
    /// `held_up`, if none is under way: what it is to confirm.
    pub(super) fn begin(
        &mut self,
        held_up: impl Fn(PartitionId) -> bool,
    ) -> Option<Vec<(PartitionId, Epoch)>> {
        if self.confirming.is_some() || self.gathered.is_empty() {
            return None;
        }
        let reads: Vec<_> = self.gathered.extract_if(.., |it| !held_up(it.tenure.0)).collect();
        if reads.is_empty() {
            return None;
        }
        let held: BTreeSet<_> = reads.iter().map(|it| it.tenure).collect();
        let held: Vec<_> = held.into_iter().collect();
        self.confirming = Some(Confirming { held: held.clone(), reads });
        Some(held)
    }

    /// Takes out the reads that nobody waits for any more.
    pub(super) fn overdue(&mut self, now: Moment, is_wanted: fn(&T) -> bool) -> Vec<T> {
        let is_over = |it: &mut Read<T>| it.deadline <= now || !is_wanted(&it.caller);
        self.gathered.extract_if(.., is_over).map(|it| it.caller).collect()
    }

    /// The confirmation under way has ended.
    ///
    /// # Panics
    /// When none was.
    pub(super) fn end(&mut self) -> Confirming<T> {
        self.confirming.take().expect("a confirmation was under way")
    }

    /// Takes out the reads of a partition, or all, that no confirmation is under way for.
    pub(super) fn leave(&mut self, partition: Option<PartitionId>) -> Vec<T> {
        let leaves = |it: &mut Read<T>| partition.is_none_or(|of| it.tenure.0 == of);
        self.gathered.extract_if(.., leaves).map(|it| it.caller).collect()
    }
}

impl<T> Executor<T> {
    /// A read that memory has a part in: now, or once the engine has confirmed the tenure.
    pub(super) fn read(
        &mut self,
        caller: T,
        deadline: Moment,
        partition: PartitionId,
        asked: Asked,
    ) {
        let desk = self.desks.get(&partition).filter(|_| !self.closing.contains(&partition));
        let Some(desk) = desk else { return self.fail(caller, Failure::NotOwner) };
        let tenure = (partition, desk.ledger.epoch());
        let read = Read { caller, deadline, tenure, asked };
        if self.confirms {
            self.reads.gather(read);
        } else {
            self.answer(read);
        }
    }

    /// Answers a read from memory as it is now.
    fn answer(&mut self, read: Read<T>) {
        let Read { caller, deadline, tenure: (partition, epoch), asked } = read;
        let is_open = !self.closing.contains(&partition);
        let desk = self.desks.get_mut(&partition);
        let Some(desk) = desk.filter(|it| is_open && it.ledger.epoch() == epoch) else {
            return self.fail(caller, Failure::NotOwner);
        };
        match asked {
            Asked::Account(account) => desk.read(Asker::One(caller), account, &mut self.out),
            Asked::History(history) => {
                let known = match desk.ledger.account(&history.account) {
                    Known::Present(_) => true,
                    Known::Absent => return self.fail(caller, Failure::NoSuchAccount),
                    Known::Unknown => false,
                };
                let question = Question::Transactions { partition, history, known };
                self.question(caller, deadline, question);
            }
            Asked::Transaction(id) => {
                let reversed_by = match desk.ledger.object(ObjectKey::reversal(id)) {
                    Known::Present(Object::Reversal { by, .. }) => Some(Some(*by)),
                    Known::Present(_) | Known::Absent => Some(None),
                    Known::Unknown => None,
                };
                self.question(caller, deadline, Question::Transaction { id, reversed_by });
            }
            Asked::Object(key) => desk.read_object(Asker::One(caller), key, &mut self.out),
        }
    }

    pub(super) fn question(&mut self, caller: T, deadline: Moment, question: Question) {
        if QUESTIONS_MAX <= self.questions.len() + self.asked_count {
            self.counters.shed += 1;
            return self.fail(caller, Failure::Overloaded);
        }
        self.questions.push((caller, deadline, question));
    }

    /// What the engine is to confirm now, before the reads that have gathered are answered. `None`
    /// while there are none, or a confirmation is under way. While what was last written is in
    /// doubt, the partitions concerned answer nothing.
    pub fn take_confirm(&mut self, now: Moment) -> Option<Vec<(PartitionId, Epoch)>> {
        let Executor { reads, committing, contact, .. } = self;
        let is_doubted = contact.is_in_doubt();
        let held_up = |of| is_doubted && committing.iter().any(|(partition, ..)| *partition == of);
        for caller in reads.overdue(now, self.is_wanted) {
            // Whoever asked has gone.
            let overdue = Reply::Failed(Failure::Overloaded);
            self.out.answers.push((Asker::One(caller), overdue));
        }
        reads.begin(held_up)
    }

    /// The confirmation ended: which of the tenures asked for are ours, in order. Memory as it is
    /// now answers the reads; a tenure that is not ours has ended. `None`: the engine did not
    /// answer, and neither can we.
    ///
    /// # Panics
    /// When no confirmation was under way, or it was about other tenures.
    pub fn confirmed(&mut self, ours: Option<&[bool]>) {
        let Confirming { held, reads } = self.reads.end();
        let Some(ours) = ours else {
            return reads
                .into_iter()
                .for_each(|read| self.fail(read.caller, Failure::EngineUnavailable));
        };
        assert_eq!(ours.len(), held.len());
        for (&(partition, epoch), _) in held.iter().zip(ours).filter(|(_, is_ours)| !**is_ours) {
            if self.desks.get(&partition).is_some_and(|it| it.ledger.epoch() == epoch) {
                self.close(partition, epoch);
            }
        }
        for read in reads {
            if self.is_in_doubt(read.tenure.0) {
                self.reads.gather(read); // Since the confirmation began.
            } else {
                self.answer(read);
            }
        }
    }

    /// Tells those whose reads no confirmation is under way for.
    pub(super) fn leave_reads(&mut self, partition: Option<PartitionId>, failure: Failure) {
        for caller in self.reads.leave(partition) {
            self.fail(caller, failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(caller: u32, partition: u16, epoch: u64) -> Read<u32> {
        let asked = Asked::Account(AccountId::parse("alice").unwrap());
        let tenure = (PartitionId(partition), Epoch(epoch));
        Read { caller, deadline: Moment::ZERO, tenure, asked }
    }

    fn callers(confirming: &Confirming<u32>) -> Vec<u32> {
        confirming.reads.iter().map(|it| it.caller).collect()
    }

    #[test]
    fn reads_gather_while_a_confirmation_runs() {
        let mut reads = Reads::default();
        assert_eq!(reads.begin(|_| false), None);
        for (caller, partition) in [(1, 7), (2, 3), (3, 7)] {
            reads.gather(read(caller, partition, 1));
        }
        let place = |partition| (PartitionId(partition), Epoch(1));
        assert_eq!(reads.begin(|_| false), Some(vec![place(3), place(7)]));
        reads.gather(read(4, 7, 1));
        assert_eq!(reads.begin(|_| false), None, "one is under way");
        assert_eq!(callers(&reads.end()), [1, 2, 3], "who came later is not in it");
        assert_eq!(reads.begin(|_| false), Some(vec![place(7)]));
        assert_eq!(callers(&reads.end()), [4]);
    }

    #[test]
    fn what_is_held_up_waits_and_leaves_when_it_is_told_to() {
        let mut reads = Reads::default();
        for (caller, partition) in [(1, 7), (2, 3), (3, 4)] {
            reads.gather(read(caller, partition, 1));
        }
        let held = reads.begin(|partition| partition == PartitionId(7)).unwrap();
        assert_eq!(held.len(), 2);
        assert_eq!(callers(&reads.end()), [2, 3]);
        assert_eq!(reads.begin(|_| true), None);
        reads.gather(read(4, 3, 1));
        assert_eq!(reads.leave(Some(PartitionId(7))), [1]);
        assert_eq!(reads.leave(None), [4]);
        assert_eq!(reads.begin(|_| false), None);
    }
}
