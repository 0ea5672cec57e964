//! The bodies of requests that change something, from JSON to what the ledger is asked.

use super::{
    json::{self, Number, Value},
    mistake::{Mistake, clip},
};
use std::borrow::Cow;
use wire::{
    AccountId, Amount, Currency, Kind, Status, Text,
    command::{Post, Update},
    hold::PlaceHold,
    limits,
    transfer::{Party, Send},
};

/// What a POST of a new account says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Absent: the id is to be derived from the key.
    pub(super) account: Option<AccountId>,
    pub(super) currency: Currency,
    pub(super) overdraft_limit: i64,
    pub(super) metadata: Text,
}

const NO_METADATA: Text = Text::new_static("{}");

/// Reads the body of `POST /v1/{service}/accounts`.
pub(super) fn opening(body: &[u8]) -> Result<Opening, Mistake> {
    let [id, currency, overdraft_limit, metadata] =
        json::read_object(body, &["id", "currency", "overdraft_limit", "metadata"])?;
    Ok(Opening {
        account: given(id).map(account_field).transpose()?,
        currency: currency_field(currency)?,
        overdraft_limit: given(overdraft_limit).map_or(Ok(0), limit_field)?,
        metadata: given(metadata).map_or(Ok(NO_METADATA), metadata_field)?,
    })
}

/// Reads the body of `PATCH /v1/{service}/accounts/{id}`.
pub(super) fn update(account: AccountId, body: &[u8]) -> Result<Update, Mistake> {
    let fields = json::read_object(body, &["status", "overdraft_limit", "metadata"])?;
    if let Some(value) = fields.iter().flatten().find(|value| value.is_null()) {
        return Err(Mistake::in_field(value.field, "null; leave the field out to keep its value"));
    }
    if fields.iter().all(Option::is_none) {
        return Err(Mistake::in_body(
            "nothing to change; give status, overdraft_limit or metadata",
        ));
    }
    let [status, overdraft_limit, metadata] = fields;
    Ok(Update {
        account,
        status: status.map(status_field).transpose()?,
        overdraft_limit: overdraft_limit.map(limit_field).transpose()?,
        metadata: metadata.map(metadata_field).transpose()?,
    })
}

/// Reads the body of `POST …/debit` and `…/credit`.
pub(super) fn post(account: AccountId, kind: Kind, body: &[u8]) -> Result<Post, Mistake> {
    let [amount, currency, reference, metadata] =
        json::read_object(body, &["amount", "currency", "reference", "metadata"])?;
    Ok(Post {
        account,
        kind,
        amount: amount_field(amount)?,
        currency: currency_field(currency)?,
        reference: given(reference).map(reference_field).transpose()?,
        metadata: given(metadata).map_or(Ok(NO_METADATA), metadata_field)?,
    })
}

/// Reads the body of `POST …/holds`.
pub(super) fn hold(account: AccountId, body: &[u8]) -> Result<PlaceHold, Mistake> {
    let [amount, currency, expires_in] =
        json::read_object(body, &["amount", "currency", "expires_in"])?;
    Ok(PlaceHold {
        account,
        amount: amount_field(amount)?,
        currency: currency_field(currency)?,
        seconds: given(expires_in).map_or(Ok(limits::HOLD_SECONDS_DEFAULT), seconds_field)?,
    })
}

/// Reads the body of `POST …/capture`: all of the hold, where it does not say how much.
pub(super) fn capture(body: &[u8]) -> Result<Option<Amount>, Mistake> {
    if body.is_empty() {
        return Ok(None);
    }
    let [amount] = json::read_object(body, &["amount"])?;
    given(amount).map(|amount| amount_field(Some(amount))).transpose()
}

/// Reads the body of a request that has nothing to say: none, or an empty object.
pub(super) fn nothing(body: &[u8]) -> Result<(), Mistake> {
    if !body.is_empty() {
        let [] = json::read_object(body, &[])?;
    }
    Ok(())
}

/// Reads the body of `POST /v1/transfers`.
pub(super) fn send(body: &[u8]) -> Result<Send, Mistake> {
    let [from, to, amount, currency] =
        json::read_object(body, &["from", "to", "amount", "currency"])?;
    Ok(Send {
        from: party_field("from", from)?,
        to: party_field("to", to)?,
        amount: amount_field(amount)?,
        currency: currency_field(currency)?,
    })
}

