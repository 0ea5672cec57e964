//! Transactions in the words of the API, for whoever writes them elsewhere.

use super::{render, statement::csv};
use wire::Posting;

/// The first line of a file of [`csv_line`]s, without its end.
pub const CSV_HEAD: &str = csv::EXPORT_HEAD;

/// A transaction of `service` as the API shows it: JSON on one line, without its end.
pub fn json_line(service: &str, posting: &Posting) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    render::transaction(&mut out, service, posting);
    out
}

/// A transaction of `service` as a line of comma-separated values (RFC 4180), with its end.
pub fn csv_line(service: &str, posting: &Posting) -> String {
    // Neither has a comma or a quote in it.
    let mut out = format!("{service},{},", posting.account);
    csv::line(&mut out, posting);
    out
}
