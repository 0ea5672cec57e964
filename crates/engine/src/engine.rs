//! What an account node asks of the store that keeps its journal: six traits and their values.
//!
//! An engine holds, for one service, a journal and a fence row per partition, and views that are
//! derived from the journal. Knows neither SQL nor files; the SQLite engine and whatever engine
//! comes beside it answer the same tests.

use crate::error::{CommitError, EngineError, ProjectError};
use lease::{NodeId, Survey};
use ledger::{Chain, Hash, Header, Object, ObjectKey, Record};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use wire::{
    AccountId, AccountState, Contra, Epoch, KeyHash, PartitionId, Posting, Seq, Timestamp,
    query::{Books, History, Listing},
};

/// Who opens an engine, and what it must turn out to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the service.
    pub service: String,
    /// Partitions of the service in all, fixed when it was created.
    pub partitions: u16,
    /// Which of the service's engines this is.
    pub place: Place,
    /// Name of the node that opens it; two live nodes of one name are refused.
    pub node: String,
    /// Where the node listens for the trunk, bound before the engine is opened: a node of the same
    /// name that is written down with the same address is an earlier process, and gone. Siblings
    /// look there before they believe in its death: see [`Registry::suspects`].
    pub trunk: SocketAddr,
    /// Fresh random bits, new at every start of the process: who owns what is told apart by them.
    pub node_id: u64,
    /// Fresh random bits, used only when this call is what creates the engine's data.
    pub incarnation: u128,
}

/// An engine's place in the list of a service's engines: it keeps the partitions whose number,
/// divided by how many engines there are, leaves this remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    at: u16,
    of: u16,
}

impl Place {
    /// The only engine.
    pub const ALONE: Place = Place { at: 0, of: 1 };

    /// The engine at `at`, from 0, of `of`.
    ///
    /// # Panics
    /// When there is no such place, or there are more engines than partitions.
    pub fn new(at: usize, of: usize) -> Place {
        assert!(at < of && of <= usize::from(wire::limits::PARTITIONS_MAX));
        let number = |it| u16::try_from(it).expect("there are fewer than 2^16 partitions");
        Place { at: number(at), of: number(of) }
    }

    /// As one number, which an engine keeps: that of the only engine is 0.
    pub(crate) fn code(self) -> i32 {
        i32::from(self.at) | i32::from(self.of - 1) << u16::BITS
    }

    /// A number that an engine has kept, as people count.
    pub(crate) fn shown(code: i64) -> String {
        format!("{} of {}", (code & 0xffff) + 1, (code >> u16::BITS) + 1)
    }
}

/// One node's membership of one service's engine. Dropping it is leaving: another may then take
/// the partitions over.
pub trait Engine: Send + Sync {
    /// What the lease thread works through; a connection of its own.
    fn registry(&self) -> Result<Box<dyn Registry>, EngineError>;

    /// What the commit thread writes through; a connection of its own.
    fn committer(&self) -> Result<Box<dyn Committer>, EngineError>;

    /// What one reader thread reads through; connections of its own.
    fn reader(&self) -> Result<Box<dyn Reader>, EngineError>;

    /// What the projector thread writes through; connections of its own.
    fn projector(&self) -> Result<Box<dyn Projector>, EngineError>;

    /// What one thread asks before the node answers reads from memory; a connection of its own.
    /// `None` where no owner can be deposed without its knowledge while its process lives.
    fn confirmer(&self) -> Result<Option<Box<dyn Confirmer>>, EngineError>;
}

/// Who is there and who owns what, and the only way in which either changes.
pub trait Registry: Send {
    /// This node's number in surveys.
    fn me(&self) -> NodeId;

    /// Every node that may own something, and every partition.
    ///
    /// # Errors
    /// [`crate::Kind::Unavailable`] while the engine is away: whoever owns something goes on, and
    /// looks again. [`crate::Kind::Deposed`] once others have declared this node gone.
    fn survey(&mut self) -> Result<Survey, EngineError>;

