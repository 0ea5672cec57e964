//! Estimates of latency: what we see of an endpoint, and what a node says of itself.

use crate::endpoint::Report;
use std::time::Duration;
use stdx::Moment;

/// A slower answer moves our estimate by this share of the difference, a faster one by less: what
/// has become slow must be noticed at once, what has become fast may prove it (the peak-sensitive
/// estimate of Finagle).
const WEIGHT_UP: f64 = 0.25;
const WEIGHT_DOWN: f64 = 0.1;
/// What one more result weighs in the share of failures.
const WEIGHT_FAILURE: f64 = 0.2;
/// An endpoint that fails always looks this many times as slow as it, or its pool, otherwise is.
const FAILURE_FACTOR: f64 = 20.0;
/// What was seen fades with this time constant, so that an endpoint shunned for it is tried again
/// (Netflix, "Rethinking edge load balancing", 2018: statistics decay to zero).
const FADE: Duration = Duration::from_secs(3);

/// Our own view of an endpoint's latency, in seconds; a failure counts as penalised latency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnLatency {
    mean: f64,
    /// From 0 to 1.
    failures: f64,
    seen_at: Moment,
}

impl OwnLatency {
    pub(crate) fn new(now: Moment) -> OwnLatency {
        OwnLatency { mean: 0.0, failures: 0.0, seen_at: now }
    }

    pub(crate) fn answered(&mut self, now: Moment, latency: Duration) {
        let sample = latency.as_secs_f64();
        self.fade(now);
        self.mean = if self.mean == 0.0 { sample } else { toward(self.mean, sample) };
        self.failures *= 1.0 - WEIGHT_FAILURE;
    }

    pub(crate) fn failed(&mut self, now: Moment) {
        self.fade(now);
        self.failures += WEIGHT_FAILURE * (1.0 - self.failures);
    }

    /// It took at least this long, and nobody knows how long: may raise the estimate, never lowers it.
    pub(crate) fn unanswered(&mut self, now: Moment, latency: Duration) {
        let sample = latency.as_secs_f64();
        self.fade(now);
        if self.mean < sample {
            self.mean = toward(self.mean, sample);
        }
    }

    /// The estimate in seconds, failures left out; zero when nothing is known or it has faded.
    pub(crate) fn mean_at(&self, now: Moment) -> f64 {
        self.mean * self.faded(now)
    }

    /// `base` seconds, penalised for what failed. `usual` is the latency of the pool: an endpoint that
    /// fails fast must not look fast for it.
    pub(crate) fn penalised(&self, now: Moment, base: f64, usual: f64) -> f64 {
        base + self.failures * self.faded(now) * FAILURE_FACTOR * base.max(usual)
    }

    fn faded(&self, now: Moment) -> f64 {
        (-now.since(self.seen_at).as_secs_f64() / FADE.as_secs_f64()).exp()
    }

    /// Only failures fade for good here: a mean that is renewed need not start from nothing.
    fn fade(&mut self, now: Moment) {
        self.failures *= self.faded(now);
        self.seen_at = self.seen_at.max(now);
    }
}

fn toward(mean: f64, sample: f64) -> f64 {
    let weight = if mean < sample { WEIGHT_UP } else { WEIGHT_DOWN };
    mean + weight * (sample - mean)
}

/// What is in flight and since when, on average.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ages {
    count: u32,
    /// Sum of the moments of the start.
    starts_ns: u128,
}

impl Ages {
    pub(crate) fn start(&mut self, now: Moment) {
        self.count += 1;
        self.starts_ns += u128::from(now.as_nanos());
    }

    pub(crate) fn end(&mut self, started_at: Moment) {
        self.count = self.count.saturating_sub(1);
        self.starts_ns = self.starts_ns.saturating_sub(u128::from(started_at.as_nanos()));
    }

    /// Seconds. Where answers vary as much as they usually do (like an exponential's), about as long
    /// as an answer takes; where nothing is answered, it grows.
    pub(crate) fn mean_at(&self, now: Moment) -> f64 {
        let Some(mean_ns) = self.starts_ns.checked_div(u128::from(self.count)) else { return 0.0 };
        let mean = Moment::from_nanos(u64::try_from(mean_ns).unwrap_or(u64::MAX));
        now.since(mean).as_secs_f64()
    }
}

/// Depths are told apart up to 2^16 in flight, in halves of powers of two.
const DEPTHS: usize = 34;
/// What a result weighs in the estimate of its depth.
const WEIGHT_DEPTH: f64 = 0.1;
/// One result counts as at most this many times the estimate: it says more of the request.
const OUTLIER_FACTOR: f64 = 5.0;
/// After this long, a depth's estimate is of another time.
const DEPTH_AGE_MAX: Duration = Duration::from_secs(5);

