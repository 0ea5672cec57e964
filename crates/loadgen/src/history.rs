//! Histories of what clients asked and were told, and judges who know nothing else.
//!
//! Pure. A history is linearizable if there is an order of all operations, each between its begin
//! and its end, in which every answer is what an account that does one thing at a time would have
//! said. Two judges look for it: one reads the order off the versions that the answers bear
//! (`order`), the other knows no more of versions than that each change adds one, and searches
//! (`linear`). A third compares the answers with the final books (`books`). What nobody could tell
//! stays open to the end: it may have been executed at any time from its begin on, or never.
//!
//! [`mutation`] damages histories on purpose: a judge who lets one of them pass is none.

mod books;
mod linear;
pub mod mutation;
mod order;
#[cfg(test)]
mod tests;

use crate::audit::Position;
use std::collections::BTreeMap;

/// One operation of one client, with all its repeats under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which account.
    pub account: u32,
    /// What was asked for.
    pub asked: Asked,
    /// What was told in the end.
    pub told: Told,
    /// Before it was first sent: a tick of the one counter of all clients.
    pub begun: u64,
    /// After the last answer had come: a tick of the same counter. Of no meaning for what is
    /// [`Told::Unknown`].
    pub ended: u64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The balance.
    Read,
    /// A debit (below zero) or a credit.
    Write {
        /// Its number, which its entry in the books bears as its reference. No two are alike.
        request: u64,
        /// Minor units.
        change: i64,
    },
}

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A read: the balance.
    Shown(Position),
    /// A write: executed, as this transaction.
    Posted {
        /// The transaction's id.
        id: Box<str>,
        /// The account after it.
        after: Position,
    },
    /// A debit: there is not enough money.
    Refused,
    /// A definite "not executed, for the moment": 503 and 429.
    NotExecuted,
    /// Anything else: nobody can say.
    Unknown,
}

/// A definite answer under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The write's number.
    pub request: u64,
    /// The HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: Box<[u8]>,
}

/// Everything that clients saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In no order.
    pub ops: Vec<Op>,
    /// Of the operations and of questions that were asked again later, in no order.
    pub replies: Vec<Reply>,
}

/// An account's final books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// What it may be overdrawn by, in minor units, from its opening on.
    pub overdraft_limit: i64,
    /// All of them, oldest first.
    pub entries: Vec<Booked>,
    /// The balance, asked for on its own.
    pub balance: Position,
}

/// An entry of an account's final books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Its reference: the write that asked for it. `None` where it bears none that a client sent.
    pub request: Option<u64>,
    /// The transaction's id.
    pub id: Box<str>,
    /// Minor units, debits below zero.
    pub change: i64,
    /// The account after it.
    pub after: Position,
}

/// Something that a service which keeps its promises never shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An entry does not follow from the one before it.
    Broken { version: u64 },
    /// The final balance is not that of the last entry.
    Balance { shown: Position },
    /// Acknowledged, and not in the books.
    Lost { request: u64 },
    /// More than one entry of one request.
    Twice { request: u64 },
    /// The entry is not what was asked for or not what was acknowledged.
    Altered { request: u64 },
    /// Booked, though it was told that it was not executed, or refused.
    Denied { request: u64 },
    /// Booked, and nobody asked for it.
    Stranger { version: u64 },
    /// A balance below the account's limit, in the books or in an answer.
    BelowLimit { posted: i64 },
    /// An answer shows a balance that the account never had at that version.
    NeverSo { shown: Position },
    /// Told a version that is older than what had been seen before it began.
    Stale { version: u64, seen: u64 },
    /// Refused, and at no moment between begin and end was there too little money.
    Causeless { request: u64 },
    /// No order of the operations explains the answers; so many of so many were placed.
    NoOrder { placed: usize, of: usize },
    /// The search for an order was given up: the history is too long to be judged.
    Undecided,
    /// One key, two results.
    TwoResults { request: u64 },
}

/// What is wrong with an account; `None` stands for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub account: Option<u32>,
    pub wrong: Wrong,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.account {
            Some(account) => write!(f, "account {account}: {:?}", self.wrong),
            None => write!(f, "{:?}", self.wrong),
        }
    }
}

/// An account before its first change.
const OPENING: Position = Position { posted: 0, version: 0 };

impl Book {
    /// The account after this many changes.
    fn at(&self, version: u64) -> Option<Position> {
        let Some(before) = version.checked_sub(1) else { return Some(OPENING) };
        let entry = self.entries.get(usize::try_from(before).ok()?)?;
        Some(entry.after)
    }

    /// Whether it may come to this.
    fn allows(&self, posted: i64) -> bool {
        self.overdraft_limit.checked_neg().is_some_and(|lowest| lowest <= posted)
    }
}

/// Everything that is wrong; nothing when every promise was kept. An account without a book is
/// judged as one whose book is empty.
pub fn judge(history: &History, books: &BTreeMap<u32, Book>) -> Vec<Finding> {
    let empty = Book { overdraft_limit: 0, entries: Vec::new(), balance: OPENING };
    let mut of: BTreeMap<u32, Vec<&Op>> = books.keys().map(|it| (*it, Vec::new())).collect();
    for op in &history.ops {
        of.entry(op.account).or_default().push(op);
    }
    let mut findings = Vec::new();
    for (account, mut ops) in of {
        ops.sort_unstable_by_key(|op| op.begun);
        let book = books.get(&account).unwrap_or(&empty);
        let mut wrongs = Vec::new();
        books::judge(&ops, book, &mut wrongs);
        order::judge(&ops, book, &mut wrongs);
        linear::judge(&ops, book.overdraft_limit, &mut wrongs);
        let account = Some(account);
        findings.extend(wrongs.into_iter().map(|wrong| Finding { account, wrong }));
    }
    findings.extend(two_results(&history.replies));
    findings
}

/// The same key gives the same answer, byte for byte.
fn two_results(replies: &[Reply]) -> Vec<Finding> {
    let mut first: BTreeMap<u64, &Reply> = BTreeMap::new();
    let mut findings = Vec::new();
    for reply in replies {
        let request = reply.request;
        if *first.entry(request).or_insert(reply) != reply {
            findings.push(Finding { account: None, wrong: Wrong::TwoResults { request } });
        }
    }
    findings
}
