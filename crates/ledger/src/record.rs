//! The journal's record: what one partition decided in one batch, and the balances it left.
//!
//! Format, versions 2 and 3, all numbers little-endian:
//!
//! ```text
//! u8   version (2; 3 when there is anything that version 2 has not, marked + below)
//! u16  partition            u64  number in the partition, from 1, no gaps
//! u64  epoch                i64  time, microseconds since 1970
//! [32] hash of the record before it in this partition (zeros before the first)
//! u16  count of items       then the items
//! u16  count of groups      then (u16 place of its first item, u16 count of its items) each
//! u16  count of contra accounts  then (3 letters, + u8 1 for transit or 0, i128 balance) each
//!
//! item:    u128 key hash, u64 fingerprint, u8 origin of the key [i64 its time], action, verdict
//! verdict: u8 1 opened
//!          u8 2 updated  and the account's state after it
//!          u8 3 posted   and i64 posted, i64 available, u64 version after it
//!          u8 4 refused  and the refusal with the request id of whoever was refused
//!        + u8 5 held     and i64 posted, i64 held, i64 available, u64 version after it
//!        + u8 6 hold ended  and the hold as it is left, then the four figures
//!        + u8 7 delivered   and what the target of a transfer did, with no figures
//!        + u8 8 settled  and the transfer as it is left, u8 1 and the four figures, or u8 0
//! ```
//!
//! The bytes of an action, a state and a refusal are those of `wire`. The hash of a record is the
//! BLAKE3 of all its bytes, so each record vouches for every one before it. docs/journal.md has the
//! same for auditors, down to the last byte.

mod answer;

pub(crate) use answer::{object, opened};

use std::{fmt, ops::Range};
use wire::{
    AccountState, Action, Command, Contra, Decoder, Delivery, Encoder, Epoch, Fingerprint, Flaw,
    Hold, HoldId, HoldStatus, KeyHash, PartitionId, Refused, Seq, ServiceTag, Timestamp,
    TransactionId, Transfer, TransferId,
    command::{self, KeyOrigin},
    hold::PlaceHold,
    limits,
    transfer::Send,
};

/// What the bytes of a record begin with that has accounts, debits and credits alone.
const VERSION_PLAIN: u8 = 2;
/// What the bytes of any other record begin with. Those of further versions are not read.
pub const VERSION: u8 = 3;
/// Currencies of one partition that a record may name: the ISO table has fewer than 200.
const CURRENCIES_MAX: usize = 1_024;

/// Highest number of a record: ids have 40 bits for it, 17 years at 2,000 records a second.
pub const SEQ_MAX: u64 = (1 << 40) - 1;

/// The hash of a record's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What the first record of a partition names as the record before it.
    pub const NONE: Hash = Hash([0; 32]);

    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The end of a partition's journal: what the next record continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of the last record, 0 when there is none.
    pub seq: Seq,
    /// Hash of the last record.
    pub hash: Hash,
    /// Time of the last record: the next one's is not before it.
    pub time: Timestamp,
}

impl Chain {
    /// The end of an empty journal.
    pub const EMPTY: Chain = Chain { seq: Seq(0), hash: Hash::NONE, time: Timestamp(0) };
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub partition: PartitionId,
    pub seq: Seq,
    pub epoch: Epoch,
    pub time: Timestamp,
    pub previous: Hash,
}

impl Header {
    /// What a transaction's id can bear, and a date can be written for.
    fn check(&self) -> Result<(), Flaw> {
        if limits::PARTITIONS_MAX <= self.partition.0 {
            return Err(Flaw("a record of a partition beyond the highest"));
        }
        if !(1..=SEQ_MAX).contains(&self.seq.0) {
            return Err(Flaw("a record's number is out of range"));
        }
        if !(0..=Timestamp::MAX.0).contains(&self.time.0) {
            return Err(Flaw("a record's time is out of range"));
        }
        Ok(())
    }
}

