//! When a node's turns to project are.
//!
//! The nodes of a tree count them by the wall clock, each a little later than the one before it in
//! the topology. Projecting takes a processor for some milliseconds: were all nodes of a machine, or
//! of a database, to begin at one moment, whatever commits meanwhile would find none free.
//!
//! Pure: the time is an argument, and what the wall clock showed is told once.

use std::time::Duration;
use stdx::Moment;
use wire::Timestamp;

/// How long records gather before they are projected: it bounds how stale the views are.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// Turns a period, in each of which so many of the partitions are projected (docs/tuning.md: two gain
/// less, eight no more).
pub(crate) const TURNS: u32 = 4;
/// The time from one turn to the next.
pub(crate) const EVERY: Duration = PERIOD.checked_div(TURNS).expect("there are turns");

/// The turns of one projector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    /// What is between a turn and the next multiple of [`EVERY`] after [`Moment::ZERO`].
    ahead: Duration,
}

impl Turns {
    /// Of the projector at `place` of so many. `now` and `wall`: what both clocks show at one moment;
    /// that the wall clock is set later makes no difference but to how turns fall beside those of
    /// nodes that start then.
    pub(crate) fn new((place, of): (usize, usize), (now, wall): (Moment, Timestamp)) -> Turns {
        let wall = Duration::from_micros(wall.0.unsigned_abs());
        let zero = wall.saturating_sub(now.since(Moment::ZERO));
        let nodes = u32::try_from(of).unwrap_or(u32::MAX).max(1);
        let later = EVERY / nodes * u32::try_from(place).unwrap_or(0);
        // Whole periods make no difference, and the sum must not fall below zero.
        let ahead = zero + PERIOD.saturating_sub(later);
        Turns { ahead }
    }

    /// The first turn after `now`.
    pub(crate) fn after(self, now: Moment) -> Moment {
        let since_zero = now.since(Moment::ZERO) + self.ahead;
        let every = EVERY.as_nanos();
        let over = u64::try_from(since_zero.as_nanos() % every).unwrap_or(0);
        now + EVERY.saturating_sub(Duration::from_nanos(over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(ms)
    }

    /// When, by the wall clock in milliseconds, the next turn is of the node at `place` of four, whose
    /// process started at `zero` and lives for as long as `at` says.
    fn next(place: usize, zero: i64, at: u64) -> u64 {
        let next = Turns::new((place, 4), (ms(5), Timestamp((zero + 5) * 1_000))).after(ms(at));
        let wait = next.since(ms(at));
        assert!(!wait.is_zero() && wait <= EVERY, "{wait:?}");
        zero.unsigned_abs() + at + u64::try_from(wait.as_millis()).unwrap()
    }

    #[test]
    fn nodes_have_their_turns_one_after_the_other_whenever_they_started() {
        for zero in [1_790_000_000_000, 1_790_000_000_001, 1_790_000_000_777] {
            for place in 0..4 {
                // 0.3 s after a full second by the wall clock.
                let at = 2_300 - u64::try_from(zero % 1_000).unwrap();
                let of_second = next(place, zero, at) % 1_000;
                let expected = 62 * u64::try_from(place).unwrap();
                assert!((of_second % 250).abs_diff(expected) <= 1, "{of_second}, {place}");
            }
        }
    }

    #[test]
    fn a_turn_is_every_so_often_and_never_now() {
        let alone = Turns::new((0, 1), (ms(0), Timestamp(0)));
        for (now, next) in [(0, 250), (249, 250), (250, 500), (999, 1_000), (1_000, 1_250)] {
            assert_eq!(alone.after(ms(now)), ms(next));
        }
    }

    #[test]
    fn nobody_has_a_place_that_breaks_it() {
        for (place, of) in [(0, 0), (7, 4), (usize::MAX, 1), (1, usize::MAX)] {
            let wait = Turns::new((place, of), (ms(9), Timestamp(-1))).after(ms(5)).since(ms(5));
            assert!(!wait.is_zero() && wait <= EVERY, "{wait:?}");
        }
    }
}
