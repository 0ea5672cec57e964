//! What is kept under ids beside accounts: holds, transfers at both their ends, reversals.
//!
//! Memory holds every one that is open, and some of those that have ended, with a bound; the views
//! hold all of them.

use crate::{accounts::Known, rules::Unsound};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stdx::Map;
use wire::{
    AccountId, Action, Decoder, Delivery, Encoder, Flaw, Hold, HoldStatus, Seq, Timestamp,
    TransactionId, Transfer, TransferId, command, limits,
};

/// Objects that have ended, or are known to be absent, that one partition keeps in memory: some
/// 300 bytes each.
pub const ENDED_MAX: usize = 16_384;
/// Objects of one partition that may be open at once, all of which are in memory, at some 300
/// bytes each. The caller sheds what would open more; a batch may go beyond it.
pub const OPEN_MAX: usize = 1 << 18;

/// Objects that one round of eviction looks at: more than a batch can end.
const EVICT_MAX: usize = 16_384;

const _: () = assert!(limits::BATCH_COMMANDS_MAX < EVICT_MAX);

/// What sort of an object an id names: a transfer has one at each end, which may be in the same
/// partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sort {
    Hold = 1,
    /// A transfer, at its source.
    Transfer = 2,
    /// A transfer, at its target.
    Delivery = 3,
    /// That a transaction was reversed.
    Reversal = 4,
}

/// The name of an object in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub sort: Sort,
    /// Of the hold's, transfer's or transaction's id.
    pub bits: u128,
}

impl ObjectKey {
    /// The object that this action cannot be decided without.
    pub fn wanted_by(action: &Action) -> Option<ObjectKey> {
        let (sort, bits) = match action {
            Action::EndHold(end) => (Sort::Hold, end.hold.bits()),
            Action::Reverse(reverse) => (Sort::Reversal, reverse.transaction.bits()),
            Action::Receive(receive) => (Sort::Delivery, receive.transfer.bits()),
            Action::Settle(settle) => (Sort::Transfer, settle.transfer.bits()),
            // What these make is named for the place where they are journaled: it is new.
            Action::Hold(_) | Action::Send(_) => return None,
            Action::Open { .. } | Action::Update(_) | Action::Post(_) => return None,
        };
        Some(ObjectKey { sort, bits })
    }

    /// As an index has it: 17 bytes in the order of sort and id.
    pub fn bytes(self) -> [u8; 17] {
        let mut bytes = [self.sort as u8; 17];
        bytes[1..].copy_from_slice(&self.bits.to_be_bytes());
        bytes
    }

    /// That a transaction was reversed, if it was.
    pub fn reversal(transaction: TransactionId) -> ObjectKey {
        ObjectKey { sort: Sort::Reversal, bits: transaction.bits() }
    }
}

/// The state of an object. It has at most two: open, and ended for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Hold(Hold),
    /// At the source; it is open while on its way.
    Transfer(Transfer),
    /// What was done at the target, once and for ever.
    Delivery {
        transfer: TransferId,
        account: AccountId,
        delivery: Delivery,
    },
    /// Which transaction reversed one of this account.
    Reversal {
        transaction: TransactionId,
        account: AccountId,
        by: TransactionId,
    },
}

impl Object {
    /// Its name.
    pub fn key(&self) -> ObjectKey {
        let (sort, bits) = match self {
            Object::Hold(hold) => (Sort::Hold, hold.id.bits()),
            Object::Transfer(transfer) => (Sort::Transfer, transfer.id.bits()),
            Object::Delivery { transfer, .. } => (Sort::Delivery, transfer.bits()),
            Object::Reversal { transaction, .. } => (Sort::Reversal, transaction.bits()),
        };
        ObjectKey { sort, bits }
    }

    /// The account of its partition that it belongs to.
    pub fn account(&self) -> &AccountId {
        match self {
            Object::Hold(hold) => &hold.account,
            Object::Transfer(transfer) => &transfer.from.account,
            Object::Delivery { account, .. } | Object::Reversal { account, .. } => account,
        }
    }

    /// More will become of it: an owner has to have it in memory.
    pub fn is_open(&self) -> bool {
        match self {
            Object::Hold(hold) => hold.status == HoldStatus::Active,
            Object::Transfer(transfer) => transfer.end.is_none(),
            Object::Delivery { .. } | Object::Reversal { .. } => false,
        }
    }

    /// Appends the object's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut out = Encoder(out);
        out.u8(self.key().sort as u8);
        match self {
            Object::Hold(hold) => hold.encode(&mut out),
            Object::Transfer(transfer) => transfer.encode(&mut out),
            Object::Delivery { transfer, account, delivery } => {
                out.u128(transfer.bits());
                out.short(account.as_str().as_bytes());
                delivery.encode(&mut out);
            }
            Object::Reversal { transaction, account, by } => {
                out.u128(transaction.bits());
                out.short(account.as_str().as_bytes());
                out.u128(by.bits());
            }
        }
    }

    /// Reads a whole object.
    pub fn decode(bytes: &[u8]) -> Result<Object, Flaw> {
        let mut from = Decoder::new(bytes);
        let object = match from.u8()? {
            1 => Object::Hold(Hold::decode(&mut from)?),
            2 => Object::Transfer(Transfer::decode(&mut from)?),
            3 => Object::Delivery {
                transfer: TransferId::from_bits(from.u128()?),
                account: command::account_id(&mut from)?,
                delivery: Delivery::decode(&mut from)?,
            },
            4 => Object::Reversal {
                transaction: TransactionId::from_bits(from.u128()?),
                account: command::account_id(&mut from)?,
                by: TransactionId::from_bits(from.u128()?),
            },
            _ => return Err(Flaw("no such object")),
        };
        from.end()?;
        Ok(object)
    }
}

