//! Convicts from answers alone: what the tree acknowledged, against the books as it shows them.
//!
//! Pure. It knows nothing of how the tree works, only what the API promises: an acknowledged
//! transaction is in its account's history once and as acknowledged; nothing else is there that
//! nobody may have asked for; each entry follows from the one before; and what was answered before
//! a request was sent comes before it in the books (linearizability of each account, as far as
//! versions and times of sending and answering show it).

#[cfg(test)]
mod tests;
pub mod transfers;

use crate::work::Deed;
use std::collections::{BTreeMap, btree_map::Entry as Slot};
use stdx::Moment;

/// Who a transaction is: 128 bits of the hash of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(pub u128);

/// Where an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Minor units.
    pub posted: i64,
    /// One more with every change.
    pub version: u64,
}

/// A transaction as an answer showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: Identity,
    /// Debit or credit.
    pub deed: Deed,
    pub amount: i64,
    pub after: Position,
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    pub account: u32,
    /// As acknowledged; deed and amount are also as asked for, or it is no acknowledgement.
    pub entry: Entry,
    /// When it was first sent.
    pub sent: Moment,
    /// When it was acknowledged.
    pub answered: Moment,
}

/// A read that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub account: u32,
    pub shown: Position,
    pub sent: Moment,
    pub answered: Moment,
}

/// A write of which nobody could tell whether it was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub account: u32,
    pub deed: Deed,
    pub amount: i64,
}

/// Everything that answers said about one account.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Before the first of the writes.
    pub opening: Position,
    pub writes: &'a [Write],
    pub unknown: &'a [Unknown],
    pub reads: &'a [Read],
    /// The last of all, when nothing was under way any more.
    pub balance: Position,
    /// All of it, newest first, as the API lists it.
    pub history: &'a [Entry],
}

/// What is wrong with an account's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Acknowledged, and not in the history.
    Lost { version: u64, amount: i64 },
    /// In the history more than once.
    Twice { version: u64, amount: i64 },
    /// In the history with another deed, amount, version or balance than was acknowledged.
    Altered { version: u64, acknowledged: i64, shown: i64 },
    /// Two requests were acknowledged with the same transaction.
    Shared { version: u64 },
    /// In the history, and no request that may have been executed asked for it: a refused write
    /// that was booked after all, or a repeat that was booked again.
    Stranger { version: u64, amount: i64 },
    /// An entry does not follow from the one before it.
    Broken { version: u64, posted_before: i64, posted_after: i64 },
    /// The balance is not that of the last entry.
    Balance { shown: Position, booked: Position },
    /// Sent after `earlier` had been acknowledged, and before it in the books.
    OutOfOrder { version: u64, earlier: u64 },
    /// A read that did not show what had been acknowledged before it was sent.
    Stale { shown: u64, acknowledged: u64 },
    /// A read of a balance that the books never had at that version.
    NeverSo { shown: Position },
    /// A read of what was only asked for after the read had been answered.
    Foreseen { shown: u64, version: u64 },
    /// One of the two entries of an acknowledged transfer is not in the history.
    LegLost { deed: Deed, amount: i64 },
    /// A transfer took from one account other than it gave to another, or more than once.
    Unpaired { entries: usize, taken: i128, given: i128 },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Lost { version, amount } => {
                write!(f, "lost: version {version} of {amount} was acknowledged")
            }
            Fault::Twice { version, amount } => {
                write!(f, "twice in the history: version {version} of {amount}")
            }
            Fault::Altered { version, acknowledged, shown } => {
                write!(f, "altered: version {version}, {acknowledged} acknowledged, {shown} shown")
            }
            Fault::Shared { version } => {
                write!(f, "two requests were acknowledged with one transaction, version {version}")
            }
            Fault::Stranger { version, amount } => {
                write!(f, "nobody may have asked for version {version} of {amount}")
            }
            Fault::Broken { version, posted_before, posted_after } => {
                write!(f, "version {version} leads from {posted_before} to {posted_after}")
            }
            Fault::Balance { shown, booked } => write!(
                f,
                "the balance is {} at version {}, the history ends with {} at version {}",
                shown.posted, shown.version, booked.posted, booked.version
            ),
            Fault::OutOfOrder { version, earlier } => write!(
                f,
                "version {version} was sent after version {earlier} had been acknowledged"
            ),
            Fault::Stale { shown, acknowledged } => write!(
                f,
                "a read showed version {shown} after version {acknowledged} had been acknowledged"
            ),
            Fault::NeverSo { shown } => {
                write!(f, "a read showed {} at version {}", shown.posted, shown.version)
            }
            Fault::Foreseen { shown, version } => write!(
                f,
                "a read showed version {shown} before version {version} had been asked for"
            ),
            Fault::LegLost { deed, amount } => {
                let deed = if *deed == Deed::Debit { "debit" } else { "credit" };
                write!(f, "lost: the {deed} of a transfer of {amount} was acknowledged")
            }
            Fault::Unpaired { entries, taken, given } => {
                write!(f, "a transfer in {entries} entries took {taken} and gave {given}")
            }
        }
    }
}

