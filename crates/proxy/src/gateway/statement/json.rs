//! A statement as JSON.

use super::Sheet;
use crate::gateway::render::{self, number, quoted, text, time};
use wire::Kind;

/// Room for an entry with little metadata.
const ENTRY_BYTES_USUAL: usize = 448;

/// Writes the statement.
pub(super) fn write(sheet: &Sheet<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + sheet.entries.len() * ENTRY_BYTES_USUAL);
    let to = &mut out;
    quoted(to, "{\"account\":", sheet.account.id.as_str());
    quoted(to, ",\"service\":", sheet.service);
    quoted(to, ",\"currency\":", sheet.account.currency.code());
    time(to, ",\"from\":", sheet.from);
    time(to, ",\"to\":", sheet.to);
    number(to, ",\"opening_balance\":", sheet.opening);
    number(to, ",\"closing_balance\":", sheet.closing);
    for (kind, name) in [(Kind::Debit, "debits"), (Kind::Credit, "credits")] {
        let (count, sum) = sheet.sum(kind);
        text(to, ",\"");
        text(to, name);
        number(to, "\":{\"count\":", count);
        number(to, ",\"sum\":", sum);
        text(to, "}");
    }
    text(to, ",\"entries\":[");
    for (at, entry) in sheet.entries.iter().enumerate() {
        if at != 0 {
            text(to, ",");
        }
        render::transaction(to, sheet.service, entry);
    }
    text(to, "]}");
    out
}
