//! Reads all keys of some partitions, part by part, while their runs are merged.
//!
//! A merge moves keys from run to run, so a pass that went from run to run could miss some. This one
//! goes through the days, newest first, in each through the partitions, and in each of these through
//! the range of keys, slice by slice over all runs: whatever is merged between two parts, a key is
//! in its slice.
//!
//! Pure, and the same for every engine.

use crate::{
    engine::{KeyMark, KeyScan},
    key_days::day_start,
    runs::{Entry, count, slice_end},
};
use wire::{KeyHash, PartitionId};

/// Keys of one partition and day, the first and the last included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) day: i64,
    pub(crate) partition: PartitionId,
    pub(crate) first: KeyHash,
    pub(crate) last: KeyHash,
}

/// A part of a pass.
#[derive(Debug)]
pub(crate) struct Part {
    /// Each with the day that it is kept under.
    pub(crate) keys: Vec<(i64, PartitionId, Entry)>,
    /// Where the next part begins, unless this is the last.
    pub(crate) next: Option<KeyMark>,
}

impl From<Part> for KeyScan {
    fn from(part: Part) -> KeyScan {
        let keys = part.keys.into_iter();
        let key = |(day, partition, it): (_, _, Entry)| (partition, it.key, day_start(day));
        KeyScan { keys: keys.map(key).collect(), next: part.next }
    }
}

/// One state of the runs.
pub(crate) trait Runs {
    type Error;

    /// How many keys a partition has of a day; more or fewer make the parts of another size.
    fn keys_count(&self, day: i64, partition: PartitionId) -> Result<u64, Self::Error>;

    /// Adds the keys of a slice to `entries`, each once; others beside them do no harm.
    fn read(&self, slice: Slice, entries: &mut Vec<Entry>) -> Result<(), Self::Error>;
}

/// The next part: about `wanted` keys, twice as many at the most, if keys are spread as hashes are.
/// `days`: those that are there, newest first, for one that begins meanwhile has keys of this
/// pass's time only. `partitions` are those of the part before, without those that have left.
pub(crate) fn part<R: Runs>(
    runs: &R,
    days: &[i64],
    partitions: &[PartitionId],
    from: Option<KeyMark>,
    wanted: usize,
) -> Result<Part, R::Error> {
    let mut partitions = partitions.to_vec();
    partitions.sort_unstable();
    let mut part = Part { keys: Vec::new(), next: None };
    let mut entries = Vec::new();
    for &day in days {
        for &partition in &partitions {
            let Some(mut first) = begin(from, day, partition) else { continue };
            let keys = runs.keys_count(day, partition)?;
            if keys == 0 {
                continue;
            }
            loop {
                if wanted <= part.keys.len() {
                    part.next = Some(KeyMark { day, partition, key: first });
                    return Ok(part);
                }
                let last = slice_end(first, keys, count(wanted));
                entries.clear();
                runs.read(Slice { day, partition, first, last }, &mut entries)?;
                let inside = entries.iter().filter(|it| (first..=last).contains(&it.key));
                part.keys.extend(inside.map(|it| (day, partition, *it)));
                match last.0.checked_add(1) {
                    Some(next) => first = KeyHash(next),
                    None => break,
                }
            }
        }
    }
    Ok(part)
}

/// Where in a partition's keys of a day the pass goes on; `None`: it is through with them.
fn begin(from: Option<KeyMark>, day: i64, partition: PartitionId) -> Option<KeyHash> {
    let Some(mark) = from else { return Some(KeyHash(0)) };
    // Days go down.
    match (mark.day, partition).cmp(&(day, mark.partition)) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(mark.key),
        std::cmp::Ordering::Greater => Some(KeyHash(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, collections::BTreeSet, convert::Infallible};
    use stdx::Rng;
    use wire::Seq;

    /// Keys of days and partitions, and how many more are told than there are.
    struct World {
        keys: BTreeSet<(i64, PartitionId, KeyHash)>,
        error: u64,
        reads: Cell<usize>,
    }

    impl Runs for World {
        type Error = Infallible;

        fn keys_count(&self, day: i64, partition: PartitionId) -> Result<u64, Infallible> {
            let count = self.keys.iter().filter(|it| (it.0, it.1) == (day, partition)).count();
            Ok(if count == 0 { 0 } else { count as u64 + self.error })
        }

        fn read(&self, slice: Slice, entries: &mut Vec<Entry>) -> Result<(), Infallible> {
            self.reads.set(self.reads.get() + 1);
            // Blocks reach beyond the slice.
            let (before, after) = (slice.first.0.saturating_sub(9), slice.last.0.saturating_add(9));
            let of = |key| (slice.day, slice.partition, KeyHash(key));
            let found = self.keys.range(of(before)..=of(after));
            entries.extend(found.map(|it| Entry { key: it.2, seq: Seq(1), index: 0 }));
            Ok(())
        }
    }

    #[test]
    fn a_pass_brings_every_key_once_in_parts_of_their_size() {
        let mut rng = Rng::new(11);
        for round in 0..200 {
            let mut world = World { keys: BTreeSet::new(), error: round % 3, reads: Cell::new(0) };
            let partitions: Vec<_> = (0..5).map(PartitionId).collect();
            for _ in 0..rng.below(300) {
                let key = (u128::from(rng.next()) << 64) | u128::from(rng.next());
                let edge = [0, u128::MAX, 1, key, key, key][rng.below(6)];
                let day = [20_000, 20_001][rng.below(2)];
                world.keys.insert((day, partitions[rng.below(5)], KeyHash(edge)));
            }
            let (mut left, mut from) = (partitions.clone(), None);
            let wanted = 1 + rng.below(40);
            let (mut found, mut leaves) = (Vec::new(), rng.below(2) == 0);
            loop {
                let part = part(&world, &[20_001, 20_000], &left, from, wanted).unwrap();
                let keys = part.keys.into_iter();
                found.extend(keys.map(|(day, partition, it)| (day, partition, it.key)));
                from = part.next;
                let Some(mark) = from else { break };
                // A partition that leaves during the pass brings no more, and takes nothing along.
                if std::mem::take(&mut leaves) {
                    left.retain(|it| *it != mark.partition);
                }
            }
            found.sort_unstable();
            let mut once = found.clone();
            once.dedup();
            assert_eq!(found, once, "round {round}");
            let whole = world.keys.iter().filter(|it| left.contains(&it.1));
            assert!(whole.copied().all(|it| found.contains(&it)), "round {round}");
            assert!(world.reads.get() <= 2 * (10 + world.keys.len() * 2 / wanted + 10));
        }
    }
}
