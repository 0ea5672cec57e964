//! Clients' keys as sorted runs: what of them is written, and merged, and where one is looked for.
//!
//! A key is a hash. In an index of single keys each new one changes a page of its own, and the more
//! there are the dearer that is. Here the keys that a projection brings to a partition are one run:
//! sorted, in blocks of [`BLOCK_ENTRIES`]. [`FAN_OUT`] runs of a size become one, so a key is written
//! a few times in its day, always beside others (O'Neil, Cheng, Gawlick, O'Neil: The Log-Structured
//! Merge-Tree, Acta Informatica 33, 1996). Who looks for a key looks at one block of each run, a
//! dozen or two; the owner's filter (`ledger/src/seen.rs`) spares it that for nearly every new key.
//!
//! The runs of a partition change in the transaction that moves its mark, and in no other: whoever
//! may project it is alone with them. A run is of one day, and goes with it.
//!
//! Pure, and the same for every engine.

use crate::engine::KeyPlace;
use std::cmp::Reverse;
use wire::{Flaw, KeyHash, Seq};

/// Keys of a block: with them a row is below 2,000 bytes, which PostgreSQL keeps in one piece, and
/// two are a page of SQLite.
pub(crate) const BLOCK_ENTRIES: usize = 80;
/// Runs of a size that become one.
const FAN_OUT: usize = 8;
/// Keys of a run that is made of others: it is done at once, and moves 12 MB.
const MERGE_KEYS_MAX: u64 = 1 << 19;
/// Keys that a projection may move for each one that it brings, though one merge is always let in.
/// All partitions began at one moment, and would have their large ones at one.
const MOVES_PER_KEY: u64 = 4;

/// Bytes of a key, and of a key with its place.
pub(crate) const KEY_BYTES: usize = 16;
const SEQ_BYTES: usize = 5;
pub(crate) const ENTRY_BYTES: usize = KEY_BYTES + SEQ_BYTES + 2;

/// A key, and where it was used: in a record of a number below 2^40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: KeyHash,
    pub(crate) seq: Seq,
    pub(crate) index: u16,
}

impl Entry {
    /// As it stands in a block.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(key_bytes(self.key));
        out.extend(&self.seq.0.to_be_bytes()[8 - SEQ_BYTES..]);
        out.extend(self.index.to_be_bytes());
    }
}

/// A run of a partition and a day, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Of the last record of the projection that wrote it.
    pub(crate) number: i64,
    /// How many keys it has.
    pub(crate) keys: u64,
}

/// Which runs become one with the new keys: for each partition that a projection brings keys to,
/// from the runs that it has, and how many come.
///
/// Who has most runs comes first, so that nobody has to wait for ever.
pub(crate) fn plan(mut partitions: Vec<(Vec<Run>, usize)>) -> Vec<Vec<Run>> {
    let fresh: usize = partitions.iter().map(|(_, fresh)| fresh).sum();
    let mut left = MOVES_PER_KEY.saturating_mul(count(fresh));
    let mut has_merged = false;
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|at| Reverse(partitions[*at].0.len()));
    let mut planned = vec![Vec::new(); partitions.len()];
    for at in order {
        let (runs, fresh) = &mut partitions[at];
        let inputs = inputs(std::mem::take(runs), *fresh);
        let moved: u64 = inputs.iter().map(|it| it.keys).sum();
        if inputs.is_empty() || (has_merged && left < moved) {
            continue;
        }
        (has_merged, left) = (true, left.saturating_sub(moved));
        planned[at] = inputs;
    }
    planned
}

