//! All partitions of one node: takes calls in, gathers batches and look-ups, gives answers out.
//!
//! Pure: the shell brings calls, time and what other threads found out, and carries away what is
//! to be committed, looked up, projected and answered.

mod arrivals;
mod contact;
mod reads;

pub use contact::{PATIENCE, Way};

use crate::{
    desk::{Decided, Desk, Outbox},
    gathering::Asker,
    lookup::{Found, Lookups},
    scan::{self, Scan},
};
use contact::Contact;
use engine::{KeyScan, Write};
use ledger::{Hash, Partition, Record, Unsound};
use reads::Reads;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stdx::Moment;
use wire::{
    Epoch, PartitionId, Reply, Seq, ServiceTag, Timestamp, TransactionId,
    call::Failure,
    query::{History, Listing, Mark},
    reversal::Reversal,
};

/// Commands and reads that may wait at one node; more are refused with `overloaded`.
pub const WAITING_MAX: usize = 65_536;
/// History questions that may wait at one node, for the thread that answers them included.
pub const QUESTIONS_MAX: usize = 1_024;
/// Journaled commands that the projector may be behind before no batch is staged. It bounds what
/// a new owner has to replay: at 3 µs a command, under a second.
pub const UNPROJECTED_MAX: usize = 200_000;
/// Accounts that one partition keeps in memory, at some 300 bytes each.
pub const ACCOUNTS_MAX: usize = 100_000;

/// The executor of a node. `T` is whom to answer.
#[derive(Debug)]
pub struct Executor<T> {
    service: ServiceTag,
    partitions_count: u16,
    accounts_max: usize,
    desks: BTreeMap<PartitionId, Desk<Asker<T>>>,
    /// Desks that take in nothing more and wait for their batch to end.
    closing: BTreeSet<PartitionId>,
    /// Loaded, and not in office before all that was asked for an earlier tenure has come back.
    arriving: Vec<Partition>,
    /// Tenures that have ended here since somebody asked.
    ended: Vec<Ended>,
    scan: Scan,
    /// The look-ups that were taken have not come back.
    is_looking_up: bool,
    /// What is owned has changed since somebody asked.
    is_changed: bool,
    out: Outbox<Asker<T>>,
    questions: Vec<(T, Moment, Question)>,
    /// Questions that the history reader has and has not answered yet.
    asked_count: usize,
    committing: Vec<(PartitionId, Arc<Record>, Hash)>,
    /// Whose original is to be looked up, at the places of `Lookups::originals`.
    reversals: Vec<Reversing<T>>,
    /// The same, of the look-ups that were taken.
    reversals_asked: Vec<Reversing<T>>,
    unprojected_count: usize,
    /// Calls taken in and not given an answer or a question's number yet.
    waiting_count: usize,
    /// Whether anybody still waits for an answer.
    is_wanted: fn(&T) -> bool,
    /// Reads from memory are answered only after the engine has confirmed the tenure.
    confirms: bool,
    reads: Reads<T>,
    contact: Contact,
    pub counters: Counters,
}

/// What the node has done since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub commands: u64,
    pub refused: u64,
    pub queries: u64,
    pub batches: u64,
    pub records: u64,
    pub shed: u64,
}

/// A question for the history reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `reversed_by`: what memory knows of it; the outer `None` is nothing.
    Transaction {
        id: TransactionId,
        reversed_by: Option<Option<TransactionId>>,
    },
    /// `known`: the account is in memory, so it need not be looked for.
    Transactions {
        partition: PartitionId,
        history: History,
        known: bool,
    },
    Accounts(Vec<PartitionId>, Listing),
    Trial(Vec<PartitionId>),
    /// What a partition journaled from a place on.
    Events {
        partition: PartitionId,
        from: Mark,
        limit: u32,
    },
}

/// A request to reverse that waits for the transaction.
#[derive(Debug)]
struct Reversing<T> {
    caller: T,
    deadline: Moment,
    reversal: Reversal,
}

/// A tenure that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub partition: PartitionId,
    pub epoch: Epoch,
    /// It was in office here until now, or about to be; otherwise it had ended before.
    pub was_here: bool,
}

/// How a commit ended for the partition at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Committed,
    /// Another node owns the partition.
    Fenced,
    /// The engine refused the whole batch; nothing of it happened.
    Refused,
    /// Nothing of it happened, and whoever asked may ask again: the partition is ours, as far as
    /// anybody knows.
    NotExecuted,
}

