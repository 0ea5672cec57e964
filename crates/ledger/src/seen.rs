//! Which keys of clients are surely new: a Bloom filter over every key that the index has.
//!
//! Nearly every key is new, and to learn that from an index on disk costs more than to decide the
//! command. The filter answers in one or a few reads of memory; what it does not know for new is
//! looked up. It is worth something only once it has *all* keys that the views have: of a partition
//! that begins here it has them by learning, of one that was taken over they are brought to it.
//!
//! A key takes 16 bits in a part that is full, and for each such part one in 1,100 new keys is
//! looked up in vain. With 12 bits it would be one in 240, and they alone, which wait for another
//! thread and perhaps another process, would be seen in the p99. Each part is four times as large as
//! the one before, up to [`PART_KEYS_MAX`], so a million keys are in four, and they are kept by the
//! day of journal time as the index is. Past [`KEYS_MAX`] keys of a partition nothing is sure any
//! more and everything is looked up again.

use std::collections::VecDeque;
use wire::{KeyHash, Timestamp};

/// Keys of one partition that are told from new ones: 240 MB at the most, and more than come in two
/// days of a million a minute over 64 partitions.
pub const KEYS_MAX: usize = 1 << 26;
/// Days of keys: one more than any index keeps, for the days of partitions are not those of
/// services.
const DAYS_MAX: usize = 3;
/// Bits that a key is given.
const KEY_BITS: usize = 16;
/// Keys of a day's first part: 32 KiB.
const PART_KEYS_MIN: usize = 1 << 14;
/// Keys of the largest part: 32 MiB, all of which its first thousands touch.
const PART_KEYS_MAX: usize = 1 << 24;
/// Words of a block: a cache line, in each word of which a key has one bit.
const BLOCK_WORDS: usize = 8;
const BLOCK_BITS: usize = BLOCK_WORDS * 64;
const DAY_MICROS: i64 = 86_400_000_000;

/// The keys of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Every key of the views is here.
    is_whole: bool,
    /// Oldest first.
    days: VecDeque<Day>,
    /// Keys of all days.
    count: usize,
    keys_max: usize,
}

#[derive(Clone, Debug)]
struct Day {
    number: i64,
    /// Each four times as large as the one before; keys go to the last.
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    blocks: Vec<[u64; BLOCK_WORDS]>,
    room: usize,
    count: usize,
}

impl Seen {
    /// No keys yet. `is_whole`: there are none in the views either.
    pub(crate) fn new(is_whole: bool) -> Seen {
        Seen { is_whole, days: VecDeque::new(), count: 0, keys_max: KEYS_MAX }
    }

    /// Whether it has every key that the views have.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// All that the views had has been added, unless it was too much.
    pub(crate) fn complete(&mut self) {
        self.is_whole = self.count < self.keys_max;
    }

    /// Whether neither the views nor any record that was added have this key.
    pub(crate) fn is_new(&self, key: KeyHash) -> bool {
        let has = |day: &Day| day.parts.iter().rev().any(|part| part.has(key));
        self.is_whole && !self.days.iter().rev().any(has)
    }

    /// Adds a key that was used at this time.
    pub(crate) fn add(&mut self, key: KeyHash, time: Timestamp) {
        if self.keys_max <= self.count {
            // Nothing is sure from now on, so nothing of it is of use.
            self.is_whole = false;
            self.days.clear();
            return;
        }
        self.day(time).add(key);
        self.count = self.count.saturating_add(1);
    }

    /// The day of a time; the newest one when that is over.
    fn day(&mut self, time: Timestamp) -> &mut Day {
        let number = time.0.div_euclid(DAY_MICROS);
        if self.days.back().is_none_or(|day| day.number < number) {
            self.days.push_back(Day { number, parts: Vec::new() });
            if DAYS_MAX < self.days.len()
                && let Some(day) = self.days.pop_front()
            {
                let gone: usize = day.parts.iter().map(|part| part.count).sum();
                self.count = self.count.saturating_sub(gone);
            }
        }
        let known = self.days.iter().rposition(|day| day.number == number);
        let at = known.unwrap_or_else(|| self.days.len().saturating_sub(1));
        self.days.get_mut(at).expect("one was made if there was none")
    }
}

