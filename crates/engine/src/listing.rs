//! Reads over all accounts of some partitions: the list of them, and their books.
//!
//! What the views have is corrected by what only the journal has yet. The records there bear
//! absolute figures, so of a tail of any length one patch per account is kept.

use crate::{
    change::Patch,
    engine::PAGE_BYTES_MAX,
    error::EngineError,
    records::{Range, Records, SEQ_MAX},
    views::{Balance, Views},
};
use std::collections::{BTreeMap, BTreeSet};
use stdx::Map;
use wire::{
    AccountId, AccountState, Contra, Currency, PartitionId, Seq, ServiceTag, Timestamp,
    query::{Books, CurrencyBooks, Listing},
};

/// Bytes of an account besides its texts.
const ACCOUNT_BYTES: usize = 256;

/// What the journal has above the views, folded.
#[derive(Default)]
struct Tail {
    accounts: BTreeMap<PartitionId, Map<AccountId, Patch>>,
    external: BTreeMap<(PartitionId, Contra), i128>,
    heads: BTreeMap<PartitionId, Seq>,
}

impl Tail {
    fn read(
        journal: &impl Records,
        views: &impl Views,
        service: ServiceTag,
        partitions: &BTreeSet<PartitionId>,
    ) -> Result<Tail, EngineError> {
        let mut tail = Tail::default();
        for &partition in partitions {
            for (contra, balance) in views.external(partition)? {
                let _before = tail.external.insert((partition, contra), balance);
            }
            let mark = views.mark(partition)?;
            let mut head = mark.seq;
            let patches = tail.accounts.entry(partition).or_default();
            let range = Range { partition, first: mark.seq.next(), last: SEQ_MAX };
            journal.for_each(range, |record, _| {
                head = record.header.seq;
                for (contra, balance) in &record.external {
                    let _before = tail.external.insert((partition, *contra), *balance);
                }
                for (index, item) in (0_u16..).zip(&record.items) {
                    if !item.verdict.changes_account() {
                        continue;
                    }
                    let id = item.action.account();
                    let patch = patches.entry_ref(id).or_default();
                    patch.add(&record, service, index, item);
                }
            })?;
            let _none = tail.heads.insert(partition, head);
        }
        Ok(tail)
    }

    /// Accounts that the views do not have yet.
    fn opened(&self) -> impl Iterator<Item = (PartitionId, AccountState)> + '_ {
        self.accounts.iter().flat_map(|(partition, patches)| {
            let opened = patches.values().filter(|patch| patch.opens);
            opened.filter_map(|patch| Some((*partition, patch.apply(None)?)))
        })
    }

    fn patch(&self, partition: PartitionId, id: &str) -> Option<&Patch> {
        self.accounts.get(&partition)?.get(id)
    }

    /// What an account's balance is that the views have with `posted`: absolute figures again.
    fn posted(&self, partition: PartitionId, id: &str, posted: i64) -> i64 {
        match self.patch(partition, id).map(|patch| (patch.last, &patch.state)) {
            Some((Some(last), _)) => last.posted,
            Some((None, Some(state))) => state.posted,
            Some((None, None)) | None => posted,
        }
    }
}

/// A page of accounts, newest first, and whether older ones remain.
pub(crate) fn page(
    journal: &impl Records,
    views: &impl Views,
    service: ServiceTag,
    partitions: &[PartitionId],
    listing: &Listing,
) -> Result<(Vec<AccountState>, bool), EngineError> {
    let distinct: BTreeSet<PartitionId> = partitions.iter().copied().collect();
    let tail = Tail::read(journal, views, service, &distinct)?;
    let partitions: Vec<PartitionId> = distinct.into_iter().collect();
    let limit = usize::try_from(listing.limit).unwrap_or(usize::MAX);
    let wanted = limit.saturating_add(1); // One more, to see whether any remains.
    let mut rows = projected(views, &partitions, &tail, listing, wanted)?;
    rows.extend(tail.opened().map(|(_, state)| state).filter(|state| {
        listing.before.as_ref().is_none_or(|(at, id)| (state.created_at, &state.id) < (*at, id))
    }));
    rows.sort_unstable_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let mut bytes = 0;
    let mut count = 0;
    while count < rows.len().min(limit) && (count == 0 || bytes < PAGE_BYTES_MAX) {
        bytes += ACCOUNT_BYTES + rows[count].metadata.len();
        count += 1;
    }
    let more = count < rows.len();
    rows.truncate(count);
    Ok((rows, more))
}

/// The first `wanted` accounts of the page that the views have, as they are by now.
fn projected(
    views: &impl Views,
    partitions: &[PartitionId],
    tail: &Tail,
    listing: &Listing,
    wanted: usize,
) -> Result<Vec<AccountState>, EngineError> {
    let before = match &listing.before {
        Some((at, id)) => (*at, id.as_str()),
        None => (Timestamp(i64::MAX), ""),
    };
    let found = views.accounts_before(partitions, before, wanted)?;
    let patched = |(partition, state): (PartitionId, AccountState)| match tail
        .patch(partition, state.id.as_str())
    {
        Some(patch) => patch.apply(Some(state)).expect("an account stays when it is patched"),
        None => state,
    };
    Ok(found.into_iter().map(patched).collect())
}

/// The books, each at the end of its partition's journal.
pub(crate) fn books(
    journal: &impl Records,
    views: &impl Views,
    service: ServiceTag,
    partitions: &[PartitionId],
) -> Result<Vec<Books>, EngineError> {
    let wanted = partitions.iter().copied().collect();
    let tail = Tail::read(journal, views, service, &wanted)?;
    let overflow = || views.corrupt("the balances of a partition are beyond 128 bits".to_owned());
    let mut sums: Map<(PartitionId, Currency), (i128, i128)> = Map::default();
    let mut add = |partition, currency, balance: i128| {
        let (debits, credits) = sums.entry((partition, currency)).or_default();
        let side = if balance < 0 { debits } else { credits };
        *side = balance.checked_abs().and_then(|it| side.checked_add(it)).ok_or_else(overflow)?;
        Ok(())
    };
    for (&(partition, contra), &balance) in &tail.external {
        add(partition, contra.currency, balance)?;
    }
    let partitions: Vec<PartitionId> = wanted.into_iter().collect();
    views.each_balance(&partitions, &mut |it: Balance<'_>| {
        let posted = tail.posted(it.partition, it.id, it.posted);
        add(it.partition, it.currency, i128::from(posted))
    })?;
    for (partition, state) in tail.opened() {
        add(partition, state.currency, i128::from(state.posted))?;
    }
    let books = |(partition, head)| {
        let mut currencies: Vec<CurrencyBooks> = sums
            .iter()
            .filter(|((it, _), _)| *it == partition)
            .map(|((_, currency), (debits, credits))| CurrencyBooks {
                currency: *currency,
                debits: *debits,
                credits: *credits,
            })
            .collect();
        currencies.sort_unstable_by_key(|it| it.currency);
        Books { partition, head, currencies }
    };
    Ok(tail.heads.into_iter().map(books).collect())
}
