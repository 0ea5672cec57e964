//! How much may be in flight at once, found by watching latency.
//!
//! The gradient of Netflix's concurrency-limits (2018) and of Envoy's adaptive concurrency filter:
//! while answers take about as long as they do with little in flight, the limit grows by its square
//! root; when they take longer, it shrinks in proportion. The latency with little in flight is
//! measured anew now and then under a quarter of the limit, since what was once possible may not be any
//! more; but only where requests were refused, so that a node with room never refuses one for it.

use std::time::Duration;
use stdx::{Moment, Rng};

/// Latencies are judged in windows at least this long, of at least so many and at most so many: the
/// median of fewer is mostly chance.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_SAMPLES_MIN: usize = 50;
const WINDOW_SAMPLES_MAX: usize = 256;
/// The limit shrinks only when answers take this many times the base latency (Gradient2).
const TOLERANCE: f64 = 1.5;
/// No window more than halves it.
const GRADIENT_MIN: f64 = 0.5;
/// What one window weighs, in the limit and in a base latency that turns out lower: the least of many
/// medians would be the luckiest one.
const WEIGHT: f64 = 0.2;
/// What one window in which something was dropped leaves of it.
const DROP_FACTOR: f64 = 0.9;
/// The base latency is measured anew after this long, and up to a quarter more, at random, so that
/// the nodes of a tier do not do it together.
const REPROBE: Duration = Duration::from_secs(10);
const REPROBE_JITTER: Duration = Duration::from_millis(2_500);
/// Sooner while each measurement gives much less than the one before: a limit that is far too high
/// also measures too high.
const REPROBE_SOON: Duration = Duration::from_secs(1);
const REPROBE_SOON_BELOW: f64 = 0.9;
/// That is given up when nothing is answered for so long: what hangs, because a part of what is behind
/// this limit is sick, would otherwise have everything refused until it has passed its deadline.
const PROBE_SILENCE_MAX: Duration = Duration::from_secs(1);
/// What is left of the limit while the base latency is measured.
const PROBE_DIVISOR: f64 = 4.0;

const _: () = {
    assert!(WINDOW_SAMPLES_MIN < WINDOW_SAMPLES_MAX);
    // A probe takes two windows or more: it must be rare to cost little.
    assert!(20 * WINDOW.as_nanos() < REPROBE.as_nanos());
};

/// Between what and what a [`Limit`] moves, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Requests in flight that are always admitted; at least 1.
    pub min: u32,
    /// At the start.
    pub initial: u32,
    /// Never more than this.
    pub max: u32,
}

/// An adaptive limit of requests in flight.
///
/// Invariant: `min ≤ limit ≤ max`. More may be in flight than the limit only while it shrinks.
#[derive(Clone, Debug)]
pub struct Limit {
    settings: LimitSettings,
    limit: f64,
    in_flight: u32,
    window: LatencyWindow,
    /// Seconds with little in flight; zero while unknown.
    base: f64,
    probe: Probe,
    /// Something was refused since the last probe.
    refused: bool,
    /// When a latency was last told.
    sampled_at: Moment,
}

#[derive(Clone, Debug)]
struct LatencyWindow {
    started_at: Moment,
    seconds: Vec<f64>,
    in_flight_max: u32,
    dropped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Not before then, and only if something is refused.
    Due { at: Moment },
    /// The limit is low; what was in flight before still drains.
    Settling,
    /// This window gives the new base latency.
    Measuring,
}

impl Limit {
    /// A limit that begins at `initial`, with bounds put in order where they cross.
    pub fn new(now: Moment, settings: LimitSettings) -> Limit {
        let min = settings.min.max(1);
        let max = settings.max.max(min);
        let settings = LimitSettings { min, initial: settings.initial.clamp(min, max), max };
        Limit {
            settings,
            limit: f64::from(settings.initial),
            in_flight: 0,
            window: LatencyWindow::new(now),
            base: 0.0,
            probe: Probe::Due { at: now + REPROBE_SOON },
            refused: false,
            sampled_at: now,
        }
    }