/// Everything that is wrong with an account's books; nothing when they are right.
pub fn audit(case: &Case<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    // Older entries are those of the set-up; the last of them leads to the opening.
    let entries: Vec<Entry> = case
        .history
        .iter()
        .rev()
        .filter(|it| case.opening.version < it.after.version)
        .copied()
        .collect();
    check_chain(case, &entries, &mut faults);
    check_writes(case, &entries, &mut faults);
    check_order(case, &mut faults);
    check_reads(case, &entries, &mut faults);
    faults
}

fn signed(deed: Deed, amount: i64) -> i64 {
    match deed {
        Deed::Debit => -amount,
        Deed::Credit => amount,
        Deed::Read => 0,
    }
}

fn check_chain(case: &Case<'_>, entries: &[Entry], faults: &mut Vec<Fault>) {
    let set_up = case.history.iter().find(|it| it.after.version == case.opening.version);
    if let Some(entry) = set_up.filter(|it| it.after.posted != case.opening.posted) {
        let (version, posted_after) = (entry.after.version, entry.after.posted);
        let posted_before = case.opening.posted;
        faults.push(Fault::Broken { version, posted_before, posted_after });
    }
    let mut last = case.opening;
    for entry in entries {
        let follows = last.version.checked_add(1) == Some(entry.after.version)
            && last.posted.checked_add(signed(entry.deed, entry.amount))
                == Some(entry.after.posted);
        if !follows {
            faults.push(Fault::Broken {
                version: entry.after.version,
                posted_before: last.posted,
                posted_after: entry.after.posted,
            });
        }
        last = entry.after;
    }
    if last != case.balance {
        faults.push(Fault::Balance { shown: case.balance, booked: last });
    }
}

/// Every acknowledged write is there once, and what else is there may be an unknown one.
fn check_writes(case: &Case<'_>, entries: &[Entry], faults: &mut Vec<Fault>) {
    let mut booked: BTreeMap<Identity, &Entry> = BTreeMap::new();
    for entry in entries {
        if booked.insert(entry.id, entry).is_some() {
            let version = entry.after.version;
            faults.push(Fault::Twice { version, amount: entry.amount });
        }
    }
    let mut acknowledged: BTreeMap<Identity, &Write> = BTreeMap::new();
    for write in case.writes {
        let version = write.entry.after.version;
        match acknowledged.entry(write.entry.id) {
            Slot::Vacant(slot) => {
                slot.insert(write);
            }
            Slot::Occupied(_) => faults.push(Fault::Shared { version }),
        }
        match booked.get(&write.entry.id) {
            None => faults.push(Fault::Lost { version, amount: write.entry.amount }),
            Some(entry) if **entry != write.entry => faults.push(Fault::Altered {
                version,
                acknowledged: write.entry.amount,
                shown: entry.amount,
            }),
            Some(_) => (),
        }
    }
    let mut unknown: BTreeMap<(Deed, i64), u64> = BTreeMap::new();
    for it in case.unknown {
        *unknown.entry((it.deed, it.amount)).or_default() += 1;
    }
    for entry in booked.values().filter(|it| !acknowledged.contains_key(&it.id)) {
        match unknown.get_mut(&(entry.deed, entry.amount)) {
            Some(left) if 0 < *left => *left -= 1,
            Some(_) | None => {
                faults.push(Fault::Stranger { version: entry.after.version, amount: entry.amount });
            }
        }
    }
}

