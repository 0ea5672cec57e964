//! Keeps requests away from an endpoint that fails, and lets one through now and then to see.
//!
//! A chain of failures or a large share of them trips it, the loss of the connection at once. A
//! tripped breaker rests, each time longer, then probes with exactly one request.

use crate::window::Window;
use std::time::Duration;
use stdx::{Moment, Rng};

/// This many failures with no answer in between trip it: at a failure rate of a tenth that is once
/// in 100,000 requests by chance.
pub const CONSECUTIVE_MAX: u32 = 5;
/// Failures and answers are weighed over this long.
pub const WINDOW: Duration = Duration::from_secs(10);
/// A share of failures trips it only above this many requests: three of four may be chance.
pub const WINDOW_REQUESTS_MIN: u64 = 20;
/// Half of the requests of the window failed: it trips.
pub const FAILURES_PERCENT_MAX: u64 = 50;
/// The first rest. Doubles with each trip in a row.
pub const REST_MIN: Duration = Duration::from_millis(500);
/// No rest is longer than this and its jitter: one request in half a minute is no load.
pub const REST_MAX: Duration = Duration::from_secs(30);
/// The rest is longer by up to this much, at random, so that balancers do not probe in step.
pub const REST_JITTER_PERCENT: u32 = 25;

const _: () = {
    // The chain must be able to trip it before the share is even looked at.
    assert!((CONSECUTIVE_MAX as u64) < WINDOW_REQUESTS_MIN);
    assert!(REST_MIN.as_nanos() < REST_MAX.as_nanos());
};

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It lets everything through.
    Passing,
    /// It lets nothing through until it has rested.
    Tripped,
    /// One request is out that decides.
    Probing,
}

/// What happened to an endpoint, as far as its breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cue {
    /// A request was answered.
    Answered,
    /// One failed; not the last straw.
    Failed,
    /// One failed and there were too many.
    Worn,
    /// The connection broke.
    Lost,
    /// The rest is over and a request wants through.
    Rested,
    /// The client of the request went away, so nobody knows.
    Abandoned,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 3] = [Phase::Passing, Phase::Tripped, Phase::Probing];

    /// `None`: the cue changes nothing in this phase.
    pub fn next(self, cue: Cue) -> Option<Phase> {
        use {Cue::*, Phase::*};
        Some(match (self, cue) {
            (Passing, Worn | Lost) => Tripped,
            // Sent because everyone was tripped (the panic rule): it does work.
            (Tripped, Answered) => Passing,
            (Tripped, Rested) => Probing,
            (Probing, Answered) => Passing,
            (Probing, Failed | Worn | Lost | Abandoned) => Tripped,
            _ => return None,
        })
    }
}

impl Cue {
    /// Every cue.
    pub const ALL: [Cue; 6] =
        [Cue::Answered, Cue::Failed, Cue::Worn, Cue::Lost, Cue::Rested, Cue::Abandoned];
}

/// Counts the phases of a breaker. What comes of a request counts only in the tenure in which it
/// was sent: an answer that was under way when the breaker tripped says nothing of afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure(u32);

/// The breaker of one endpoint.
#[derive(Clone, Debug)]
pub struct Breaker {
    phase: Phase,
    tenure: Tenure,
    /// Failures since the last answer.
    consecutive: u32,
    /// Good: answers. Bad: failures.
    window: Window,
    /// Trips in a row: without a whole window of passing in between.
    trips: u32,
    /// When it last began to pass.
    passing_since: Moment,
    /// When a tripped one may probe.
    rested_at: Moment,
}

impl Breaker {
    /// One that passes.
    pub fn new(now: Moment) -> Breaker {
        Breaker {
            phase: Phase::Passing,
            tenure: Tenure(0),
            consecutive: 0,
            window: Window::new(WINDOW),
            trips: 0,
            passing_since: now,
            rested_at: now,
        }
    }

    /// What it does with requests.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the next request would be the probe of a tripped breaker.
    pub fn is_rested(&self, now: Moment) -> bool {
        self.phase == Phase::Tripped && self.rested_at <= now
    }