/// Which of a partition's runs would become one with `fresh` new keys. Sizes of which there are
/// enough are taken along, one after the other, so that nothing is written twice at once.
fn inputs(mut runs: Vec<Run>, fresh: usize) -> Vec<Run> {
    runs.sort_unstable_by_key(|it| (it.keys, it.number));
    let (mut keys, mut taken) = (count(fresh), 0);
    loop {
        let mut whole = keys;
        let small = runs[taken..].iter().take_while(|it| size(it.keys) <= size(keys));
        let more = small.take_while(|it| {
            whole = whole.saturating_add(it.keys);
            whole <= MERGE_KEYS_MAX
        });
        let more = more.count();
        if more + 1 < FAN_OUT {
            runs.truncate(taken);
            return runs;
        }
        keys += runs[taken..taken + more].iter().map(|it| it.keys).sum::<u64>();
        taken += more;
    }
}

/// Runs of one size differ by less than [`FAN_OUT`] times.
fn size(keys: u64) -> u32 {
    keys.max(1).ilog(FAN_OUT as u64)
}

fn count(keys: usize) -> u64 {
    u64::try_from(keys).expect("a count fits 64 bits")
}

/// Sorts the keys of a run. Of equal ones the last use counts: no key is decided again while it is
/// kept, so the earlier use is over.
pub(crate) fn settle(entries: &mut Vec<Entry>) {
    entries.sort(); // Of what is sorted in parts it makes use.
    entries.dedup_by(|later, earlier| {
        let is_same = later.key == earlier.key;
        if is_same {
            *earlier = *later;
        }
        is_same
    });
}

/// The blocks of a settled run, each with its first key.
pub(crate) fn blocks(entries: &[Entry]) -> impl Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)> {
    entries.chunks(BLOCK_ENTRIES).map(|entries| {
        let mut block = Vec::with_capacity(entries.len() * ENTRY_BYTES);
        entries.iter().for_each(|entry| entry.encode(&mut block));
        (entries.first().map_or([0; KEY_BYTES], |it| key_bytes(it.key)), block)
    })
}

/// Adds what a block has to `entries`. `first`: the key that its row says is its first.
pub(crate) fn read(first: &[u8], block: &[u8], entries: &mut Vec<Entry>) -> Result<(), Flaw> {
    let block = of_block(block)?;
    let is_sorted = block.is_sorted_by(|a, b| a[..KEY_BYTES] < b[..KEY_BYTES]);
    if !is_sorted || block.first().is_none_or(|entry| entry[..KEY_BYTES] != *first) {
        return Err(Flaw("a block of keys is not in order"));
    }
    entries.extend(block.iter().map(entry));
    Ok(())
}

/// Where in a block a key is, if it is there.
pub(crate) fn find(block: &[u8], key: KeyHash) -> Result<Option<KeyPlace>, Flaw> {
    let (entries, wanted) = (of_block(block)?, key_bytes(key));
    let found = entries.binary_search_by(|bytes| bytes[..KEY_BYTES].cmp(&wanted));
    Ok(found.ok().map(|at| {
        let Entry { seq, index, .. } = entry(&entries[at]);
        KeyPlace { seq, index }
    }))
}

fn of_block(block: &[u8]) -> Result<&[[u8; ENTRY_BYTES]], Flaw> {
    match block.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(Flaw("a block of keys ends within one")),
    }
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let [key @ .., s0, s1, s2, s3, s4, i0, i1] = bytes;
    Entry {
        key: KeyHash(u128::from_be_bytes(*key)),
        seq: Seq(u64::from_be_bytes([0, 0, 0, *s0, *s1, *s2, *s3, *s4])),
        index: u16::from_be_bytes([*i0, *i1]),
    }
}

/// A key as it is stored: bytes that sort like the number.
pub(crate) fn key_bytes(key: KeyHash) -> [u8; KEY_BYTES] {
    key.0.to_be_bytes()
}

