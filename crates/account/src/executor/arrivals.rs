//! How calls come in: each to the desk of its partition, to memory, or to the history reader.

use super::{Executor, Question, Reversing, WAITING_MAX, reads::Asked};
use crate::gathering::Asker;
use ledger::{ObjectKey, object::Sort};
use std::time::Duration;
use stdx::Moment;
use wire::{
    Action, Batch, Call, Command, PartitionId, Posting, Reply, ServiceTag, call::Failure,
    hold::HoldEnd, limits, query::Query, reversal::Reversal,
};

impl<T> Executor<T> {
    /// Takes a call in. `partition` and `partitions_count` are the caller's belief about where the
    /// account lives; the executor hashes again.
    pub fn arrive(
        &mut self,
        caller: T,
        now: Moment,
        time_left: Duration,
        (partition, partitions_count): (PartitionId, u16),
        call: Call,
    ) {
        self.waiting_count += 1;
        if partitions_count != self.partitions_count {
            return self.fail(caller, Failure::Malformed);
        }
        if WAITING_MAX < self.waiting_count {
            self.counters.shed += 1;
            return self.fail(caller, Failure::Overloaded);
        }
        let longest = Duration::from_secs(limits::DEADLINE_SECONDS_MAX.into());
        let deadline = now + time_left.min(longest);
        match call {
            Call::Execute(command) => {
                self.counters.commands += 1;
                if !self.is_for(&command, partition) {
                    return self.fail(caller, Failure::Malformed);
                }
                if self.closing.contains(&partition) {
                    return self.fail(caller, Failure::NotOwner);
                }
                let asker = Asker::One(caller);
                match self.desks.get_mut(&partition) {
                    // What is known of the key is told once the engine is back.
                    Some(desk)
                        if self.contact.is_given_up(now)
                            && desk.ledger.key(command.key).is_none() =>
                    {
                        let failure = self.contact.failure(command.key);
                        self.fail_asker(asker, failure);
                    }
                    Some(desk) => desk.execute(asker, deadline, command, &mut self.out),
                    None => self.fail_asker(asker, Failure::NotOwner),
                }
            }
            Call::Reverse(reversal) => self.arrive_reversal(caller, now, deadline, reversal),
            Call::Batch(batch) => self.arrive_batch(caller, now, deadline, (partition, batch)),
            Call::Query(query) => {
                self.counters.queries += 1;
                if self.contact.is_given_up(now) {
                    return self.fail(caller, Failure::EngineUnavailable);
                }
                self.ask(caller, deadline, query);
            }
        }
    }

    /// Whether a command belongs to this partition, and is one that is asked for over the trunk.
    fn is_for(&self, command: &Command, partition: PartitionId) -> bool {
        let is_asked = match &command.action {
            // The owner alone says that a hold's time is up.
            Action::EndHold(end) => end.how != HoldEnd::Expire,
            // One that was not looked up.
            Action::Reverse(_) => false,
            Action::Send(send) => ServiceTag::of(&send.from.service) == self.service,
            Action::Open { .. }
            | Action::Update(_)
            | Action::Post(_)
            | Action::Hold(_)
            | Action::Receive(_)
            | Action::Settle(_) => true,
        };
        is_asked && command.action.account().partition(self.partitions_count) == partition
    }

    /// Asks for the transaction that is to be reversed: it says of which account it is.
    fn arrive_reversal(&mut self, caller: T, now: Moment, deadline: Moment, reversal: Reversal) {
        self.counters.commands += 1;
        let (id, key) = (reversal.transaction, reversal.key);
        if id.service() != self.service {
            return self.fail(caller, Failure::NoSuchTransaction);
        }
        let is_open = !self.closing.contains(&id.partition());
        if !is_open || !self.desks.contains_key(&id.partition()) {
            return self.fail(caller, Failure::NotOwner);
        }
        if self.contact.is_given_up(now) {
            let failure = self.contact.failure(key);
            return self.fail(caller, failure);
        }
        self.out.lookups.originals.push(id);
        self.reversals.push(Reversing { caller, deadline, reversal });
    }

    /// Reverses the transaction, now that it has been looked up.
    pub(super) fn reverse(&mut self, reversing: Reversing<T>, original: Option<&Posting>) {
        let Reversing { caller, deadline, reversal } = reversing;
        let partition = reversal.transaction.partition();
        let Some(original) = original else {
            return self.fail(caller, Failure::NoSuchTransaction);
        };
        // To take a transfer back one transfers the other way; to undo a reversal one posts again.
        if original.transfer().is_some() || original.reverses().is_some() {
            return self.fail(caller, Failure::NotReversible);
        }
        let is_open = !self.closing.contains(&partition);
        match self.desks.get_mut(&partition).filter(|_| is_open) {
            Some(desk) => {
                let command = reversal.command(original);
                desk.execute(Asker::One(caller), deadline, command, &mut self.out);
            }
            None => self.fail(caller, Failure::NotOwner),
        }
    }

