//! Transfers: what was acknowledged of them, against the histories of both accounts.
//!
//! The answer to a transfer names its two entries and no version, so they are looked up in the
//! histories first and are then judged there as any acknowledged write is. What only both accounts
//! together can show is judged here: that each transfer took as much as it gave.

use super::{Entry, Fault, Identity, Write};
use crate::work::Deed;
use std::collections::BTreeMap;
use stdx::Moment;

/// A transfer that was acknowledged, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub id: Identity,
    /// Number of the account that paid, and of the one that was to receive.
    pub from: u32,
    pub to: u32,
    pub amount: i64,
    /// The transaction that took it.
    pub debit: Identity,
    /// The transaction that gave it to the target; `None` where the target refused it and the
    /// source has it back.
    pub credit: Option<Identity>,
    pub sent: Moment,
    pub answered: Moment,
}

/// An entry that a history shows as part of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    pub transfer: Identity,
    pub account: u32,
    pub entry: Entry,
}

impl Transfer {
    /// What it must have left in the history of `account`: debit or credit, and its transaction
    /// where that was told.
    fn wanted(&self, account: u32) -> impl Iterator<Item = (Deed, Option<Identity>)> {
        let paid = (self.from == account).then_some((Deed::Debit, Some(self.debit)));
        let target = if self.credit.is_some() { self.to } else { self.from };
        let got = (target == account).then_some((Deed::Credit, self.credit));
        paid.into_iter().chain(got)
    }
}

/// The writes to `account` that these transfers acknowledged, as its history shows them in `legs`,
/// which are all of this account; and what is not there or is there otherwise.
pub fn writes<'a>(
    account: u32,
    transfers: impl Iterator<Item = &'a Transfer>,
    legs: &[Leg],
) -> (Vec<Write>, Vec<Fault>) {
    let mut shown: BTreeMap<(Identity, Deed), Vec<&Entry>> = BTreeMap::new();
    for leg in legs {
        shown.entry((leg.transfer, leg.entry.deed)).or_default().push(&leg.entry);
    }
    let (mut writes, mut faults) = (Vec::new(), Vec::new());
    for transfer in transfers {
        let Transfer { amount, sent, answered, .. } = *transfer;
        for (deed, id) in transfer.wanted(account) {
            let of_both = shown.get(&(transfer.id, deed)).map_or(&[][..], Vec::as_slice);
            let Some(entry) = of_both.iter().find(|it| id.is_none_or(|id| it.id == id)) else {
                faults.push(Fault::LegLost { deed, amount });
                continue;
            };
            if entry.amount != amount {
                let version = entry.after.version;
                faults.push(Fault::Altered { version, acknowledged: amount, shown: entry.amount });
            }
            writes.push(Write { account, entry: **entry, sent, answered });
        }
    }
    (writes, faults)
}

/// Every transfer that any history shows, acknowledged or not, has taken once what it has given
/// once: the faults with an account of each. Only for the histories of all accounts.
pub fn audit_pairs(legs: &mut [Leg]) -> Vec<(u32, Fault)> {
    legs.sort_unstable_by_key(|it| it.transfer);
    let mut faults = Vec::new();
    for of_one in legs.chunk_by(|a, b| a.transfer == b.transfer) {
        let sum = |deed: Deed| -> i128 {
            let its = of_one.iter().filter(|it| it.entry.deed == deed);
            its.map(|it| i128::from(it.entry.amount)).sum()
        };
        let (taken, given) = (sum(Deed::Debit), sum(Deed::Credit));
        if of_one.len() != 2 || taken != given {
            let entries = of_one.len();
            faults.push((of_one[0].account, Fault::Unpaired { entries, taken, given }));
        }
    }
    faults
}

/// Transfers between the accounts of a run leave their sum as it was. What is unknown may be under
/// way, and then no account has it.
pub fn audit_sum(opened: i128, shown: i128, unknown: i128) -> Option<String> {
    let is_right = (opened - unknown..=opened).contains(&shown);
    (!is_right).then(|| format!("all accounts together had {opened} before and have {shown} now"))
}

#[cfg(test)]
mod tests;
