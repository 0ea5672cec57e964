//! A seeded discrete-event simulation of a balancer tree in virtual time.
//!
//! 100 clients → 4 edge balancers → 5 inner balancers → 50 servers. An edge reaches every inner
//! balancer, an inner one 20 servers, and each server is reached by two of them. Servers have 2, 4 or
//! 8 cores of unequal speed, shared by what is in flight; antagonists take most of the cores of some
//! for seconds at a time. Clients ask at random moments (a Poisson process) whatever comes of it, at a
//! rate that rises from 60 % to 150 % of the mean capacity, and give up after 50 mean service times. On the way
//! two servers fall sick (they fail most requests at once) and two lose their connections.
//!
//! Every hop takes 100 to 300 µs each way. Load reports ride on answers and are also sent every
//! 100 ms. The inner balancer repeats once, on another server and under a budget, what was shed, failed
//! or lost. All of that is the same for every policy; only the choice differs.

mod server;
mod world;

pub(crate) use self::world::World;

use balance::{LimitSettings, Policy};
use std::time::Duration;

/// How much is simulated.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// How long the ramp takes.
    pub(crate) ramp: Duration,
    /// Service that a request needs on average, on one core at speed 1.
    pub(crate) work_mean: Duration,
    /// Of each server.
    pub(crate) limits: LimitSettings,
}

impl Scale {
    /// When a client gives up.
    pub(crate) fn deadline(self) -> Duration {
        50 * self.work_mean
    }
}

/// The limits that the simulation was designed with: on a slow server, 64 are far too many.
pub(crate) const LOOSE: LimitSettings = LimitSettings { min: 8, initial: 64, max: 2_000 };
#[cfg_attr(test, expect(dead_code, reason = "only the example compares with these"))]
/// Limits that begin where Netflix's library does.
pub(crate) const TIGHT: LimitSettings = LimitSettings { min: 4, initial: 20, max: 1_000 };

/// A policy and whether the pools know the true capacities as weights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    pub(crate) weights: bool,
}

pub(crate) const CONTENDERS: [Contender; 8] = [
    Contender { name: "least-load", policy: Policy::LeastLoad, weights: false },
    Contender { name: "least-load, weights", policy: Policy::LeastLoad, weights: true },
    Contender { name: "least-requests", policy: Policy::LeastRequests, weights: false },
    Contender { name: "least-requests, weights", policy: Policy::LeastRequests, weights: true },
    Contender { name: "round-robin", policy: Policy::RoundRobin, weights: false },
    Contender { name: "weighted", policy: Policy::Weighted, weights: true },
    Contender { name: "hash", policy: Policy::Hash, weights: false },
    Contender { name: "hash, weights", policy: Policy::Hash, weights: true },
];

/// Loads, in percent of the capacity, between which results are told apart.
pub(crate) const BANDS: [(u32, u32); 4] = [(60, 80), (80, 100), (100, 125), (125, 150)];
pub(crate) const LOAD_PERCENT: (u32, u32) = (60, 150);

/// What came of the requests that were asked in some stretch of the ramp.
#[derive(Clone, Default)]
pub(crate) struct Results {
    /// Of what was answered, in nanoseconds.
    pub(crate) latencies: Vec<u64>,
    /// Not executed, definitely: no server had room, or none was there.
    pub(crate) refused: u64,
    /// Failed or lost.
    pub(crate) failed: u64,
    /// The client gave up.
    pub(crate) timeouts: u64,
}

impl Results {
    pub(crate) fn errors(&self) -> u64 {
        self.refused + self.failed + self.timeouts
    }

    pub(crate) fn total(&self) -> u64 {
        self.errors() + self.latencies.len() as u64
    }

    pub(crate) fn errors_percent(&self) -> f64 {
        100.0 * self.errors() as f64 / self.total().max(1) as f64
    }

    /// A quantile in milliseconds of what was answered.
    pub(crate) fn quantile_ms(&self, permille: usize) -> f64 {
        quantile(self.latencies.clone(), permille)
    }

    /// The same, where each error counts as if it had taken until the deadline: what clients see.
    pub(crate) fn quantile_with_errors_ms(&self, scale: Scale, permille: usize) -> f64 {
        let deadline = u64::try_from(scale.deadline().as_nanos()).expect("seconds");
        let errors = (0..self.errors()).map(|_| deadline);
        quantile(self.latencies.iter().copied().chain(errors).collect(), permille)
    }

    pub(crate) fn plus(mut self, other: &Results) -> Results {
        self.latencies.extend(&other.latencies);
        self.refused += other.refused;
        self.failed += other.failed;
        self.timeouts += other.timeouts;
        self
    }
}

fn quantile(mut latencies: Vec<u64>, permille: usize) -> f64 {
    if latencies.is_empty() {
        return f64::NAN;
    }
    let place = (latencies.len() * permille / 1_000).min(latencies.len() - 1);
    *latencies.select_nth_unstable(place).1 as f64 / 1e6
}