/// What was acknowledged before another was sent has the lower version.
fn check_order(case: &Case<'_>, faults: &mut Vec<Fault>) {
    let mut writes: Vec<&Write> = case.writes.iter().collect();
    writes.sort_unstable_by_key(|it| it.entry.after.version);
    // Of those with higher versions, the one that was acknowledged first.
    let mut first: Option<&Write> = None;
    for write in writes.into_iter().rev() {
        if let Some(later) = first.filter(|it| it.answered < write.sent) {
            let (version, earlier) = (write.entry.after.version, later.entry.after.version);
            faults.push(Fault::OutOfOrder { version, earlier });
        }
        if first.is_none_or(|it| write.answered < it.answered) {
            first = Some(write);
        }
    }
}

/// Each read shows a balance that was, and not an older or a newer one than it may.
fn check_reads(case: &Case<'_>, entries: &[Entry], faults: &mut Vec<Fault>) {
    let mut posted: BTreeMap<u64, i64> =
        entries.iter().map(|it| (it.after.version, it.after.posted)).collect();
    posted.insert(case.opening.version, case.opening.posted);
    for read in case.reads {
        if posted.get(&read.shown.version) != Some(&read.shown.posted) {
            faults.push(Fault::NeverSo { shown: read.shown });
        }
    }
    // By time of answering: the highest version that had been acknowledged by then.
    let mut writes: Vec<&Write> = case.writes.iter().collect();
    writes.sort_unstable_by_key(|it| it.answered);
    let mut reads: Vec<&Read> = case.reads.iter().collect();
    reads.sort_unstable_by_key(|it| it.sent);
    let (mut at, mut acknowledged) = (0, case.opening.version);
    for read in &reads {
        while let Some(write) = writes.get(at).filter(|it| it.answered < read.sent) {
            acknowledged = acknowledged.max(write.entry.after.version);
            at += 1;
        }
        if read.shown.version < acknowledged {
            faults.push(Fault::Stale { shown: read.shown.version, acknowledged });
        }
    }
    // By time of sending, backwards: the lowest version that had not yet been asked for.
    writes.sort_unstable_by_key(|it| std::cmp::Reverse(it.sent));
    reads.sort_unstable_by_key(|it| std::cmp::Reverse(it.answered));
    let (mut at, mut unasked) = (0, u64::MAX);
    for read in reads {
        while let Some(write) = writes.get(at).filter(|it| read.answered < it.sent) {
            unasked = unasked.min(write.entry.after.version);
            at += 1;
        }
        if unasked <= read.shown.version {
            faults.push(Fault::Foreseen { shown: read.shown.version, version: unasked });
        }
    }
}

/// What is known of the writes to an account whose history is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Acknowledged writes.
    pub count: u64,
    /// Credits less debits.
    pub sum: i128,
}

impl Total {
    /// Counts one acknowledged write.
    pub(crate) fn add(&mut self, deed: Deed, amount: i64) {
        self.count += 1;
        self.sum += i128::from(signed(deed, amount));
    }
}

/// Judges the balance of an account alone: it is the opening with all that was acknowledged, and
/// with any of the unknown.
pub fn audit_balance(
    opening: Position,
    total: Total,
    unknown: &[Unknown],
    balance: Position,
) -> Option<Fault> {
    let credits = |of: Deed| -> i128 {
        unknown.iter().filter(|it| it.deed == of).map(|it| i128::from(it.amount)).sum()
    };
    let booked = i128::from(opening.posted) + total.sum;
    let range = booked - credits(Deed::Debit)..=booked + credits(Deed::Credit);
    let version = opening.version.saturating_add(total.count);
    let unknown_count = u64::try_from(unknown.len()).unwrap_or(u64::MAX);
    let versions = version..=version.saturating_add(unknown_count);
    let is_right =
        range.contains(&i128::from(balance.posted)) && versions.contains(&balance.version);
    (!is_right).then(|| Fault::Balance {
        shown: balance,
        booked: Position { posted: i64::try_from(booked).unwrap_or(i64::MAX), version },
    })
}

/// One currency of a trial balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialLine {
    pub currency: String,
    pub debits: i128,
    pub credits: i128,
    pub sum: i128,
}

/// What is wrong with a service's trial balance: what it says of itself must be so.
pub fn audit_trial(says_balanced: bool, lines: &[TrialLine]) -> Vec<String> {
    let mut faults = Vec::new();
    if !says_balanced {
        faults.push("says that it does not balance".to_owned());
    }
    for line in lines {
        let TrialLine { currency, debits, credits, sum } = line;
        if credits.checked_sub(*debits) != Some(0) || *sum != 0 {
            faults.push(format!("{currency}: debits {debits}, credits {credits}, sum {sum}"));
        }
    }
    faults
}
