//! The desk of one partition: where commands wait until they can be decided, in order per account.
//!
//! A command is decided only when its account is in memory and its key is known to be new. Until
//! then it waits in its account's *lane*, so that a cold read holds up nobody else; everything that
//! comes later for the same account waits behind it. Pure: it asks for look-ups and is told.

pub use self::stage::Decided;

use self::{
    bundle::{Bundle, Bundles},
    lane::{Lane, ObjectWait},
    stage::InCommit,
};
use crate::lookup::{Lookups, RecordLookup};
use ledger::{Known, ObjectKey, Partition, object::OPEN_MAX};
use stdx::{Map, Moment};
use wire::{
    AccountId, Action, Command, KeyHash, Outcome, Refusal, Refused, Reply, Seq, Text, Timestamp,
    call::Failure, command::KeyOrigin,
};

mod bundle;
mod lane;
mod stage;

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
    /// Who waits for objects that were asked for.
    object_waits: Map<ObjectKey, Vec<ObjectWait<T>>>,
    /// The time of some holds was up when somebody looked.
    has_due: bool,
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
    /// Items that it may come to.
    fn count(&self) -> usize {
        match self {
            Ready::One(waiting) => ledger::weight(&waiting.command.action),
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
            object_waits: Map::default(),
            has_due: false,
            bundles: Bundles::default(),
            in_commit: None,
            rounds_due: 0,
            began: None,
            ticket_next: 0,
        }
    }

    /// True when a batch could be staged.
    pub fn has_ready(&self) -> bool {
        (!self.ready.is_empty() || self.has_due) && self.in_commit.is_none()
    }

    /// Looks whether the time of any hold is up: then a batch is to be staged that lets it go.
    pub fn look_for_due(&mut self, wall: Timestamp) -> bool {
        let time = self.time(wall);
        self.has_due = self.ledger.expiries(time, 1).next().is_some();
        self.has_due
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
        if ledger::opens(&command.action) && OPEN_MAX <= self.ledger.open_count() {
            return out.answers.push((caller, Reply::Failed(Failure::Overloaded)));
        }
        let waiting = Waiting { caller, deadline, command, forgotten: self.ledger.forgotten() };
        if self.is_ready(&waiting.command) {
            self.ready.push(Ready::One(waiting));
        } else {
            self.park(waiting, out);
        }
    }

    fn is_ready(&self, command: &Command) -> bool {
        self.is_known_new(command)
            && !self.is_unknown(command)
            && (self.lanes.is_empty() || !self.lanes.contains_key(command.action.account()))
    }

    /// Whether memory lacks anything that the command names.
    fn is_unknown(&self, command: &Command) -> bool {
        let lacks = |account| matches!(self.ledger.account(account), Known::Unknown);
        lacks(command.action.account())
            || self.other_account(command).is_some_and(lacks)
            || ObjectKey::wanted_by(&command.action)
                .is_some_and(|key| matches!(self.ledger.object(key), Known::Unknown))
    }

    /// The account of this partition to which the command transfers.
    fn other_account<'a>(&self, command: &'a Command) -> Option<&'a AccountId> {
        let Action::Send(send) = &command.action else { return None };
        self.ledger.has(&send.to).then_some(&send.to.account)
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
        for (_, waits) in std::mem::take(&mut self.object_waits) {
            let reads = waits.into_iter().filter_map(ObjectWait::read);
            out.answers.extend(reads.map(|caller| (caller, Reply::Failed(of_reads))));
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

fn key_reused(request_id: Text) -> Reply {
    Reply::Outcome(Outcome::Refused(Refused { refusal: Refusal::KeyReused, request_id }))
}