fn party_field(field: &'static str, value: Option<Value<'_>>) -> Result<Party, Mistake> {
    const WANTED: &str = "an object of service and account is wanted";
    let wrong = |found: &str| Mistake::in_field(field, format!("{found}; {WANTED}"));
    let value = value.ok_or_else(|| wrong("missing"))?;
    let fields = value.fields(&["service", "account"]);
    let fields = fields.ok_or_else(|| wrong(&format!("{} is no object", value.found())))?;
    let party = |fields: [Option<Value<'_>>; 2]| {
        let [service, account] = fields;
        let service = required(service, "service").and_then(|it| string(it, "a string", "is"))?;
        let account = required(account, "account").and_then(|value| {
            let mistake = |it: Mistake| Mistake { field: Some("account".into()), ..it };
            account_field(value).map_err(mistake)
        })?;
        Ok(Party { service: service.into(), account })
    };
    fields.and_then(party).map_err(|mistake| mistake.within(field))
}

/// A length of time with its unit, in whole seconds.
fn seconds_field(value: Value<'_>) -> Result<u32, Mistake> {
    const UNITS: [(&str, u32); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let text = string(value, "a length of time", "is")?;
    let digits_count = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits_count);
    let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| seconds);
    let seconds = digits.parse::<u32>().ok().zip(unit).and_then(|(it, of)| it.checked_mul(*of));
    seconds.filter(|it| (1..=limits::HOLD_SECONDS_MAX).contains(it)).ok_or_else(|| {
        let text = clip(&text);
        let detail = format!(
            "{text:?} is no such length of time; one with its unit (s, m, h, d) from 1s to 366d is \
             wanted, as in \"7d\""
        );
        Mistake::in_field(value.field, detail)
    })
}

/// What an item of a batch says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given<'a> {
    /// Absent: it is made from the key of the batch.
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) post: Post,
}

/// The fields of a transaction of `POST …/batch`.
pub(super) type ItemFields<'a> = [Option<Value<'a>>; 7];

const ITEM_FIELDS: [&str; 7] =
    ["key", "account", "kind", "amount", "currency", "reference", "metadata"];

