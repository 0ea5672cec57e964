//! A server of the simulation: cores shared by what is in flight, an antagonist that takes some of
//! them, an adaptive limit, and load reports.

use balance::{Arrival, Limit, LimitSettings, LoadMeter, Report};
use std::{collections::BTreeMap, time::Duration};
use stdx::{Moment, Rng};

/// A job's place in the order of completion: the service it must have got, in nanoseconds of one
/// core at speed 1, and who it is.
type Place = (u64, usize);

pub(crate) struct Server {
    pub(crate) cores: f64,
    pub(crate) speed: f64,
    /// What the antagonist leaves of the cores, from 0 to 1.
    pub(crate) left: f64,
    /// While sick, this percentage of requests fails at once.
    pub(crate) sick_percent: usize,
    pub(crate) up: bool,
    /// Counts changes: a completion that was foreseen before one is void.
    pub(crate) version: u64,
    settings: LimitSettings,
    limit: Limit,
    meter: LoadMeter,
    jobs: BTreeMap<Place, (Arrival, Moment)>,
    /// Service that each job in flight has got since the start.
    served: f64,
    served_at: Moment,
}

impl Server {
    pub(crate) fn new(cores: f64, speed: f64, settings: LimitSettings) -> Server {
        Server {
            cores,
            speed,
            left: 1.0,
            sick_percent: 0,
            up: true,
            version: 0,
            settings,
            limit: Limit::new(Moment::ZERO, settings),
            meter: LoadMeter::default(),
            jobs: BTreeMap::new(),
            served: 0.0,
            served_at: Moment::ZERO,
        }
    }

    pub(crate) fn report(&self, now: Moment) -> Report {
        self.meter.report(now, self.limit.share_permille(), false)
    }

    /// Takes a request that needs so much service, unless the limit is reached.
    pub(crate) fn try_start(&mut self, now: Moment, request: usize, work: Duration) -> Option<u64> {
        if !self.limit.try_start(now) {
            return None;
        }
        self.advance(now);
        let done = whole(self.served + work.as_nanos() as f64);
        self.jobs.insert((done, request), (self.meter.start(now), now));
        Some(done)
    }

    /// The request was answered, or its client went away.
    pub(crate) fn end(&mut self, now: Moment, rng: &mut Rng, place: Place, answered: bool) {
        self.advance(now);
        let (arrival, came_at) = self.jobs.remove(&place).expect("it is in flight");
        self.meter.end(now, arrival, answered);
        let latency = now.since(came_at);
        self.limit.ended(now, rng, answered.then_some(latency));
    }

    /// Everything in flight is lost.
    pub(crate) fn crash(&mut self, now: Moment) -> Vec<usize> {
        self.advance(now);
        self.up = false;
        self.limit = Limit::new(now, self.settings);
        self.meter = LoadMeter::default();
        std::mem::take(&mut self.jobs).into_keys().map(|(_, request)| request).collect()
    }

    pub(crate) fn set_left(&mut self, now: Moment, left: f64) {
        self.advance(now);
        self.left = left;
    }

    /// Who completes next, and when, if nothing changes.
    pub(crate) fn next_done(&self) -> Option<(Place, Moment)> {
        let (&place, _) = self.jobs.first_key_value()?;
        let missing = (place.0 as f64 - self.served).max(0.0);
        Some((place, self.served_at + Duration::from_nanos(whole(missing / self.rate()) + 1)))
    }

    /// How fast each job is served: a core at most, less when they are more than the cores.
    fn rate(&self) -> f64 {
        let share = self.cores * self.left / self.jobs.len().max(1) as f64;
        self.speed * share.min(1.0)
    }

    fn advance(&mut self, now: Moment) {
        self.served += self.rate() * now.since(self.served_at).as_nanos() as f64;
        self.served_at = now;
        self.version += 1;
    }
}

fn whole(nanos: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(nanos / 1e9).as_nanos()).expect("below 584 years")
}
