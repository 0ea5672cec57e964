//! What one worker of a gateway has in hand: how much it admits, and what it says of its load.
//!
//! Its latency leaves out the time that the ledger takes: a sick partition makes no gateway look
//! slow. What is in flight counts whole.

use crate::gate::{Admitted, Gate, LineCounters, OpenStream, Room};
use balance::{Arrival, LimitSettings, LoadMeter, Paused, Report};
use net::clock;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use stdx::Moment;
use wire::frame::LoadReport;

/// The load of one worker.
#[derive(Debug)]
pub(super) struct Load {
    gate: Rc<Gate>,
    meter: RefCell<LoadMeter>,
}

impl Load {
    pub(super) fn new(limit: LimitSettings, line: Arc<LineCounters>) -> Rc<Load> {
        Rc::new(Load { gate: Gate::new(limit, line), meter: RefCell::default() })
    }

    /// Takes a request, if there is room for it.
    pub(super) fn take(self: &Rc<Load>, now: Moment) -> Option<Taken> {
        let admitted = self.gate.admit(now)?;
        let phase = Phase::Here(self.meter.borrow_mut().start(now));
        Some(Taken { load: Rc::clone(self), admitted: Some(admitted), phase: Cell::new(phase) })
    }

    /// Takes a request for an HTTP service, if there is room for it. None of its time is this node's.
    pub(super) fn take_aside(self: &Rc<Load>, now: Moment) -> Option<Aside> {
        let taken = (!self.gate.has_all_streams()).then(|| self.take(now)).flatten()?;
        taken.pause();
        Some(Aside { taken, open: None })
    }

    /// Whether there is no room for one more.
    pub(super) fn is_full(&self) -> bool {
        self.gate.is_full()
    }

    /// Waits for room; false when there was none in good time.
    pub(super) fn room(&self) -> Room {
        self.gate.room()
    }

    /// Notes a request that was refused for that.
    pub(super) fn turned_away(&self) {
        self.gate.turned_away();
    }

    /// What the tier above is told.
    pub(super) fn report(&self) -> LoadReport {
        let limit_permille = self.gate.share_permille();
        let Report { in_flight, latency, limit_permille, draining } =
            self.meter.borrow().report(clock::now(), limit_permille, false);
        LoadReport { in_flight, latency_us: 0, limit_permille, draining }.with_latency(latency)
    }
}

/// A request that was taken, until it comes to its end.
#[derive(Debug)]
pub(super) struct Taken {
    load: Rc<Load>,
    admitted: Option<Admitted>,
    phase: Cell<Phase>,
}

/// In whose hands a request is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Here(Arrival),
    Below(Paused),
    Ended,
}

impl Taken {
    /// Waits for what is done behind this gateway, on another's account.
    pub(super) async fn below<T>(&self, work: impl Future<Output = T>) -> T {
        self.pause();
        let done = work.await;
        self.back(clock::now());
        done
    }

    fn pause(&self) {
        if let Phase::Here(arrival) = self.phase.get() {
            let paused = self.load.meter.borrow_mut().pause(clock::now(), arrival);
            self.phase.set(Phase::Below(paused));
        }
    }

    fn back(&self, now: Moment) {
        if let Phase::Below(paused) = self.phase.get() {
            let arrival = self.load.meter.borrow_mut().resume(now, paused);
            self.phase.set(Phase::Here(arrival));
        }
    }

    /// It is answered with this status.
    pub(super) fn answered(mut self, status: u16) {
        let now = clock::now();
        self.end(now, true);
        match self.admitted.take() {
            Some(admitted) if status < 500 => admitted.answered(now),
            Some(_) | None => (), // How long a failure takes says nothing of how much fits.
        }
    }

    fn end(&self, now: Moment, answered: bool) {
        self.back(now);
        if let Phase::Here(arrival) = self.phase.replace(Phase::Ended) {
            self.load.meter.borrow_mut().end(now, arrival, answered);
        }
    }
}

/// A request that is passed on to an HTTP service, until the last byte of its answer is through.
#[derive(Debug)]
pub(super) struct Aside {
    taken: Taken,
    open: Option<OpenStream>,
}

impl Aside {
    /// Its answer has begun: from now on it is a stream that may last, and takes nobody's room. How
    /// long a service took says nothing of how much fits here.
    pub(super) fn begun(mut self) -> Aside {
        drop(self.taken.admitted.take());
        self.open = Some(self.taken.load.gate.open_stream());
        self
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !matches!(self.phase.get(), Phase::Ended) {
            self.end(clock::now(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::limits::GATEWAY_LIMIT, *};

    #[test]
    fn what_waits_for_the_ledger_stays_in_flight() {
        let load = Load::new(GATEWAY_LIMIT, Arc::default());
        let taken = load.take(clock::now()).unwrap();
        let mut waiting = Box::pin(taken.below(std::future::pending::<()>()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        // None of its age is ours.
        assert_eq!((load.report().in_flight, load.report().latency_us), (1, 0));
        drop(waiting);
        drop(taken);
        assert_eq!(load.report().in_flight, 0);
        load.take(clock::now()).unwrap().answered(200);
        assert_eq!(load.report().in_flight, 0);
    }

    #[test]
    fn what_streams_stays_in_flight_and_takes_no_room() {
        let load = Load::new(GATEWAY_LIMIT, Arc::default());
        let aside = load.take_aside(clock::now()).unwrap();
        assert_eq!((load.report().in_flight, load.gate.in_flight()), (1, 1));
        let aside = aside.begun();
        assert_eq!((load.report().in_flight, load.gate.in_flight()), (1, 0));
        drop(aside);
        assert_eq!(load.report().in_flight, 0);
    }
}