impl Day {
    fn add(&mut self, key: KeyHash) {
        if self.parts.last().is_none_or(|part| part.room <= part.count) {
            let room = self.parts.last().map_or(PART_KEYS_MIN, |part| part.room.saturating_mul(4));
            self.parts.push(Part::new(room.min(PART_KEYS_MAX)));
        }
        self.parts.last_mut().expect("one was made if there was none").add(key);
    }
}

impl Part {
    fn new(room: usize) -> Part {
        let blocks = room.saturating_mul(KEY_BITS).div_ceil(BLOCK_BITS);
        Part { blocks: vec![[0; BLOCK_WORDS]; blocks], room, count: 0 }
    }

    fn add(&mut self, key: KeyHash) {
        let at = self.block(key);
        for (word, mask) in self.blocks[at].iter_mut().zip(masks(key)) {
            *word |= mask;
        }
        self.count = self.count.saturating_add(1);
    }

    fn has(&self, key: KeyHash) -> bool {
        let block = &self.blocks[self.block(key)];
        block.iter().zip(masks(key)).all(|(word, mask)| word & mask != 0)
    }

    /// The key is a hash: its halves are as good as two.
    fn block(&self, key: KeyHash) -> usize {
        let (high, count) = (key.0 >> 64, self.blocks.len() as u128);
        usize::try_from(high.saturating_mul(count) >> 64).expect("below the count of blocks")
    }
}

/// One bit of each word of a block.
fn masks(key: KeyHash) -> [u64; BLOCK_WORDS] {
    let mut masks = [0; BLOCK_WORDS];
    let mut rest = key.0;
    for mask in &mut masks {
        *mask = 1_u64 << (rest & 63);
        rest >>= 6;
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(from: u64, count: u64) -> impl Iterator<Item = KeyHash> {
        let hash = |number: u64| blake3::hash(&number.to_le_bytes());
        (from..).take(usize::try_from(count).unwrap()).map(move |number| {
            let bytes = *hash(number).as_bytes().first_chunk().expect("a hash has 32 bytes");
            KeyHash(u128::from_le_bytes(bytes))
        })
    }

    fn day(number: i64) -> Timestamp {
        Timestamp(number.saturating_mul(DAY_MICROS).saturating_add(7))
    }

    #[test]
    fn what_was_added_is_never_new_and_what_was_not_nearly_always() {
        const COUNT: u64 = 200_000;
        let mut seen = Seen::new(true);
        for key in keys(0, COUNT) {
            seen.add(key, day(1));
            assert!(!seen.is_new(key));
        }
        assert!(keys(0, COUNT).all(|key| !seen.is_new(key)));
        let mistaken = keys(COUNT, COUNT).filter(|key| !seen.is_new(*key)).count();
        // Two full parts, and one that is half full.
        assert!(mistaken < 600, "{mistaken} of {COUNT}");
        let bytes: usize = seen.days[0].parts.iter().map(|part| part.blocks.len() * 64).sum();
        assert!(bytes * 8 < 30 * 200_000, "{bytes} bytes");
    }

    #[test]
    fn nothing_is_sure_before_all_is_there_and_when_there_is_too_much() {
        let mut seen = Seen::new(false);
        let all: Vec<_> = keys(0, 11).collect();
        seen.add(all[0], day(1));
        assert!(!seen.is_new(all[1]) && !seen.is_whole());
        seen.complete();
        assert!(seen.is_new(all[1]) && !seen.is_new(all[0]));
        seen.keys_max = 10;
        all[1..10].iter().for_each(|key| seen.add(*key, day(1)));
        assert!(seen.is_new(all[10]));
        seen.add(all[10], day(1));
        assert!(!seen.is_new(keys(50, 1).next().unwrap()));
        seen.complete();
        assert!(!seen.is_whole());
    }

    #[test]
    fn keys_are_kept_for_days_and_no_longer() {
        let mut seen = Seen::new(true);
        let all: Vec<_> = keys(0, 5).collect();
        for (key, number) in all.iter().zip([1, 9, 10, 8, 11]) {
            seen.add(*key, day(number)); // The 8th is over: its key is kept as one of the 10th.
        }
        let is_new: Vec<_> = all.iter().map(|key| seen.is_new(*key)).collect();
        assert_eq!(is_new, [true, false, false, false, false]);
        assert_eq!(seen.count, 4);
    }
}