/// The objects in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    kept: Map<ObjectKey, Kept>,
    /// Those that may leave memory one day, in the order in which they became so.
    ended: VecDeque<ObjectKey>,
    /// Active holds by the time from which on they may be let go.
    expiries: BTreeSet<(Timestamp, u128)>,
    /// Transfers on their way.
    pending: BTreeSet<u128>,
}

#[derive(Clone, Debug)]
struct Kept {
    /// `None`: it is known to be absent.
    object: Option<Object>,
    /// The record that changed it last; 0 when what memory has came from the views.
    changed: Seq,
}

impl Objects {
    /// What memory knows of this object.
    pub(crate) fn known(&self, key: ObjectKey) -> Known<'_, Object> {
        match self.kept.get(&key) {
            None => Known::Unknown,
            Some(kept) => kept.object.as_ref().map_or(Known::Absent, Known::Present),
        }
    }

    /// The object; `None` when it is absent, or unknown.
    pub(crate) fn get(&self, key: ObjectKey) -> Option<&Object> {
        self.kept.get(&key).and_then(|kept| kept.object.as_ref())
    }

    /// Takes in what the views say, unless memory knows already: then memory is the newer.
    pub(crate) fn admit(&mut self, key: ObjectKey, object: Option<Object>) -> Result<(), Unsound> {
        if object.as_ref().is_some_and(|object| object.key() != key) {
            return Err(Unsound("the object is another one"));
        }
        if !self.kept.contains_key(&key) {
            self.insert(key, Kept { object, changed: Seq(0) });
        }
        Ok(())
    }

    /// Puts the state that record `changed` left.
    pub(crate) fn put(&mut self, object: Object, changed: Seq) {
        let key = object.key();
        match self.kept.get(&key).and_then(|kept| kept.object.as_ref()) {
            Some(Object::Hold(hold)) => {
                self.expiries.remove(&(hold.expires_at, key.bits));
            }
            Some(Object::Transfer(_)) => {
                self.pending.remove(&key.bits);
            }
            Some(Object::Delivery { .. } | Object::Reversal { .. }) | None => (),
        }
        self.insert(key, Kept { object: Some(object), changed });
    }

    fn insert(&mut self, key: ObjectKey, kept: Kept) {
        match &kept.object {
            Some(Object::Hold(hold)) if hold.status == HoldStatus::Active => {
                self.expiries.insert((hold.expires_at, key.bits));
            }
            Some(Object::Transfer(transfer)) if transfer.end.is_none() => {
                self.pending.insert(key.bits);
            }
            Some(_) | None => self.ended.push_back(key),
        }
        self.kept.insert(key, kept);
    }

    /// Drops objects that have ended and that the views have as they are, oldest first, until at
    /// most `ended_max` are left, or [`EVICT_MAX`] have been looked at. Returns how many are still
    /// too many.
    pub(crate) fn evict(&mut self, ended_max: usize, watermark: Seq) -> usize {
        for _ in 0..self.ended.len().min(EVICT_MAX) {
            if self.ended.len() <= ended_max {
                break;
            }
            let Some(key) = self.ended.pop_front() else { break };
            match self.kept.get(&key) {
                // A known absence that has been filled since, or a key that is here twice.
                None => (),
                Some(kept) if kept.object.as_ref().is_some_and(Object::is_open) => (),
                Some(kept) if watermark < kept.changed => self.ended.push_back(key),
                Some(_) => {
                    self.kept.remove(&key);
                }
            }
        }
        self.ended.len().saturating_sub(ended_max)
    }

    /// Objects in memory that are open.
    pub(crate) fn open_count(&self) -> usize {
        self.expiries.len().saturating_add(self.pending.len())
    }

    /// Every object in memory, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Object> {
        let present = self.kept.values().filter_map(|kept| kept.object.as_ref());
        let present: BTreeMap<_, _> = present.map(|object| (object.key(), object)).collect();
        present.into_values()
    }

    /// Active holds whose time is up at `time`, the longest overdue first.
    pub(crate) fn due(&self, time: Timestamp) -> impl Iterator<Item = &Hold> {
        let due = self.expiries.iter().take_while(move |(at, _)| *at <= time);
        due.filter_map(|&(_, bits)| match self.get(ObjectKey { sort: Sort::Hold, bits }) {
            Some(Object::Hold(hold)) => Some(hold),
            Some(_) | None => None,
        })
    }

    /// Transfers on their way, oldest first.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Transfer> {
        let keys = self.pending.iter().map(|&bits| ObjectKey { sort: Sort::Transfer, bits });
        keys.filter_map(|key| match self.get(key) {
            Some(Object::Transfer(transfer)) => Some(transfer),
            Some(_) | None => None,
        })
    }
}