/// What a node measures of itself to report it: how much is in flight, and how long an answer takes
/// with that many in flight.
///
/// Prequal (NSDI 2024, section 4) reports the median of recent latencies at about the current
/// number in flight. This keeps a mean per depth, with outliers cut off, and never reports less than
/// the mean age of what is in flight: right after a burst only the shortest requests are answered,
/// and a node that hangs answers none, so that what was answered says too little.
#[derive(Clone, Debug)]
pub struct LoadMeter {
    ages: Ages,
    /// In flight, but in somebody else's hands: their age is not this node's.
    paused: u32,
    /// Seconds, and when the last result came.
    depths: [Option<(f64, Moment)>; DEPTHS],
}

/// A request that counts as in flight. Give it back to [`LoadMeter::end`], once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    at: Moment,
    found_in_flight: u32,
}

/// A request that is in other hands. Give it back to [`LoadMeter::resume`], once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    spent: Duration,
    found_in_flight: u32,
}

impl Arrival {
    /// How long ago it came.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.at)
    }
}

impl Default for LoadMeter {
    fn default() -> LoadMeter {
        LoadMeter { ages: Ages::default(), paused: 0, depths: [None; DEPTHS] }
    }
}

impl LoadMeter {
    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.ages.count.saturating_add(self.paused)
    }

    /// A request comes.
    pub fn start(&mut self, now: Moment) -> Arrival {
        let found_in_flight = self.in_flight();
        self.ages.start(now);
        Arrival { at: now, found_in_flight }
    }

    /// It is handed on to those whose time is not to count as this node's; it stays in flight.
    pub fn pause(&mut self, now: Moment, arrival: Arrival) -> Paused {
        self.ages.end(arrival.at);
        self.paused = self.paused.saturating_add(1);
        Paused { spent: now.since(arrival.at), found_in_flight: arrival.found_in_flight }
    }

    /// It came back.
    pub fn resume(&mut self, now: Moment, paused: Paused) -> Arrival {
        self.paused = self.paused.saturating_sub(1);
        let spent_ns = u64::try_from(paused.spent.as_nanos()).unwrap_or(u64::MAX);
        // As if it had come later by the time that it was away.
        let at = Moment::from_nanos(now.as_nanos().saturating_sub(spent_ns));
        self.ages.start(at);
        Arrival { at, found_in_flight: paused.found_in_flight }
    }

    /// It is answered, or it ends in a way that says nothing of latency.
    pub fn end(&mut self, now: Moment, arrival: Arrival, answered: bool) {
        self.ages.end(arrival.at);
        if answered {
            let sample = now.since(arrival.at).as_secs_f64();
            let known = self.answers_at(now, arrival.found_in_flight);
            let mean = known.map_or(sample, |mean| {
                mean + WEIGHT_DEPTH * (sample.min(mean * OUTLIER_FACTOR) - mean)
            });
            self.depths[depth(arrival.found_in_flight)] = Some((mean, now));
        }
    }

    /// How long a request may take that comes now; zero when nothing is known.
    pub fn latency_at(&self, now: Moment) -> Duration {
        let answers = self.answers_at(now, self.in_flight()).unwrap_or(0.0);
        Duration::try_from_secs_f64(answers.max(self.ages.mean_at(now))).unwrap_or(Duration::MAX)
    }

    /// What the node says of itself.
    pub fn report(&self, now: Moment, limit_permille: u16, draining: bool) -> Report {
        let latency = self.latency_at(now);
        Report { in_flight: self.in_flight(), latency, limit_permille, draining }
    }

    /// The estimate of the nearest depth that was seen lately, in proportion to the depth: with
    /// twice as many in flight, twice as long. That may be wrong where cores are idle, but is put
    /// right by the first answers.
    fn answers_at(&self, now: Moment, in_flight: u32) -> Option<f64> {
        let depth = depth(in_flight);
        let known = |index: usize| {
            let (mean, at) = (*self.depths.get(index)?)?;
            let fresh = now.since(at) < DEPTH_AGE_MAX;
            fresh.then(|| mean * weight_of(depth) / weight_of(index))
        };
        (0..DEPTHS).find_map(|away| {
            known(depth + away).or_else(|| depth.checked_sub(away).and_then(known))
        })
    }
}

/// 0, 1, 2, 3, 4–5, 6–7, 8–11, 12–15, …
fn depth(in_flight: u32) -> usize {
    let Some(power) = in_flight.checked_ilog2() else { return 0 };
    let half = if power == 0 { 0 } else { in_flight >> (power - 1) & 1 };
    let depth = usize::try_from(2 * power + half).unwrap_or(DEPTHS);
    depth.clamp(1, DEPTHS - 1)
}

