//! The answers against the final books: what was acknowledged is there once, and nothing else is
//! that nobody may have asked for.

use super::{Asked, Book, OPENING, Op, Told, Wrong};
use std::collections::BTreeMap;

pub(super) fn judge(ops: &[&Op], book: &Book, wrongs: &mut Vec<Wrong>) {
    check_chain(book, wrongs);
    let mut booked = BTreeMap::new();
    for entry in &book.entries {
        match entry.request {
            None => wrongs.push(Wrong::Stranger { version: entry.after.version }),
            Some(request) => {
                if booked.insert(request, entry).is_some() {
                    wrongs.push(Wrong::Twice { request });
                }
            }
        }
    }
    for op in ops {
        let Asked::Write { request, change } = op.asked else { continue };
        let entry = booked.remove(&request);
        if entry.is_some_and(|entry| entry.change != change) {
            wrongs.push(Wrong::Altered { request });
        }
        match (&op.told, entry) {
            (Told::Posted { .. }, None) => wrongs.push(Wrong::Lost { request }),
            (Told::Posted { id, after }, Some(entry)) => {
                if (id, after) != (&entry.id, &entry.after) {
                    wrongs.push(Wrong::Altered { request });
                }
            }
            (Told::Refused | Told::NotExecuted, Some(_)) => wrongs.push(Wrong::Denied { request }),
            (Told::Refused | Told::NotExecuted | Told::Unknown | Told::Shown(_), _) => (),
        }
    }
    let strangers = booked.values().map(|it| Wrong::Stranger { version: it.after.version });
    wrongs.extend(strangers);
}

fn check_chain(book: &Book, wrongs: &mut Vec<Wrong>) {
    let mut last = OPENING;
    for entry in &book.entries {
        let version = entry.after.version;
        let posted = last.posted.checked_add(entry.change);
        if last.version.checked_add(1) != Some(version) || posted != Some(entry.after.posted) {
            wrongs.push(Wrong::Broken { version });
        }
        // A credit may leave an account below its limit; only a debit may not.
        if entry.change < 0 && !book.allows(entry.after.posted) {
            wrongs.push(Wrong::BelowLimit { posted: entry.after.posted });
        }
        last = entry.after;
    }
    if book.balance != last {
        wrongs.push(Wrong::Balance { shown: book.balance });
    }
}