/// One batch of one partition, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub header: Header,
    pub items: Vec<Item>,
    /// Items that were decided together, in order: all were done, or all refused.
    pub groups: Vec<Group>,
    /// The balances after the batch of every contra account that it moved.
    pub external: Vec<(Contra, i128)>,
}

/// Items that stand or fall together: those of an atomic batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The place of the first.
    pub first: u16,
    /// How many: at least 2, for one alone is no group.
    pub count: u16,
}

impl Group {
    /// The places of its items.
    pub fn places(self) -> Range<usize> {
        let first = usize::from(self.first);
        first..first.saturating_add(self.count.into())
    }
}

/// One command and what was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: KeyHash,
    pub origin: KeyOrigin,
    pub fingerprint: Fingerprint,
    pub action: Action,
    pub verdict: Verdict,
}

/// The decision, with the absolute figures that it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Opened,
    Updated(AccountState),
    Posted {
        posted_after: i64,
        available_after: i64,
        version: u64,
    },
    Refused(Refused),
    Held(Left),
    HoldEnded {
        hold: Box<Hold>,
        left: Left,
    },
    /// What the target of a transfer did. It changed no account: it refused, or this repeats what
    /// was done before.
    Delivered(Delivery),
    /// The transfer as it is left. Without figures it changed no account: it arrived, or this
    /// repeats what was settled before.
    Settled {
        transfer: Box<Transfer>,
        left: Option<Left>,
    },
}

impl Verdict {
    /// Whether the command changed its account.
    pub fn changes_account(&self) -> bool {
        match self {
            Verdict::Opened
            | Verdict::Updated(_)
            | Verdict::Posted { .. }
            | Verdict::Held(_)
            | Verdict::HoldEnded { .. } => true,
            Verdict::Settled { left, .. } => left.is_some(),
            Verdict::Refused(_) | Verdict::Delivered(_) => false,
        }
    }
}

/// The figures of an account after a command that says more of it than [`Verdict::Posted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub posted: i64,
    pub held: i64,
    pub available: i64,
    pub version: u64,
}

impl Left {
    fn encode(self, out: &mut Encoder<'_>) {
        out.i64(self.posted);
        out.i64(self.held);
        out.i64(self.available);
        out.u64(self.version);
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Left, Flaw> {
        Ok(Left {
            posted: from.i64()?,
            held: from.i64()?,
            available: from.i64()?,
            version: from.u64()?,
        })
    }
}

/// Where an item stands, and when it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub service: ServiceTag,
    pub partition: PartitionId,
    pub seq: Seq,
    pub index: u16,
    pub time: Timestamp,
}

impl Place {
    pub(crate) fn new(service: ServiceTag, header: &Header, index: u16) -> Place {
        let Header { partition, seq, time, .. } = *header;
        Place { service, partition, seq, index, time }
    }

    /// The id of what is booked there.
    pub(crate) fn transaction(self) -> TransactionId {
        TransactionId::new(self.time, self.service, self.partition, self.seq, self.index)
    }

    /// The hold that is placed there.
    pub(crate) fn hold(self, asked: &PlaceHold) -> Hold {
        let micros = i64::from(asked.seconds).saturating_mul(1_000_000);
        let expires_at = Timestamp(self.time.0.saturating_add(micros)).min(Timestamp::MAX);
        Hold {
            id: HoldId::from_bits(self.transaction().bits()),
            account: asked.account.clone(),
            amount: asked.amount,
            captured: 0,
            currency: asked.currency,
            status: HoldStatus::Active,
            transaction: None,
            expires_at,
            created_at: self.time,
        }
    }

    /// The transfer that is sent from there.
    pub(crate) fn transfer(self, asked: &Send) -> Transfer {
        Transfer {
            id: TransferId::from_bits(self.transaction().bits()),
            from: asked.from.clone(),
            to: asked.to.clone(),
            amount: asked.amount,
            currency: asked.currency,
            end: None,
            created_at: self.time,
        }
    }
}

