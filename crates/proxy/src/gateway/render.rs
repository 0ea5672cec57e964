//! Writes the JSON of answers: fields in the order of the API's description, integers as integers,
//! the same bytes for the same value, always.

use std::{collections::BTreeMap, fmt::Display, io::Write as _};
use wire::{
    AccountState, Code, Currency, PartitionId, Posting, Seq, Timestamp, TransactionId,
    query::CurrencyBooks,
};

/// A service's books: the sum of those of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrialBalance {
    pub(super) currencies: BTreeMap<Currency, CurrencyBooks>,
    pub(super) heads: BTreeMap<PartitionId, Seq>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// Writes an account of `service`.
pub(super) fn account(out: &mut Vec<u8>, service: &str, state: &AccountState) {
    quoted(out, "{\"id\":", state.id.as_str());
    quoted(out, ",\"service\":", service);
    quoted(out, ",\"currency\":", state.currency.code());
    quoted(out, ",\"status\":", state.status.text());
    number(out, ",\"posted\":", state.posted);
    number(out, ",\"held\":", state.held);
    number(out, ",\"available\":", state.available());
    number(out, ",\"overdraft_limit\":", state.overdraft_limit);
    number(out, ",\"version\":", state.version);
    text(out, ",\"metadata\":");
    text(out, &state.metadata);
    time(out, ",\"created_at\":", state.created_at);
    time(out, ",\"updated_at\":", state.updated_at);
    text(out, "}");
}

/// Writes the short form of an account.
pub(super) fn balance(out: &mut Vec<u8>, state: &AccountState) {
    quoted(out, "{\"account\":", state.id.as_str());
    quoted(out, ",\"currency\":", state.currency.code());
    number(out, ",\"posted\":", state.posted);
    number(out, ",\"held\":", state.held);
    number(out, ",\"available\":", state.available());
    number(out, ",\"version\":", state.version);
    text(out, "}");
}

/// Writes a transaction of `service`.
pub(super) fn transaction(out: &mut Vec<u8>, service: &str, posting: &Posting) {
    transaction_id(out, "{\"id\":", posting.id);
    quoted(out, ",\"service\":", service);
    quoted(out, ",\"account\":", posting.account.as_str());
    quoted(out, ",\"kind\":", posting.kind.text());
    number(out, ",\"amount\":", posting.amount.minor());
    quoted(out, ",\"currency\":", posting.currency.code());
    number(out, ",\"posted_after\":", posting.posted_after);
    number(out, ",\"available_after\":", posting.available_after);
    number(out, ",\"version\":", posting.version);
    match posting.reference.as_deref() {
        None => text(out, ",\"reference\":null"),
        Some(reference) => {
            text(out, ",\"reference\":");
            string(out, reference);
        }
    }
    text(out, ",\"metadata\":");
    text(out, &posting.metadata);
    text(out, ",\"hold\":null,\"transfer\":null,\"reverses\":null,\"reversed_by\":null");
    time(out, ",\"created_at\":", posting.created_at);
    text(out, "}");
}

/// Writes the outcomes of a batch: of each item its key and what `rest` writes.
pub(super) fn outcomes<'a, T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = (&'a str, T)>,
    rest: impl Fn(&mut Vec<u8>, T),
) {
    text(out, "{\"outcomes\":[");
    for (at, (key, told)) in items.enumerate() {
        text(out, if at == 0 { "{\"key\":" } else { ",{\"key\":" });
        string(out, key);
        rest(out, told);
        text(out, "}");
    }
    text(out, "]}");
}

/// Writes the rest of an item that was booked.
pub(super) fn posted(out: &mut Vec<u8>, service: &str, posting: &Posting) {
    text(out, ",\"status\":201,\"transaction\":");
    transaction(out, service, posting);
}

/// Writes the rest of an item that was not, or of which nobody knows.
pub(super) fn failed(out: &mut Vec<u8>, code: Code, detail: &str) {
    number(out, ",\"status\":", code.status());
    quoted(out, ",\"code\":", code.text());
    text(out, ",\"detail\":");
    string(out, detail);
}

/// Writes a page, each row by `row`.
pub(super) fn page<T>(out: &mut Vec<u8>, page: &Page<T>, row: impl Fn(&mut Vec<u8>, &T)) {
    text(out, "{\"data\":[");
    for (at, item) in page.rows.iter().enumerate() {
        if at != 0 {
            text(out, ",");
        }
        row(out, item);
    }
    match &page.next_cursor {
        None => text(out, "],\"has_more\":false,\"next_cursor\":null}"),
        Some(cursor) => {
            quoted(out, "],\"has_more\":true,\"next_cursor\":", cursor);
            text(out, "}");
        }
    }
}

/// Writes a trial balance of `service`.
pub(super) fn trial(out: &mut Vec<u8>, service: &str, trial: &TrialBalance) {
    let balanced = trial.currencies.values().all(|books| books.debits == books.credits);
    quoted(out, "{\"service\":", service);
    text(out, ",\"balanced\":");
    text(out, if balanced { "true" } else { "false" });
    text(out, ",\"currencies\":[");
    for (at, books) in trial.currencies.values().enumerate() {
        let start = if at == 0 { "{\"currency\":" } else { ",{\"currency\":" };
        quoted(out, start, books.currency.code());
        number(out, ",\"debits\":", books.debits);
        number(out, ",\"credits\":", books.credits);
        // Both are sums of i64, so their difference is far from the end of an i128.
        number(out, ",\"sum\":", books.credits.saturating_sub(books.debits));
        text(out, "}");
    }
    text(out, "],\"heads\":{");
    for (at, (partition, head)) in trial.heads.iter().enumerate() {
        text(out, if at == 0 { "\"" } else { ",\"" });
        number(out, "", partition.0);
        number(out, "\":", head.0);
    }
    text(out, "}}");
}

