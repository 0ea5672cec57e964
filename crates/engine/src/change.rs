//! What records change in the views: for each account the last state that they left, and its
//! postings in order. Pure, and the same for every engine.
//!
//! A record bears absolute figures, so only the last one of each kind counts: many transactions of
//! one account become one change of one row.

use ledger::{Hash, Item, Record, Verdict};
use std::{collections::BTreeMap, sync::Arc};
use stdx::Map;
use wire::{
    AccountId, AccountState, Action, Currency, Done, KeyHash, Outcome, PartitionId, Seq,
    ServiceTag, Timestamp, command::KeyOrigin,
};

/// What some records of one or more partitions change.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    pub(crate) accounts: Map<(PartitionId, &'a AccountId), Change<'a>>,
    /// The external balances that they left.
    pub(crate) external: BTreeMap<(PartitionId, Currency), i128>,
    /// Keys of clients, and where they were used, with the time.
    pub(crate) keys: Vec<(KeyHash, PartitionId, Seq, u16, Timestamp)>,
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
    /// What was posted after that.
    pub(crate) last: Option<Last>,
}

/// What the last posting left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) posted: i64,
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
            if item.origin != KeyOrigin::Minted {
                self.keys.push((item.key, header.partition, header.seq, index, header.time));
            }
            if matches!(item.verdict, Verdict::Refused(_)) {
                continue;
            }
            let change = self.accounts.entry((header.partition, item.action.account()));
            change.or_default().add(record, service, index, item);
        }
        for (currency, balance) in &record.external {
            let _before = self.external.insert((header.partition, *currency), *balance);
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
        if let Verdict::Posted { version, .. } = item.verdict {
            let (seq, time) = (record.header.seq, record.header.time);
            self.postings.push(Posted { seq, index, time, version, item });
        }
    }
}

impl Patch {
    /// Takes in the next item about the account.
    pub(crate) fn add(&mut self, record: &Record, service: ServiceTag, index: u16, item: &Item) {
        match &item.verdict {
            Verdict::Posted { posted_after, version, .. } => {
                let (posted, version, time) = (*posted_after, *version, record.header.time);
                self.last = Some(Last { posted, version, time });
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
            Verdict::Refused(_) => (),
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
            state.version = last.version;
            state.updated_at = last.time;
        }
        Some(state)
    }
}

impl Posted<'_> {
    /// The debit or credit; `None` for an item that no executor writes.
    pub(crate) fn post(&self) -> Option<(&wire::command::Post, i64, i64)> {
        match (&self.item.action, &self.item.verdict) {
            (Action::Post(post), Verdict::Posted { posted_after, available_after, .. }) => {
                Some((post, *posted_after, *available_after))
            }
            (
                Action::Open { .. }
                | Action::Update(_)
                | Action::Post(_)
                | Action::Hold(_)
                | Action::EndHold(_)
                | Action::Reverse(_)
                | Action::Send(_)
                | Action::Receive(_)
                | Action::Settle(_),
                Verdict::Opened
                | Verdict::Updated(_)
                | Verdict::Posted { .. }
                | Verdict::Refused(_),
            ) => None,
        }
    }
}
