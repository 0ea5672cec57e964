//! What callers ask of a partition's executor, and how it travels.

use crate::{
    Text,
    codec::{Decoder, Encoder, Flaw},
    hold::{EndHold, PlaceHold},
    id::AccountId,
    key::{Fingerprint, KeyHash},
    limits,
    money::{Amount, Currency},
    reversal::Reverse,
    time::Timestamp,
    transfer::{Receive, Send, Settle},
};

/// One request to change something, with what makes it happen only once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub key: KeyHash,
    pub origin: KeyOrigin,
    /// When the key was minted, by the clock of whoever minted it; 0 unless the origin is
    /// [`KeyOrigin::Minted`]. It tells a request from one that was held up on its way, in a stopped
    /// process or a dead connection, for longer than anybody remembers such a key.
    pub minted_at: Timestamp,
    pub fingerprint: Fingerprint,
    /// What the answer's `request_id` is when the ledger refuses: stored with the refusal, so that
    /// a repeat gets the same bytes.
    pub request_id: Text,
    pub action: Action,
}

/// Where an idempotency key comes from: it decides how long it is kept and where it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Minted by the first of our nodes for this very request: nobody can have used it before, but
    /// for a retry within the deadline.
    Minted,
    /// Chosen by the client: kept for a day, and to be looked up.
    Client,
    /// Sent by the client in the form that we mint, at this time: the first use may be in the
    /// journal around then, though in no index.
    Returned(Timestamp),
}

/// The change asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Open { account: AccountId, currency: Currency, overdraft_limit: i64, metadata: Text },
    Update(Update),
    Post(Post),
    Hold(PlaceHold),
    EndHold(EndHold),
    Reverse(Reverse),
    Send(Box<Send>),
    Receive(Receive),
    Settle(Settle),
}

/// A change of an account's status, limit or metadata; what is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub account: AccountId,
    pub status: Option<Status>,
    pub overdraft_limit: Option<i64>,
    pub metadata: Option<Text>,
}

/// A debit or a credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    pub account: AccountId,
    pub kind: Kind,
    pub amount: Amount,
    pub currency: Currency,
    pub reference: Option<Text>,
    /// Compact JSON text of an object, `{}` when there is none.
    pub metadata: Text,
}

/// Which way the money goes, seen from the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Debit = 1,
    Credit = 2,
}

impl Kind {
    /// As in the API: `debit` or `credit`.
    pub const fn text(self) -> &'static str {
        match self {
            Kind::Debit => "debit",
            Kind::Credit => "credit",
        }
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    Open = 1,
    /// Refuses debits and new holds, takes credits.
    Frozen = 2,
    /// Refuses everything but reads, for ever.
    Closed = 3,
}

impl Status {
    /// As in the API: `open`, `frozen` or `closed`.
    pub const fn text(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Frozen => "frozen",
            Status::Closed => "closed",
        }
    }
}

impl Action {
    /// The account that it is about, and so the partition that decides it.
    pub fn account(&self) -> &AccountId {
        match self {
            Action::Open { account, .. } => account,
            Action::Update(update) => &update.account,
            Action::Post(post) => &post.account,
            Action::Hold(hold) => &hold.account,
            Action::EndHold(end) => &end.account,
            Action::Reverse(reverse) => &reverse.account,
            Action::Send(send) => &send.from.account,
            Action::Receive(receive) => &receive.account,
            Action::Settle(settle) => &settle.account,
        }
    }
}

impl Command {
    /// Appends the command's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        let origin = (self.origin, self.minted_at);
        encode_head(self.key, self.fingerprint, origin, &self.request_id, out);
        self.action.encode(out);
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Command, Flaw> {
        let (key, fingerprint, (origin, minted_at), request_id) = decode_head(from)?;
        let action = Action::decode(from)?;
        Ok(Command { key, fingerprint, origin, minted_at, request_id, action })
    }
}

/// Key, fingerprint, where the key comes from and when it was minted, request id.
type Head = (KeyHash, Fingerprint, (KeyOrigin, Timestamp), Text);

/// Appends the bytes of what every command has besides its action.
pub(crate) fn encode_head(
    key: KeyHash,
    fingerprint: Fingerprint,
    (origin, minted_at): (KeyOrigin, Timestamp),
    request_id: &str,
    out: &mut Encoder<'_>,
) {
    out.u128(key.0);
    out.u64(fingerprint.0);
    origin.encode(out);
    if origin == KeyOrigin::Minted {
        out.i64(minted_at.0);
    }
    out.short(request_id.as_bytes());
}

/// Reads what [`encode_head`] wrote.
pub(crate) fn decode_head(from: &mut Decoder<'_>) -> Result<Head, Flaw> {
    let (key, fingerprint) = (KeyHash(from.u128()?), Fingerprint(from.u64()?));
    let origin = KeyOrigin::decode(from)?;
    let minted_at = if origin == KeyOrigin::Minted { from.i64()? } else { 0 };
    let request_id = bounded(from, limits::REQUEST_ID_BYTES_MAX)?;
    Ok((key, fingerprint, (origin, Timestamp(minted_at)), request_id))
}

impl KeyOrigin {
    /// Appends the origin's bytes.
    pub fn encode(self, out: &mut Encoder<'_>) {
        match self {
            KeyOrigin::Minted => out.u8(0),
            KeyOrigin::Client => out.u8(1),
            KeyOrigin::Returned(at) => {
                out.u8(2);
                out.i64(at.0);
            }
        }
    }

