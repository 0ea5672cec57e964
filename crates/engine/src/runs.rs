//! Clients' keys as sorted runs: what of them is written, and where one is looked for.
//!
//! A key is a hash. In an index of single keys each new one changes a page of its own, and the more
//! there are the dearer that is. Here the keys that a projection brings to a partition are one run:
//! sorted, in blocks of [`BLOCK_ENTRIES`]. Runs of a size become one (`merges.rs`), so a key is
//! written a few times in its day, always beside others (O'Neil, Cheng, Gawlick, O'Neil: The
//! Log-Structured Merge-Tree, Acta Informatica 33, 1996). Who looks for a key looks at one block of
//! each run, and there are some dozens; the owner's filter (`ledger/src/seen.rs`) spares it that for
//! nearly every new key.
//!
//! The runs of a partition change in the transaction that moves its mark, and in no other: whoever
//! may project it is alone with them. A run is of one day, and goes with it.
//!
//! Pure, and the same for every engine.

use crate::engine::KeyPlace;
use wire::{Flaw, KeyHash, Seq};

/// Keys of a block: with them a row is below 2,000 bytes, which PostgreSQL keeps in one piece, and
/// two are a page of SQLite.
pub(crate) const BLOCK_ENTRIES: usize = 80;
/// The last of all keys.
pub(crate) const KEY_LAST: KeyHash = KeyHash(u128::MAX);

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

pub(crate) fn count(keys: usize) -> u64 {
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
        key: key_of(*key),
        seq: Seq(u64::from_be_bytes([0, 0, 0, *s0, *s1, *s2, *s3, *s4])),
        index: u16::from_be_bytes([*i0, *i1]),
    }
}

/// A key as it is stored: bytes that sort like the number.
pub(crate) fn key_bytes(key: KeyHash) -> [u8; KEY_BYTES] {
    key.0.to_be_bytes()
}

/// What [`key_bytes`] has stored.
pub(crate) fn key_of(bytes: [u8; KEY_BYTES]) -> KeyHash {
    KeyHash(u128::from_be_bytes(bytes))
}

/// The last key of a slice from this one on that has about `wanted` of so many keys, which are
/// spread evenly.
pub(crate) fn slice_end(from: KeyHash, keys: u64, wanted: u64) -> KeyHash {
    let slices = keys.div_ceil(wanted.max(1)).max(1);
    KeyHash(from.0.saturating_add(KEY_LAST.0 / u128::from(slices)))
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