/// The last key of a slice from this one on that has about `wanted` of so many keys, which are
/// spread evenly.
pub(crate) fn slice_end(from: KeyHash, keys: u64, wanted: usize) -> KeyHash {
    let slices = keys.div_ceil(count(wanted).max(1)).max(1);
    KeyHash(from.0.saturating_add(u128::MAX / u128::from(slices)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Rng;

    fn entries(rng: &mut Rng, seq: u64, count: usize) -> Vec<Entry> {
        let key = |rng: &mut Rng| (u128::from(rng.next()) << 64) | u128::from(rng.next());
        let entry = |index| Entry { key: KeyHash(key(rng)), seq: Seq(seq), index };
        (0..u16::MAX).take(count).map(entry).collect()
    }

    #[test]
    fn what_is_in_blocks_is_found_and_read_again() {
        let mut rng = Rng::new(1);
        for count in [0, 1, BLOCK_ENTRIES, BLOCK_ENTRIES + 1, 1_000] {
            let mut run = entries(&mut rng, (1 << 40) - 1, count);
            settle(&mut run);
            let all: Vec<_> = blocks(&run).collect();
            assert_eq!(all.len(), count.div_ceil(BLOCK_ENTRIES));
            let mut again = Vec::new();
            for (first, block) in &all {
                assert_eq!(block[..KEY_BYTES], *first);
                assert!(block.len() <= 1_840, "a row of PostgreSQL is one piece up to 2,032");
                read(first, block, &mut again).unwrap();
            }
            assert_eq!(again, run);
            for Entry { key, seq, index } in run {
                // Where a database would find its block.
                let at = all.partition_point(|(first, _)| *first <= key_bytes(key)) - 1;
                let place = KeyPlace { seq, index };
                assert_eq!(find(&all[at].1, key).unwrap(), Some(place));
                let other = KeyHash(key.0 ^ 1);
                assert_eq!(find(&all[at].1, other).unwrap(), None);
            }
        }
        let mut none = Vec::new();
        assert!(read(&[0; 16], &[0; 24], &mut none).is_err());
        assert!(read(&[0; 16], &[0; 46], &mut none).is_err(), "one key twice");
        assert!(read(&[1; 16], &[0; 23], &mut none).is_err(), "another first key");
        assert!(read(&[0; 16], &[], &mut none).is_err(), "no key");
        assert_eq!(none, []);
        assert!(find(&[0; 22], KeyHash(0)).is_err());
        assert_eq!(find(&[], KeyHash(0)).unwrap(), None);
    }

    #[test]
    fn of_equal_keys_the_last_use_counts() {
        let entry = |key, seq, index| Entry { key: KeyHash(key), seq: Seq(seq), index };
        let mut run = vec![entry(2, 9, 1), entry(1, 3, 0), entry(2, 10, 0), entry(2, 9, 7)];
        settle(&mut run);
        assert_eq!(run, [entry(1, 3, 0), entry(2, 10, 0)]);
    }

    /// Projections that bring so many keys to each of so many partitions: the runs that are there
    /// in the end, and how often a key was written.
    fn grow(
        partitions: usize,
        turns: u64,
        mut fresh: impl FnMut(u64) -> usize,
    ) -> (Vec<Vec<Run>>, f64) {
        let mut all = vec![Vec::<Run>::new(); partitions];
        let (mut brought, mut written) = (0, 0);
        for turn in 1..=turns {
            let fresh: Vec<usize> = all.iter().map(|_| fresh(turn)).collect();
            let planned = plan(all.iter().cloned().zip(fresh.iter().copied()).collect());
            let mut most = Vec::new();
            for ((runs, inputs), fresh) in all.iter_mut().zip(planned).zip(&fresh) {
                assert!(inputs.is_empty() || FAN_OUT <= inputs.len() + 1, "{inputs:?}");
                let moved: u64 = inputs.iter().map(|it| it.keys).sum();
                runs.retain(|it| !inputs.contains(it));
                let keys = moved + count(*fresh);
                assert!(inputs.is_empty() || keys <= MERGE_KEYS_MAX);
                runs.push(Run { number: i64::try_from(turn).unwrap(), keys });
                (brought, written) = (brought + count(*fresh), written + keys);
                most.push(moved);
            }
            most.sort_unstable();
            let _largest = most.pop();
            let others: u64 = most.iter().sum();
            assert!(others <= MOVES_PER_KEY * count(fresh.iter().sum()), "all at once");
        }
        let kept: u64 = all.iter().flatten().map(|it| it.keys).sum();
        assert_eq!(kept, brought, "no key is lost");
        (all, written as f64 / brought as f64)
    }

    /// The most runs that a partition has which may still be merged, and the most others.
    fn most(all: &[Vec<Run>]) -> (usize, usize) {
        let is_whole = |it: &&Run| MERGE_KEYS_MAX / 8 < it.keys;
        let whole = |runs: &Vec<Run>| runs.iter().filter(is_whole).count();
        let counts = all.iter().map(|runs| (runs.len() - whole(runs), whole(runs)));
        counts.fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    #[test]
    fn runs_stay_few_and_keys_are_written_few_times() {
        // One key at a time, for an hour.
        let (runs, writes) = grow(1, 3_600, |_| 1);
        assert!(most(&runs) <= (4 * 7, 0) && writes < 4.5, "{:?}, {writes}", most(&runs));
        // A million a minute over two services of two nodes, for as long.
        let (runs, writes) = grow(16, 3_600, |_| 260);
        assert!(most(&runs).0 <= 4 * 7 && most(&runs).1 <= 14, "{:?}", most(&runs));
        assert!(writes < 4.5, "{writes}");
        // More partitions than have their turn soon.
        let (runs, writes) = grow(100, 1_000, |_| 20);
        assert!(most(&runs) <= (5 * 7, 0) && writes < 4.5, "{:?}, {writes}", most(&runs));
        // Whatever comes.
        let mut rng = Rng::new(5);
        let any = |_| {
            let bound = [8, 64, 512, 4_096][rng.below(4)];
            1 + rng.below(bound)
        };
        let (runs, writes) = grow(8, 3_600, any);
        assert!(most(&runs).0 <= 6 * 7 && writes < 5.0, "{:?}, {writes}", most(&runs));
        // More at once than is ever merged, and few again.
        let (runs, _) = grow(2, 1_000, |turn| if turn < 20 { 600_000 } else { 3 });
        assert!(most(&runs).0 <= 4 * 7 && most(&runs).1 == 19, "{:?}", most(&runs));
    }

    #[test]
    fn one_large_merge_a_turn_and_small_ones_beside_it() {
        let with = |keys, runs: i64, fresh| {
            ((0..runs).map(|number| Run { number, keys }).collect::<Vec<_>>(), fresh)
        };
        let counts = |partitions| plan(partitions).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(vec![with(9, 6, 9), with(9, 0, 9)]), [0, 0]);
        assert_eq!(counts(vec![with(9, 7, 9), with(9, 0, 9)]), [7, 0]);
        // The first may be larger than what 4 keys for each of 30 allow, and the others may not.
        assert_eq!(counts(vec![with(9, 7, 10), with(9, 9, 10), with(9, 7, 10)]), [0, 9, 0]);
        // Of runs that are merged already there may be any number.
        assert_eq!(counts(vec![with(1 << 17, 50, 10)]), [0]);
        assert_eq!(counts(vec![with(60_000, 50, 60_000)]), [7]);
    }

    #[test]
    fn slices_reach_the_end() {
        for (keys, wanted, slices) in [(0, 5, 1), (1, 5, 1), (5, 5, 1), (1_000, 10, 100)] {
            let (mut from, mut count) = (KeyHash(0), 0);
            loop {
                count += 1;
                let last = slice_end(from, keys, wanted);
                assert!(from <= last);
                let Some(next) = last.0.checked_add(1) else { break };
                from = KeyHash(next);
            }
            assert_eq!(count, slices, "{keys} keys, {wanted} at a time");
        }
    }
}
