//! What callers ask to be told.

use crate::{
    Text,
    codec::{Decoder, Encoder, Flaw},
    command::{self, Kind},
    id::{AccountId, HoldId, PartitionId, Seq, TransactionId, TransferId},
    limits,
    money::Currency,
    outcome::{Done, Outcome},
    time::Timestamp,
};

/// A question; nothing changes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One account as it is now: strong, from the owner's committed state.
    Account(AccountId),
    /// One transaction, wherever its id says.
    Transaction(TransactionId),
    /// One hold, of the partition that its id says.
    Hold(HoldId),
    /// One transfer, of its source: the partition that its id says.
    Transfer(TransferId),
    /// Transfers that partitions which the asked node owns have sent and not settled, at most
    /// [`limits::PENDING_ROWS_MAX`].
    Pending,
    /// An account's transactions, newest first.
    Transactions(History),
    /// Accounts of all partitions that the asked node owns, newest first.
    Accounts(Listing),
    /// The books of all partitions that the asked node owns.
    Trial,
    /// What one partition journaled from a place on, oldest first.
    Events { partition: PartitionId, from: Mark, limit: u32 },
}

/// A place in a partition's journal: everything before it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub seq: Seq,
    /// Commands of that record that are known, too.
    pub items: u16,
}

/// What came of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub done: Done,
}

impl Mark {
    /// Appends the mark's bytes.
    pub fn encode(self, out: &mut Encoder<'_>) {
        out.u64(self.seq.0);
        out.u16(self.items);
    }

    /// Reads what [`Mark::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Mark, Flaw> {
        Ok(Mark { seq: Seq(from.u64()?), items: from.u16()? })
    }
}

impl Event {
    /// Appends the event's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.i64(self.at.0);
        Outcome::Done(self.done.clone()).encode(out);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Event, Flaw> {
        let at = Timestamp(from.i64()?);
        match Outcome::decode(from)? {
            Outcome::Done(done) => Ok(Event { at, done }),
            Outcome::Refused(_) => Err(Flaw("a refusal is no event")),
        }
    }
}

/// A page of one account's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub account: AccountId,
    pub filter: Filter,
    /// Only what made a version below this one.
    pub before: Option<u64>,
    /// 1 to 1000.
    pub limit: u32,
}

/// Which transactions to show; `None` shows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    pub kind: Option<Kind>,
    pub reference: Option<Text>,
}

/// A page of accounts, ordered by creation and id, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Only accounts that come after this one in that order.
    pub before: Option<(Timestamp, AccountId)>,
    /// 1 to 1000.
    pub limit: u32,
}

/// The books of one partition at the record `head`. Minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    pub partition: PartitionId,
    pub head: Seq,
    pub currencies: Vec<CurrencyBooks>,
}

/// One currency of a partition's books. Every balance, the external account's among them, is in
/// one of the two columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrencyBooks {
    pub currency: Currency,
    /// The sum of all negative balances, as a positive number.
    pub debits: i128,
    /// The sum of all positive balances.
    pub credits: i128,
}

/// Currencies that one partition may hold: the ISO table has fewer than 200.
const CURRENCIES_MAX: usize = 1_024;

impl Filter {
    /// True when a transaction of this time, kind and reference is to be shown.
    pub fn admits(&self, at: Timestamp, kind: Kind, reference: Option<&str>) -> bool {
        self.from.is_none_or(|from| from <= at)
            && self.to.is_none_or(|to| at < to)
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.reference.as_deref().is_none_or(|wanted| Some(wanted) == reference)
    }

    /// Appends the filter's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.i64(self.from.map_or(i64::MIN, |at| at.0));
        out.i64(self.to.map_or(i64::MIN, |at| at.0));
        out.u8(self.kind.map_or(0, |kind| kind as u8));
        command::optional(out, self.reference.as_deref());
    }

    /// Reads what [`Filter::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Filter, Flaw> {
        let mut time = || match from.i64()? {
            i64::MIN => Ok(None),
            micros => Ok(Some(Timestamp(micros))),
        };
        Ok(Filter {
            from: time()?,
            to: time()?,
            kind: match from.u8()? {
                0 => None,
                number => Some(command::kind(number)?),
            },
            reference: command::optional_text(from, limits::REFERENCE_BYTES_MAX)?,
        })
    }
}

