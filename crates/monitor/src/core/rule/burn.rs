//! How fast an error budget is used up, over a long and a short window at once.
//!
//! The windows and factors are those of the SRE Workbook ("Alerting on SLOs", multiwindow,
//! multi-burn-rate) for a budget of 30 days: 2 % of it within an hour, 5 % within 6 hours, 10 %
//! within a day or 3 days. Both windows of a pair have to agree: the long one says that it
//! matters, the short one that it still goes on.
//!
//! Time before the first reading counts as good, with the traffic that was seen since: a node that
//! has been watched for a minute has not used up the budget of an hour.

use super::{super::severity::Severity, Vote};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};

/// A long and a short window and how fast the budget may burn in both.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub long: Duration,
    pub short: Duration,
    pub factor: f64,
    pub severity: Severity,
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

/// From the fastest to the slowest.
pub const PAIRS: [Pair; 4] = [
    Pair { long: minutes(60), short: minutes(5), factor: 14.4, severity: Severity::Critical },
    Pair { long: minutes(360), short: minutes(30), factor: 6.0, severity: Severity::Critical },
    Pair { long: minutes(1_440), short: minutes(120), factor: 3.0, severity: Severity::Warning },
    Pair { long: minutes(4_320), short: minutes(360), factor: 1.0, severity: Severity::Warning },
];
/// Part of a factor at which a pair has ended: below where it began.
const LEAVE: f64 = 0.8;
/// Minutes that are kept one by one: the longest window of minutes, and the one that is begun.
const FINE_MAX: usize = 361;
/// Minutes of one coarse slot, and how many there are for three days.
const COARSE_MINUTES: u64 = 30;
const COARSE_MAX: usize = 145;

/// What was good and bad in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// Its number in the order of time.
    at: u64,
    part: f64,
    whole: f64,
}

/// Sums by the minute for six hours, and by the half hour for three days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    fine: VecDeque<Slot>,
    coarse: VecDeque<Slot>,
}

/// What the windows say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burning {
    pub vote: Vote,
    /// Of the worst pair that has not ended.
    pub severity: Severity,
    /// How many times too fast, in the worst pair.
    pub speed: f64,
}

impl Burn {
    /// Adds what came since the last time. `clock` is how long it has been watched.
    pub fn add(&mut self, clock: Duration, part: f64, whole: f64) {
        let minute = clock.as_secs() / 60;
        add(&mut self.fine, minute, FINE_MAX, part, whole);
        add(&mut self.coarse, minute / COARSE_MINUTES, COARSE_MAX, part, whole);
    }

    /// Holds the windows against what is `allowed`, a share of the whole; `least` is the traffic
    /// of the long window below which nothing is said.
    pub fn judge(&self, clock: Duration, allowed: f64, least: f64) -> Burning {
        let vote = Vote { is_bad: false, is_beyond: false };
        let mut out = Burning { vote, severity: Severity::Warning, speed: 0.0 };
        for pair in PAIRS {
            let long = self.share(clock, pair.long, least) / allowed;
            let short = self.share(clock, pair.short, 0.0) / allowed;
            let speed = long.min(short);
            out.vote.is_bad |= pair.factor <= speed;
            if pair.factor * LEAVE <= speed {
                out.vote.is_beyond = true;
                out.severity = out.severity.max(pair.severity);
            }
            out.speed = out.speed.max(speed);
        }
        out
    }

    /// The bad share of a window that ends now.
    fn share(&self, clock: Duration, window: Duration, least: f64) -> f64 {
        let now = clock.as_secs() / 60;
        let minutes = window.as_secs() / 60;
        let (slots, now, length) = if minutes < FINE_MAX as u64 {
            (&self.fine, now, minutes)
        } else {
            (&self.coarse, now / COARSE_MINUTES, minutes / COARSE_MINUTES)
        };
        let within = slots.iter().rev().take_while(|it| now < it.at + length);
        let (part, whole) =
            within.fold((0.0, 0.0), |(part, whole), it| (part + it.part, whole + it.whole));
        let seen = clock.as_secs_f64().clamp(1.0, window.as_secs_f64());
        let whole = whole * (window.as_secs_f64() / seen);
        if whole <= 0.0 || whole < least { 0.0 } else { part / whole }
    }
}