    /// Nodes of the last survey that are late, and where each listens for the trunk: one that
    /// refuses a connection there is gone, and [`Registry::declare_gone`] need not wait until its
    /// time has run out. Empty where the engine itself has proof of a death.
    fn suspects(&mut self) -> Vec<(NodeId, SocketAddr)>;

    /// There is evidence that a node's process has ended: what it owned may be taken from now on,
    /// as the next survey will show. Should it live all the same, the fences refuse its writes and
    /// the confirmations its reads, and it finds itself [`crate::Kind::Deposed`]. False: it was not
    /// there any more, has shown itself meanwhile, or is not this engine's to declare gone.
    fn declare_gone(&mut self, node: NodeId) -> Result<bool, EngineError>;

    /// Makes this node the owner of those of these partitions whose epoch is still the one that
    /// was seen and whose owner is gone, or is this node itself: their epochs go up by one, in one
    /// durable transaction. What was not to be had is left out.
    fn take(&mut self, claims: &[Claim]) -> Result<Vec<Tenure>, EngineError>;

    /// Names another node the owner of a partition that this one owns in this epoch, which ends
    /// with it, and wakes that node. False: it was no longer this node's to give.
    fn give(
        &mut self,
        partition: PartitionId,
        epoch: Epoch,
        to: NodeId,
    ) -> Result<bool, EngineError>;

    /// Keeps a partition at the node of this name whenever that is there, until it is told
    /// otherwise; `None`: it goes where it belongs. Wakes everybody.
    fn pin(&mut self, partition: PartitionId, node: Option<&str>) -> Result<(), EngineError>;

    /// Tells everybody that this node wants nothing any more, or does again.
    fn set_leaving(&mut self, on: bool);

    /// Waits until another node ends, or this one's bell is rung, at most as long as this. May
    /// return for no reason.
    fn wait(&mut self, time_max: Duration);

    /// Ends the wait of this node, from any thread.
    fn bell(&self) -> Bell;
}

/// Ends a [`Registry::wait`] when it is called.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// A partition that is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub partition: PartitionId,
    /// The epoch in which the fence row was seen.
    pub seen: Epoch,
}

/// The right to write one partition, until somebody else takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    pub partition: PartitionId,
    /// What every record of this tenure bears.
    pub epoch: Epoch,
    /// The end of the journal as it was taken: nobody but the new owner can add to it.
    pub chain: Chain,
}

/// One record to be added to its partition's journal.
#[derive(Clone, Debug)]
pub struct Write {
    /// That of the record: `seq` is the last one's plus 1, `previous` the last one's hash, `epoch`
    /// the tenure's. The fence row is compared with all three.
    pub header: Header,
    /// The hash of the record's bytes.
    pub hash: Hash,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// What became of one [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable.
    Committed,
    /// The fence row did not let it in, now or ever: the partition has another owner, or another
    /// record in that place. Nothing was written.
    Fenced,
    /// It certainly was not and never will be written, though nobody was seen to own the partition
    /// in this node's stead: its row was held by somebody, or the transaction broke off. The same
    /// commands may be decided anew.
    NotExecuted,
}

/// Appends to the journal.
pub trait Committer: Send {
    /// Waits until this node may write, where nodes take turns, and keeps the turn for the next
    /// [`Committer::commit`]: what is decided only then has everything that arrived during the
    /// wait. Nobody else writes meanwhile, so the commit should follow at once.
    ///
    /// # Errors
    /// [`crate::Kind::Unavailable`] while the engine is away, and nothing need be decided that it
    /// could not take: to be called again after a while.
    fn wait_turn(&mut self) -> Result<(), EngineError>;

    /// Writes all of these in one durable transaction, at most one record a partition. Each
    /// partition's fence row decides about its own record; a fenced one does not hold up the
    /// others. The fates are in the order of `writes`. Without writes it only gives the turn back.
    ///
    /// # Errors
    /// After [`CommitError::Unknown`] the next call is [`Committer::resolve`], with the same writes.
    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Fate>, CommitError>;

