//! A statement as comma-separated values (RFC 4180): a head, the opening balance, a line for each
//! entry, the closing balance. Amounts are minor units, as everywhere in the API.

use super::Sheet;
use std::fmt::Display;
use wire::{Kind, Posting, Timestamp};

/// The head of lines of several accounts.
pub(in crate::gateway) const EXPORT_HEAD: &str = "service,account,time,kind,transaction,amount,currency,posted_after,available_after,version,\
     reference,hold,transfer,reverses,reversed_by,metadata";
const HEAD: &str = "time,kind,transaction,amount,currency,posted_after,available_after,version,\
                    reference,hold,transfer,reverses,reversed_by,metadata\r\n";
/// Columns that only an entry has, after the balance.
const EMPTY: &str = ",,,,,,,,";

/// Writes the statement.
pub(super) fn write(sheet: &Sheet<'_>) -> Vec<u8> {
    let mut out = HEAD.to_owned();
    balance(&mut out, sheet, "opening_balance", (sheet.from, sheet.opening));
    for entry in &sheet.entries {
        line(&mut out, entry);
    }
    balance(&mut out, sheet, "closing_balance", (sheet.to, sheet.closing));
    out.into_bytes()
}

fn balance(out: &mut String, sheet: &Sheet<'_>, kind: &str, (at, balance): (Timestamp, i64)) {
    let currency = sheet.account.currency;
    out.push_str(&format!("{at},{kind},,,{currency},{balance}{EMPTY}\r\n"));
}

/// Writes one entry.
pub(in crate::gateway) fn line(out: &mut String, entry: &Posting) {
    let kind = match entry.kind {
        Kind::Debit => "debit",
        Kind::Credit => "credit",
    };
    out.push_str(&format!(
        "{},{kind},{},{},{},{},{},{},",
        entry.created_at,
        entry.id,
        entry.amount.minor(),
        entry.currency,
        entry.posted_after,
        entry.available_after,
        entry.version,
    ));
    field(out, entry.reference.as_deref().unwrap_or_default());
    for id in [
        shown(entry.hold()),
        shown(entry.transfer()),
        shown(entry.reverses()),
        shown(entry.reversed_by),
    ] {
        out.push(',');
        out.push_str(&id);
    }
    out.push(',');
    field(out, &entry.metadata);
    out.push_str("\r\n");
}

fn shown(id: Option<impl Display>) -> String {
    id.map(|it| it.to_string()).unwrap_or_default()
}

/// What a client wrote: in quotes, where it could be taken for more than one field.
fn field(out: &mut String, text: &str) {
    if !text.contains([',', '"', '\r', '\n']) {
        return out.push_str(text);
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}
