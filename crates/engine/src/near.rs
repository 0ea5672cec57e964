//! Where keys that no index has were first used: by a look at the journal around the times at which
//! they were minted.

use crate::{
    engine::{KeyPlace, mint_window},
    error::EngineError,
    records::{Range, Records},
};
use stdx::Map;
use wire::{KeyHash, PartitionId, Seq, Timestamp};

/// A key, the window in which it can have been used, and its place among those asked for.
struct Wanted {
    partition: PartitionId,
    key: KeyHash,
    from: Timestamp,
    to: Timestamp,
    place: usize,
}

/// Looks for all keys; those whose windows overlap share one reading of the records. In the order
/// of `keys`.
pub(crate) fn find(
    journal: &impl Records,
    keys: &[(PartitionId, KeyHash, Timestamp)],
) -> Result<Vec<Option<KeyPlace>>, EngineError> {
    let mut found = vec![None; keys.len()];
    let wanted = keys.iter().enumerate().map(|(place, &(partition, key, at))| {
        let (from, to) = mint_window(at);
        Wanted { partition, key, from, to, place }
    });
    let mut wanted: Vec<Wanted> = wanted.collect();
    wanted.sort_unstable_by_key(|it| (it.partition, it.from));
    for group in wanted.chunk_by(|a, b| a.partition == b.partition && b.from <= a.to) {
        find_group(journal, group, &mut found)?;
    }
    Ok(found)
}

/// Looks for keys of one partition whose windows join. All are equally long, so the first to begin
/// begins them all, and the last ends them.
fn find_group(
    journal: &impl Records,
    group: &[Wanted],
    found: &mut [Option<KeyPlace>],
) -> Result<(), EngineError> {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
    let (partition, to) = (first.partition, last.to);
    let mut places: Map<KeyHash, Vec<usize>> = Map::default();
    for it in group {
        places.entry(it.key).or_default().push(it.place);
    }
    let whole = Range { partition, first: Seq(1), last: journal.end(partition)? };
    let mut rest = Range { first: journal.first_from(whole, first.from)?, ..whole };
    while rest.first <= rest.last && !places.is_empty() {
        let records = journal.chunk(rest)?;
        let Some((last, _)) = records.last() else { break };
        rest.first = last.header.seq.next();
        for (record, _) in &records {
            if to < record.header.time {
                return Ok(());
            }
            for (index, item) in (0_u16..).zip(&record.items) {
                for place in places.remove(&item.key).into_iter().flatten() {
                    found[place] = Some(KeyPlace { seq: record.header.seq, index });
                }
            }
        }
    }
    Ok(())
}