impl<T> Executor<T> {
    /// An executor that owns nothing yet, and will keep about `accounts_max` accounts of each
    /// partition in memory.
    pub fn new(service: ServiceTag, partitions_count: u16, accounts_max: usize) -> Executor<T> {
        Executor {
            service,
            partitions_count,
            accounts_max,
            desks: BTreeMap::new(),
            closing: BTreeSet::new(),
            arriving: Vec::new(),
            ended: Vec::new(),
            scan: Scan::default(),
            is_looking_up: false,
            is_changed: false,
            out: Outbox::default(),
            questions: Vec::new(),
            asked_count: 0,
            committing: Vec::new(),
            reversals: Vec::new(),
            reversals_asked: Vec::new(),
            unprojected_count: 0,
            waiting_count: 0,
            is_wanted: |_| true,
            confirms: false,
            reads: Reads::default(),
            contact: Contact::default(),
            counters: Counters::default(),
        }
    }

    /// From now on a command that nobody waits for any more when its batch is staged is dropped
    /// there. Once staged, it is decided and journaled whoever waits.
    pub fn only_if(&mut self, is_wanted: fn(&T) -> bool) {
        self.is_wanted = is_wanted;
    }

    /// From now on reads from memory wait for [`Executor::confirmed`]: this node can be deposed
    /// without its knowledge.
    pub fn confirm_reads(&mut self) {
        self.confirms = true;
    }

    /// Takes office in a partition: its journal has been loaded and the epoch is ours.
    /// `unprojected` commands of it still wait for the projector.
    ///
    /// What was looked up for an earlier tenure could be older than what has been loaded for this
    /// one: the partition is in office only when no look-up is under way.
    pub fn own(&mut self, partition: Partition, unprojected: usize) {
        self.unprojected_count += unprojected;
        self.arriving.push(partition);
        self.admit_arriving();
    }

    fn admit_arriving(&mut self) {
        if self.is_looking_up || self.arriving.is_empty() {
            return;
        }
        for partition in std::mem::take(&mut self.arriving) {
            let partition = partition.among(self.partitions_count);
            if self.closing.contains(&partition.id()) {
                self.arriving.push(partition);
                continue;
            }
            self.scan.arrived(partition.id(), !partition.has_all_keys());
            if let Some(old) = self.desks.insert(partition.id(), Desk::new(partition)) {
                debug_assert!(!old.is_in_commit());
                old.fenced(&mut self.out);
            }
            self.is_changed = true;
        }
    }

    /// Ends this tenure: nothing more is let in, and whoever waits is told that another owns the
    /// partition. It has ended once a batch in the engine's hands has: see
    /// [`Executor::take_ended`].
    pub fn close(&mut self, partition: PartitionId, epoch: Epoch) {
        let arriving = self.arriving.len();
        self.arriving.retain(|it| (it.id(), it.epoch()) != (partition, epoch));
        let was_here = self.arriving.len() < arriving;
        match self.desks.get_mut(&partition) {
            Some(desk) if desk.ledger.epoch() == epoch => {
                desk.turn_away(Failure::NotOwner, |_| Failure::NotOwner, &mut self.out);
                self.out.lookups.forget(partition);
                self.leave_reads(Some(partition), Failure::NotOwner);
                self.is_changed = true;
                if self.desks.get(&partition).is_some_and(Desk::is_in_commit) {
                    self.closing.insert(partition);
                } else {
                    self.end(partition);
                }
            }
            Some(_) | None => self.ended.push(Ended { partition, epoch, was_here }),
        }
    }

    /// Gives the desk up; it holds nobody any more.
    fn end(&mut self, partition: PartitionId) {
        self.closing.remove(&partition);
        if let Some(desk) = self.desks.remove(&partition) {
            let epoch = desk.ledger.epoch();
            self.ended.push(Ended { partition, epoch, was_here: true });
            self.is_changed = true;
        }
    }

    /// The tenures that have ended since the last call, in any way: nothing of them is under way.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Whether what is owned has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// The partitions owned and their epochs.
    pub fn owned(&self) -> Vec<(PartitionId, Epoch)> {
        let open = self.desks.iter().filter(|(id, _)| !self.closing.contains(id));
        open.map(|(id, desk)| (*id, desk.ledger.epoch())).collect()
    }

