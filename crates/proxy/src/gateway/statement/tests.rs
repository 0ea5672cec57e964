//! What is on a statement, and that it can be read back in each of its forms.

use super::*;
use wire::{Amount, Currency, Link, PartitionId, Seq, ServiceTag, Status, TransactionId};

const EVIL: &str = "a<b>&\"c\",";

fn account(id: &str) -> AccountState {
    AccountState {
        id: AccountId::parse(id).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        status: Status::Open,
        posted: 3_000,
        held: 0,
        overdraft_limit: 0,
        version: 2,
        metadata: "{}".into(),
        created_at: Timestamp(1_000_000),
        updated_at: Timestamp(3_000_000),
    }
}

fn entry(version: u64, kind: Kind, amount: i64, after: i64, reference: Option<&str>) -> Posting {
    let at = Timestamp(i64::try_from(version).unwrap() * 1_000_000);
    Posting {
        id: TransactionId::new(at, ServiceTag::of("a"), PartitionId(1), Seq(version), 0),
        account: AccountId::parse("alice").unwrap(),
        kind,
        amount: Amount::new(amount).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        posted_after: after,
        available_after: after,
        version,
        reference: reference.map(Into::into),
        metadata: r#"{"a":"x, y"}"#.into(),
        link: None,
        reversed_by: None,
        created_at: at,
    }
}

fn sheet() -> Sheet<'static> {
    Sheet {
        service: "a",
        account: account("alice"),
        from: Timestamp(0),
        to: Timestamp(9_000_000),
        opening: -500,
        closing: 3_000,
        entries: vec![
            entry(1, Kind::Credit, 8_000, 7_500, None),
            entry(2, Kind::Debit, 4_500, 3_000, Some(EVIL)),
        ],
        at: Timestamp(10_000_000),
    }
}

#[test]
fn the_opening_balance_is_what_was_before_the_first_entry() {
    assert_eq!(before(&entry(1, Kind::Debit, 4_500, 3_000, None)), Ok(7_500));
    assert_eq!(before(&entry(1, Kind::Credit, 4_500, 3_000, None)), Ok(-1_500));
    let beyond = entry(1, Kind::Credit, i64::MAX, -5, None);
    assert_eq!(before(&beyond), Err(Failure::Malformed));
}

#[test]
fn json_adds_up() {
    let value: serde_json::Value = serde_json::from_slice(&json::write(&sheet())).unwrap();
    assert_eq!(
        (&value["opening_balance"], &value["closing_balance"]),
        (&(-500).into(), &3_000.into())
    );
    assert_eq!(value["debits"], serde_json::json!({"count": 1, "sum": 4_500}));
    assert_eq!(value["credits"], serde_json::json!({"count": 1, "sum": 8_000}));
    assert_eq!(value["entries"][1]["reference"], EVIL);
    assert_eq!(value["from"], "1970-01-01T00:00:00.000000Z");
}

/// Reads RFC 4180.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    assert!(row.is_empty() && field.is_empty(), "the last line has an end, too");
    rows
}

#[test]
fn csv_is_read_back_as_it_was() {
    let text = String::from_utf8(csv::write(&sheet())).unwrap();
    let rows = rows(&text);
    let column = |name: &str| rows[0].iter().position(|it| it == name).unwrap();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
    let kinds: Vec<&str> = rows[1..].iter().map(|row| row[column("kind")].as_str()).collect();
    assert_eq!(kinds, ["opening_balance", "credit", "debit", "closing_balance"]);
    assert_eq!(rows[1][column("posted_after")], "-500");
    assert_eq!(rows[3][column("reference")], EVIL);
    assert_eq!(rows[3][column("metadata")], r#"{"a":"x, y"}"#);
    assert_eq!(rows[3][column("amount")], "4500");
}

/// The texts of the elements at this path, in order; panics where the document is not well formed.
fn texts(document: &str, path: &str) -> Vec<String> {
    let body = document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
    let (mut open, mut found): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for piece in body.trim_end().split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag has an end");
        match tag.strip_prefix('/') {
            Some(name) => {
                assert_eq!(open.pop(), Some(name));
                assert_eq!(text, "", "no text between elements");
            }
            None => {
                open.push(tag.split(' ').next().unwrap());
                if open.join("/").ends_with(path) {
                    let plain = text.replace("&lt;", "<").replace("&gt;", ">");
                    found.push(plain.replace("&amp;", "&"));
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} is still open");
    found
}

#[test]
fn camt_is_well_formed_and_says_it_all() {
    let xml = String::from_utf8(camt::write(&sheet())).unwrap();
    let text = |path: &str| texts(&xml, path);
    assert_eq!(text("Stmt/Bal/Amt"), ["5.00", "30.00"]);
    assert_eq!(text("Bal/CdtDbtInd"), ["DBIT", "CRDT"]);
    assert_eq!(text("Bal/Tp/CdOrPrtry/Cd"), ["OPBD", "CLBD"]);
    assert_eq!(text("Ntry/Amt"), ["80.00", "45.00"]);
    assert_eq!(text("Ntry/CdtDbtInd"), ["CRDT", "DBIT"]);
    assert_eq!(text("Ntry/Sts/Cd"), ["BOOK", "BOOK"]);
    assert_eq!(text("RmtInf/Ustrd"), [EVIL]);
    assert_eq!(text("TtlDbtNtries/Sum"), ["45.00"]);
    assert_eq!(text("Acct/Id/Othr/Id"), ["alice"]);
    assert!(text("GrpHdr/MsgId")[0].len() <= 35);
    assert!(xml.contains("<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">"));
}

#[test]
fn camt_keeps_the_limits_of_its_texts() {
    let reference = format!("\u{1}\u{fffe}{}", "é".repeat(200));
    let reverses = Some(Link::Reverses(TransactionId::from_bits(7)));
    let entry = Posting { link: reverses, ..entry(1, Kind::Debit, 1, 2, Some(&reference)) };
    let long = "x".repeat(128);
    let sheet = Sheet { account: account(&long), entries: vec![entry], ..sheet() };
    let xml = String::from_utf8(camt::write(&sheet)).unwrap();
    let lines = texts(&xml, "RmtInf/Ustrd");
    assert_eq!(lines.iter().map(|it| it.chars().count()).collect::<Vec<_>>(), [140, 62]);
    assert!(lines[0].starts_with("\u{fffd}\u{fffd}é"));
    assert!(texts(&xml, "Acct/Id/Othr/Id")[0].len() <= 34);
    assert_eq!(texts(&xml, "Stmt/AddtlStmtInf"), [format!("a/{long}")]);
    assert_eq!(texts(&xml, "Ntry/RvslInd"), ["true"]);
}
