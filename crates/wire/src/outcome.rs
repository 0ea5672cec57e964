//! What the ledger decided, and how it travels and is kept.

use crate::{
    Text,
    code::Code,
    codec::{Decoder, Encoder, Flaw},
    command::{self, Kind, Status},
    hold::{Hold, HoldStatus},
    id::{AccountId, HoldId, TransactionId, TransferId},
    limits,
    money::{Amount, Currency},
    time::Timestamp,
    transfer::{Delivery, Transfer},
};
use std::fmt;

/// The answer to a command: success or refusal, both durable before anybody hears of them, and the
/// same for ever after under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Done),
    Refused(Refused),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Opened(AccountState),
    Updated(AccountState),
    /// Also of a reversal.
    Posted(Posting),
    /// A hold was placed.
    Held(Hold),
    /// A hold was captured, released or has expired.
    HoldEnded(Hold),
    /// Sent or settled: the transfer as it was then.
    Transferred(Transfer),
    /// What the target of a transfer did, now or long ago.
    Delivered(Delivery),
}

/// The ledger said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    /// Of the request that was refused first.
    pub request_id: Text,
}

/// Why the ledger said no. All but [`Refusal::KeyReused`] are journaled before they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoSuchAccount,
    AccountExists,
    AccountFrozen,
    AccountClosed,
    AccountNotEmpty {
        posted: i64,
        held: i64,
    },
    CurrencyMismatch {
        account: Currency,
        asked: Currency,
    },
    InsufficientFunds {
        available: i64,
        asked: i64,
        currency: Currency,
    },
    BalanceOverflow,
    KeyReused,
    /// A transfer from the account is on its way and may come back: it cannot be closed.
    TransferPending,
    NoSuchHold,
    HoldNotActive {
        status: HoldStatus,
    },
    AlreadyReversed {
        by: TransactionId,
    },
    NoSuchTransfer,
    /// Another item of the same atomic batch was refused, and so all of it.
    Batch {
        /// The place of that item in the batch, from 0.
        index: u16,
        /// Why that one was refused.
        code: Code,
    },
}

/// An account as it is now, or was right after a command. Minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    pub id: AccountId,
    pub currency: Currency,
    pub status: Status,
    pub posted: i64,
    pub held: i64,
    /// At least 0.
    pub overdraft_limit: i64,
    /// 0 when opened, one more with every change.
    pub version: u64,
    /// Compact JSON text of an object.
    pub metadata: Text,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl AccountState {
    /// What may be debited: `posted − held + overdraft_limit`. In `i128`, for the sum of three
    /// `i64` may not fit one; the ledger keeps it within an `i64`.
    pub fn available(&self) -> i128 {
        i128::from(self.posted) - i128::from(self.held) + i128::from(self.overdraft_limit)
    }
}

/// A debit or credit that was booked. Minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub id: TransactionId,
    pub account: AccountId,
    pub kind: Kind,
    pub amount: Amount,
    pub currency: Currency,
    pub posted_after: i64,
    pub available_after: i64,
    /// The account's version that it made.
    pub version: u64,
    pub reference: Option<Text>,
    /// Compact JSON text of an object.
    pub metadata: Text,
    /// What it is a part of.
    pub link: Option<Link>,
    /// The transaction that has reversed it. In the outcome of a command: `None`, whatever happened
    /// since.
    pub reversed_by: Option<TransactionId>,
    pub created_at: Timestamp,
}

/// What a posting is a part of, unless it stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It captures this hold.
    Hold(HoldId),
    /// It is one leg of this transfer.
    Transfer(TransferId),
    /// It reverses this transaction.
    Reverses(TransactionId),
}

impl Link {
    /// Appends the link as a number of its kind, 0 for none, and the id's bits.
    pub fn encode(link: Option<Link>, out: &mut Encoder<'_>) {
        let (kind, bits) = match link {
            None => return out.u8(0),
            Some(Link::Hold(id)) => (1, id.bits()),
            Some(Link::Transfer(id)) => (2, id.bits()),
            Some(Link::Reverses(id)) => (3, id.bits()),
        };
        out.u8(kind);
        out.u128(bits);
    }