    /// Reads what [`KeyOrigin::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<KeyOrigin, Flaw> {
        Ok(match from.u8()? {
            0 => KeyOrigin::Minted,
            1 => KeyOrigin::Client,
            2 => KeyOrigin::Returned(Timestamp(from.i64()?)),
            _ => return Err(Flaw("no such origin of a key")),
        })
    }
}

impl Action {
    /// Appends the action's bytes.
    pub fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Action::Open { account, currency, overdraft_limit, metadata } => {
                out.u8(1);
                out.short(account.as_str().as_bytes());
                out.raw(&currency.letters());
                out.i64(*overdraft_limit);
                out.short(metadata.as_bytes());
            }
            Action::Update(update) => {
                out.u8(2);
                out.short(update.account.as_str().as_bytes());
                out.u8(update.status.map_or(0, |status| status as u8));
                out.bool(update.overdraft_limit.is_some());
                out.i64(update.overdraft_limit.unwrap_or(0));
                optional(out, update.metadata.as_deref());
            }
            Action::Post(post) => {
                out.u8(match post.kind {
                    Kind::Debit => 3,
                    Kind::Credit => 4,
                });
                out.short(post.account.as_str().as_bytes());
                out.i64(post.amount.minor());
                out.raw(&post.currency.letters());
                optional(out, post.reference.as_deref());
                out.short(post.metadata.as_bytes());
            }
            Action::Hold(hold) => {
                out.u8(5);
                hold.encode(out);
            }
            Action::EndHold(end) => {
                out.u8(6);
                end.encode(out);
            }
            Action::Reverse(reverse) => {
                out.u8(7);
                reverse.encode(out);
            }
            Action::Send(send) => {
                out.u8(8);
                send.encode(out);
            }
            Action::Receive(receive) => {
                out.u8(9);
                receive.encode(out);
            }
            Action::Settle(settle) => {
                out.u8(10);
                settle.encode(out);
            }
        }
    }

    /// Reads what [`Action::encode`] wrote.
    pub fn decode(from: &mut Decoder<'_>) -> Result<Action, Flaw> {
        let tag = from.u8()?;
        Ok(match tag {
            1 => Action::Open {
                account: account_id(from)?,
                currency: currency(from)?,
                overdraft_limit: not_negative(from.i64()?)?,
                metadata: bounded(from, limits::METADATA_BYTES_MAX)?,
            },
            2 => {
                let account = account_id(from)?;
                let status = match from.u8()? {
                    0 => None,
                    number => Some(status(number)?),
                };
                let (given, limit) = (from.bool()?, not_negative(from.i64()?)?);
                let metadata = optional_text(from, limits::METADATA_BYTES_MAX)?;
                let overdraft_limit = given.then_some(limit);
                Action::Update(Update { account, status, overdraft_limit, metadata })
            }
            3 | 4 => Action::Post(Post {
                account: account_id(from)?,
                kind: if tag == 3 { Kind::Debit } else { Kind::Credit },
                amount: amount(from)?,
                currency: currency(from)?,
                reference: optional_text(from, limits::REFERENCE_BYTES_MAX)?,
                metadata: bounded(from, limits::METADATA_BYTES_MAX)?,
            }),
            5 => Action::Hold(PlaceHold::decode(from)?),
            6 => Action::EndHold(EndHold::decode(from)?),
            7 => Action::Reverse(Reverse::decode(from)?),
            8 => Action::Send(Box::new(Send::decode(from)?)),
            9 => Action::Receive(Receive::decode(from)?),
            10 => Action::Settle(Settle::decode(from)?),
            _ => return Err(Flaw("no such action")),
        })
    }
}

/// Reads an account id.
pub fn account_id(from: &mut Decoder<'_>) -> Result<AccountId, Flaw> {
    AccountId::parse(from.text()?).ok_or(Flaw("no account id"))
}

/// Reads a currency's three letters.
pub fn currency(from: &mut Decoder<'_>) -> Result<Currency, Flaw> {
    let letters: [u8; 3] = from.array()?;
    std::str::from_utf8(&letters).ok().and_then(Currency::parse).ok_or(Flaw("no such currency"))
}

/// Reads an amount.
pub fn amount(from: &mut Decoder<'_>) -> Result<Amount, Flaw> {
    Amount::new(from.i64()?).ok_or(Flaw("an amount is not positive"))
}

/// Reads the number of a kind.
pub fn kind(number: u8) -> Result<Kind, Flaw> {
    [Kind::Debit, Kind::Credit]
        .into_iter()
        .find(|kind| *kind as u8 == number)
        .ok_or(Flaw("no such kind"))
}

/// Reads the number of a status.
pub fn status(number: u8) -> Result<Status, Flaw> {
    [Status::Open, Status::Frozen, Status::Closed]
        .into_iter()
        .find(|status| *status as u8 == number)
        .ok_or(Flaw("no such status"))
}

/// Reads a text of at most `max` bytes.
pub fn bounded(from: &mut Decoder<'_>, max: usize) -> Result<Text, Flaw> {
    let text = from.text()?;
    if max < text.len() { Err(Flaw("a text is too long")) } else { Ok(text.into()) }
}

/// Appends a text that may be absent.
pub fn optional(out: &mut Encoder<'_>, text: Option<&str>) {
    out.bool(text.is_some());
    if let Some(text) = text {
        out.short(text.as_bytes());
    }
}

/// Reads what [`optional`] wrote, of at most `max` bytes.
pub fn optional_text(from: &mut Decoder<'_>, max: usize) -> Result<Option<Text>, Flaw> {
    if from.bool()? { bounded(from, max).map(Some) } else { Ok(None) }
}

fn not_negative(limit: i64) -> Result<i64, Flaw> {
    if limit < 0 { Err(Flaw("an overdraft limit is negative")) } else { Ok(limit) }
}
