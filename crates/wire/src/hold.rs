//! Holds: money of an account that is set aside until it is captured, released, or its time is up.

use crate::{
    codec::{Decoder, Encoder, Flaw},
    command,
    id::{AccountId, HoldId, TransactionId},
    limits,
    money::{Amount, Currency},
    time::Timestamp,
};

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HoldStatus {
    Active = 1,
    /// Debited, in whole or in part; the rest is available again.
    Captured = 2,
    Released = 3,
    Expired = 4,
}

impl HoldStatus {
    /// As in the API: `active`, `captured`, `released` or `expired`.
    pub const fn text(self) -> &'static str {
        match self {
            HoldStatus::Active => "active",
            HoldStatus::Captured => "captured",
            HoldStatus::Released => "released",
            HoldStatus::Expired => "expired",
        }
    }

    /// Reads the number of a status.
    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<HoldStatus, Flaw> {
        let number = from.u8()?;
        [HoldStatus::Active, HoldStatus::Captured, HoldStatus::Released, HoldStatus::Expired]
            .into_iter()
            .find(|status| *status as u8 == number)
            .ok_or(Flaw("no such status of a hold"))
    }
}

/// A hold as it is now, or was right after a command. Minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub id: HoldId,
    pub account: AccountId,
    pub amount: Amount,
    /// What of the amount was debited: 0 unless captured.
    pub captured: i64,
    pub currency: Currency,
    pub status: HoldStatus,
    /// The debit, once captured.
    pub transaction: Option<TransactionId>,
    /// From then on it may be let go; it is active until that is journaled.
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

impl Hold {
    /// Appends the hold's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.id.bits());
        out.short(self.account.as_str().as_bytes());
        out.i64(self.amount.minor());
        out.i64(self.captured);
        out.raw(&self.currency.letters());
        out.u8(self.status as u8);
        out.bool(self.transaction.is_some());
        if let Some(transaction) = self.transaction {
            out.u128(transaction.bits());
        }
        out.i64(self.expires_at.0);
        out.i64(self.created_at.0);
    }

    /// Reads what [`Hold::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Hold, Flaw> {
        let hold = Hold {
            id: HoldId::from_bits(from.u128()?),
            account: command::account_id(from)?,
            amount: command::amount(from)?,
            captured: from.i64()?,
            currency: command::currency(from)?,
            status: HoldStatus::decode(from)?,
            transaction: if from.bool()? {
                Some(TransactionId::from_bits(from.u128()?))
            } else {
                None
            },
            expires_at: Timestamp(from.i64()?),
            created_at: Timestamp(from.i64()?),
        };
        let is_captured = hold.status == HoldStatus::Captured;
        let captured = if is_captured { 1..=hold.amount.minor() } else { 0..=0 };
        if captured.contains(&hold.captured) && hold.transaction.is_some() == is_captured {
            Ok(hold)
        } else {
            Err(Flaw("a hold's capture is not that of its status"))
        }
    }
}

/// Sets money of an account aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceHold {
    pub account: AccountId,
    pub amount: Amount,
    pub currency: Currency,
    /// How long at the most, in seconds of journal time: 1 to [`limits::HOLD_SECONDS_MAX`].
    pub seconds: u32,
}

/// Ends a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndHold {
    pub account: AccountId,
    pub hold: HoldId,
    pub how: HoldEnd,
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// Debits this much, or all of it, and lets the rest go.
    Capture(Option<Amount>),
    Release,
    /// Its time is up: asked by its partition's owner of itself, and of nobody else.
    Expire,
}

impl PlaceHold {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.short(self.account.as_str().as_bytes());
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
        out.u32(self.seconds);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<PlaceHold, Flaw> {
        let hold = PlaceHold {
            account: command::account_id(from)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
            seconds: from.u32()?,
        };
        if (1..=limits::HOLD_SECONDS_MAX).contains(&hold.seconds) {
            Ok(hold)
        } else {
            Err(Flaw("a hold lasts too long, or no time at all"))
        }
    }
}

impl EndHold {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.short(self.account.as_str().as_bytes());
        out.u128(self.hold.bits());
        match self.how {
            HoldEnd::Capture(None) => out.u8(1),
            HoldEnd::Capture(Some(amount)) => {
                out.u8(2);
                out.i64(amount.minor());
            }
            HoldEnd::Release => out.u8(3),
            HoldEnd::Expire => out.u8(4),
        }
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<EndHold, Flaw> {
        Ok(EndHold {
            account: command::account_id(from)?,
            hold: HoldId::from_bits(from.u128()?),
            how: match from.u8()? {
                1 => HoldEnd::Capture(None),
                2 => HoldEnd::Capture(Some(command::amount(from)?)),
                3 => HoldEnd::Release,
                4 => HoldEnd::Expire,
                _ => return Err(Flaw("no such end of a hold")),
            },
        })
    }
}