    /// Reads what [`Link::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Option<Link>, Flaw> {
        Ok(Some(match from.u8()? {
            0 => return Ok(None),
            1 => Link::Hold(HoldId::from_bits(from.u128()?)),
            2 => Link::Transfer(TransferId::from_bits(from.u128()?)),
            3 => Link::Reverses(TransactionId::from_bits(from.u128()?)),
            _ => return Err(Flaw("no such link of a posting")),
        }))
    }
}

impl Posting {
    /// The hold that it captures.
    pub fn hold(&self) -> Option<HoldId> {
        if let Some(Link::Hold(id)) = self.link { Some(id) } else { None }
    }

    /// The transfer that it is a leg of.
    pub fn transfer(&self) -> Option<TransferId> {
        if let Some(Link::Transfer(id)) = self.link { Some(id) } else { None }
    }

    /// The transaction that it reverses.
    pub fn reverses(&self) -> Option<TransactionId> {
        if let Some(Link::Reverses(id)) = self.link { Some(id) } else { None }
    }
}

impl Refusal {
    /// The code that the public answer bears.
    pub const fn code(self) -> Code {
        match self {
            Refusal::NoSuchAccount => Code::NoSuchAccount,
            Refusal::AccountExists => Code::AccountExists,
            Refusal::AccountFrozen => Code::AccountFrozen,
            Refusal::AccountClosed => Code::AccountClosed,
            Refusal::AccountNotEmpty { .. } => Code::AccountNotEmpty,
            Refusal::CurrencyMismatch { .. } => Code::CurrencyMismatch,
            Refusal::InsufficientFunds { .. } => Code::InsufficientFunds,
            Refusal::BalanceOverflow => Code::BalanceOverflow,
            Refusal::KeyReused => Code::KeyReused,
            Refusal::TransferPending => Code::AccountNotEmpty,
            Refusal::NoSuchHold => Code::NoSuchHold,
            Refusal::HoldNotActive { .. } => Code::HoldNotActive,
            Refusal::AlreadyReversed { .. } => Code::AlreadyReversed,
            Refusal::NoSuchTransfer => Code::NoSuchTransfer,
            Refusal::Batch { code, .. } => code,
        }
    }
}

/// The `detail` of the public answer. Part of what is repeated byte for byte: a text once released
/// stays.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSuchAccount => f.write_str("there is no account of this id; open it first"),
            Refusal::AccountExists => f.write_str("an account of this id was opened before"),
            Refusal::AccountFrozen => f.write_str("the account is frozen: it takes credits only"),
            Refusal::AccountClosed => f.write_str("the account is closed"),
            Refusal::AccountNotEmpty { posted, held } => {
                write!(f, "posted is {posted} and held {held}; both must be 0 to close")
            }
            Refusal::CurrencyMismatch { account, asked } => {
                write!(f, "the account is in {account}, not {asked}")
            }
            Refusal::InsufficientFunds { available, asked, currency } => {
                write!(f, "available {available} {currency} minor units, asked {asked}")
            }
            Refusal::BalanceOverflow => f.write_str("the balance would leave the range of 64 bits"),
            Refusal::KeyReused => f.write_str(
                "this Idempotency-Key was used before for another request; take a new one",
            ),
            Refusal::TransferPending => {
                f.write_str("a transfer from the account is on its way and may come back to it")
            }
            Refusal::NoSuchHold => f.write_str("the account has no hold of this id"),
            Refusal::HoldNotActive { status } => {
                write!(f, "the hold is {}; only an active one can be ended", status.text())
            }
            Refusal::AlreadyReversed { by } => write!(f, "it was reversed before, by {by}"),
            Refusal::NoSuchTransfer => f.write_str("the account has sent no transfer of this id"),
            Refusal::Batch { index, code } => write!(
                f,
                "item {index} of the atomic batch was refused ({}), and with it every other",
                code.text()
            ),
        }
    }
}

