//! Writes the JSON of answers: fields in the order of the API's description, integers as integers,
//! the same bytes for the same value, always.

use std::{collections::BTreeMap, fmt::Display, io::Write as _};
use wire::{
    AccountState, Code, Currency, Delivery, Hold, PartitionId, Posting, Seq, Timestamp, Transfer,
    query::CurrencyBooks, transfer::Party,
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
    id(out, "{\"id\":", posting.id);
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
    optional_id(out, ",\"hold\":", posting.hold());
    optional_id(out, ",\"transfer\":", posting.transfer());
    optional_id(out, ",\"reverses\":", posting.reverses());
    optional_id(out, ",\"reversed_by\":", posting.reversed_by);
    time(out, ",\"created_at\":", posting.created_at);
    text(out, "}");
}

/// Writes a hold of `service`.
pub(super) fn hold(out: &mut Vec<u8>, service: &str, hold: &Hold) {
    id(out, "{\"id\":", hold.id);
    quoted(out, ",\"service\":", service);
    quoted(out, ",\"account\":", hold.account.as_str());
    number(out, ",\"amount\":", hold.amount.minor());
    number(out, ",\"captured\":", hold.captured);
    quoted(out, ",\"currency\":", hold.currency.code());
    quoted(out, ",\"status\":", hold.status.text());
    optional_id(out, ",\"transaction\":", hold.transaction);
    time(out, ",\"expires_at\":", hold.expires_at);
    time(out, ",\"created_at\":", hold.created_at);
    text(out, "}");
}

/// Writes a transfer.
pub(super) fn transfer(out: &mut Vec<u8>, transfer: &Transfer) {
    let party = |out: &mut Vec<u8>, before, party: &Party| {
        text(out, before);
        quoted(out, "{\"service\":", &party.service);
        quoted(out, ",\"account\":", party.account.as_str());
        text(out, "}");
    };
    id(out, "{\"id\":", transfer.id);
    party(out, ",\"from\":", &transfer.from);
    party(out, ",\"to\":", &transfer.to);
    number(out, ",\"amount\":", transfer.amount.minor());
    quoted(out, ",\"currency\":", transfer.currency.code());
    quoted(out, ",\"status\":", transfer.status());
    let (credit, refused) = match transfer.end {
        None => (None, None),
        Some((Delivery::Credited(credit), _)) => (Some(credit), None),
        Some((Delivery::Refused(code), _)) => (None, Some(code)),
    };
    match refused {
        None => text(out, ",\"reason\":null"),
        Some(code) => quoted(out, ",\"reason\":", code.text()),
    }
    id(out, ",\"debit\":", transfer.id.debit());
    optional_id(out, ",\"credit\":", credit);
    time(out, ",\"created_at\":", transfer.created_at);
    match transfer.end {
        None => text(out, ",\"completed_at\":null"),
        Some((_, at)) => time(out, ",\"completed_at\":", at),
    }
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

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(value.as_bytes());
}

/// A string that needs no escapes: names, codes, ids, cursors.
pub(super) fn quoted(out: &mut Vec<u8>, before: &str, value: &str) {
    text(out, before);
    text(out, "\"");
    text(out, value);
    text(out, "\"");
}

pub(super) fn number(out: &mut Vec<u8>, before: &str, value: impl itoa::Integer) {
    text(out, before);
    text(out, itoa::Buffer::new().format(value));
}

pub(super) fn time(out: &mut Vec<u8>, before: &str, at: Timestamp) {
    text(out, before);
    formatted(out, format_args!("\"{at}\""));
}

/// One of the ids that we mint.
fn id(out: &mut Vec<u8>, before: &str, id: impl Display) {
    text(out, before);
    formatted(out, format_args!("\"{id}\""));
}

fn optional_id(out: &mut Vec<u8>, before: &str, of: Option<impl Display>) {
    match of {
        None => {
            text(out, before);
            text(out, "null");
        }
        Some(of) => id(out, before, of),
    }
}

fn formatted(out: &mut Vec<u8>, value: std::fmt::Arguments<'_>) {
    out.write_fmt(value).expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{
        AccountId, Amount, HoldId, HoldStatus, Kind, Link, ServiceTag, Status, TransactionId,
        TransferId,
    };

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
            link: None,
            reversed_by: None,
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
    fn a_transaction_says_what_it_is_a_part_of() {
        let at = |bits| TransactionId::from_bits(bits);
        let link = |link| {
            let posting = Posting { link: Some(link), reversed_by: Some(at(9)), ..posting() };
            let text = written(|out| transaction(out, "a", &posting));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["reversed_by"], at(9).to_string());
            ["hold", "transfer", "reverses"].map(|field| value[field].to_string())
        };
        let null = || "null".to_owned();
        let (hold, transfer) = (HoldId::from_bits(7), TransferId::from_bits(7));
        assert_eq!(link(Link::Hold(hold)), [format!("\"{hold}\""), null(), null()]);
        assert_eq!(link(Link::Transfer(transfer)), [null(), format!("\"{transfer}\""), null()]);
        assert_eq!(link(Link::Reverses(at(7))), [null(), null(), format!("\"{}\"", at(7))]);
    }

    #[test]
    fn a_hold() {
        let at = posting().created_at;
        let held = Hold {
            id: HoldId::from_bits(7),
            account: posting().account,
            amount: Amount::new(1_000).unwrap(),
            captured: 0,
            currency: posting().currency,
            status: HoldStatus::Active,
            transaction: None,
            expires_at: at,
            created_at: at,
        };
        assert_eq!(
            written(|out| hold(out, "a", &held)),
            r#"{"id":"hold_00000000000000000000000007","service":"a","account":"alice","amount":1000,"captured":0,"currency":"EUR","status":"active","transaction":null,"expires_at":"2026-11-22T11:00:00.123456Z","created_at":"2026-11-22T11:00:00.123456Z"}"#
        );
    }

    #[test]
    fn a_transfer_on_its_way_and_returned() {
        let (at, account) = (posting().created_at, posting().account);
        let party = |service: &str| Party { service: service.into(), account: account.clone() };
        let sent = Transfer {
            id: TransferId::from_bits(7),
            from: party("a"),
            to: party("b"),
            amount: Amount::new(500).unwrap(),
            currency: posting().currency,
            end: None,
            created_at: at,
        };
        assert_eq!(
            written(|out| transfer(out, &sent)),
            r#"{"id":"tr_00000000000000000000000007","from":{"service":"a","account":"alice"},"to":{"service":"b","account":"alice"},"amount":500,"currency":"EUR","status":"pending","reason":null,"debit":"tx_00000000000000000000000007","credit":null,"created_at":"2026-11-22T11:00:00.123456Z","completed_at":null}"#
        );
        let returned = Transfer { end: Some((Delivery::Refused(Code::NoSuchAccount), at)), ..sent };
        assert!(written(|out| transfer(out, &returned)).contains(
            r#""status":"returned","reason":"no_such_account","debit":"tx_00000000000000000000000007","credit":null,"#
        ));
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
