//! The desk of one partition: where commands wait until they can be decided, in order per account.
//!
//! A command is decided only when its account is in memory and its key is known to be new. Until
//! then it waits in its account's *lane*, so that a cold read holds up nobody else; everything that
//! comes later for the same account waits behind it. Pure: it asks for look-ups and is told.

use self::bundle::{Bundle, Bundles};
use ledger::{Answer, Known, Partition, Record, Staged, Unsound};
use std::{collections::VecDeque, ops::Range, sync::Arc};
use stdx::{Map, Moment};
use wire::{
    AccountId, AccountState, Command, KeyHash, Outcome, Refusal, Refused, Reply, Seq, ServiceTag,
    Timestamp, call::Failure, command::KeyOrigin,
};

use crate::lookup::{KeyLookup, Lookups, RecordLookup, Stored};

mod bundle;

/// Rounds of eviction between two projections: enough to go twice round the accounts that there
/// should be at the most, in a millisecond or two.
const EVICT_ROUNDS_MAX: usize = 32;

/// One partition that this node owns. `T` is whom to answer.
#[derive(Debug)]
pub struct Desk<T> {
    pub ledger: Partition,
    /// May be decided in the next batch, in order.
    ready: Vec<Ready<T>>,
    lanes: Map<AccountId, Lane<T>>,
    /// Atomic batches that wait for look-ups.
    bundles: Bundles<T>,
    /// In the engine's hands, neither durable nor refused yet.
    in_commit: Option<InCommit<T>>,
    /// Rounds of eviction that wait for the commit to end.
    rounds_due: usize,
    /// The wall time of the first batch, and where the journal was then.
    began: Option<(Timestamp, Timestamp)>,
    /// Numbers the parked commands of this desk, in order of arrival.
    ticket_next: u64,
}

/// A command and whom to answer.
#[derive(Debug)]
struct Waiting<T> {
    caller: T,
    deadline: Moment,
    command: Command,
    /// What memory had forgotten when the key was asked for: see [`Partition::forgotten`].
    forgotten: Seq,
}

/// What may be decided in the next batch.
#[derive(Debug)]
enum Ready<T> {
    One(Waiting<T>),
    Together(Bundle<T>),
}

impl<T> Ready<T> {
    /// Commands in it.
    fn count(&self) -> usize {
        match self {
            Ready::One(_) => 1,
            Ready::Together(bundle) => bundle.parts.len(),
        }
    }

    /// Who asked, and under which keys.
    fn askers(self) -> impl Iterator<Item = (T, KeyHash)> {
        let (one, bundle) = match self {
            Ready::One(waiting) => (Some((waiting.caller, waiting.command.key)), None),
            Ready::Together(bundle) => (None, Some(bundle)),
        };
        one.into_iter().chain(bundle.into_iter().flat_map(Bundle::askers))
    }
}

/// What waits for look-ups about one account.
#[derive(Debug)]
struct Lane<T> {
    /// The account itself was asked for and has not come.
    account_asked: bool,
    queue: VecDeque<Parked<T>>,
    reads: Vec<T>,
    /// Numbers of bundles that wait for the account itself.
    bundles: Vec<u64>,
}

impl<T> Lane<T> {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.reads.is_empty() && self.bundles.is_empty()
    }
}

#[derive(Debug)]
struct Parked<T> {
    ticket: u64,
    key: KeyState,
    waiting: Waiting<T>,
}

#[derive(Debug)]
enum KeyState {
    Asked,
    New,
    Used(Stored),
}

#[derive(Debug)]
struct InCommit<T> {
    staged: Staged,
    callers: Vec<T>,
    /// Of the command at the same place, for a refusal that is not journaled.
    request_ids: Vec<Box<str>>,
}

/// A batch as it is put together, before it is decided.
#[derive(Debug)]
struct Draft<T> {
    callers: Vec<T>,
    request_ids: Vec<Box<str>>,
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

    fn push(&mut self, caller: T, command: Command) {
        self.callers.push(caller);
        self.request_ids.push(command.request_id.clone());
        self.commands.push(command);
    }