impl Outcome {
    /// Appends the outcome's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Outcome::Done(Done::Opened(state)) => {
                out.u8(1);
                state.encode(out);
            }
            Outcome::Done(Done::Updated(state)) => {
                out.u8(2);
                state.encode(out);
            }
            Outcome::Done(Done::Posted(posting)) => {
                out.u8(3);
                posting.encode(out);
            }
            Outcome::Refused(refused) => {
                out.u8(4);
                refused.encode(out);
            }
            Outcome::Done(Done::Held(hold)) => {
                out.u8(5);
                hold.encode(out);
            }
            Outcome::Done(Done::HoldEnded(hold)) => {
                out.u8(6);
                hold.encode(out);
            }
            Outcome::Done(Done::Transferred(transfer)) => {
                out.u8(7);
                transfer.encode(out);
            }
            Outcome::Done(Done::Delivered(delivery)) => {
                out.u8(8);
                delivery.encode(out);
            }
        }
    }

    /// Reads what [`Outcome::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Outcome, Flaw> {
        Ok(match from.u8()? {
            1 => Outcome::Done(Done::Opened(AccountState::decode(from)?)),
            2 => Outcome::Done(Done::Updated(AccountState::decode(from)?)),
            3 => Outcome::Done(Done::Posted(Posting::decode(from)?)),
            4 => Outcome::Refused(Refused::decode(from)?),
            5 => Outcome::Done(Done::Held(Hold::decode(from)?)),
            6 => Outcome::Done(Done::HoldEnded(Hold::decode(from)?)),
            7 => Outcome::Done(Done::Transferred(Transfer::decode(from)?)),
            8 => Outcome::Done(Done::Delivered(Delivery::decode(from)?)),
            _ => return Err(Flaw("no such outcome")),
        })
    }
}

/// Stands where a refusal's code stands when it was another item's: no code has this number.
const OF_BATCH: u8 = 255;
/// The same for [`Refusal::TransferPending`], whose code is that of an account that is not empty.
const PENDING: u8 = 254;

impl Refused {
    /// Appends the refusal's bytes: number, what it tells, request id.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.u8(self.refusal.number());
        match self.refusal {
            Refusal::Batch { index, code } => {
                out.u16(index);
                out.u8(code as u8);
            }
            Refusal::AccountNotEmpty { posted, held } => {
                out.i64(posted);
                out.i64(held);
            }
            Refusal::CurrencyMismatch { account, asked } => {
                out.raw(&account.letters());
                out.raw(&asked.letters());
            }
            Refusal::InsufficientFunds { available, asked, currency } => {
                out.i64(available);
                out.i64(asked);
                out.raw(&currency.letters());
            }
            Refusal::HoldNotActive { status } => out.u8(status as u8),
            Refusal::AlreadyReversed { by } => out.u128(by.bits()),
            Refusal::NoSuchAccount
            | Refusal::AccountExists
            | Refusal::AccountFrozen
            | Refusal::AccountClosed
            | Refusal::BalanceOverflow
            | Refusal::TransferPending
            | Refusal::NoSuchHold
            | Refusal::NoSuchTransfer
            | Refusal::KeyReused => (),
        }
        out.short(self.request_id.as_bytes());
    }

    /// Reads what [`Refused::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Refused, Flaw> {
        let refusal = match from.u8()? {
            OF_BATCH => {
                let (index, code) = (from.u16()?, from.u8()?);
                let code = Code::from_number(code).filter(|it| it.is_refusal());
                Refusal::Batch { index, code: code.ok_or(NO_REFUSAL)? }
            }
            PENDING => Refusal::TransferPending,
            number => Refusal::decode(Code::from_number(number).ok_or(NO_REFUSAL)?, from)?,
        };
        let request_id = command::bounded(from, limits::REQUEST_ID_BYTES_MAX)?;
        Ok(Refused { refusal, request_id })
    }
}

const NO_REFUSAL: Flaw = Flaw("no such refusal");

impl Refusal {
    /// Whether the first journals knew of it: it is about an account, a debit or a credit.
    pub const fn is_plain(self) -> bool {
        match self {
            Refusal::TransferPending
            | Refusal::NoSuchHold
            | Refusal::HoldNotActive { .. }
            | Refusal::AlreadyReversed { .. }
            | Refusal::NoSuchTransfer => false,
            Refusal::NoSuchAccount
            | Refusal::AccountExists
            | Refusal::AccountFrozen
            | Refusal::AccountClosed
            | Refusal::AccountNotEmpty { .. }
            | Refusal::CurrencyMismatch { .. }
            | Refusal::InsufficientFunds { .. }
            | Refusal::BalanceOverflow
            | Refusal::KeyReused
            | Refusal::Batch { .. } => true,
        }
    }

