//! What records change in the views: for each account the last state that they left, and its
//! postings in order. Pure, and the same for every engine.
//!
//! A record bears absolute figures, so only the last one of each kind counts: many transactions of
//! one account become one change of one row.

use ledger::{Entry, Hash, Header, Item, Left, Object, ObjectKey, Record, Verdict};
use std::{collections::BTreeMap, sync::Arc};
use stdx::Map;
use wire::{
    AccountId, AccountState, Contra, Done, KeyHash, Outcome, PartitionId, Seq, ServiceTag,
    Timestamp, TransferId, command::KeyOrigin,
};

/// What some records of one or more partitions change.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) accounts: Map<(PartitionId, &'a AccountId), Change<'a>>,
    /// The balances of contra accounts that they left.
    pub(crate) external: BTreeMap<(PartitionId, Contra), i128>,
    /// The last state of each object that they left.
    pub(crate) objects: BTreeMap<(PartitionId, ObjectKey), Object>,
    /// Keys of clients.
    pub(crate) keys: Vec<Used>,
}

/// A key of a client, where it was used, and when.
pub(crate) type Used = (KeyHash, PartitionId, Seq, u16, Timestamp);

/// The key of an item, unless it was minted for that very request: then no view has it.
pub(crate) fn used(header: &Header, index: u16, item: &Item) -> Option<Used> {
    let is_clients = item.origin != KeyOrigin::Minted;
    is_clients.then_some((item.key, header.partition, header.seq, index, header.time))
}

/// What they change of one account.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    pub(crate) patch: Patch,
    /// Every posting, oldest first.
    pub(crate) postings: Vec<Posted<'a>>,
}

/// What they change of an account's state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    /// The account is new.
    pub(crate) opens: bool,
    /// The last whole state that a record bears, when there is one: the account was opened or
    /// updated.
    pub(crate) state: Option<AccountState>,
    /// What was posted or held after that.
    pub(crate) last: Option<Last>,
}

/// What the last command left that changed figures alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) posted: i64,
    /// `None` when none of them changed it.
    pub(crate) held: Option<i64>,
    pub(crate) version: u64,
    pub(crate) time: Timestamp,
}

/// A posting, where its record has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted<'a> {
    pub(crate) seq: Seq,
    pub(crate) index: u16,
    pub(crate) time: Timestamp,
    pub(crate) version: u64,
    pub(crate) item: &'a Item,
}

impl<'a> Changes<'a> {
    /// Takes in the next record of its partition.
    pub(crate) fn add(&mut self, record: &'a Record, service: ServiceTag) {
        let header = &record.header;
        for (index, item) in (0_u16..).zip(&record.items) {
            self.keys.extend(used(header, index, item));
            if let Some(object) = record.object(service, index) {
                self.objects.insert((header.partition, object.key()), object);
            }
            if !item.verdict.changes_account() {
                continue;
            }
            let change = self.accounts.entry((header.partition, item.action.account()));
            change.or_default().add(record, service, index, item);
        }
        for (contra, balance) in &record.external {
            let _before = self.external.insert((header.partition, *contra), *balance);
        }
    }

    /// Takes in records of any partitions, those of one in order.
    pub(crate) fn of(records: &'a [(Arc<Record>, Hash)], service: ServiceTag) -> Changes<'a> {
        let mut changes = Changes::default();
        for (record, _) in records {
            changes.add(record, service);
        }
        changes
    }
}

impl<'a> Change<'a> {
    fn add(&mut self, record: &'a Record, service: ServiceTag, index: u16, item: &'a Item) {
        self.patch.add(record, service, index, item);
        self.postings.extend(Posted::of(record, index, item));
    }
}

impl Patch {
    /// Takes in the next item about the account.
    pub(crate) fn add(&mut self, record: &Record, service: ServiceTag, index: u16, item: &Item) {
        match &item.verdict {
            Verdict::Posted { posted_after, version, .. } => {
                let held = self.last.and_then(|last| last.held);
                let (posted, version, time) = (*posted_after, *version, record.header.time);
                self.last = Some(Last { posted, held, version, time });
            }
            Verdict::Held(left)
            | Verdict::HoldEnded { left, .. }
            | Verdict::Settled { left: Some(left), .. } => {
                let (Left { posted, held, version, .. }, time) = (*left, record.header.time);
                self.last = Some(Last { posted, held: Some(held), version, time });
            }
            Verdict::Updated(state) => {
                self.state = Some(state.clone());
                self.last = None;
            }
            Verdict::Opened => {
                // Nothing else than the opened state comes of an item that opened.
                if let Some(Outcome::Done(Done::Opened(state))) = record.outcome(service, index) {
                    self.opens = true;
                    self.state = Some(state);
                    self.last = None;
                }
            }
            Verdict::Refused(_) | Verdict::Delivered(_) | Verdict::Settled { left: None, .. } => (),
        }
    }

    /// The state that is left of `before`, which is what the views have; `None` when there is no
    /// such account there, and none was opened.
    pub(crate) fn apply(&self, before: Option<AccountState>) -> Option<AccountState> {
        // The views may be newer than these records: the higher version wins.
        let is_older = |state: &AccountState, version| state.version < version;
        let mut state = match (before, &self.state) {
            (Some(before), Some(after)) if is_older(&before, after.version) => after.clone(),
            (Some(before), _) => before,
            (None, after) => after.clone()?,
        };
        if let Some(last) = self.last.filter(|last| is_older(&state, last.version)) {
            state.posted = last.posted;
            state.held = last.held.unwrap_or(state.held);
            state.version = last.version;
            state.updated_at = last.time;
        }
        Some(state)
    }
}

impl<'a> Posted<'a> {
    /// What the item at this place of the record booked, if anything.
    pub(crate) fn of(record: &Record, index: u16, item: &'a Item) -> Option<Posted<'a>> {
        let (seq, time, version) = (record.header.seq, record.header.time, entry(item)?.version);
        Some(Posted { seq, index, time, version, item })
    }

    /// The debit or credit; `None` for an item that no executor writes.
    pub(crate) fn entry(&self) -> Option<Entry<'a>> {
        entry(self.item)
    }
}

/// A transfer that is sent is named for the place of its item, which is known where it is asked for.
fn entry(item: &Item) -> Option<Entry<'_>> {
    item.entry(SENT_HERE)
}

/// Stands for the transfer that a posting sends.
pub(crate) const SENT_HERE: TransferId = TransferId::from_bits(0);
