//! Transfers: money on its way from one account to another, of any partitions and services.
//!
//! Three steps, each journaled by the owner of its account, and each harmless when repeated under
//! the transfer's id: *send* takes the money from the source, *receive* credits the target or
//! refuses for good, *settle* tells the source which, and gives the money back if it was refused.

use crate::{
    Text,
    code::Code,
    codec::{Decoder, Encoder, Flaw},
    command,
    id::{AccountId, TransactionId, TransferId},
    limits,
    money::{Amount, Currency},
    time::Timestamp,
};

/// One end of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Name of the service.
    pub service: Text,
    pub account: AccountId,
}

impl Party {
    fn encode(&self, out: &mut Encoder<'_>) {
        out.short(self.service.as_bytes());
        out.short(self.account.as_str().as_bytes());
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Party, Flaw> {
        let service = command::bounded(from, limits::NAME_BYTES_MAX)?;
        Ok(Party { service, account: command::account_id(from)? })
    }
}

/// What the target did, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was credited by this transaction.
    Credited(TransactionId),
    Refused(Code),
}

impl Delivery {
    /// Appends the bytes of what the target did.
    pub fn encode(self, out: &mut Encoder<'_>) {
        match self {
            Delivery::Credited(credit) => {
                out.u8(1);
                out.u128(credit.bits());
            }
            Delivery::Refused(code) => {
                out.u8(2);
                out.u8(code as u8);
            }
        }
    }

    /// Reads what [`Delivery::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Delivery, Flaw> {
        Ok(match from.u8()? {
            1 => Delivery::Credited(TransactionId::from_bits(from.u128()?)),
            2 => {
                let code = Code::from_number(from.u8()?).filter(|code| code.is_refusal());
                Delivery::Refused(code.ok_or(Flaw("no such reason to refuse a transfer"))?)
            }
            _ => return Err(Flaw("a transfer is neither credited nor refused")),
        })
    }
}

/// A transfer as its source knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub id: TransferId,
    pub from: Party,
    pub to: Party,
    pub amount: Amount,
    pub currency: Currency,
    /// How it ended and when; `None` while it is on its way.
    pub end: Option<(Delivery, Timestamp)>,
    pub created_at: Timestamp,
}

impl Transfer {
    /// The status, as in the API: `pending`, `completed` or `returned`.
    pub const fn status(&self) -> &'static str {
        match self.end {
            None => "pending",
            Some((Delivery::Credited(_), _)) => "completed",
            Some((Delivery::Refused(_), _)) => "returned",
        }
    }

    /// Appends the transfer's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.id.bits());
        self.from.encode(out);
        self.to.encode(out);
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
        out.bool(self.end.is_some());
        if let Some((delivery, at)) = self.end {
            delivery.encode(out);
            out.i64(at.0);
        }
        out.i64(self.created_at.0);
    }

    /// Reads what [`Transfer::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Transfer, Flaw> {
        Ok(Transfer {
            id: TransferId::from_bits(from.u128()?),
            from: Party::decode(from)?,
            to: Party::decode(from)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
            end: if from.bool()? {
                Some((Delivery::decode(from)?, Timestamp(from.i64()?)))
            } else {
                None
            },
            created_at: Timestamp(from.i64()?),
        })
    }
}

/// The money leaves its source. Asked of the source's owner, by whoever was asked to transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    pub from: Party,
    pub to: Party,
    pub amount: Amount,
    pub currency: Currency,
}

/// The money reaches its target, or is refused there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    pub transfer: TransferId,
    pub account: AccountId,
    pub amount: Amount,
    pub currency: Currency,
}

/// The source learns what the target did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    pub transfer: TransferId,
    /// The source.
    pub account: AccountId,
    pub delivery: Delivery,
}

impl Transfer {
    /// What is to be asked of the target.
    pub fn receive(&self) -> Receive {
        let (transfer, account) = (self.id, self.to.account.clone());
        Receive { transfer, account, amount: self.amount, currency: self.currency }
    }

    /// What is to be told the source of what the target did.
    pub fn settle(&self, delivery: Delivery) -> Settle {
        Settle { transfer: self.id, account: self.from.account.clone(), delivery }
    }
}

impl Send {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        self.from.encode(out);
        self.to.encode(out);
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Send, Flaw> {
        Ok(Send {
            from: Party::decode(from)?,
            to: Party::decode(from)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
        })
    }
}

impl Receive {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.transfer.bits());
        out.short(self.account.as_str().as_bytes());
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Receive, Flaw> {
        Ok(Receive {
            transfer: TransferId::from_bits(from.u128()?),
            account: command::account_id(from)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
        })
    }
}

impl Settle {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.transfer.bits());
        out.short(self.account.as_str().as_bytes());
        self.delivery.encode(out);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Settle, Flaw> {
        Ok(Settle {
            transfer: TransferId::from_bits(from.u128()?),
            account: command::account_id(from)?,
            delivery: Delivery::decode(from)?,
        })
    }
}