    /// How many may be in flight now. Who goes by it and does not ask [`Limit::try_start`] must ask that
    /// for those that it refuses: it is what shows that the limit is too low.
    pub fn limit(&self) -> u32 {
        let limit = match self.probe {
            Probe::Due { .. } => self.limit,
            Probe::Settling | Probe::Measuring => self.limit / PROBE_DIVISOR,
        };
        whole(limit).clamp(self.settings.min, self.settings.max)
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Thousandths of the limit in use, for load reports; 1,000 and more is full.
    pub fn share_permille(&self) -> u16 {
        let share = u64::from(self.in_flight) * 1_000 / u64::from(whole(self.limit).max(1));
        u16::try_from(share).unwrap_or(u16::MAX)
    }

    /// Admits a request if there is room: it counts as in flight until [`Limit::ended`].
    pub fn try_start(&mut self, now: Moment) -> bool {
        if let Probe::Settling | Probe::Measuring = self.probe
            && PROBE_SILENCE_MAX <= now.since(self.sampled_at)
        {
            self.probe = Probe::Due { at: now + REPROBE };
        }
        let admitted = self.in_flight < self.limit();
        if admitted {
            self.in_flight += 1;
            self.window.in_flight_max = self.window.in_flight_max.max(self.in_flight);
        }
        self.refused |= !admitted;
        admitted
    }

    /// An admitted request came to its end: after `latency`, or so that latency says nothing.
    pub fn ended(&mut self, now: Moment, rng: &mut Rng, latency: Option<Duration>) {
        debug_assert!(0 < self.in_flight);
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(latency) = latency else { return };
        self.sampled_at = now;
        self.window.add(latency.as_secs_f64());
        if self.window.is_whole(now) {
            self.judge(now, rng);
        }
    }

    /// Something was dropped for overload behind this limit: shrinks it, once a window.
    pub fn dropped(&mut self) {
        self.window.dropped = true;
    }

    fn judge(&mut self, now: Moment, rng: &mut Rng) {
        let window = std::mem::replace(&mut self.window, LatencyWindow::new(now));
        let busy = f64::from(window.in_flight_max);
        let dropped = window.dropped;
        let median = window.median();
        match self.probe {
            Probe::Settling if self.limit() < self.in_flight => return,
            Probe::Settling => {
                self.probe = Probe::Measuring;
                return;
            }
            Probe::Measuring => {
                self.measured(now, rng, median);
                return;
            }
            Probe::Due { at } if at <= now && self.refused => {
                self.probe = Probe::Settling;
            }
            Probe::Due { .. } => (),
        }
        if self.base == 0.0 {
            self.base = median;
        }
        self.base += WEIGHT * (median.min(self.base) - self.base);
        let gradient = (TOLERANCE * self.base / median.max(f64::MIN_POSITIVE)).min(1.0);
        let target = self.limit * gradient.max(GRADIENT_MIN) + self.limit.sqrt();
        let mut limit = self.limit + WEIGHT * (target - self.limit);
        if self.limit < limit && busy < self.limit / 2.0 {
            limit = self.limit; // What was not used proves nothing.
        }
        if dropped {
            limit = limit.min(self.limit * DROP_FACTOR);
        }
        self.limit = limit.clamp(f64::from(self.settings.min), f64::from(self.settings.max));
    }

    fn measured(&mut self, now: Moment, rng: &mut Rng, median: f64) {
        let much_less = median < self.base * REPROBE_SOON_BELOW;
        let jitter = REPROBE_JITTER / 1_000 * u32::try_from(rng.below(1_000)).unwrap_or(0);
        let pause = if much_less { REPROBE_SOON } else { REPROBE + jitter };
        self.probe = Probe::Due { at: now + pause };
        self.refused = false;
        self.base = median;
    }
}

impl LatencyWindow {
    fn new(now: Moment) -> LatencyWindow {
        LatencyWindow { started_at: now, seconds: Vec::new(), in_flight_max: 0, dropped: false }
    }

    /// Past the most that a window holds, the first ones stand for the rest.
    fn add(&mut self, seconds: f64) {
        if self.seconds.len() < WINDOW_SAMPLES_MAX {
            self.seconds.push(seconds);
        }
    }

    fn is_whole(&self, now: Moment) -> bool {
        WINDOW <= now.since(self.started_at) && WINDOW_SAMPLES_MIN <= self.seconds.len()
    }

