//! Counts of good and bad over a window that slides in parts.

use std::time::Duration;
use stdx::Moment;

/// A window is this many parts: it forgets a tenth at a time.
pub(crate) const PARTS: usize = 10;

/// What was counted in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) good: u32,
    pub(crate) bad: u32,
}

impl Tally {
    pub(crate) fn total(self) -> u64 {
        u64::from(self.good) + u64::from(self.bad)
    }

    fn plus(self, other: Tally) -> Tally {
        Tally {
            good: self.good.saturating_add(other.good),
            bad: self.bad.saturating_add(other.bad),
        }
    }
}

/// The counts of the current part and of the nine whole ones before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    part_ns: u64,
    /// The number of the current part since [`Moment::ZERO`].
    part: u64,
    tallies: [Tally; PARTS],
}

impl Window {
    /// A window `length` long, which is at least [`PARTS`] nanoseconds.
    pub(crate) fn new(length: Duration) -> Window {
        let parts = u128::try_from(PARTS).unwrap_or(1);
        let part_ns = u64::try_from(length.as_nanos() / parts).unwrap_or(u64::MAX).max(1);
        Window { part_ns, part: 0, tallies: [Tally::default(); PARTS] }
    }

    /// The tally that counts `now`. A clock that steps back counts in the current part.
    pub(crate) fn at(&mut self, now: Moment) -> &mut Tally {
        self.slide(now);
        let slot = slot(self.part);
        &mut self.tallies[slot]
    }

    /// Everything in the window.
    pub(crate) fn sum(&mut self, now: Moment) -> Tally {
        self.slide(now);
        self.tallies.iter().fold(Tally::default(), |sum, &it| sum.plus(it))
    }

    pub(crate) fn clear(&mut self) {
        self.tallies = [Tally::default(); PARTS];
    }

    fn slide(&mut self, now: Moment) {
        let part = now.as_nanos() / self.part_ns;
        if part <= self.part {
            return;
        }
        let parts = u64::try_from(PARTS).unwrap_or(u64::MAX);
        for gone in self.part + 1..=part.min(self.part.saturating_add(parts)) {
            self.tallies[slot(gone)] = Tally::default();
        }
        self.part = part;
    }
}

fn slot(part: u64) -> usize {
    let parts = u64::try_from(PARTS).unwrap_or(1);
    usize::try_from(part % parts).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts one good at each of `times`, in milliseconds, and expects the sum at the last.
    #[track_caller]
    fn check(times: &[u64], expected: u32) {
        let mut window = Window::new(Duration::from_secs(1));
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        for &ms in times {
            window.at(at(ms)).good += 1;
        }
        assert_eq!(window.sum(at(*times.last().unwrap())).good, expected, "{times:?}");
    }

    #[test]
    fn forgets_part_by_part() {
        check(&[0, 50, 99, 999], 4);
        check(&[0, 50, 100, 1_000], 2);
        check(&[0, 100, 1_100], 1);
        check(&[0, 500, 90_000], 1);
        check(&[90_000, 0], 2); // A clock that steps back.
    }
}