/// The first number in flight of a depth, and the request itself.
fn weight_of(index: usize) -> f64 {
    let half = index / 2;
    let power = f64::from(u32::try_from(half).unwrap_or(u32::MAX)).exp2();
    match index {
        0 | 1 => index as f64 + 1.0,
        _ => power * (1.0 + 0.5 * (index % 2) as f64) + 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn what_becomes_slow_is_noticed_sooner_than_what_becomes_fast() {
        let mut own = OwnLatency::new(at(0));
        own.answered(at(0), 10 * MS);
        own.answered(at(0), 110 * MS);
        let slow = own.mean_at(at(0));
        own.answered(at(0), Duration::ZERO);
        assert!(0.034 < slow && slow * 0.89 < own.mean_at(at(0)), "{slow}");
        own.unanswered(at(0), MS);
        assert!(slow * 0.89 < own.mean_at(at(0)));
    }

    #[test]
    fn a_failure_is_penalised_even_where_it_is_fast_and_fades() {
        let mut own = OwnLatency::new(at(0));
        assert_eq!(own.penalised(at(0), 0.001, 0.010), 0.001);
        own.failed(at(0));
        let penalised = own.penalised(at(0), 0.001, 0.010);
        assert!(0.040 < penalised, "{penalised}");
        assert!(own.penalised(at(15_000), 0.001, 0.010) < 0.002);
        (0..30).for_each(|_| own.answered(at(0), MS));
        assert!(own.penalised(at(0), 0.001, 0.010) < 0.002);
    }

    /// Answers as pairs of depth and milliseconds, then the estimate at a depth.
    #[track_caller]
    fn check(answers: &[(u32, u32)], in_flight: u32, expected: Option<u32>) {
        let mut meter = LoadMeter::default();
        for &(found_in_flight, ms) in answers {
            meter.end(at(0) + ms * MS, Arrival { at: at(0), found_in_flight }, true);
        }
        let ms = |seconds: Option<f64>| seconds.map(|it| (it * 1_000.0).round());
        let found = ms(meter.answers_at(at(1), in_flight));
        assert_eq!(found, expected.map(f64::from), "{answers:?}");
        assert_eq!(meter.answers_at(at(7_000), in_flight), None);
    }

    #[test]
    fn the_nearest_known_depth_answers_in_proportion() {
        check(&[], 3, None);
        check(&[(0, 2)], 0, Some(2));
        check(&[(0, 2)], 1, Some(4));
        check(&[(0, 2)], 3, Some(8));
        check(&[(0, 2), (7, 20)], 0, Some(2));
        check(&[(1, 20), (0, 2)], 0, Some(9)); // The first answer corrects, does not decide.
        check(&[(4, 10), (4, 20)], 4, Some(11));
        check(&[(4, 10), (4, 1_000)], 4, Some(14));
    }

    #[test]
    fn what_is_not_answered_counts_by_its_age() {
        let mut meter = LoadMeter::default();
        assert_eq!(meter.report(at(0), 0, false).latency, Duration::ZERO);
        let [first, second] = [at(0), at(100)].map(|at| meter.start(at));
        assert_eq!(
            meter.report(at(200), 5, true),
            Report { in_flight: 2, latency: 150 * MS, limit_permille: 5, draining: true }
        );
        meter.end(at(200), first, false);
        assert_eq!((meter.in_flight(), meter.latency_at(at(200))), (1, 100 * MS));
        meter.end(at(200), second, true);
        assert_eq!((meter.in_flight(), meter.latency_at(at(200))), (0, 50 * MS));
    }

    #[test]
    fn time_in_other_hands_does_not_count() {
        let mut meter = LoadMeter::default();
        let arrival = meter.start(at(0));
        let paused = meter.pause(at(2), arrival);
        assert_eq!((meter.in_flight(), meter.latency_at(at(500))), (1, Duration::ZERO));
        let arrival = meter.resume(at(500), paused);
        assert_eq!(meter.latency_at(at(501)), 3 * MS);
        meter.end(at(503), arrival, true);
        assert_eq!((meter.in_flight(), meter.latency_at(at(504))), (0, 5 * MS));
    }

    #[test]
    fn depths_are_halves_of_powers_of_two() {
        let shown: Vec<usize> = (0..17).map(depth).collect();
        assert_eq!(shown, [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8]);
        assert_eq!(depth(u32::MAX), DEPTHS - 1);
    }
}
