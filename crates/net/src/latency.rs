//! How long answers took lately: counts in buckets of fixed width, over a window that slides.
//!
//! A bucket is an eighth of an octave wide, so a quantile is at most 12.5 % too high and never too
//! low. To count is an index and an add; nothing is allocated after the start.

use std::time::Duration;
use stdx::Moment;

/// How far back a snapshot looks, give or take one slice.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The window forgets a slice at a time; one more is being filled.
const SLICES: usize = 6;
const SLICE_NS: u64 = 2_000_000_000;
/// Parts of an octave.
const PARTS_BITS: u32 = 3;
const PARTS: usize = 1 << PARTS_BITS;
/// Microseconds are told apart up to 2^27, which is 134 s: longer than any deadline.
const OCTAVE_MAX: u32 = 26;
const BUCKETS: usize = 25 * PARTS;

const _: () = {
    assert!(WINDOW.as_nanos() == SLICE_NS as u128 * (SLICES as u128 - 1));
    assert!(BUCKETS == (OCTAVE_MAX as usize - PARTS_BITS as usize + 2) * PARTS);
};

/// The latencies of the last ten seconds. Belongs to one thread.
#[derive(Clone, Debug)]
pub struct LatencyWindow {
    slices: Box<[Slice; SLICES]>,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    /// Which two seconds since [`Moment::ZERO`] these are.
    number: u64,
    counts: [u32; BUCKETS],
}

impl Default for LatencyWindow {
    fn default() -> LatencyWindow {
        LatencyWindow { slices: Box::new([Slice { number: 0, counts: [0; BUCKETS] }; SLICES]) }
    }
}

impl LatencyWindow {
    /// Counts an answer that took `latency`.
    pub fn record(&mut self, now: Moment, latency: Duration) {
        let number = now.as_nanos() / SLICE_NS;
        let slice = &mut self.slices[place(number)];
        if slice.number != number {
            *slice = Slice { number, counts: [0; BUCKETS] };
        }
        let count = &mut slice.counts[bucket(latency)];
        *count = count.saturating_add(1);
    }

    /// What was counted within the window.
    pub fn counts(&self, now: Moment) -> LatencyCounts {
        let current = now.as_nanos() / SLICE_NS;
        let mut out = LatencyCounts::default();
        let fresh = |it: &&Slice| current.saturating_sub(it.number) < SLICES as u64;
        for slice in self.slices.iter().filter(fresh) {
            out.add(&slice.counts);
        }
        out
    }
}

/// A snapshot, to be merged with those of other threads.
#[derive(Clone, Debug)]
pub struct LatencyCounts {
    counts: Box<[u32; BUCKETS]>,
}

impl Default for LatencyCounts {
    fn default() -> LatencyCounts {
        LatencyCounts { counts: Box::new([0; BUCKETS]) }
    }
}

impl LatencyCounts {
    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: &LatencyCounts) {
        self.add(&other.counts);
    }

    fn add(&mut self, counts: &[u32; BUCKETS]) {
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
    }

    /// How many answers there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }

    /// What at least `permille` thousandths of the answers did not exceed; `None` without any.
    pub fn quantile(&self, permille: u64) -> Option<Duration> {
        let total = self.total();
        let rank = (total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            rank <= seen
        })?;
        (total != 0).then(|| Duration::from_micros(upper_edge(at)))
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % SLICES as u64).expect("below the number of slices")
}

/// Below 8 µs a bucket each, then eight to an octave.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let micros = micros.min((1 << (OCTAVE_MAX + 1)) - 1);
    let octave = micros.checked_ilog2().unwrap_or(0);
    let index = match octave.checked_sub(PARTS_BITS) {
        None => micros,
        Some(above) => {
            let part = (micros >> above) & (PARTS as u64 - 1);
            u64::from(above + 1) * PARTS as u64 + part
        }
    };
    usize::try_from(index).expect("below the number of buckets")
}

/// The highest latency, in microseconds, that falls into a bucket.
fn upper_edge(bucket: usize) -> u64 {
    let index = bucket as u64;
    match (index / PARTS as u64).checked_sub(1) {
        None => index,
        Some(above) => ((PARTS as u64 + index % PARTS as u64 + 1) << above) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_at_most_an_eighth_too_high() {
        let mut micros = 0_u64;
        while micros < 1 << 27 {
            let edge = upper_edge(bucket(Duration::from_micros(micros)));
            assert!(micros <= edge && edge <= micros + micros / 8, "{micros}: {edge}");
            micros += 1 + micros / 50;
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_the_last_ten_seconds_and_of_all_threads() {
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let (mut one, mut other) = (LatencyWindow::default(), LatencyWindow::default());
        assert_eq!(one.counts(at(0)).quantile(500), None);
        one.record(at(0), Duration::from_secs(9));
        for _ in 0..98 {
            one.record(at(8), Duration::from_micros(100));
        }
        other.record(at(9), Duration::from_millis(5));
        let merged = |now| {
            let mut counts = one.counts(now);
            counts.merge(&other.counts(now));
            counts
        };
        let micros = |now, permille| merged(now).quantile(permille).unwrap().as_micros();
        assert_eq!((merged(at(10)).total(), merged(at(13)).total()), (100, 99));
        assert_eq!((micros(at(10), 500), micros(at(10), 980)), (103, 103));
        assert!((5_000..=5_625).contains(&micros(at(10), 990)));
        assert!(9_000_000 <= micros(at(10), 1_000));
        assert!((5_000..=5_625).contains(&micros(at(13), 1_000)));
        assert_eq!(merged(at(99)).quantile(500), None);
    }
}