    /// A request is sent: as the probe if the breaker is rested. When it passes, or the panic rule
    /// overrules it, as any other.
    pub fn sent(&mut self, now: Moment) -> Tenure {
        if self.is_rested(now) {
            self.turn(Cue::Rested);
        }
        self.tenure
    }

    /// A request sent in `tenure` was answered. True when that ended a trip.
    pub fn answered(&mut self, now: Moment, tenure: Tenure) -> bool {
        if tenure != self.tenure {
            return false;
        }
        self.consecutive = 0;
        self.count(now, true);
        let passes = self.turn(Cue::Answered).is_some();
        if passes {
            self.passing_since = now;
            self.window.clear();
        }
        passes
    }

    /// A request sent in `tenure` failed by the endpoint's own fault. True when that trips it.
    pub fn failed(&mut self, now: Moment, rng: &mut Rng, tenure: Tenure) -> bool {
        if tenure != self.tenure {
            return false;
        }
        self.consecutive = self.consecutive.saturating_add(1);
        self.count(now, false);
        let cue = if self.is_worn(now) { Cue::Worn } else { Cue::Failed };
        self.turn(cue).is_some_and(|from| self.rest(now, rng, from))
    }

    /// The connection broke, whatever was sent on it. True when that trips it.
    pub fn lost(&mut self, now: Moment, rng: &mut Rng) -> bool {
        self.turn(Cue::Lost).is_some_and(|from| self.rest(now, rng, from))
    }

    /// What was sent in `tenure` shows that the endpoint does nothing useful. True when that trips it.
    pub fn useless(&mut self, now: Moment, rng: &mut Rng, tenure: Tenure) -> bool {
        tenure == self.tenure && self.turn(Cue::Worn).is_some_and(|from| self.rest(now, rng, from))
    }

    /// A health check that belongs to no request was missed. True when that trips it.
    pub fn missed(&mut self, now: Moment, rng: &mut Rng) -> bool {
        self.phase == Phase::Passing && self.failed(now, rng, self.tenure)
    }

    /// The client of a request sent in `tenure` went away before it was answered.
    pub fn abandoned(&mut self, now: Moment, tenure: Tenure) {
        if tenure == self.tenure && self.turn(Cue::Abandoned).is_some() {
            self.rested_at = now; // It has rested; the next request probes.
        }
    }

    /// Whether the last failure was one too many.
    fn is_worn(&mut self, now: Moment) -> bool {
        let tally = self.window.sum(now);
        let failures = u64::from(tally.bad);
        CONSECUTIVE_MAX <= self.consecutive
            || WINDOW_REQUESTS_MIN <= tally.total()
                && tally.total() * FAILURES_PERCENT_MAX <= failures * 100
    }

    fn count(&mut self, now: Moment, good: bool) {
        let tally = self.window.at(now);
        let count = if good { &mut tally.good } else { &mut tally.bad };
        *count = count.saturating_add(1);
    }

    /// Takes the transition, if there is one, and says from which phase.
    fn turn(&mut self, cue: Cue) -> Option<Phase> {
        let next = self.phase.next(cue)?;
        self.tenure = Tenure(self.tenure.0.wrapping_add(1));
        Some(std::mem::replace(&mut self.phase, next))
    }

    /// Sets the rest of a breaker that just tripped; true, for its callers' sake.
    fn rest(&mut self, now: Moment, rng: &mut Rng, from: Phase) -> bool {
        if from == Phase::Passing && WINDOW < now.since(self.passing_since) {
            self.trips = 0; // What happened that long ago is another story.
        }
        let whole = REST_MIN.saturating_mul(1 << self.trips.min(16)).min(REST_MAX);
        let jitter_permille = u32::try_from(rng.below(1_000)).unwrap_or(0);
        let jitter = whole * REST_JITTER_PERCENT / 100 * jitter_permille / 1_000;
        self.rested_at = now + whole + jitter;
        self.trips = self.trips.saturating_add(1);
        self.consecutive = 0;
        self.window.clear();
        true
    }
}

#[cfg(test)]
mod tests;