fn add(slots: &mut VecDeque<Slot>, at: u64, most: usize, part: f64, whole: f64) {
    match slots.back_mut() {
        Some(slot) if slot.at == at => {
            slot.part += part;
            slot.whole += whole;
        }
        Some(_) | None => slots.push_back(Slot { at, part, whole }),
    }
    while most < slots.len() {
        slots.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many minutes at 100 requests a second with this share of errors.
    fn runs(burn: &mut Burn, clock: &mut Duration, minutes: u64, errors: f64) {
        for _ in 0..minutes {
            burn.add(*clock, 6_000.0 * errors, 6_000.0);
            *clock += Duration::from_secs(60);
        }
    }

    /// The minutes that errors of this share take to be told of, and how badly.
    fn found_after(errors: f64) -> Option<(u64, Severity)> {
        let (mut burn, mut clock) = (Burn::default(), Duration::ZERO);
        runs(&mut burn, &mut clock, 4_320, 0.0);
        (1..=6_000).find_map(|minute| {
            runs(&mut burn, &mut clock, 1, errors);
            let it = burn.judge(clock, 0.001, 0.0);
            it.vote.is_bad.then_some((minute, it.severity))
        })
    }

    #[test]
    fn the_faster_it_burns_the_sooner_it_is_told() {
        // All at once: 14.4 ‰ of an hour.
        assert_eq!(found_after(1.0), Some((1, Severity::Critical)));
        // 2 %: 14.4 of an hour at 20 is 43 minutes; 6 of six hours at 20 is later.
        let (minutes, severity) = found_after(0.02).unwrap();
        assert_eq!((minutes.div_ceil(5), severity), (9, Severity::Critical));
        // Ten times too fast: 6 of 6 h after 3.6 h.
        let (minutes, severity) = found_after(0.01).unwrap();
        assert!((210..=220).contains(&minutes), "{minutes}");
        assert_eq!(severity, Severity::Critical);
        // Four times: a ticket after 18 h.
        let (minutes, severity) = found_after(0.004).unwrap();
        assert!((1_050..=1_110).contains(&minutes), "{minutes}");
        assert_eq!(severity, Severity::Warning);
        // Within the budget: nobody.
        assert_eq!(found_after(0.000_9), None);
    }

    #[test]
    fn it_ends_soon_after_the_errors_do() {
        let (mut burn, mut clock) = (Burn::default(), Duration::ZERO);
        runs(&mut burn, &mut clock, 600, 0.0);
        runs(&mut burn, &mut clock, 10, 0.5);
        assert!(burn.judge(clock, 0.001, 0.0).vote.is_bad);
        runs(&mut burn, &mut clock, 6, 0.0);
        let fast = PAIRS[0];
        assert!(burn.share(clock, fast.long, 0.0) / 0.001 > fast.factor, "the hour is spoilt");
        assert!(burn.share(clock, fast.short, 0.0) / 0.001 < fast.factor * LEAVE);
        runs(&mut burn, &mut clock, 360, 0.0);
        assert!(!burn.judge(clock, 0.001, 0.0).vote.is_beyond);
    }

    #[test]
    fn a_young_node_has_not_used_an_hours_budget() {
        // One second of errors in the first minute: nothing beside an hour.
        let mut burn = Burn::default();
        burn.add(Duration::from_secs(30), 100.0, 6_000.0);
        let clock = Duration::from_secs(60);
        assert!(!burn.judge(clock, 0.001, 0.0).vote.is_bad);
        // A minute of nothing but errors is.
        let mut burn = Burn::default();
        burn.add(Duration::from_secs(30), 6_000.0, 6_000.0);
        assert!(burn.judge(clock, 0.001, 0.0).vote.is_bad);
        // Next to no traffic says nothing.
        assert!(!burn.judge(clock, 0.001, 1e9).vote.is_bad);
    }

    #[test]
    fn it_forgets() {
        let (mut burn, mut clock) = (Burn::default(), Duration::ZERO);
        runs(&mut burn, &mut clock, 20_000, 0.5);
        assert_eq!((burn.fine.len(), burn.coarse.len()), (FINE_MAX, COARSE_MAX));
    }
}