    fn ask(&mut self, caller: T, deadline: Moment, query: Query) {
        let owned = || self.owned().into_iter().map(|(partition, _)| partition).collect();
        match query {
            Query::Account(account) => {
                let partition = account.partition(self.partitions_count);
                self.read(caller, deadline, partition, Asked::Account(account));
            }
            Query::Transactions(history) => {
                let partition = history.account.partition(self.partitions_count);
                self.read(caller, deadline, partition, Asked::History(history));
            }
            Query::Transaction(id) if id.service() == self.service => {
                self.read(caller, deadline, id.partition(), Asked::Transaction(id));
            }
            Query::Transaction(_) => self.fail(caller, Failure::NoSuchTransaction),
            Query::Hold(id) if id.service() == self.service => {
                let key = ObjectKey { sort: Sort::Hold, bits: id.bits() };
                self.read(caller, deadline, id.partition(), Asked::Object(key));
            }
            Query::Hold(_) => self.fail(caller, Failure::NoSuchHold),
            Query::Transfer(id) if id.service() == self.service => {
                let key = ObjectKey { sort: Sort::Transfer, bits: id.bits() };
                self.read(caller, deadline, id.partition(), Asked::Object(key));
            }
            Query::Transfer(_) => self.fail(caller, Failure::NoSuchTransfer),
            Query::Pending => {
                let pending = self.partitions().flat_map(ledger::Partition::pending);
                let rows = pending.take(limits::PENDING_ROWS_MAX).cloned().collect();
                self.out.answers.push((Asker::One(caller), Reply::Pending(rows)));
            }
            Query::Accounts(listing) => {
                let question = Question::Accounts(owned(), listing);
                self.question(caller, deadline, question);
            }
            Query::Events { partition, from, limit } => {
                if !self.desks.contains_key(&partition) || self.closing.contains(&partition) {
                    return self.fail(caller, Failure::NotOwner);
                }
                let question = Question::Events { partition, from, limit };
                self.question(caller, deadline, question);
            }
            Query::Trial => {
                let question = Question::Trial(owned());
                self.question(caller, deadline, question);
            }
        }
    }

    /// Takes commands of one partition in, each of which counts as a call that waits.
    fn arrive_batch(
        &mut self,
        caller: T,
        now: Moment,
        deadline: Moment,
        (partition, Batch { atomic, commands }): (PartitionId, Batch),
    ) {
        // Of those that stand or fall together none may wait for more than its account and key.
        let is_alone = |it: &Command| {
            ledger::weight(&it.action) == 1 && ObjectKey::wanted_by(&it.action).is_none()
        };
        let belongs = |it: &Command| self.is_for(it, partition) && (!atomic || is_alone(it));
        if commands.is_empty() || !commands.iter().all(belongs) {
            return self.fail(caller, Failure::Malformed);
        }
        self.counters.commands += commands.len() as u64;
        if WAITING_MAX < self.waiting_count + commands.len() {
            self.counters.shed += 1;
            return self.fail(caller, Failure::Overloaded);
        }
        let is_closing = self.closing.contains(&partition);
        let desk = match self.desks.get_mut(&partition) {
            Some(desk) if !is_closing => desk,
            Some(_) | None => return self.fail(caller, Failure::NotOwner),
        };
        self.waiting_count += commands.len() - 1;
        let is_given_up = self.contact.is_given_up(now);
        let is_known = |it: &Command| desk.ledger.key(it.key).is_some();
        let askers = Asker::parts(caller, commands.len());
        if is_given_up && !commands.iter().all(is_known) {
            for (asker, command) in askers.zip(commands) {
                // What was executed is told once the engine is back: to whoever asks again.
                let failure = match is_known(&command) {
                    true => Failure::OutcomeUnknown,
                    false => self.contact.failure(command.key),
                };
                self.out.answers.push((asker, Reply::Failed(failure)));
            }
            return;
        }
        if atomic {
            return desk.execute_together(askers.zip(commands).collect(), deadline, &mut self.out);
        }
        for (asker, command) in askers.zip(commands) {
            desk.execute(asker, deadline, command, &mut self.out);
        }
    }

    pub(super) fn fail(&mut self, caller: T, failure: Failure) {
        self.fail_asker(Asker::One(caller), failure);
    }

    pub(super) fn fail_asker(&mut self, asker: Asker<T>, failure: Failure) {
        self.out.answers.push((asker, Reply::Failed(failure)));
    }
}