/// A string of any characters, with its quotes.
fn string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a string is JSON, and a Vec takes everything");
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(value.as_bytes());
}

/// A string that needs no escapes: names, codes, ids, cursors.
fn quoted(out: &mut Vec<u8>, before: &str, value: &str) {
    text(out, before);
    text(out, "\"");
    text(out, value);
    text(out, "\"");
}

fn number(out: &mut Vec<u8>, before: &str, value: impl Display) {
    text(out, before);
    formatted(out, format_args!("{value}"));
}

fn time(out: &mut Vec<u8>, before: &str, at: Timestamp) {
    text(out, before);
    formatted(out, format_args!("\"{at}\""));
}

fn transaction_id(out: &mut Vec<u8>, before: &str, id: TransactionId) {
    text(out, before);
    formatted(out, format_args!("\"{id}\""));
}

fn formatted(out: &mut Vec<u8>, value: std::fmt::Arguments<'_>) {
    out.write_fmt(value).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{AccountId, Amount, Kind, ServiceTag, Status};

    fn alice() -> AccountState {
        AccountState {
            id: AccountId::parse("alice").unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            status: Status::Open,
            posted: 7_500,
            held: 0,
            overdraft_limit: 0,
            version: 1,
            metadata: r#"{"tier":"gold"}"#.into(),
            created_at: Timestamp::parse("2026-11-22T11:00:00Z").unwrap(),
            updated_at: Timestamp::parse("2026-11-22T11:00:00.000001Z").unwrap(),
        }
    }

    fn posting() -> Posting {
        let at = Timestamp::parse("2026-11-22T11:00:00.123456Z").unwrap();
        Posting {
            id: TransactionId::new(at, ServiceTag::of("a"), PartitionId(1), Seq(2), 3),
            account: AccountId::parse("alice").unwrap(),
            kind: Kind::Debit,
            amount: Amount::new(4_500).unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            posted_after: 3_000,
            available_after: -3_000,
            version: 2,
            reference: Some("order \"17\"\\é".into()),
            metadata: "{}".into(),
            created_at: at,
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<&serde_json::value::RawValue>(&text).expect(&text);
        text
    }

    #[test]
    fn an_account_in_full_and_in_short() {
        assert_eq!(
            written(|out| account(out, "a", &alice())),
            r#"{"id":"alice","service":"a","currency":"EUR","status":"open","posted":7500,"held":0,"available":7500,"overdraft_limit":0,"version":1,"metadata":{"tier":"gold"},"created_at":"2026-11-22T11:00:00.000000Z","updated_at":"2026-11-22T11:00:00.000001Z"}"#
        );
        let rich = AccountState { posted: i64::MAX, overdraft_limit: i64::MAX, ..alice() };
        assert_eq!(
            written(|out| balance(out, &rich)),
            r#"{"account":"alice","currency":"EUR","posted":9223372036854775807,"held":0,"available":18446744073709551614,"version":1}"#
        );
    }

    #[test]
    fn a_transaction() {
        let id = posting().id;
        assert_eq!(
            written(|out| transaction(out, "a", &posting())),
            format!(
                r#"{{"id":"{id}","service":"a","account":"alice","kind":"debit","amount":4500,"currency":"EUR","posted_after":3000,"available_after":-3000,"version":2,"reference":"order \"17\"\\é","metadata":{{}},"hold":null,"transfer":null,"reverses":null,"reversed_by":null,"created_at":"2026-11-22T11:00:00.123456Z"}}"#
            )
        );
        let plain = Posting { reference: None, ..posting() };
        assert!(written(|out| transaction(out, "a", &plain)).contains(r#""reference":null,"#));
    }

    #[test]
    fn pages() {
        let row = |out: &mut Vec<u8>, it: &u8| number(out, "", *it);
        let last = Page { rows: Vec::new(), next_cursor: None };
        assert_eq!(
            written(|out| page(out, &last, row)),
            r#"{"data":[],"has_more":false,"next_cursor":null}"#
        );
        let first = Page { rows: vec![1, 2], next_cursor: Some("abc".into()) };
        assert_eq!(
            written(|out| page(out, &first, row)),
            r#"{"data":[1,2],"has_more":true,"next_cursor":"abc"}"#
        );
    }

    #[test]
    fn a_trial_balance() {
        let books = |code, debits, credits| {
            let currency = Currency::parse(code).unwrap();
            (currency, CurrencyBooks { currency, debits, credits })
        };
        let even = TrialBalance {
            currencies: [books("EUR", 100, 100)].into(),
            heads: [(PartitionId(1), Seq(4)), (PartitionId(0), Seq(17))].into(),
        };
        assert_eq!(
            written(|out| trial(out, "a", &even)),
            r#"{"service":"a","balanced":true,"currencies":[{"currency":"EUR","debits":100,"credits":100,"sum":0}],"heads":{"0":17,"1":4}}"#
        );
        let big = i128::MAX / 2;
        let odd = TrialBalance {
            currencies: [books("USD", 1, 2), books("EUR", big, big)].into(),
            heads: BTreeMap::new(),
        };
        assert_eq!(
            written(|out| trial(out, "b", &odd)),
            format!(
                r#"{{"service":"b","balanced":false,"currencies":[{{"currency":"EUR","debits":{big},"credits":{big},"sum":0}},{{"currency":"USD","debits":1,"credits":2,"sum":1}}],"heads":{{}}}}"#
            )
        );
    }
}
