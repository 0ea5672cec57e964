//! One endpoint of a pool: its state, what it says of itself and what we see of it.

use crate::{
    breaker::Breaker,
    estimate::{Ages, OwnLatency},
    window::Window,
};
use std::{num::NonZeroU32, time::Duration};
use stdx::Moment;

/// A load report older than this is no longer believed: our own view counts instead (Prequal).
pub(crate) const REPORT_AGE_MAX: Duration = Duration::from_secs(1);
/// An endpoint that is new, back, or past a trip gets its full share only after this long: what it
/// has in memory is cold.
pub(crate) const SLOW_START: Duration = Duration::from_secs(2);
/// It begins with this part of the choices that it could stand for.
const SLOW_START_PERMILLE_MIN: u32 = 100;
/// Until it has answered once, it has at most so many in flight.
const UNPROVEN_IN_FLIGHT_MAX: u64 = 1;
/// Sheds and answers are weighed over this long.
const SHED_WINDOW: Duration = Duration::from_secs(10);

/// What is set about an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Who it is, for `hash`: a hash of its name, the same in every process and after a reload.
    pub key: u64,
    /// Its part of the work beside the others': twice the weight, twice the requests in flight.
    pub weight: NonZeroU32,
}

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It takes requests since then.
    Connected { since: Moment },
    /// It finishes what it has and takes nothing new.
    Draining,
    /// There is no connection.
    Down,
}

/// What an endpoint says of itself and of everything behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Requests in flight, in the whole subtree.
    pub in_flight: u32,
    /// How long an answer takes with that many in flight; zero when it does not know.
    pub latency: Duration,
    /// Thousandths of its limit in use; 1,000 and more: what comes now is shed.
    pub limit_permille: u16,
    /// It finishes what it has and wants nothing new.
    pub draining: bool,
}

/// What came of a request, as far as the endpoint itself is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was answered; a refusal by the ledger is an answer.
    Answered,
    /// The endpoint itself was too busy and said so: definitely not executed.
    Shed,
    /// The endpoint itself failed: a broken or impossible answer, a missed check.
    Failed,
    /// Its connection broke.
    Lost,
    /// The answer blames a hop behind it: the endpoint is well, and the latency is not its own.
    Elsewhere,
    /// The client went away or the deadline passed: nobody knows.
    Abandoned,
}

/// What a policy goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// In flight, ours and others', for its weight.
    pub(crate) depth: f64,
    /// Seconds, failures included.
    pub(crate) latency: f64,
    /// It said that it would shed.
    pub(crate) full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reported {
    at: Moment,
    report: Report,
    in_flight: f64,
    /// In flight there that is not ours.
    others: f64,
    latency: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) spec: Spec,
    pub(crate) state: State,
    /// It said that it drains, whatever its connection looks like.
    pub(crate) draining: bool,
    /// Ours, from the choice to the end: those that still wait for a connection count.
    pub(crate) in_flight: u64,
    pub(crate) breaker: Breaker,
    pub(crate) own: OwnLatency,
    pub(crate) ages: Ages,
    /// Good: answered. Bad: shed.
    pub(crate) sheds: Window,
    /// What smooth weighted round robin owes it.
    pub(crate) credit: i64,
    reported: Option<Reported>,
    /// When it became new, came back, or passed a probe.
    fresh_at: Moment,
    /// It has answered since.
    proven: bool,
}

impl Endpoint {
    pub(crate) fn new(spec: Spec) -> Endpoint {
        Endpoint {
            spec,
            state: State::Down,
            draining: false,
            in_flight: 0,
            breaker: Breaker::new(Moment::ZERO),
            own: OwnLatency::new(Moment::ZERO),
            ages: Ages::default(),
            sheds: Window::new(SHED_WINDOW),
            credit: 0,
            reported: None,
            fresh_at: Moment::ZERO,
            proven: false,
        }
    }

    pub(crate) fn set_state(&mut self, state: State) {
        if let State::Connected { since } = state
            && self.state != state
        {
            self.renew(since);
            self.draining = false;
            self.reported = None; // It spoke of another life.
        }
        self.state = state;
    }

    /// It takes new requests, as far as it and its connection are concerned.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Connected { .. }) && !self.draining
    }

    /// Puts it on probation from `now`.
    pub(crate) fn renew(&mut self, now: Moment) {
        self.fresh_at = now;
        self.proven = false;
        self.credit = 0;
    }

    pub(crate) fn prove(&mut self) {
        self.proven = true;
    }

    /// How likely it stands for a choice, in thousandths: all of them once it is past probation.
    pub(crate) fn chance_permille(&self, now: Moment) -> u32 {
        let age = now.since(self.fresh_at);
        if SLOW_START <= age {
            return 1_000; // One that never answered was not asked, or its breaker sees to it.
        }
        if !self.proven && UNPROVEN_IN_FLIGHT_MAX <= self.in_flight {
            return 0;
        }
        let grown = age.as_nanos() * 1_000 / SLOW_START.as_nanos();
        u32::try_from(grown).unwrap_or(1_000).max(SLOW_START_PERMILLE_MIN)
    }

    pub(crate) fn report(&mut self, now: Moment, report: Report) {
        let in_flight = f64::from(report.in_flight);
        self.reported = Some(Reported {
            at: now,
            report,
            in_flight,
            others: (in_flight - self.in_flight as f64).max(0.0),
            latency: report.latency.as_secs_f64(),
        });
    }

    /// What it said last, and how long ago.
    pub(crate) fn last_report(&self, now: Moment) -> Option<(Duration, Report)> {
        self.reported.as_ref().map(|it| (now.since(it.at), it.report))
    }

    /// What it said, while that is fresh.
    fn reported(&self, now: Moment) -> Option<&Reported> {
        self.reported.as_ref().filter(|it| now.since(it.at) < REPORT_AGE_MAX)
    }

    /// What is known of its load, where `usual` is the latency of the pool in seconds.
    pub(crate) fn load(&self, now: Moment, usual: f64) -> Load {
        let own = self.in_flight as f64;
        let (in_flight, base, full) = match self.reported(now) {
            Some(it) => {
                let in_flight = it.others + own;
                // What we have sent since came on top: it will take as much longer.
                let grown = (in_flight + 1.0) / (it.in_flight + 1.0);
                let limit_permille = f64::from(it.report.limit_permille) * grown;
                (in_flight, it.latency * grown, 1_000.0 <= limit_permille)
            }
            None => (own, self.own.mean_at(now).max(self.ages.mean_at(now)), false),
        };
        Load {
            depth: in_flight / f64::from(self.spec.weight.get()),
            latency: self.own.penalised(now, base, usual),
            full,
        }
    }

    /// Requests in flight in its subtree, and its limit as far as that can be told.
    pub(crate) fn subtree(&self, now: Moment) -> (f64, Option<f64>) {
        match self.reported(now) {
            Some(it) => {
                let share = f64::from(it.report.limit_permille) / 1_000.0;
                let limit = (0.0 < share).then(|| it.in_flight / share);
                (it.others + self.in_flight as f64, limit)
            }
            None => (self.in_flight as f64, None),
        }
    }
}
