//! How a batch is put together and decided, and what becomes of it.

use super::{Bundle, Desk, Outbox, Ready, Waiting, key_reused};
use crate::lookup::RecordLookup;
use ledger::{Answer, Record, Staged};
use std::{ops::Range, sync::Arc};
use stdx::Moment;
use wire::{Command, Reply, Seq, ServiceTag, Text, Timestamp, call::Failure, command::KeyOrigin};

/// Holds that one batch lets go: their commands share the record with those that people wait for.
const EXPIRIES_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct InCommit<T> {
    staged: Staged,
    /// `None`: the command is the node's own.
    callers: Vec<Option<T>>,
    /// Of the command at the same place, for a refusal that is not journaled.
    request_ids: Vec<Text>,
}

/// A batch as it is put together, before it is decided.
#[derive(Debug)]
struct Draft<T> {
    callers: Vec<Option<T>>,
    request_ids: Vec<Text>,
    commands: Vec<Command>,
    groups: Vec<Range<usize>>,
}

impl<T> Draft<T> {
    fn with_capacity(count: usize) -> Draft<T> {
        Draft {
            callers: Vec::with_capacity(count),
            request_ids: Vec::with_capacity(count),
            commands: Vec::with_capacity(count),
            groups: Vec::new(),
        }
    }

    fn push(&mut self, caller: Option<T>, command: Command) {
        self.callers.push(caller);
        self.request_ids.push(command.request_id.clone());
        self.commands.push(command);
    }

    fn push_group(&mut self, bundle: Bundle<T>) {
        let (first, count) = (self.commands.len(), bundle.parts.len());
        bundle.parts.into_iter().for_each(|part| self.push(Some(part.caller), part.command));
        // One alone is no group.
        self.groups.extend((1 < count).then_some(first..first + count));
    }
}

/// What a batch hands to the engine and, once durable, to the projector.
#[derive(Clone, Debug)]
pub struct Decided {
    pub record: Arc<Record>,
    pub bytes: Vec<u8>,
    pub hash: ledger::Hash,
}

impl<T> Desk<T> {
    /// Decides what is ready. `None` when nothing is, or nothing of it has to be journaled.
    pub fn stage(
        &mut self,
        now: Moment,
        wall: Timestamp,
        is_wanted: impl Fn(&T) -> bool,
        out: &mut Outbox<T>,
    ) -> Option<Decided> {
        assert!(self.in_commit.is_none());
        let time = self.time(wall);
        let room = self.ledger.room(time);
        let has_due = std::mem::take(&mut self.has_due); // Or looked for again in a moment.
        if room == 0 {
            // The memory of keys is full until the projector or time have made room.
            let askers = self.ready.drain(..).flat_map(Ready::askers);
            out.answers.extend(askers.map(|(it, _)| (it, Reply::Failed(Failure::Overloaded))));
            return None;
        }
        let (taken, batch_size) = self.fitting(room);
        let mut draft = Draft::with_capacity(batch_size);
        let rest = self.ready.split_off(taken);
        for ready in std::mem::replace(&mut self.ready, rest) {
            match ready {
                Ready::One(waiting) => {
                    let fits = ledger::weight(&waiting.command.action) <= room;
                    if !fits || waiting.deadline <= now || !is_wanted(&waiting.caller) {
                        // Or whoever asked has gone. Nothing was executed.
                        out.answers.push((waiting.caller, Reply::Failed(Failure::Overloaded)));
                    } else if !self.is_new_still(&waiting.command, waiting.forgotten, time) {
                        self.ask_for_key(waiting, out);
                    } else if self.is_unknown(&waiting.command) {
                        self.park_again(waiting, out);
                    } else {
                        draft.push(Some(waiting.caller), waiting.command);
                    }
                }
                Ready::Together(bundle) => {
                    if room < bundle.parts.len()
                        || bundle.deadline <= now
                        || !bundle.parts.iter().any(|part| is_wanted(&part.caller))
                    {
                        bundle.fail(Failure::Overloaded, out);
                    } else if bundle.parts.iter().any(|part| {
                        !self.is_new_still(&part.command, bundle.forgotten, time)
                            || self.is_unknown(&part.command)
                    }) {
                        self.park_bundle(bundle, true, out);
                    } else {
                        draft.push_group(bundle);
                    }
                }
            }
        }
        if has_due {
            self.let_go(time, room.saturating_sub(batch_size), &mut draft, out);
        }
        let Draft { callers, request_ids, commands, groups } = draft;
        if commands.is_empty() {
            return None;
        }
        let mut staged = self.ledger.stage_with(time, commands, &groups);
        let bytes = std::mem::take(&mut staged.bytes);
        let hash = staged.hash;
        let decided = staged.record.clone().map(|record| Decided { record, bytes, hash });
        self.in_commit = Some(InCommit { staged, callers, request_ids });
        if decided.is_none() {
            self.committed(out); // Repeats only: nothing to wait for.
        }
        decided
    }