    /// The partitions owned.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        let open = self.desks.iter().filter(|(id, _)| !self.closing.contains(id));
        open.map(|(_, desk)| &desk.ledger)
    }

    /// Calls that have not been answered, questions apart.
    pub fn waiting_count(&self) -> usize {
        self.waiting_count
    }

    /// Commands journaled here and not yet projected.
    pub fn unprojected_count(&self) -> usize {
        self.unprojected_count
    }

    /// Accounts in memory, those known to be absent among them.
    pub fn accounts_count(&self) -> usize {
        self.desks.values().map(|desk| desk.ledger.accounts_count()).sum()
    }

    /// Looks for holds whose time is up. True when there are any: then there is something to decide.
    pub fn look_for_due(&mut self, wall: Timestamp) -> bool {
        let looks = self.desks.values_mut().map(|desk| desk.look_for_due(wall));
        looks.fold(false, |any, has_due| any | has_due)
    }

    /// True when there is something to decide, and a commit could take it: none is running and the
    /// projector is not too far behind.
    pub fn has_ready(&self) -> bool {
        self.committing.is_empty()
            && self.unprojected_count < UNPROJECTED_MAX
            && self.desks.values().any(Desk::has_ready)
    }

    /// Decides everything that is ready, all partitions at once. Empty when a commit is running,
    /// when nothing is ready, or when the projector is too far behind.
    pub fn stage(&mut self, now: Moment, wall: Timestamp) -> Vec<Write> {
        if !self.has_ready() {
            return Vec::new();
        }
        let mut writes = Vec::new();
        for (partition, desk) in &mut self.desks {
            if !desk.has_ready() {
                continue;
            }
            let is_wanted = |asker: &Asker<T>| asker.is(self.is_wanted);
            let decided = desk.stage(now, wall, is_wanted, &mut self.out);
            let Some(Decided { record, bytes, hash }) = decided else { continue };
            writes.push(Write { header: record.header, hash, record: bytes });
            self.committing.push((*partition, record, hash));
        }
        if !writes.is_empty() {
            self.contact.staged(now);
        }
        self.counters.batches += u64::from(!writes.is_empty());
        self.counters.records += writes.len() as u64;
        writes
    }

    /// The commit ended: answers what became durable and gives back what is to be projected.
    ///
    /// # Panics
    /// When `endings` are not those of the batch that was staged.
    pub fn ended(&mut self, endings: &[Ending]) -> Vec<(Arc<Record>, Hash)> {
        let committing = std::mem::take(&mut self.committing);
        assert_eq!(endings.len(), committing.len());
        self.contact.ended();
        let mut projectable = Vec::with_capacity(endings.len());
        for ((partition, record, hash), ending) in committing.into_iter().zip(endings) {
            match ending {
                Ending::Committed => {
                    let desk = self.desks.get_mut(&partition).expect("owned while it commits");
                    desk.committed(&mut self.out);
                    desk.evict(self.accounts_max);
                    self.unprojected_count += record.items.len();
                    projectable.push((record, hash));
                }
                Ending::Refused => {
                    let desk = self.desks.get_mut(&partition).expect("owned while it commits");
                    desk.dropped(Failure::EngineUnavailable, &mut self.out);
                    desk.evict(self.accounts_max);
                }
                Ending::NotExecuted => {
                    let desk = self.desks.get_mut(&partition).expect("owned while it commits");
                    // As if another were about to take it: gateways ask again.
                    desk.dropped(Failure::NotOwner, &mut self.out);
                    desk.evict(self.accounts_max);
                }
                Ending::Fenced => {
                    let desk = self.desks.get_mut(&partition).expect("owned while it commits");
                    desk.dropped(Failure::NotOwner, &mut self.out);
                    desk.turn_away(Failure::NotOwner, |_| Failure::NotOwner, &mut self.out);
                    self.out.lookups.forget(partition);
                    self.leave_reads(Some(partition), Failure::NotOwner);
                    self.end(partition);
                }
            }
            if self.closing.contains(&partition) {
                self.end(partition);
            }
        }
        self.admit_arriving();
        projectable
    }

    /// The views now hold everything of these partitions up to these records; `commands` more than
    /// before.
    pub fn projected(&mut self, marks: &[(PartitionId, Seq)], commands: usize) {
        self.unprojected_count = self.unprojected_count.saturating_sub(commands);
        for (partition, seq) in marks {
            if let Some(desk) = self.desks.get_mut(partition) {
                desk.projected(*seq, self.accounts_max);
            }
        }
    }

    /// The look-ups came back.
    ///
    /// # Errors
    /// When the views are damaged: the node cannot go on.
    ///
    /// # Panics
    /// When they are not those of `wanted`.
    pub fn found(
        &mut self,
        wanted: Lookups<()>,
        callers: Vec<Asker<T>>,
        found: Found,
    ) -> Result<(), Unsound> {
        assert_eq!(wanted.accounts.len(), found.accounts.len());
        assert_eq!(wanted.objects.len(), found.objects.len());
        assert_eq!(wanted.keys.len(), found.keys.len());
        assert_eq!(self.reversals_asked.len(), found.originals.len());
        assert_eq!(callers.len(), found.records.len());
        self.is_looking_up = false;
        self.contact.back(Way::LookUp);
        for (lookup, stored) in wanted.keys.into_iter().zip(found.keys) {
            if let Some(desk) = self.desks.get_mut(&lookup.partition) {
                desk.key_found(&lookup.account, lookup.ticket, stored, &mut self.out);
            }
        }
        // Before they come in, so that none of them goes again before it was of use.
        let partitions: BTreeSet<_> =
            wanted.accounts.iter().map(|(partition, _)| *partition).collect();
        for partition in partitions {
            if let Some(desk) = self.desks.get_mut(&partition) {
                desk.make_room(self.accounts_max);
            }
        }
        for ((partition, account), state) in wanted.accounts.into_iter().zip(found.accounts) {
            if let Some(desk) = self.desks.get_mut(&partition) {
                desk.account_found(account, state, &mut self.out)?;
            }
        }
        for ((partition, key), object) in wanted.objects.into_iter().zip(found.objects) {
            if let Some(desk) = self.desks.get_mut(&partition) {
                desk.object_found(key, object, &mut self.out)?;
            }
        }
        let reversals = std::mem::take(&mut self.reversals_asked);
        for (reversing, original) in reversals.into_iter().zip(found.originals) {
            self.reverse(reversing, original.as_ref());
        }
        for (caller, outcome) in callers.into_iter().zip(found.records) {
            // A key that memory has and the journal has not: the record was lost. Say that we do
            // not know, which is true.
            let reply = outcome.map_or(Reply::Failed(Failure::OutcomeUnknown), Reply::Outcome);
            self.out.answers.push((caller, reply));
        }
        self.admit_arriving();
        Ok(())
    }

    /// The next part of the views' keys to be read, if any is wanted.
    pub fn take_scan(&mut self) -> Option<scan::Part> {
        self.scan.take()
    }

    /// A part of the views' keys has been read.
    pub fn scanned(&mut self, KeyScan { keys, next }: KeyScan) {
        for (partition, key, time) in keys {
            if self.scan.is_for(partition)
                && let Some(desk) = self.desks.get_mut(&partition)
            {
                desk.ledger.learn_key(key, time);
            }
        }
        for partition in self.scan.read(next) {
            if let Some(desk) = self.desks.get_mut(&partition) {
                desk.ledger.learnt_all_keys();
            }
        }
    }

    /// Takes the look-ups that are wanted.
    pub fn take_lookups(&mut self) -> Option<(Lookups<()>, Vec<Asker<T>>)> {
        // Whoever arrives goes first: what is wanted now may be looked up after it.
        self.admit_arriving();
        let wanted = (!self.out.lookups.is_empty()).then(|| self.out.lookups.split());
        if wanted.is_some() {
            self.reversals_asked = std::mem::take(&mut self.reversals);
        }
        self.is_looking_up |= wanted.is_some();
        wanted
    }

    /// Takes the questions for the history reader, each with the moment from which on nobody wants
    /// the answer.
    pub fn take_questions(&mut self) -> Vec<(T, Moment, Question)> {
        self.waiting_count -= self.questions.len();
        self.asked_count += self.questions.len();
        std::mem::take(&mut self.questions)
    }

    /// The history reader has answered one of them.
    pub fn question_answered(&mut self) {
        self.asked_count -= 1;
    }

    /// Takes the answers that are due, into `answers`.
    pub fn take_answers(&mut self, answers: &mut Vec<(T, Reply)>) {
        self.waiting_count -= self.out.answers.len();
        answers.extend(self.out.answers.drain(..).filter_map(|(asker, reply)| asker.answer(reply)));
    }
}
