//! What one worker of a gateway sees of one account node.

use net::{
    clock,
    control::{EndpointState, EndpointView, Errors, LoadView},
    latency::LatencyWindow,
    node::Endpoint,
    trunk::Loss,
};
use std::cell::{Cell, RefCell};
use stdx::Moment;
use wire::{Timestamp, frame::LoadReport};

/// Counts and last words.
#[derive(Debug, Default)]
pub(super) struct Seen {
    requests: Cell<u64>,
    errors: Cell<Errors>,
    latency: RefCell<LatencyWindow>,
    /// What it said last of its load, and when.
    load: Cell<Option<(Moment, LoadReport)>>,
    changed: RefCell<Option<(Timestamp, &'static str)>>,
}

impl Seen {
    /// Something is asked of it.
    pub(super) fn asked(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// What was asked at `since` is answered.
    pub(super) fn answered(&self, since: Moment) {
        let now = clock::now();
        self.latency.borrow_mut().record(now, now.since(since));
    }

    /// What was asked is not answered.
    pub(super) fn lost(&self, loss: Loss) {
        let mut errors = self.errors.get();
        match loss {
            Loss::ConnectionLost => errors.lost += 1,
            Loss::DeadlinePassed => errors.late += 1,
            // Nothing was sent, or nobody waits any more: it is not to blame.
            Loss::NotConnected | Loss::Full | Loss::TooLong | Loss::Reset => return,
        }
        self.errors.set(errors);
    }

    /// It tells its load.
    pub(super) fn reported(&self, report: LoadReport) {
        self.load.set(Some((clock::now(), report)));
    }

    /// Its connection came or went.
    pub(super) fn note(&self, why: &'static str) {
        self.changed.replace(Some((clock::wall(), why)));
    }

    /// All of it.
    pub(super) fn view(
        &self,
        endpoint: &Endpoint,
        connected: bool,
        in_flight: u64,
    ) -> EndpointView {
        let now = clock::now();
        let load = self.load.get().map(|(at, report)| LoadView {
            in_flight: report.in_flight,
            latency: report.latency(),
            limit_permille: report.limit_permille,
            age: now.since(at),
        });
        let drains = self.load.get().is_some_and(|(_, report)| report.draining);
        let state = match (connected, drains) {
            (false, _) => EndpointState::Down,
            (true, true) => EndpointState::Draining,
            (true, false) => EndpointState::Passing,
        };
        let changed = *self.changed.borrow();
        EndpointView {
            name: endpoint.name.clone(),
            addr: endpoint.addr.to_string(),
            kind: "trunk",
            state,
            weight: 1,
            in_flight,
            load,
            latency: self.latency.borrow().counts(now),
            requests: self.requests.get(),
            errors: self.errors.get(),
            breaker: None,
            changed: changed.map(|(at, why)| (at, why.to_owned())),
        }
    }
}
