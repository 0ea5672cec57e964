//! How much an account node lets in, and what it says of its load.

use crate::executor::WAITING_MAX;
use balance::{Arrival, Limit, LimitSettings, LoadMeter, Report};
use net::{clock, ids};
use std::cell::{Cell, RefCell};
use stdx::{Moment, Rng};
use wire::frame::LoadReport;

/// Calls that are in flight at once. What waits for the commit under way makes the next batch
/// larger, and that is no overload: hence the floor.
const LIMIT: LimitSettings = LimitSettings { min: 2_048, initial: 4_096, max: WAITING_CALLS_MAX };
const WAITING_CALLS_MAX: u32 = 65_536;

const _: () = assert!(WAITING_CALLS_MAX as usize == WAITING_MAX);

/// The calls that the node has let in and not answered yet.
#[derive(Debug)]
pub(crate) struct Intake {
    limit: RefCell<Limit>,
    meter: RefCell<LoadMeter>,
    rng: RefCell<Rng>,
    shed: Cell<u64>,
}

impl Intake {
    pub(crate) fn new() -> Intake {
        Intake {
            limit: RefCell::new(Limit::new(clock::now(), LIMIT)),
            meter: RefCell::default(),
            rng: RefCell::new(Rng::new(ids::seed())),
            shed: Cell::new(0),
        }
    }

    /// Lets a call in if there is room. One that is not let in is not executed.
    pub(crate) fn admit(&self, now: Moment) -> Option<Arrival> {
        if self.limit.borrow_mut().try_start(now) {
            return Some(self.meter.borrow_mut().start(now));
        }
        self.shed.set(self.shed.get() + 1);
        None
    }

    /// A call is answered. `counts`: how long it took says something of how much fits.
    pub(crate) fn answered(&self, now: Moment, arrival: Arrival, counts: bool) {
        self.meter.borrow_mut().end(now, arrival, counts);
        let latency = counts.then(|| arrival.age(now));
        self.limit.borrow_mut().ended(now, &mut self.rng.borrow_mut(), latency);
    }

    /// Calls that were not let in since the start.
    pub(crate) fn shed_count(&self) -> u64 {
        self.shed.get()
    }

    /// What gateways are told.
    pub(crate) fn report(&self) -> LoadReport {
        let limit_permille = self.limit.borrow().share_permille();
        let Report { in_flight, latency, limit_permille, draining } =
            self.meter.borrow().report(clock::now(), limit_permille, false);
        LoadReport { in_flight, latency_us: 0, limit_permille, draining }.with_latency(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_shed_and_counted() {
        let (intake, now) = (Intake::new(), clock::now());
        let arrivals: Vec<_> = std::iter::from_fn(|| intake.admit(now)).collect();
        assert_eq!(arrivals.len(), usize::try_from(LIMIT.initial).unwrap());
        assert_eq!(intake.shed_count(), 1);
        let report = intake.report();
        assert_eq!((report.in_flight, report.limit_permille), (LIMIT.initial, 1_000));
        for arrival in arrivals {
            intake.answered(now, arrival, false);
        }
        assert_eq!(intake.report().in_flight, 0);
        assert!(intake.admit(now).is_some());
    }
}