    fn push_group(&mut self, bundle: Bundle<T>) {
        let (first, count) = (self.commands.len(), bundle.parts.len());
        bundle.parts.into_iter().for_each(|part| self.push(part.caller, part.command));
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

/// Where the desk puts what it wants done: answers to send, look-ups to make.
#[derive(Debug)]
pub struct Outbox<T> {
    pub answers: Vec<(T, Reply)>,
    pub lookups: Lookups<T>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Outbox<T> {
        Outbox { answers: Vec::new(), lookups: Lookups::default() }
    }
}

impl<T> Desk<T> {
    /// The desk of a partition whose journal has been loaded.
    pub fn new(ledger: Partition) -> Desk<T> {
        Desk {
            ledger,
            ready: Vec::new(),
            lanes: Map::default(),
            bundles: Bundles::default(),
            in_commit: None,
            rounds_due: 0,
            began: None,
            ticket_next: 0,
        }
    }

    /// True when a batch could be staged.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty() && self.in_commit.is_none()
    }

    /// Takes a command in: it is answered at once, becomes ready, or is parked.
    pub fn execute(&mut self, caller: T, deadline: Moment, command: Command, out: &mut Outbox<T>) {
        // A key in memory is answered from the journal now, and not in the next batch: by then it
        // might have left memory, and the command would look new.
        if let Some(entry) = self.ledger.key(command.key) {
            if entry.fingerprint == command.fingerprint {
                let (partition, seq, index) = (self.ledger.id(), entry.seq, entry.index);
                out.lookups.records.push(RecordLookup { caller, partition, seq, index });
            } else {
                out.answers.push((caller, key_reused(command.request_id)));
            }
            return;
        }
        let waiting = Waiting { caller, deadline, command, forgotten: self.ledger.forgotten() };
        if self.is_ready(&waiting.command) {
            self.ready.push(Ready::One(waiting));
        } else {
            self.park(waiting, out);
        }
    }

    /// Answers with the account's committed state, after a look-up if need be.
    pub fn read(&mut self, caller: T, account: AccountId, out: &mut Outbox<T>) {
        match self.ledger.account(&account) {
            Known::Present(state) => out.answers.push((caller, Reply::Account(state.clone()))),
            Known::Absent => {
                out.answers.push((caller, Reply::Failed(Failure::NoSuchAccount)));
            }
            Known::Unknown => {
                self.lane(account, out).reads.push(caller);
            }
        }
    }

    fn is_ready(&self, command: &Command) -> bool {
        let account = command.action.account();
        self.is_known_new(command)
            && !matches!(self.ledger.account(account), Known::Unknown)
            && (self.lanes.is_empty() || !self.lanes.contains_key(account))
    }

    /// Whether the key need not be looked up: we minted it for this request, or the client's is
    /// surely new.
    fn is_known_new(&self, command: &Command) -> bool {
        match command.origin {
            KeyOrigin::Minted => true,
            KeyOrigin::Client => self.ledger.is_surely_new(command.key),
            KeyOrigin::Returned(_) => false,
        }
    }

    fn park(&mut self, mut waiting: Waiting<T>, out: &mut Outbox<T>) {
        waiting.forgotten = self.ledger.forgotten();
        let ticket = self.ticket_next;
        self.ticket_next += 1;
        let Command { key, origin, .. } = waiting.command;
        let account = waiting.command.action.account().clone();
        let key = if self.is_known_new(&waiting.command) {
            KeyState::New
        } else {
            let (partition, account) = (self.ledger.id(), account.clone());
            out.lookups.keys.push(KeyLookup { partition, account, ticket, key, origin });
            KeyState::Asked
        };
        self.lane(account, out).queue.push_back(Parked { ticket, key, waiting });
    }

    /// The account's lane, made if need be. At most one look-up of the account is under way.
    fn lane(&mut self, account: AccountId, out: &mut Outbox<T>) -> &mut Lane<T> {
        let (partition, ledger) = (self.ledger.id(), &self.ledger);
        let missing = matches!(ledger.account(&account), Known::Unknown);
        let lane = self.lanes.entry_ref(&account).or_insert_with(|| Lane {
            account_asked: false,
            queue: VecDeque::new(),
            reads: Vec::new(),
            bundles: Vec::new(),
        });
        if missing && !lane.account_asked {
            lane.account_asked = true;
            out.lookups.accounts.push((partition, account));
        }
        lane
    }

    /// An account came from the views, or is not there.
    ///
    /// # Errors
    /// When the views are damaged: the node cannot go on.
    pub fn account_found(
        &mut self,
        account: AccountId,
        state: Option<AccountState>,
        out: &mut Outbox<T>,
    ) -> Result<(), Unsound> {
        self.ledger.admit(account.clone(), state)?;
        if let Some(lane) = self.lanes.get_mut(&account) {
            lane.account_asked = false;
            for caller in std::mem::take(&mut lane.reads) {
                let reply = match self.ledger.account(&account) {
                    Known::Present(state) => Reply::Account(state.clone()),
                    Known::Absent | Known::Unknown => Reply::Failed(Failure::NoSuchAccount),
                };
                out.answers.push((caller, reply));
            }
            for number in std::mem::take(&mut lane.bundles) {
                self.bundle_learnt(number, out);
            }
        }
        self.release(&account, out);
        Ok(())
    }

    /// A key was looked up: what was stored under it, or that it is new.
    pub fn key_found(
        &mut self,
        account: &AccountId,
        ticket: u64,
        stored: Option<Stored>,
        out: &mut Outbox<T>,
    ) {
        if let Some(lane) = self.lanes.get_mut(account)
            && let Ok(place) = lane.queue.binary_search_by_key(&ticket, |parked| parked.ticket)
        {
            lane.queue[place].key = stored.map_or(KeyState::New, KeyState::Used);
            return self.release(account, out);
        }
        if let Some(number) = self.bundles.key_found(ticket, stored) {
            self.bundle_learnt(number, out);
        }
    }

    /// Lets go of what no longer waits, from the front of the lane.
    fn release(&mut self, account: &AccountId, out: &mut Outbox<T>) {
        let Some(lane) = self.lanes.get_mut(account) else { return };
        if lane.account_asked {
            return;
        }
        while lane.queue.front().is_some_and(|parked| !matches!(parked.key, KeyState::Asked)) {
            let parked = lane.queue.pop_front().expect("looked at in the line before");
            match parked.key {
                KeyState::Asked | KeyState::New => self.ready.push(Ready::One(parked.waiting)),
                KeyState::Used(stored) => {
                    let Waiting { caller, command, .. } = parked.waiting;
                    let reply = if stored.fingerprint == command.fingerprint {
                        Reply::Outcome(stored.outcome)
                    } else {
                        key_reused(command.request_id)
                    };
                    out.answers.push((caller, reply));
                }
            }
        }
        if lane.is_empty() {
            self.lanes.remove(account);
        }
    }

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
                    if waiting.deadline <= now || !is_wanted(&waiting.caller) {
                        // Whoever asked has gone, and nothing was executed.
                        out.answers.push((waiting.caller, Reply::Failed(Failure::Overloaded)));
                    } else if !self.is_new_still(&waiting.command, waiting.forgotten, time) {
                        self.ask_for_key(waiting, out);
                    } else if self.is_unknown(&waiting.command) {
                        self.park_again(waiting, out);
                    } else {
                        draft.push(waiting.caller, waiting.command);
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

    fn is_unknown(&self, command: &Command) -> bool {
        matches!(self.ledger.account(command.action.account()), Known::Unknown)
    }

    /// The time that the journal is given at a wall time of this process, which never goes back. A
    /// wall clock that was behind the journal when this process started, since somebody has set it,
    /// must not stop the journal's time, by which keys leave memory: it goes on at half the clock's
    /// pace until the clock has caught up.
    fn time(&mut self, wall: Timestamp) -> Timestamp {
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

    /// The account left memory between the look-up and the batch: ask for it once more. What is
    /// known of the key stays known, and is looked at again when it is staged.
    fn park_again(&mut self, waiting: Waiting<T>, out: &mut Outbox<T>) {
        let ticket = self.ticket_next;
        self.ticket_next += 1;
        let account = waiting.command.action.account().clone();
        let parked = Parked { ticket, key: KeyState::New, waiting };
        self.lane(account, out).queue.push_back(parked);
    }

    /// The batch is durable: it becomes the state, and its commands are answered.
    pub fn committed(&mut self, out: &mut Outbox<T>) {
        let InCommit { staged, callers, request_ids } =
            self.in_commit.take().expect("a batch was in the engine's hands");
        let (partition, service) = (self.ledger.id(), self.ledger.service());
        let places = callers.into_iter().zip(request_ids).zip(&staged.answers);
        for ((caller, request_id), answer) in places {
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

    /// The views reach as far as this record: accounts may leave memory, `accounts_max` stay. Not
    /// while a batch is in the engine's hands, though: see [`Partition::evict`].
    pub fn projected(&mut self, watermark: Seq, accounts_max: usize) {
        self.ledger.projected(watermark);
        self.rounds_due = EVICT_ROUNDS_MAX;
        self.evict(accounts_max);
    }

    /// Accounts are about to come in: others may have to go, or reads alone would fill the memory.
    pub fn make_room(&mut self, accounts_max: usize) {
        self.rounds_due = self.rounds_due.max(1);
        self.evict(accounts_max);
    }

    /// Lets accounts go if there are too many and it is the time for it.
    pub fn evict(&mut self, accounts_max: usize) {
        while self.in_commit.is_none() && 0 < self.rounds_due {
            self.rounds_due -= 1;
            if self.ledger.evict(accounts_max) == 0 {
                self.rounds_due = 0;
            }
        }
    }

    /// The batch certainly was not and never will be committed: it is dropped with its overlay.
    pub fn dropped(&mut self, failure: Failure, out: &mut Outbox<T>) {
        let Some(InCommit { callers, .. }) = self.in_commit.take() else { return };
        out.answers.extend(callers.into_iter().map(|caller| (caller, Reply::Failed(failure))));
    }

    /// Nothing of what waits is decided here: whoever asked is told why, by the key of a command,
    /// those apart whose commands are in the engine's hands.
    pub fn turn_away(
        &mut self,
        of_reads: Failure,
        of_key: impl Fn(KeyHash) -> Failure,
        out: &mut Outbox<T>,
    ) {
        let mut waiting = std::mem::take(&mut self.ready);
        for (_, lane) in std::mem::take(&mut self.lanes) {
            let reads = lane.reads.into_iter();
            out.answers.extend(reads.map(|caller| (caller, Reply::Failed(of_reads))));
            waiting.extend(lane.queue.into_iter().map(|parked| Ready::One(parked.waiting)));
        }
        waiting.extend(self.bundles.take().map(Ready::Together));
        let failed = |(caller, key)| (caller, Reply::Failed(of_key(key)));
        out.answers.extend(waiting.into_iter().flat_map(Ready::askers).map(failed));
    }

    /// A batch of it is in the engine's hands.
    pub fn is_in_commit(&self) -> bool {
        self.in_commit.is_some()
    }

    /// Somebody else owns the partition: everyone who waits is told, and the desk is given up.
    pub fn fenced(mut self, out: &mut Outbox<T>) {
        self.dropped(Failure::NotOwner, out);
        self.turn_away(Failure::NotOwner, |_| Failure::NotOwner, out);
    }
}

fn staged_seq(staged: &Staged) -> Seq {
    staged.record.as_ref().map_or(Seq(0), |record| record.header.seq)
}

fn fresh(staged: &Staged, service: ServiceTag, index: u16) -> Reply {
    let record = staged.record.as_ref().expect("a fresh answer is in the record");
    Reply::Outcome(record.outcome(service, index).expect("the executor made the item"))
}

fn key_reused(request_id: Box<str>) -> Reply {
    Reply::Outcome(Outcome::Refused(Refused { refusal: Refusal::KeyReused, request_id }))
}