impl Query {
    /// Appends the query's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Query::Account(account) => {
                out.u8(1);
                out.short(account.as_str().as_bytes());
            }
            Query::Transaction(id) => {
                out.u8(2);
                out.u128(id.bits());
            }
            Query::Transactions(history) => {
                out.u8(3);
                out.short(history.account.as_str().as_bytes());
                history.filter.encode(out);
                out.bool(history.before.is_some());
                out.u64(history.before.unwrap_or(0));
                out.u32(history.limit);
            }
            Query::Accounts(listing) => {
                out.u8(4);
                out.bool(listing.before.is_some());
                if let Some((at, id)) = &listing.before {
                    out.i64(at.0);
                    out.short(id.as_str().as_bytes());
                }
                out.u32(listing.limit);
            }
            Query::Trial => out.u8(5),
            Query::Events { partition, from, limit } => {
                out.u8(9);
                out.u16(partition.0);
                from.encode(out);
                out.u32(*limit);
            }
            Query::Hold(id) => {
                out.u8(6);
                out.u128(id.bits());
            }
            Query::Transfer(id) => {
                out.u8(7);
                out.u128(id.bits());
            }
            Query::Pending => out.u8(8),
        }
    }

    /// Reads what [`Query::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Query, Flaw> {
        Ok(match from.u8()? {
            1 => Query::Account(command::account_id(from)?),
            2 => Query::Transaction(TransactionId::from_bits(from.u128()?)),
            3 => Query::Transactions(History {
                account: command::account_id(from)?,
                filter: Filter::decode(from)?,
                before: match (from.bool()?, from.u64()?) {
                    (true, version) => Some(version),
                    (false, _) => None,
                },
                limit: limit(from)?,
            }),
            4 => Query::Accounts(Listing {
                before: if from.bool()? {
                    Some((Timestamp(from.i64()?), command::account_id(from)?))
                } else {
                    None
                },
                limit: limit(from)?,
            }),
            5 => Query::Trial,
            9 => Query::Events {
                partition: PartitionId(from.u16()?),
                from: Mark::decode(from)?,
                limit: limit(from)?,
            },
            6 => Query::Hold(HoldId::from_bits(from.u128()?)),
            7 => Query::Transfer(TransferId::from_bits(from.u128()?)),
            8 => Query::Pending,
            _ => return Err(Flaw("no such query")),
        })
    }
}

impl Books {
    /// Appends the books' bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.u16(self.partition.0);
        out.u64(self.head.0);
        out.u16(u16::try_from(self.currencies.len()).expect("fewer currencies than the table"));
        for books in &self.currencies {
            out.raw(&books.currency.letters());
            out.i128(books.debits);
            out.i128(books.credits);
        }
    }

    /// Reads what [`Books::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Books, Flaw> {
        let (partition, head) = (PartitionId(from.u16()?), Seq(from.u64()?));
        let count = usize::from(from.u16()?);
        if CURRENCIES_MAX < count {
            return Err(Flaw("too many currencies"));
        }
        let mut currencies = Vec::with_capacity(count);
        for _ in 0..count {
            let currency = command::currency(from)?;
            currencies.push(CurrencyBooks {
                currency,
                debits: from.i128()?,
                credits: from.i128()?,
            });
        }
        Ok(Books { partition, head, currencies })
    }
}

fn limit(from: &mut Decoder<'_>) -> Result<u32, Flaw> {
    let limit = from.u32()?;
    if (1..=limits::PAGE_ROWS_MAX).contains(&limit) { Ok(limit) } else { Err(Flaw("bad limit")) }
}