impl Item {
    /// The command decided.
    pub fn new(command: Command, verdict: Verdict) -> Item {
        let Command { key, origin, minted_at: _, fingerprint, request_id: _, action } = command;
        Item { key, origin, fingerprint, action, verdict }
    }

    fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.key.0);
        out.u64(self.fingerprint.0);
        self.origin.encode(out);
        self.action.encode(out);
        match &self.verdict {
            Verdict::Opened => out.u8(1),
            Verdict::Updated(state) => {
                out.u8(2);
                state.encode(out);
            }
            Verdict::Posted { posted_after, available_after, version } => {
                out.u8(3);
                out.i64(*posted_after);
                out.i64(*available_after);
                out.u64(*version);
            }
            Verdict::Refused(refused) => {
                out.u8(4);
                refused.encode(out);
            }
            Verdict::Held(left) => {
                out.u8(5);
                left.encode(out);
            }
            Verdict::HoldEnded { hold, left } => {
                out.u8(6);
                hold.encode(out);
                left.encode(out);
            }
            Verdict::Delivered(delivery) => {
                out.u8(7);
                delivery.encode(out);
            }
            Verdict::Settled { transfer, left } => {
                out.u8(8);
                transfer.encode(out);
                out.bool(left.is_some());
                if let Some(left) = left {
                    left.encode(out);
                }
            }
        }
    }

    /// Whether version 2 of the format has all of it.
    fn is_plain(&self) -> bool {
        let is_plain = match &self.verdict {
            Verdict::Refused(refused) => refused.refusal.is_plain(),
            Verdict::Opened
            | Verdict::Updated(_)
            | Verdict::Posted { .. }
            | Verdict::Held(_)
            | Verdict::HoldEnded { .. }
            | Verdict::Delivered(_)
            | Verdict::Settled { .. } => true,
        };
        is_plain && matches!(self.action, Action::Open { .. } | Action::Update(_) | Action::Post(_))
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Item, Flaw> {
        let item = Item {
            key: KeyHash(from.u128()?),
            fingerprint: Fingerprint(from.u64()?),
            origin: KeyOrigin::decode(from)?,
            action: Action::decode(from)?,
            verdict: match from.u8()? {
                1 => Verdict::Opened,
                2 => Verdict::Updated(AccountState::decode(from)?),
                3 => Verdict::Posted {
                    posted_after: from.i64()?,
                    available_after: from.i64()?,
                    version: from.u64()?,
                },
                4 => Verdict::Refused(Refused::decode(from)?),
                5 => Verdict::Held(Left::decode(from)?),
                6 => Verdict::HoldEnded {
                    hold: Box::new(Hold::decode(from)?),
                    left: Left::decode(from)?,
                },
                7 => Verdict::Delivered(Delivery::decode(from)?),
                8 => Verdict::Settled {
                    transfer: Box::new(Transfer::decode(from)?),
                    left: if from.bool()? { Some(Left::decode(from)?) } else { None },
                },
                _ => return Err(Flaw("no such verdict")),
            },
        };
        if item.fits() { Ok(item) } else { Err(Flaw("a verdict of another action")) }
    }

    /// Whether the verdict is one about such an action.
    fn fits(&self) -> bool {
        match (&self.verdict, &self.action) {
            (Verdict::Refused(_), _)
            | (Verdict::Opened, Action::Open { .. })
            | (
                Verdict::Posted { .. },
                Action::Post(_) | Action::Reverse(_) | Action::Send(_) | Action::Receive(_),
            )
            | (Verdict::Held(_), Action::Hold(_))
            | (Verdict::Delivered(_), Action::Receive(_)) => true,
            (Verdict::Updated(state), Action::Update(update)) => state.id == update.account,
            (Verdict::HoldEnded { hold, .. }, Action::EndHold(end)) => {
                hold.id == end.hold
                    && hold.account == end.account
                    && hold.status != HoldStatus::Active
            }
            (Verdict::Settled { transfer, .. }, Action::Settle(settle)) => {
                transfer.id == settle.transfer
                    && transfer.from.account == settle.account
                    && transfer.end.is_some()
            }
            (
                Verdict::Opened
                | Verdict::Updated(_)
                | Verdict::Posted { .. }
                | Verdict::Held(_)
                | Verdict::HoldEnded { .. }
                | Verdict::Delivered(_)
                | Verdict::Settled { .. },
                _,
            ) => false,
        }
    }
}

