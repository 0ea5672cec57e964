//! The recent idempotency keys in memory: generations by journal time, dropped whole.
//!
//! A key's entry says where its outcome is, not what it is. One costs 33 B in a table that is 44
//! to 88 % full, so 38 to 75 B; it stays for [`KEEP_SECONDS`] to [`KEEP_SECONDS`] +
//! [`GENERATION_SECONDS`] of journal time, if the projector keeps up. At a steady rate:
//!
//! | commands a second | keys in memory | bytes |
//! | --- | --- | --- |
//! | 1,000 | 90,000 | 3 to 7 MB |
//! | 16,700 (1 M a minute) | 1.5 M | 57 to 113 MB |
//! | 46,600 | 4.2 M | 160 to 315 MB |
//!
//! Full memory ([`KEYS_MAX`]) forgets nothing that it must keep: there is no room for commands
//! until time or the projector have made some, and the caller sheds what comes (`overloaded`,
//! nothing executed).

use std::collections::VecDeque;
use stdx::Map;
use wire::{Fingerprint, KeyHash, Seq, Timestamp, limits};

/// How long a key is remembered at least, in seconds of journal time: a retry may start as late
/// as one deadline after the first try, and wait for another.
pub const KEEP_SECONDS: u32 = 60;
/// How long one generation takes keys, in seconds of journal time.
pub const GENERATION_SECONDS: u32 = 30;
/// Keys that one partition remembers at most: 46,600 commands a second for 90 s.
pub const KEYS_MAX: usize = 1 << 22;

const _: () = {
    assert!(limits::DEADLINE_SECONDS_MAX * 2 <= KEEP_SECONDS);
    assert!(KEEP_SECONDS.is_multiple_of(GENERATION_SECONDS)); // A miss asks three generations.
    assert!(limits::BATCH_COMMANDS_MAX < KEYS_MAX);
};

/// Where the outcome of a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    pub fingerprint: Fingerprint,
    pub seq: Seq,
    pub index: u16,
}

/// Keys of the last minutes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    /// Oldest first; new keys go to the last.
    generations: VecDeque<Generation>,
    count: usize,
    /// Number of the last record whose keys were dropped.
    forgotten: Seq,
}

#[derive(Clone, Debug)]
struct Generation {
    entries: Map<KeyHash, Place>,
    /// Time of its first record.
    oldest: Timestamp,
    /// Time of its last record.
    newest: Timestamp,
    /// Number of its last record.
    last: Seq,
}

/// A [`KeyEntry`] in 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    fingerprint: Fingerprint,
    /// Number of the record (48 bits are enough: an id has 40 for it), then place in it (16).
    at: u64,
}

impl Place {
    fn new(entry: KeyEntry) -> Place {
        assert!(entry.seq.0 < 1 << 48);
        Place { fingerprint: entry.fingerprint, at: (entry.seq.0 << 16) | u64::from(entry.index) }
    }

    fn entry(self) -> KeyEntry {
        let index = u16::try_from(self.at & 0xffff).expect("masked");
        KeyEntry { fingerprint: self.fingerprint, seq: Seq(self.at >> 16), index }
    }
}

impl Keys {
    /// Keys in memory.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How many more fit.
    pub(crate) fn room(&self) -> usize {
        KEYS_MAX.saturating_sub(self.count)
    }

    /// The last record whose keys were dropped; those of every later one are here.
    pub(crate) fn forgotten(&self) -> Seq {
        self.forgotten
    }

    /// The newest use of this key that memory knows.
    pub(crate) fn get(&self, key: KeyHash) -> Option<KeyEntry> {
        let newest_first = self.generations.iter().rev();
        newest_first.filter_map(|it| it.entries.get(&key)).next().map(|place| place.entry())
    }

    /// Remembers the keys of one record.
    pub(crate) fn insert(
        &mut self,
        time: Timestamp,
        seq: Seq,
        keys: impl Iterator<Item = (KeyHash, KeyEntry)>,
    ) {
        let generation = self.generation_at(time);
        generation.newest = generation.newest.max(time);
        generation.last = generation.last.max(seq);
        let before = generation.entries.len();
        for (key, entry) in keys {
            generation.entries.insert(key, Place::new(entry));
        }
        let more = generation.entries.len().saturating_sub(before);
        self.count = self.count.saturating_add(more);
    }

    /// Drops generations whose every key is older than [`KEEP_SECONDS`] at `now` and in a record
    /// that is projected.
    pub(crate) fn forget(&mut self, now: Timestamp, watermark: Seq) {
        while let Some(first) = self.generations.front()
            && first.last <= watermark
            && micros(KEEP_SECONDS) <= now.0.saturating_sub(first.newest.0)
        {
            self.count = self.count.saturating_sub(first.entries.len());
            self.forgotten = self.forgotten.max(first.last);
            self.generations.pop_front();
        }
    }

    fn generation_at(&mut self, time: Timestamp) -> &mut Generation {
        let over =
            |it: &Generation| micros(GENERATION_SECONDS) <= time.0.saturating_sub(it.oldest.0);
        if self.generations.back().is_none_or(over) {
            // As large as the last one was: at a steady rate no table grows, and so none stalls.
            let capacity = self.generations.back().map_or(0, |it| it.entries.len());
            let entries = Map::with_capacity_and_hasher(capacity, Default::default());
            let generation = Generation { entries, oldest: time, newest: time, last: Seq(0) };
            self.generations.push_back(generation);
        }
        self.generations.back_mut().expect("just made")
    }
}

fn micros(seconds: u32) -> i64 {
    i64::from(seconds).saturating_mul(1_000_000)
}