    fn median(mut self) -> f64 {
        let middle = self.seconds.len() / 2;
        *self.seconds.select_nth_unstable_by(middle, f64::total_cmp).1
    }
}

/// A limit as a count: limits are between 0 and 2^32.
fn whole(limit: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let count = limit.round() as u32;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: LimitSettings = LimitSettings { min: 4, initial: 20, max: 1_000 };

    /// A node of so many cores: with more in flight than these, all take longer in proportion.
    struct World {
        limit: Limit,
        rng: Rng,
        now: Moment,
        cores: u32,
        latency_ms: u32,
        limits: Vec<u32>,
    }

    fn world(cores: u32) -> World {
        let limit = Limit::new(Moment::ZERO, SETTINGS);
        let rng = Rng::new(5);
        World { limit, rng, now: Moment::ZERO, cores, latency_ms: 10, limits: Vec::new() }
    }

    impl World {
        /// Rounds of requests that come all at once and are all answered, for so many seconds.
        fn run(mut self, seconds: u64, asked: u32) -> World {
            let end = self.now + Duration::from_secs(seconds);
            while self.now < end {
                let admitted = (0..asked).take_while(|_| self.limit.try_start(self.now)).count();
                let admitted = u32::try_from(admitted).unwrap();
                let base = Duration::from_millis(u64::from(self.latency_ms));
                let latency = base.mul_f64((f64::from(admitted) / f64::from(self.cores)).max(1.0));
                self.now = self.now + latency;
                for _ in 0..admitted {
                    self.limit.ended(self.now, &mut self.rng, Some(latency));
                }
                self.limits.push(self.limit.limit());
                assert!((SETTINGS.min..=SETTINGS.max).contains(&self.limit.limit()));
            }
            self
        }
    }

    #[test]
    fn it_finds_what_the_node_can_do_at_once() {
        for cores in [8, 32, 128] {
            let world = world(cores).run(60, 2_000);
            let late = &world.limits[world.limits.len() / 2..];
            // Below the cores it would waste them; a probe takes two windows in a hundred.
            let enough = late.iter().filter(|&&limit| cores <= limit).count();
            assert!(late.len() * 9 / 10 <= enough, "{cores}: {late:?}");
            assert!(late.iter().all(|&limit| limit <= 3 * cores), "{cores}: {late:?}");
        }
    }

    #[test]
    fn it_follows_a_node_that_becomes_slow_and_one_that_recovers() {
        let mut world = world(64).run(60, 2_000);
        world.cores = 8;
        let mut world = world.run(60, 2_000);
        let last = *world.limits.last().unwrap();
        assert!(last <= 3 * 8, "{last}");
        world.cores = 64;
        let world = world.run(60, 2_000);
        let last = *world.limits.last().unwrap();
        assert!(64 <= last, "{last}");
    }

    #[test]
    fn what_takes_longer_by_itself_is_not_mistaken_for_a_queue_for_long() {
        let mut world = world(64).run(30, 2_000);
        world.latency_ms = 100;
        let world = world.run(120, 2_000);
        let last = *world.limits.last().unwrap();
        assert!(64 <= last, "{last}");
    }

    #[test]
    fn it_does_not_grow_unused_and_never_refuses_where_there_is_room() {
        let world = world(64).run(60, 5);
        assert!(world.limits.iter().all(|&limit| limit == 20), "{:?}", world.limits);
    }

    #[test]
    fn drops_shrink_it_and_its_share_is_told() {
        let mut limit = Limit::new(Moment::ZERO, SETTINGS);
        (0..10).for_each(|_| assert!(limit.try_start(Moment::ZERO)));
        assert_eq!((limit.share_permille(), limit.in_flight()), (500, 10));
        (0..10).for_each(|_| assert!(limit.try_start(Moment::ZERO)));
        assert_eq!((limit.share_permille(), limit.try_start(Moment::ZERO)), (1_000, false));
        limit.dropped();
        let (later, mut rng) = (Moment::ZERO + WINDOW, Rng::new(1));
        for _ in 0..WINDOW_SAMPLES_MIN {
            limit.ended(later, &mut rng, Some(Duration::from_millis(1)));
            limit.try_start(Moment::ZERO);
        }
        assert_eq!(limit.limit(), 18);
    }

    #[test]
    fn what_hangs_does_not_hold_a_probe_up_for_long() {
        let (mut limit, mut now) = (Limit::new(Moment::ZERO, SETTINGS), Moment::ZERO);
        // Half of what fits; from here on none of it is answered, and a probe waits for it.
        (0..10).for_each(|_| assert!(limit.try_start(now)));
        limit.probe = Probe::Settling;
        now = now + PROBE_SILENCE_MAX / 2;
        assert!(!limit.try_start(now));
        now = now + PROBE_SILENCE_MAX / 2;
        assert!(limit.try_start(now));
    }

    #[test]
    fn crossed_bounds_are_put_in_order() {
        let crossed = LimitSettings { min: 0, initial: 9, max: 0 };
        assert_eq!(Limit::new(Moment::ZERO, crossed).limit(), 1);
    }
}