    /// What became of a batch whose commit was [`CommitError::Unknown`], for good: it waits until
    /// what that commit has left in the engine has ended (docs/leases.md). The fates are in the order of
    /// `writes`, and only now may anybody be told of them.
    ///
    /// # Errors
    /// It cannot be known yet: to be called again with the same writes, after a while, until it
    /// answers.
    fn resolve(&mut self, writes: &[Write]) -> Result<Vec<Fate>, EngineError>;
}

/// Says whether this node still owns what it is about to answer reads of.
pub trait Confirmer: Send {
    /// Whether each of these tenures was this node's at a moment after the call began, in their
    /// order. What memory held before the call, and was durable, is then as new as a read that
    /// arrived before the call may ask for. `false` is final: the tenure is over.
    ///
    /// # Errors
    /// Nobody can tell, so nothing is to be answered from memory.
    fn confirm(&mut self, held: &[(PartitionId, Epoch)]) -> Result<Vec<bool>, EngineError>;
}

/// Reads journal and views. One call sees one state of each; what was acknowledged before the call
/// is seen by it.
pub trait Reader: Send {
    /// What a new owner needs to go on with a partition. For the owner, after
    /// [`Registry::take`]. The tail's hashes are checked against each other and the fence row. A
    /// tail beyond [`LOAD_TAIL_RECORDS_MAX`] is first projected down to less, so the call may take
    /// long once (the views were lost). Of the recent past what comes before `recent_from` is left
    /// out: the caller has it.
    fn load(&mut self, partition: PartitionId, recent_from: Seq) -> Result<Loaded, EngineError>;

