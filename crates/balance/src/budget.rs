//! How many requests may be repeated: a share of what was asked lately, and a floor.
//!
//! Without one, every layer that repeats a failed request multiplies an overload (Google SRE,
//! chapter 21); with one, retries add at most the share.

use crate::window::Window;
use std::time::Duration;
use stdx::Moment;

/// What was asked within this time earns retries.
const WINDOW: Duration = Duration::from_secs(10);
const SECOND_NS: u64 = 1_000_000_000;

/// Invariant: the floor pays for at most its number in any second; whenever the share pays for a
/// retry, those it paid for in the last ten seconds, this one included, are at most the share of the
/// requests of those seconds.
#[derive(Clone, Debug)]
pub struct Budget {
    share_permille: u32,
    floor_per_second: u32,
    /// Good: requests. Bad: the retries that the share paid for.
    window: Window,
    /// Which second since the start the floor last paid in, and how often.
    second: u64,
    floor_used: u32,
}

impl Budget {
    /// Retries for `share_permille` thousandths of the requests of the last ten seconds, and
    /// `floor_per_second` in any second, so that a quiet service may repeat something at all.
    pub fn new(share_permille: u32, floor_per_second: u32) -> Budget {
        let window = Window::new(WINDOW);
        Budget { share_permille, floor_per_second, window, second: 0, floor_used: 0 }
    }

    /// A first attempt is made.
    pub fn requested(&mut self, now: Moment) {
        let tally = self.window.at(now);
        tally.good = tally.good.saturating_add(1);
    }

    /// Whether one retry may be made; a granted one is counted as made.
    pub fn try_retry(&mut self, now: Moment) -> bool {
        let second = now.as_nanos() / SECOND_NS;
        if self.second < second {
            (self.second, self.floor_used) = (second, 0);
        }
        if self.floor_used < self.floor_per_second {
            self.floor_used += 1;
            return true;
        }
        let sum = self.window.sum(now);
        let earned = u64::from(sum.good) * u64::from(self.share_permille) / 1_000;
        let granted = u64::from(sum.bad) < earned;
        if granted {
            self.window.at(now).bad += 1;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::Rng;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    /// After `requests` at the start, how many of `tries` at `ms` are granted.
    #[track_caller]
    fn check(budget: (u32, u32), requests: u32, ms: u64, tries: u32, expected: usize) {
        let mut budget = Budget::new(budget.0, budget.1);
        (0..requests).for_each(|_| budget.requested(at(0)));
        let granted = (0..tries).filter(|_| budget.try_retry(at(ms))).count();
        assert_eq!(granted, expected);
    }

    #[test]
    fn grants_the_share_and_the_floor() {
        check((200, 0), 100, 0, 100, 20);
        check((200, 0), 0, 0, 100, 0);
        check((200, 3), 0, 0, 100, 3);
        check((200, 3), 100, 0, 100, 23);
        check((200, 3), 100, 9_999, 100, 23);
        check((200, 3), 100, 10_000, 100, 3);
        check((0, 0), 100, 0, 100, 0);
        check((1_000, 0), 7, 0, 100, 7);
    }

    #[test]
    fn grants_exactly_what_share_and_floor_allow() {
        for seed in 0..32 {
            let mut rng = Rng::new(seed);
            let (share, floor) = (rng.below(500), rng.below(4));
            let [share_permille, floor_per_second] =
                [share, floor].map(|it| it.try_into().unwrap());
            let mut budget = Budget::new(share_permille, floor_per_second);
            let (mut ms, mut requests) = (0, Vec::new());
            let (mut by_floor, mut by_share) = (Vec::new(), Vec::new());
            for _ in 0..5_000 {
                ms += u64::try_from(rng.below(8)).unwrap();
                if rng.below(3) == 0 {
                    budget.requested(at(ms));
                    requests.push(ms);
                    continue;
                }
                // The slow model: count what lies in the second and in the window, one by one.
                let second = ms / 1_000;
                let since = |second: u64, all: &[u64]| {
                    all.iter().filter(|&&it| second <= it / 1_000).count()
                };
                let window = second.saturating_sub(9);
                let earned = since(window, &requests) * share / 1_000;
                let expected = if since(second, &by_floor) < floor {
                    by_floor.push(ms);
                    true
                } else if since(window, &by_share) < earned {
                    by_share.push(ms);
                    true
                } else {
                    false
                };
                assert_eq!(budget.try_retry(at(ms)), expected, "SEED={seed} at {ms} ms");
            }
        }
    }
}
