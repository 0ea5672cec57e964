//! How calls come in: each to the desk of its partition, to memory, or to the history reader.

use super::{Executor, Question, WAITING_MAX, reads::Asked};
use crate::gathering::Asker;
use std::time::Duration;
use stdx::Moment;
use wire::{Action, Batch, Call, Command, PartitionId, Reply, call::Failure, limits, query::Query};

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
                let belongs =
                    command.action.account().partition(self.partitions_count) == partition;
                if !belongs || !is_known(&command.action) {
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
            Call::Reverse(_) => self.fail(caller, Failure::Malformed),
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
                if !self.desks.contains_key(&id.partition()) {
                    return self.fail(caller, Failure::NotOwner);
                }
                self.question(caller, deadline, Question::Transaction(id));
            }
            Query::Transaction(_) => self.fail(caller, Failure::NoSuchTransaction),
            Query::Accounts(listing) => {
                let question = Question::Accounts(owned(), listing);
                self.question(caller, deadline, question);
            }
            Query::Hold(_) | Query::Transfer(_) | Query::Pending => {
                self.fail(caller, Failure::Malformed);
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
        let belongs = |it: &Command| {
            it.action.account().partition(self.partitions_count) == partition
                && is_known(&it.action)
        };
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

/// Whether this node executes such an action.
fn is_known(action: &Action) -> bool {
    match action {
        Action::Open { .. } | Action::Update(_) | Action::Post(_) => true,
        Action::Hold(_)
        | Action::EndHold(_)
        | Action::Reverse(_)
        | Action::Send(_)
        | Action::Receive(_)
        | Action::Settle(_) => false,
    }
}