impl Record {
    /// Room for the bytes of most records, so that a buffer seldom grows.
    pub(crate) fn bytes_guess(&self) -> usize {
        self.items.len().saturating_mul(192).saturating_add(256)
    }

    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let is_plain = self.items.iter().all(Item::is_plain)
            && self.external.iter().all(|(contra, _)| !contra.is_transit);
        let mut out = Encoder(out);
        out.u8(if is_plain { VERSION_PLAIN } else { VERSION });
        out.u16(self.header.partition.0);
        out.u64(self.header.seq.0);
        out.u64(self.header.epoch.0);
        out.i64(self.header.time.0);
        out.raw(&self.header.previous.0);
        out.u16(u16::try_from(self.items.len()).expect("at most BATCH_COMMANDS_MAX"));
        for item in &self.items {
            item.encode(&mut out);
        }
        out.u16(u16::try_from(self.groups.len()).expect("fewer than items"));
        for group in &self.groups {
            out.u16(group.first);
            out.u16(group.count);
        }
        out.u16(u16::try_from(self.external.len()).expect("fewer than the ISO table has"));
        for (contra, balance) in &self.external {
            out.raw(&contra.currency.letters());
            if !is_plain {
                out.bool(contra.is_transit);
            }
            out.i128(*balance);
        }
    }

    /// Reads a whole record. That its hash is right is for the caller to check: only the chain
    /// knows it.
    pub fn decode(bytes: &[u8]) -> Result<Record, Flaw> {
        let mut from = Decoder::new(bytes);
        let is_plain = match from.u8()? {
            VERSION_PLAIN => true,
            VERSION => false,
            _ => return Err(Flaw("a record of an unknown version")),
        };
        let header = Header {
            partition: PartitionId(from.u16()?),
            seq: Seq(from.u64()?),
            epoch: Epoch(from.u64()?),
            time: Timestamp(from.i64()?),
            previous: Hash(from.array()?),
        };
        header.check()?;
        let items_count = usize::from(from.u16()?);
        if limits::BATCH_COMMANDS_MAX < items_count {
            return Err(Flaw("a record of too many items"));
        }
        let items: Vec<Item> =
            (0..items_count).map(|_| Item::decode(&mut from)).collect::<Result<_, _>>()?;
        let groups = groups(&mut from, items_count)?;
        let currencies_count = usize::from(from.u16()?);
        if CURRENCIES_MAX < currencies_count {
            return Err(Flaw("a record of too many currencies"));
        }
        let external = (0..currencies_count)
            .map(|_| {
                let currency = command::currency(&mut from)?;
                let is_transit = !is_plain && from.bool()?;
                Ok((Contra { currency, is_transit }, from.i128()?))
            })
            .collect::<Result<Vec<_>, _>>()?;
        from.end()?;
        Ok(Record { header, items, groups, external })
    }
}

/// Reads the groups of a record of so many items: in order, and none within another.
fn groups(from: &mut Decoder<'_>, items_count: usize) -> Result<Vec<Group>, Flaw> {
    let count = from.u16()?;
    let (mut groups, mut end) = (Vec::new(), 0);
    for _ in 0..count {
        let group = Group { first: from.u16()?, count: from.u16()? };
        let places = group.places();
        if group.count < 2 || places.start < end || items_count < places.end {
            return Err(Flaw("a group of items is none"));
        }
        end = places.end;
        groups.push(group);
    }
    Ok(groups)
}