    /// What stands for it: that of its code, where the code says it all.
    fn number(self) -> u8 {
        #[expect(clippy::wildcard_enum_match_arm, reason = "most have the number of their code")]
        match self {
            Refusal::Batch { .. } => OF_BATCH,
            Refusal::TransferPending => PENDING,
            refusal => refusal.code() as u8,
        }
    }

    /// Reads what a refusal of this code tells.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most codes are no refusals")]
    fn decode(code: Code, from: &mut Decoder<'_>) -> Result<Refusal, Flaw> {
        Ok(match code {
            Code::NoSuchAccount => Refusal::NoSuchAccount,
            Code::AccountExists => Refusal::AccountExists,
            Code::AccountFrozen => Refusal::AccountFrozen,
            Code::AccountClosed => Refusal::AccountClosed,
            Code::AccountNotEmpty => {
                Refusal::AccountNotEmpty { posted: from.i64()?, held: from.i64()? }
            }
            Code::CurrencyMismatch => Refusal::CurrencyMismatch {
                account: command::currency(from)?,
                asked: command::currency(from)?,
            },
            Code::InsufficientFunds => Refusal::InsufficientFunds {
                available: from.i64()?,
                asked: from.i64()?,
                currency: command::currency(from)?,
            },
            Code::BalanceOverflow => Refusal::BalanceOverflow,
            Code::KeyReused => Refusal::KeyReused,
            Code::NoSuchHold => Refusal::NoSuchHold,
            Code::HoldNotActive => Refusal::HoldNotActive { status: HoldStatus::decode(from)? },
            Code::AlreadyReversed => {
                Refusal::AlreadyReversed { by: TransactionId::from_bits(from.u128()?) }
            }
            Code::NoSuchTransfer => Refusal::NoSuchTransfer,
            _ => return Err(NO_REFUSAL),
        })
    }
}

impl AccountState {
    /// Appends the account's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.short(self.id.as_str().as_bytes());
        out.raw(&self.currency.letters());
        out.u8(self.status as u8);
        out.i64(self.posted);
        out.i64(self.held);
        out.i64(self.overdraft_limit);
        out.u64(self.version);
        out.short(self.metadata.as_bytes());
        out.i64(self.created_at.0);
        out.i64(self.updated_at.0);
    }

    /// Reads what [`AccountState::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<AccountState, Flaw> {
        Ok(AccountState {
            id: command::account_id(from)?,
            currency: command::currency(from)?,
            status: command::status(from.u8()?)?,
            posted: from.i64()?,
            held: from.i64()?,
            overdraft_limit: from.i64()?,
            version: from.u64()?,
            metadata: command::bounded(from, limits::METADATA_BYTES_MAX)?,
            created_at: Timestamp(from.i64()?),
            updated_at: Timestamp(from.i64()?),
        })
    }
}

impl Posting {
    /// Appends the posting's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.id.bits());
        out.short(self.account.as_str().as_bytes());
        out.u8(self.kind as u8);
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
        out.i64(self.posted_after);
        out.i64(self.available_after);
        out.u64(self.version);
        command::optional(out, self.reference.as_deref());
        out.short(self.metadata.as_bytes());
        Link::encode(self.link, out);
        out.bool(self.reversed_by.is_some());
        if let Some(by) = self.reversed_by {
            out.u128(by.bits());
        }
        out.i64(self.created_at.0);
    }

    /// Reads what [`Posting::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Posting, Flaw> {
        Ok(Posting {
            id: TransactionId::from_bits(from.u128()?),
            account: command::account_id(from)?,
            kind: command::kind(from.u8()?)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
            posted_after: from.i64()?,
            available_after: from.i64()?,
            version: from.u64()?,
            reference: command::optional_text(from, limits::REFERENCE_BYTES_MAX)?,
            metadata: command::bounded(from, limits::METADATA_BYTES_MAX)?,
            link: Link::decode(from)?,
            reversed_by: if from.bool()? {
                Some(TransactionId::from_bits(from.u128()?))
            } else {
                None
            },
            created_at: Timestamp(from.i64()?),
        })
    }
}
