//! Reversals: a transaction is undone, once, by its opposite on the same account.

use crate::{
    Text,
    codec::{Decoder, Encoder, Flaw},
    command::{self, Action, Command, KeyOrigin, Kind},
    id::{AccountId, TransactionId},
    key::{Fingerprint, KeyHash},
    money::{Amount, Currency},
    outcome::Posting,
    time::Timestamp,
};

/// Books the opposite of a transaction. The owner of the account makes this of a [`Reversal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverse {
    pub transaction: TransactionId,
    /// Of that transaction, as its kind, amount and currency.
    pub account: AccountId,
    pub kind: Kind,
    pub amount: Amount,
    pub currency: Currency,
}

impl Reverse {
    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.transaction.bits());
        out.short(self.account.as_str().as_bytes());
        out.u8(self.kind as u8);
        out.i64(self.amount.minor());
        out.raw(&self.currency.letters());
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Reverse, Flaw> {
        Ok(Reverse {
            transaction: TransactionId::from_bits(from.u128()?),
            account: command::account_id(from)?,
            kind: command::kind(from.u8()?)?,
            amount: command::amount(from)?,
            currency: command::currency(from)?,
        })
    }
}

/// A request to reverse a transaction, of which the caller knows the id alone; the rest is that of
/// a [`Command`].
///
/// The scope of its key is the transaction: hashed where other commands have the account's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversal {
    pub transaction: TransactionId,
    pub key: KeyHash,
    pub origin: KeyOrigin,
    pub minted_at: Timestamp,
    pub fingerprint: Fingerprint,
    pub request_id: Text,
}

impl Reversal {
    /// The command that reverses `original`.
    pub fn command(self, original: &Posting) -> Command {
        let Reversal { transaction, key, origin, minted_at, fingerprint, request_id } = self;
        let action = Action::Reverse(Reverse {
            transaction,
            account: original.account.clone(),
            kind: original.kind,
            amount: original.amount,
            currency: original.currency,
        });
        Command { key, origin, minted_at, fingerprint, request_id, action }
    }

    pub(crate) fn encode(&self, out: &mut Encoder<'_>) {
        out.u128(self.transaction.bits());
        let Reversal { key, origin, minted_at, fingerprint, request_id, .. } = self;
        command::encode_head(*key, *fingerprint, (*origin, *minted_at), request_id, out);
    }

    pub(crate) fn decode(from: &mut Decoder<'_>) -> Result<Reversal, Flaw> {
        let transaction = TransactionId::from_bits(from.u128()?);
        let (key, fingerprint, (origin, minted_at), request_id) = command::decode_head(from)?;
        Ok(Reversal { transaction, key, origin, minted_at, fingerprint, request_id })
    }
}
