//! Real time against the order that the versions tell: what began after something had ended comes
//! after it.
//!
//! With the books each answer has a place among the account's versions, so the question needs one
//! sweep and no search. A refused debit has no version; it is given the first one, from what had
//! been seen before it began, at which there was too little money. If any choice explains the
//! history, that one does: a later place only takes room from those that follow.

use super::{Asked, Book, Op, Told, Wrong};
use std::collections::BTreeMap;

pub(super) fn judge(ops: &[&Op], book: &Book, wrongs: &mut Vec<Wrong>) {
    let versions: BTreeMap<u64, u64> =
        book.entries.iter().filter_map(|it| Some((it.request?, it.after.version))).collect();
    // Ends before begins where they share a tick, so that nothing is excused.
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        events.push((op.begun, true, index));
        if op.told != Told::Unknown {
            events.push((op.ended, false, index));
        }
    }
    events.sort_unstable();
    let mut seen = 0;
    // What each that has begun and not ended will have shown.
    let mut shows = BTreeMap::new();
    for (_, is_begin, index) in events {
        if !is_begin {
            let version: Option<u64> = shows.remove(&index);
            seen = seen.max(version.unwrap_or(0));
            continue;
        }
        if let Some(version) = place(ops[index], book, &versions, seen, wrongs) {
            shows.insert(index, version);
        }
    }
}

/// The version that whoever hears the answer has seen.
fn place(
    op: &Op,
    book: &Book,
    versions: &BTreeMap<u64, u64>,
    seen: u64,
    wrongs: &mut Vec<Wrong>,
) -> Option<u64> {
    match (&op.told, op.asked) {
        (Told::Shown(shown), _) => {
            if !book.allows(shown.posted) {
                wrongs.push(Wrong::BelowLimit { posted: shown.posted });
            }
            if book.at(shown.version) != Some(*shown) {
                wrongs.push(Wrong::NeverSo { shown: *shown });
            }
            if shown.version < seen {
                wrongs.push(Wrong::Stale { version: shown.version, seen });
            }
            Some(shown.version)
        }
        (Told::Posted { after, .. }, _) => {
            if after.version <= seen {
                wrongs.push(Wrong::Stale { version: after.version, seen });
            }
            Some(after.version)
        }
        (Told::Refused, Asked::Write { request, change }) => {
            let is_cause = |version: &u64| {
                let posted = book.at(*version).and_then(|it| it.posted.checked_add(change));
                !posted.is_some_and(|posted| book.allows(posted))
            };
            let last = u64::try_from(book.entries.len()).unwrap_or(u64::MAX);
            let cause = (seen..=last).find(is_cause);
            if cause.is_none() {
                wrongs.push(Wrong::Causeless { request });
            }
            cause
        }
        (Told::Unknown, Asked::Write { request, .. }) => {
            // In the books after all: it cannot have been there before it was asked for.
            let version = *versions.get(&request)?;
            if version <= seen {
                wrongs.push(Wrong::Stale { version, seen });
            }
            None
        }
        (Told::Refused | Told::Unknown, Asked::Read) | (Told::NotExecuted, _) => None,
    }
}
