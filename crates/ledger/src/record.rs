//! The journal's record: what one partition decided in one batch, and the balances it left.
//!
//! Format, version 2, all numbers little-endian:
//!
//! ```text
//! u8   version (2)
//! u16  partition            u64  number in the partition, from 1, no gaps
//! u64  epoch                i64  time, microseconds since 1970
//! [32] hash of the record before it in this partition (zeros before the first)
//! u16  count of items       then the items
//! u16  count of groups      then (u16 place of its first item, u16 count of its items) each
//! u16  count of currencies  then (3 letters, i128 balance of the external account) each
//!
//! item:    u128 key hash, u64 fingerprint, u8 origin of the key [i64 its time], action, verdict
//! verdict: u8 1 opened
//!          u8 2 updated  and the account's state after it
//!          u8 3 posted   and i64 posted, i64 available, u64 version after it
//!          u8 4 refused  and the refusal with the request id of whoever was refused
//! ```
//!
//! The bytes of an action, a state and a refusal are those of `wire`. The hash of a record is the
//! BLAKE3 of all its bytes, so each record vouches for every one before it. docs/journal.md has the
//! same for auditors, down to the last byte.

use std::{fmt, ops::Range};
use wire::{
    AccountState, Action, Command, Currency, Decoder, Done, Encoder, Epoch, Fingerprint, Flaw,
    KeyHash, Outcome, PartitionId, Posting, Refused, Seq, ServiceTag, Timestamp, TransactionId,
    command::{self, KeyOrigin},
    limits,
};

/// What a record's bytes begin with; those of another version are not read.
pub const VERSION: u8 = 2;
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
    /// The external account's balance after the batch, in every currency that the batch moved.
    pub external: Vec<(Currency, i128)>,
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
    Posted { posted_after: i64, available_after: i64, version: u64 },
    Refused(Refused),
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
        }
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
            | (Verdict::Posted { .. }, Action::Post(_)) => true,
            (Verdict::Updated(state), Action::Update(update)) => state.id == update.account,
            (Verdict::Opened | Verdict::Updated(_) | Verdict::Posted { .. }, _) => false,
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
        let mut out = Encoder(out);
        out.u8(VERSION);
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
        for (currency, balance) in &self.external {
            out.raw(&currency.letters());
            out.i128(*balance);
        }
    }

    /// Reads a whole record. That its hash is right is for the caller to check: only the chain
    /// knows it.
    pub fn decode(bytes: &[u8]) -> Result<Record, Flaw> {
        let mut from = Decoder::new(bytes);
        if from.u8()? != VERSION {
            return Err(Flaw("a record of an unknown version"));
        }
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
            .map(|_| Ok((command::currency(&mut from)?, from.i128()?)))
            .collect::<Result<_, _>>()?;
        from.end()?;
        Ok(Record { header, items, groups, external })
    }

    /// The answer to the `index`-th command, the same whenever and wherever it is made again.
    /// `None` when the record has no such item.
    pub fn outcome(&self, service: ServiceTag, index: u16) -> Option<Outcome> {
        let Item { action, verdict, .. } = self.items.get(usize::from(index))?;
        let time = self.header.time;
        Some(match (verdict, action) {
            (Verdict::Refused(refused), _) => Outcome::Refused(refused.clone()),
            (Verdict::Updated(state), _) => Outcome::Done(Done::Updated(state.clone())),
            (Verdict::Opened, Action::Open { .. }) => {
                Outcome::Done(Done::Opened(opened(action, time)?))
            }
            (Verdict::Posted { posted_after, available_after, version }, Action::Post(post)) => {
                let Header { partition, seq, .. } = self.header;
                Outcome::Done(Done::Posted(Posting {
                    id: TransactionId::new(time, service, partition, seq, index),
                    account: post.account.clone(),
                    kind: post.kind,
                    amount: post.amount,
                    currency: post.currency,
                    posted_after: *posted_after,
                    available_after: *available_after,
                    version: *version,
                    reference: post.reference.clone(),
                    metadata: post.metadata.clone(),
                    link: None,
                    reversed_by: None,
                    created_at: time,
                }))
            }
            // A verdict of another action's kind: no executor writes such a record.
            (Verdict::Opened | Verdict::Posted { .. }, _) => return None,
        })
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

/// The account that an action opens; `None` when it is another action.
pub(crate) fn opened(action: &Action, time: Timestamp) -> Option<AccountState> {
    let Action::Open { account, currency, overdraft_limit, metadata } = action else { return None };
    Some(AccountState {
        id: account.clone(),
        currency: *currency,
        status: wire::Status::Open,
        posted: 0,
        held: 0,
        overdraft_limit: *overdraft_limit,
        version: 0,
        metadata: metadata.clone(),
        created_at: time,
        updated_at: time,
    })
}