/// The fields of up to `max` transactions, one after the other; `None` when there are more, or
/// something else than objects in an array: [`item_fields`] tells which.
pub(super) fn items(value: Value<'_>, max: usize) -> Option<Vec<Result<ItemFields<'_>, Mistake>>> {
    value.objects(&ITEM_FIELDS, max)
}

/// The fields of one of them.
pub(super) fn item_fields(value: Value<'_>) -> Result<ItemFields<'_>, Mistake> {
    value.fields(&ITEM_FIELDS).unwrap_or_else(|| {
        let found = value.found();
        Err(Mistake::in_body(format!("{found} is no object; an object is wanted")))
    })
}

/// Reads one of the transactions of `POST …/batch`.
pub(super) fn item(fields: ItemFields<'_>) -> Result<Given<'_>, Mistake> {
    let [key, account, kind, amount, currency, reference, metadata] = fields;
    let key = given(key).map(|it| string(it, "a string", "is")).transpose()?;
    Ok(Given {
        key,
        post: Post {
            account: required(account, "account").and_then(|value| {
                let mistake = |it: Mistake| Mistake { field: Some("account".into()), ..it };
                account_field(value).map_err(mistake)
            })?,
            kind: required(kind, "kind").and_then(kind_field)?,
            amount: amount_field(amount)?,
            currency: currency_field(currency)?,
            reference: given(reference).map(reference_field).transpose()?,
            metadata: given(metadata).map_or(Ok(NO_METADATA), metadata_field)?,
        },
    })
}

fn required<'a>(value: Option<Value<'a>>, name: &str) -> Result<Value<'a>, Mistake> {
    value.ok_or_else(|| Mistake::in_field(name, "missing; a string is wanted"))
}

fn kind_field(value: Value<'_>) -> Result<Kind, Mistake> {
    const WANTED: &str = "debit or credit";
    let text = string(value, WANTED, "is")?;
    [Kind::Debit, Kind::Credit].into_iter().find(|kind| kind.text() == text).ok_or_else(|| {
        let text = clip(&text);
        Mistake::in_field(value.field, format!("{text:?} is no kind; {WANTED} is wanted"))
    })
}

/// Optional fields may be `null`, as they are in our answers.
fn given(value: Option<Value<'_>>) -> Option<Value<'_>> {
    value.filter(|value| !value.is_null())
}

fn amount_field(value: Option<Value<'_>>) -> Result<Amount, Mistake> {
    const WANTED: &str = "an integer of minor units from 1 to 9223372036854775807";
    let minor = match value {
        None => Err(Mistake::in_field("amount", format!("missing; {WANTED} is wanted"))),
        Some(value) => integer(value, 1, WANTED),
    }?;
    Ok(Amount::new(minor).expect("integer() lets through nothing below 1"))
}

fn limit_field(value: Value<'_>) -> Result<i64, Mistake> {
    integer(value, 0, "an integer of minor units from 0 to 9223372036854775807")
}

/// Tells every way of not being an integer of at least `min` apart.
fn integer(value: Value<'_>, min: i64, wanted: &str) -> Result<i64, Mistake> {
    let mistake = |flaw: &str| {
        let found = value.found();
        Err(Mistake::in_field(value.field, format!("{found} {flaw}; {wanted} is wanted")))
    };
    match value.number() {
        Some(Number::Integer(integer)) if min <= integer => Ok(integer),
        Some(Number::Integer(0)) => mistake("moves nothing"),
        Some(Number::Integer(_)) => mistake("is negative"),
        Some(Number::TooSmall) => mistake("is negative and beyond 64 bits"),
        Some(Number::TooLarge) => mistake("is beyond 64 bits"),
        Some(Number::Fraction) => mistake("is written with a fraction"),
        Some(Number::Exponent) => mistake("is written with an exponent"),
        None => mistake("is no number"),
    }
}

fn currency_field(value: Option<Value<'_>>) -> Result<Currency, Mistake> {
    const FIELD: &str = "currency";
    const WANTED: &str = "three capital letters of ISO 4217, as in EUR,";
    let Some(value) = value else {
        return Err(Mistake::in_field(FIELD, format!("missing; {WANTED} are wanted")));
    };
    let code = string(value, WANTED, "are")?;
    Currency::parse(&code).ok_or_else(|| {
        let code = clip(&code);
        let detail = format!("{code:?} is no currency with a minor unit; {WANTED} are wanted");
        Mistake::in_field(FIELD, detail)
    })
}

fn account_field(value: Value<'_>) -> Result<AccountId, Mistake> {
    account_id(&string(value, "a string", "is")?)
}

/// Reads an account's id, from a body or from a path.
pub(super) fn account_id(text: &str) -> Result<AccountId, Mistake> {
    AccountId::parse(text).ok_or_else(|| {
        const WANTED: &str = "1 to 128 of A-Z a-z 0-9 . _ : - are wanted, and not . or .. alone";
        let found = match text
            .chars()
            .find(|char| !char.is_ascii_alphanumeric() && !matches!(char, '.' | '_' | ':' | '-'))
        {
            _ if limits::ACCOUNT_ID_BYTES_MAX < text.len() => {
                format!("an account id of {} bytes", text.len())
            }
            Some(char) => format!("{:?} has {char:?} in it", clip(text)),
            None => format!("{:?} is no account id", clip(text)),
        };
        Mistake::in_field("id", format!("{found}; {WANTED}"))
    })
}

fn status_field(value: Value<'_>) -> Result<Status, Mistake> {
    const WANTED: &str = "open, frozen or closed";
    let text = string(value, WANTED, "is")?;
    [Status::Open, Status::Frozen, Status::Closed]
        .into_iter()
        .find(|status| status.text() == text)
        .ok_or_else(|| {
            let text = clip(&text);
            Mistake::in_field(value.field, format!("{text:?} is no status; {WANTED} is wanted"))
        })
}

fn reference_field(value: Value<'_>) -> Result<Text, Mistake> {
    let text = string(value, "a string", "is")?;
    check_reference(&text)?;
    Ok(text.into())
}

/// The rule for references, in a body and in a query.
pub(super) fn check_reference(text: &str) -> Result<(), Mistake> {
    const FIELD: &str = "reference";
    let max = limits::REFERENCE_BYTES_MAX;
    if max < text.len() {
        let bytes = text.len();
        return Err(Mistake::in_field(FIELD, format!("{bytes} bytes; {max} at most")));
    }
    if text.chars().any(char::is_control) {
        return Err(Mistake::in_field(FIELD, "it has a control character in it"));
    }
    Ok(())
}

fn metadata_field(value: Value<'_>) -> Result<Text, Mistake> {
    value.object(limits::METADATA_BYTES_MAX).unwrap_or_else(|| {
        let found = value.found();
        Err(Mistake::in_field(value.field, format!("{found} is no object; an object is wanted")))
    })
}

fn string<'a>(value: Value<'a>, wanted: &str, verb: &str) -> Result<Cow<'a, str>, Mistake> {
    value.string().unwrap_or_else(|| {
        let found = value.found();
        let detail = format!("{found} is no string; {wanted} {verb} wanted");
        Err(Mistake::in_field(value.field, detail))
    })
}

#[cfg(test)]
mod tests;