    /// The partition's records from this number on, in order and without gaps, as far as they are of
    /// the last [`RECENT_SECONDS`] of journal time: for whoever will soon load it.
    fn recent(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError>;

    /// Accounts as the views have them; `None` where they have none. In the order of `ids`. Never
    /// older than a watermark read before the call; may be newer, so the higher version wins.
    fn accounts(
        &mut self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError>;

    /// Objects as the views have them, in the same way.
    fn objects(
        &mut self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError>;

    /// Where in the projected journal these keys of clients were first used, as far back as keys
    /// are kept. In the order of `keys`. Keys that we minted are not in it, nor is anything above
    /// the watermark.
    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError>;

    /// The next part of all keys of these partitions that [`Reader::keys`] finds, each with a time of
    /// the day of its use. From the beginning without a mark, otherwise from there on; some `wanted`
    /// keys, and the mark for the next part unless this was the last one. The next part may be asked
    /// for fewer partitions, never for more. Keys that are projected during a pass may be left out of
    /// it.
    fn scan_keys(
        &mut self,
        partitions: &[PartitionId],
        from: Option<KeyMark>,
        wanted: usize,
    ) -> Result<KeyScan, EngineError>;

    /// Where keys in minted form, minted at these times, were first used: looks through the
    /// partition's records of their [`mint_window`]s, once for all whose windows overlap. In the
    /// order of `keys`.
    fn keys_near(
        &mut self,
        keys: &[(PartitionId, KeyHash, Timestamp)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError>;

    /// One record; `None` when the journal has none of this number.
    fn record(&mut self, partition: PartitionId, seq: Seq) -> Result<Option<Record>, EngineError>;

    /// The first records from this number on, in order: as many as a short read has, none at the
    /// end of the journal.
    fn journaled(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError>;

    /// A page of an account's transactions, newest first, and whether older ones remain. At most
    /// `limit` rows and about [`PAGE_BYTES_MAX`], at least one row if there is one. An account
    /// that is not there has none.
    fn history(
        &mut self,
        partition: PartitionId,
        history: &History,
    ) -> Result<(Vec<Posting>, bool), EngineError>;

    /// A page of the accounts of these partitions, by creation and id, newest first, and whether
    /// older ones remain. At most `limit` rows and about [`PAGE_BYTES_MAX`].
    fn list(
        &mut self,
        partitions: &[PartitionId],
        listing: &Listing,
    ) -> Result<(Vec<AccountState>, bool), EngineError>;

    /// The books of these partitions, summed over every account and the external ones, each at the
    /// record that [`Books::head`] names.
    fn books(&mut self, partitions: &[PartitionId]) -> Result<Vec<Books>, EngineError>;
}

/// What [`Reader::load`] found, all of one state. Time goes from `recent` to `tail`, and they do
/// not overlap.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// How far the views are: the last record in them, or [`Chain::EMPTY`].
    pub watermark: Chain,
    /// Every contra account at the watermark that was ever moved.
    pub external: Vec<(Contra, i128)>,
    /// Every object that is open at the watermark.
    pub open: Vec<Object>,
    /// Everything above the watermark, in order, with hashes.
    pub tail: Vec<(Record, Hash)>,
    /// What the views have at the watermark of every account that the tail names.
    pub accounts: Vec<(AccountId, Option<AccountState>)>,
    /// The same of every object.
    pub objects: Vec<(ObjectKey, Option<Object>)>,
    /// Records up to the watermark of the last [`RECENT_SECONDS`] of journal time, in order: for
    /// the keys in them.
    pub recent: Vec<Record>,
}

/// Where a key was first used. The later place is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPlace {
    pub seq: Seq,
    /// Place in that record.
    pub index: u16,
}

/// How far a pass over all keys has come: it goes on with this key of this partition and day since
/// 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark {
    pub day: i64,
    pub partition: PartitionId,
    pub key: KeyHash,
}

/// A part of all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyScan {
    pub keys: Vec<(PartitionId, KeyHash, Timestamp)>,
    pub next: Option<KeyMark>,
}

/// Keeps the views up with the journal, for the partitions that its node owns.
pub trait Projector: Send {
    /// Brings committed records into the views, in one transaction. Those of one partition are in
    /// order and without gaps, and the first continues the partition's watermark by number and
    /// hash; partitions may be mixed. Larger calls cost less a record.
    fn project(&mut self, records: &[(Arc<Record>, Hash)]) -> Result<(), ProjectError>;

    /// How far the views of a partition are: the last record in them, or [`Chain::EMPTY`].
    fn watermark(&mut self, partition: PartitionId) -> Result<Chain, EngineError>;
}

/// Journal time whose keys a new owner gets back: twice the longest deadline, for a request may
/// wait as long as that before it is sent and again before it is repeated.
pub const RECENT_SECONDS: u32 = 2 * wire::limits::DEADLINE_SECONDS_MAX;
/// How far the clocks of two of our nodes may differ for a minted key to be taken as such.
pub const MINT_SLACK_SECONDS: u32 = 5;

const SECOND_MICROS: i64 = 1_000_000;

/// The first and the last journal time at which a command may be executed under a key that was
/// minted at `at` and is in no index: [`MINT_SLACK_SECONDS`] before, to as much after the longest
/// deadline. Where it is executed at another time its key is indexed like a client's.
pub fn mint_window(at: Timestamp) -> (Timestamp, Timestamp) {
    let slack = i64::from(MINT_SLACK_SECONDS) * SECOND_MICROS;
    let deadline = i64::from(wire::limits::DEADLINE_SECONDS_MAX) * SECOND_MICROS;
    let to = at.0.saturating_add(deadline).saturating_add(slack);
    (Timestamp(at.0.saturating_sub(slack)), Timestamp(to))
}

const _: () = {
    // Two executions under one key in its window are so near that whoever makes the second has
    // the first in memory, also after a restart in between.
    assert!(2 * MINT_SLACK_SECONDS + wire::limits::DEADLINE_SECONDS_MAX < RECENT_SECONDS);
    assert!(RECENT_SECONDS <= ledger::keys::KEEP_SECONDS);
};
/// Bytes of a page's rows, roughly, beyond which it ends early.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Records of a tail that a new owner gets at once: some seconds' worth.
pub const LOAD_TAIL_RECORDS_MAX: u64 = 20_000;
