//! The API's bodies as tables for people.

use crate::{commands::amount::decimal, terminal::table};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;
use wire::Currency;

const ACCOUNT_ROWS: [(&str, &str); 11] = [
    ("account", "id"),
    ("service", "service"),
    ("status", "status"),
    ("posted", "posted"),
    ("held", "held"),
    ("available", "available"),
    ("overdraft", "overdraft_limit"),
    ("version", "version"),
    ("metadata", "metadata"),
    ("created", "created_at"),
    ("updated", "updated_at"),
];
const TRANSACTION_ROWS: [(&str, &str); 14] = [
    ("transaction", "id"),
    ("service", "service"),
    ("account", "account"),
    ("kind", "kind"),
    ("amount", "amount"),
    ("posted", "posted_after"),
    ("available", "available_after"),
    ("version", "version"),
    ("reference", "reference"),
    ("hold", "hold"),
    ("transfer", "transfer"),
    ("reverses", "reverses"),
    ("reversed by", "reversed_by"),
    ("created", "created_at"),
];
const HOLD_ROWS: [(&str, &str); 9] = [
    ("hold", "id"),
    ("service", "service"),
    ("account", "account"),
    ("status", "status"),
    ("amount", "amount"),
    ("captured", "captured"),
    ("transaction", "transaction"),
    ("expires", "expires_at"),
    ("created", "created_at"),
];
const TRANSFER_ROWS: [(&str, &str); 10] = [
    ("transfer", "id"),
    ("from", "from"),
    ("to", "to"),
    ("amount", "amount"),
    ("status", "status"),
    ("reason", "reason"),
    ("debit", "debit"),
    ("credit", "credit"),
    ("created", "created_at"),
    ("completed", "completed_at"),
];
/// Fields that are money in the currency of their object.
const MONEY: [&str; 10] = [
    "captured",
    "posted",
    "held",
    "available",
    "overdraft_limit",
    "amount",
    "posted_after",
    "available_after",
    "opening_balance",
    "closing_balance",
];

/// Field that holds what somebody else wrote: any JSON.
const METADATA: &str = "metadata";

/// Reads a body, its metadata as text: a number in there may be one that no type of ours holds.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    value_of(serde_json::from_slice(body).ok()?)
}

fn value_of(raw: &RawValue) -> Option<Value> {
    let text = raw.get();
    Some(match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let read = |(name, raw): (String, &RawValue)| {
                let is_foreign = name == METADATA;
                let value = if is_foreign { Some(raw.get().into()) } else { value_of(raw) };
                Some((name, value?))
            };
            Value::Object(fields.into_iter().map(read).collect::<Option<_>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Value::Array(items.into_iter().map(value_of).collect::<Option<_>>()?)
        }
        _ => serde_json::from_str(text).ok()?,
    })
}

/// One account, a row for each of its fields.
pub(super) fn account(body: &Value) -> String {
    rows(&ACCOUNT_ROWS, body)
}

/// One transaction, likewise.
pub(super) fn transaction(body: &Value) -> String {
    rows(&TRANSACTION_ROWS, body)
}

/// One hold, likewise.
pub(super) fn hold(body: &Value) -> String {
    rows(&HOLD_ROWS, body)
}

/// One transfer, likewise; an end of it as it is named on the command line.
pub(super) fn transfer(body: &Value) -> String {
    let mut body = body.clone();
    for end in ["from", "to"] {
        let text = |key: &str| body[end][key].as_str().unwrap_or("?").to_owned();
        body[end] = Value::from(format!("{}/{}", text("service"), text("account")));
    }
    rows(&TRANSFER_ROWS, &body)
}

/// A page of accounts.
pub(super) fn accounts(body: &Value) -> String {
    let columns = ["id", "status", "currency", "posted", "held", "available", "created_at"];
    let mut lines = vec![columns.map(str::to_uppercase).to_vec()];
    let data = body.get("data").and_then(Value::as_array);
    for row in data.into_iter().flatten() {
        lines.push(columns.map(|key| plain(key, row)).to_vec());
    }
    let mut out = table(&lines);
    if let Some(cursor) = body.get("next_cursor").and_then(Value::as_str) {
        out.push_str(&format!("\nmore: --starting-after {cursor}\n"));
    }
    out
}

/// A statement: its entries between two balances.
pub(super) fn statement(body: &Value) -> String {
    let columns = ["created_at", "kind", "amount", "posted_after", "reference", "id"];
    let heads = ["TIME", "KIND", "AMOUNT", "BALANCE", "REFERENCE", "TRANSACTION"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let standing = |at: &str, words: &str, balance: &str| {
        vec![plain(at, body), words.to_owned(), String::new(), plain(balance, body)]
    };
    lines.push(standing("from", "opening", "opening_balance"));
    let entries = body.get("entries").and_then(Value::as_array);
    for row in entries.into_iter().flatten() {
        lines.push(columns.map(|key| plain(key, row)).to_vec());
    }
    lines.push(standing("to", "closing", "closing_balance"));
    format!("{}\nin {}\n", table(&lines), plain("currency", body))
}

fn rows(rows: &[(&str, &str)], body: &Value) -> String {
    let present = rows.iter().filter(|(_, key)| body.get(key).is_some_and(|it| !it.is_null()));
    let lines: Vec<Vec<String>> =
        present.map(|(name, key)| vec![(*name).to_owned(), with_currency(key, body)]).collect();
    table(&lines)
}

fn with_currency(key: &str, body: &Value) -> String {
    match body.get("currency").and_then(Value::as_str) {
        Some(code) if MONEY.contains(&key) => format!("{} {code}", plain(key, body)),
        Some(_) | None => plain(key, body),
    }
}

/// One field; money in units where the currency is known, else as it came.
fn plain(key: &str, body: &Value) -> String {
    let value = body.get(key).unwrap_or(&Value::Null);
    let currency = body.get("currency").and_then(Value::as_str).and_then(Currency::parse);
    if let (true, Some(currency), Some(minor)) = (MONEY.contains(&key), currency, value.as_i64()) {
        return decimal(minor, currency);
    }
    match value {
        Value::String(text) => printable(text),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// What came over the network does not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_is_shown_in_units() {
        let body = json!({
            "id": "alice", "service": "a", "currency": "EUR", "status": "open", "posted": 7500,
            "held": 0, "available": 7500, "overdraft_limit": 0, "version": 1, "metadata": null,
        });
        assert_eq!(
            account(&body),
            "\
account    alice
service    a
status     open
posted     75.00 EUR
held       0.00 EUR
available  75.00 EUR
overdraft  0.00 EUR
version    1
"
        );
    }

    #[test]
    fn metadata_is_shown_as_it_was_written() {
        let text = r#"{"data":[{"id":"x","metadata":{"b":1e400,"a":1.0},"posted":5}]}"#;
        let body = read(text.as_bytes()).unwrap();
        let shown = account(&body["data"][0]);
        assert_eq!(shown, "account   x\nposted    5\nmetadata  {\"b\":1e400,\"a\":1.0}\n");
        for broken in ["", "{", "{\"a\":}"] {
            assert_eq!(read(broken.as_bytes()), None);
        }
    }

    #[test]
    fn a_page_ends_with_the_way_on() {
        let body = json!({
            "data": [{ "id": "x\u{1b}[31m", "status": "open", "currency": "JPY", "posted": 5 }],
            "has_more": true, "next_cursor": "abc",
        });
        let text = accounts(&body);
        assert!(text.contains("x\u{fffd}[31m"), "{text}");
        assert!(text.ends_with("\nmore: --starting-after abc\n"), "{text}");
    }
}