    /// How many of those that are ready fit a batch of `room` commands, and their commands. One
    /// that fits no batch is among them, to be told so.
    fn fitting(&self, room: usize) -> (usize, usize) {
        let (mut taken, mut commands) = (0, 0);
        for ready in &self.ready {
            let count = ready.count();
            if room < count {
                taken += 1;
                continue;
            }
            if room - commands < count {
                break;
            }
            taken += 1;
            commands += count;
        }
        (taken, commands)
    }

    /// Lets go holds whose time is up, as many as there is room for. Those whose account is not in
    /// memory wait for it.
    fn let_go(&mut self, time: Timestamp, room: usize, draft: &mut Draft<T>, out: &mut Outbox<T>) {
        let due: Vec<_> = self.ledger.expiries(time, room.min(EXPIRIES_MAX)).collect();
        for command in due {
            if self.is_unknown(&command) {
                self.lane(command.action.account().clone(), out);
            } else {
                draft.push(None, command);
            }
        }
    }

    /// The time that the journal is given at a wall time of this process, which never goes back. A
    /// wall clock that was behind the journal when this process started, since somebody has set it,
    /// must not stop the journal's time, by which keys leave memory: it goes on at half the clock's
    /// pace until the clock has caught up.
    pub(super) fn time(&mut self, wall: Timestamp) -> Timestamp {
        let (began, journal) = *self.began.get_or_insert((wall, self.ledger.chain().time));
        let elapsed = wall.0.saturating_sub(began.0).max(0);
        wall.max(Timestamp(journal.0.saturating_add(elapsed / 2)))
    }

    /// Whether a key that was new when it was asked for is new at `time`, if memory does not know
    /// it: whatever was journaled since then is in memory.
    ///
    /// A minted key is asked for nowhere within its window: an earlier attempt within it is in
    /// memory. Out of it the request was held up on its way for longer than memory keeps keys, or
    /// clocks differ. In its window it could also be found again by its time when a client repeats
    /// it: out of it, it has to be in the index.
    ///
    /// `forgotten`: what memory had forgotten when the key was asked for.
    fn is_new_still(&self, command: &Command, forgotten: Seq, time: Timestamp) -> bool {
        match command.origin {
            KeyOrigin::Minted => {
                let (from, to) = engine::mint_window(command.minted_at);
                (from..=to).contains(&self.ledger.time(time))
            }
            KeyOrigin::Client | KeyOrigin::Returned(_) => {
                forgotten == self.ledger.forgotten() || self.is_known_new(command)
            }
        }
    }

    /// Has the key looked up, once more or after all.
    fn ask_for_key(&mut self, mut waiting: Waiting<T>, out: &mut Outbox<T>) {
        let command = &mut waiting.command;
        if command.origin == KeyOrigin::Minted {
            command.origin = KeyOrigin::Returned(command.minted_at);
            command.minted_at = Timestamp(0);
        }
        self.park(waiting, out);
    }

    /// The batch is durable: it becomes the state, and its commands are answered.
    pub fn committed(&mut self, out: &mut Outbox<T>) {
        let InCommit { staged, callers, request_ids } =
            self.in_commit.take().expect("a batch was in the engine's hands");
        let (partition, service) = (self.ledger.id(), self.ledger.service());
        let places = callers.into_iter().zip(request_ids).zip(&staged.answers);
        for ((caller, request_id), answer) in places {
            let Some(caller) = caller else { continue };
            let reply = match *answer {
                Answer::Fresh(index) => fresh(&staged, service, index),
                Answer::Repeat { seq, index } if seq == staged_seq(&staged) => {
                    fresh(&staged, service, index)
                }
                Answer::Repeat { seq, index } => {
                    out.lookups.records.push(RecordLookup { caller, partition, seq, index });
                    continue;
                }
                Answer::KeyReused => key_reused(request_id),
            };
            out.answers.push((caller, reply));
        }
        self.ledger.merge(staged);
    }

    /// The batch certainly was not and never will be committed: it is dropped with its overlay.
    pub fn dropped(&mut self, failure: Failure, out: &mut Outbox<T>) {
        let Some(InCommit { callers, .. }) = self.in_commit.take() else { return };
        let callers = callers.into_iter().flatten();
        out.answers.extend(callers.map(|caller| (caller, Reply::Failed(failure))));
    }
}

fn staged_seq(staged: &Staged) -> Seq {
    staged.record.as_ref().map_or(Seq(0), |record| record.header.seq)
}

fn fresh(staged: &Staged, service: ServiceTag, index: u16) -> Reply {
    let record = staged.record.as_ref().expect("a fresh answer is in the record");
    Reply::Outcome(record.outcome(service, index).expect("the executor made the item"))
}
