//! What a worker sees of itself and of the endpoints behind it, and what all workers see together.

use crate::latency::LatencyCounts;
use std::{sync::Arc, time::Duration};
use wire::{Timestamp, frame::LoadReport};

/// One worker's view, right after an order.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Requests that it has taken and not answered.
    pub in_flight: u64,
    /// While it drains: what it has yet to finish before it is out of rotation, in requests and in
    /// client connections that were open when the drain began.
    pub unfinished: u64,
    /// Requests that came over the trunk since the start.
    pub relayed: u64,
    /// What it tells the tier above.
    pub load: Option<LoadReport>,
    pub endpoints: Vec<EndpointView>,
    /// Why the use of the nodes behind it cannot be changed by order, where it cannot.
    pub fixed: Option<&'static str>,
}

/// An endpoint as it stands with one worker, or with all of them.
#[derive(Clone, Debug)]
pub struct EndpointView {
    pub name: Arc<str>,
    /// Address or URL.
    pub addr: String,
    /// `trunk` or `http`.
    pub kind: &'static str,
    pub state: EndpointState,
    pub weight: u32,
    /// From here to there, waiting ones included.
    pub in_flight: u64,
    /// What it said of itself last.
    pub load: Option<LoadView>,
    /// Of what it answered.
    pub latency: LatencyCounts,
    /// Attempts sent to it.
    pub requests: u64,
    pub errors: Errors,
    /// `passing`, `tripped` or `probing`; `None` where there is no breaker.
    pub breaker: Option<&'static str>,
    /// When and why its state became what it is.
    pub changed: Option<(Timestamp, String)>,
}

/// Whether an endpoint gets requests; the later ones here are the worse ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It does.
    Passing,
    /// One, to see.
    Probing,
    /// None until its breaker has rested.
    Tripped,
    /// None: it said that it drains, or an operator did.
    Draining,
    /// None: there is no connection.
    Down,
}

impl EndpointState {
    /// As the admin pages show it.
    pub fn text(self) -> &'static str {
        match self {
            EndpointState::Passing => "passing",
            EndpointState::Probing => "probing",
            EndpointState::Tripped => "tripped",
            EndpointState::Draining => "draining",
            EndpointState::Down => "down",
        }
    }

    /// Every state.
    pub const ALL: [EndpointState; 5] = [
        EndpointState::Passing,
        EndpointState::Probing,
        EndpointState::Tripped,
        EndpointState::Draining,
        EndpointState::Down,
    ];
}

/// A load report and its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadView {
    pub in_flight: u32,
    pub latency: Duration,
    /// Thousandths of its limit in use.
    pub limit_permille: u16,
    pub age: Duration,
}

/// Attempts that failed by the endpoint's own fault, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Lost with their connection.
    pub lost: u64,
    /// It was too busy and said so.
    pub shed: u64,
    /// A broken answer, or a failure of its own.
    pub failed: u64,
    /// Not answered within the deadline.
    pub late: u64,
}

/// What all workers together tell the tier above: counts are sums, the rest is the worst.
pub fn load(views: &[View]) -> Option<LoadReport> {
    let loads = views.iter().filter_map(|view| view.load);
    loads.reduce(|one, other| LoadReport {
        in_flight: one.in_flight.saturating_add(other.in_flight),
        latency_us: one.latency_us.max(other.latency_us),
        limit_permille: one.limit_permille.max(other.limit_permille),
        draining: one.draining || other.draining,
    })
}

/// The endpoints of all workers, in the order of the first that has them: counts are sums, the
/// state is the worst that any worker sees.
pub fn merge(views: &[View]) -> Vec<EndpointView> {
    let mut all: Vec<EndpointView> = Vec::new();
    for view in views.iter().flat_map(|it| &it.endpoints) {
        match all.iter_mut().find(|it| it.name == view.name) {
            Some(known) => known.take_in(view),
            None => all.push(view.clone()),
        }
    }
    all
}

impl EndpointView {
    fn take_in(&mut self, other: &EndpointView) {
        if self.state < other.state {
            self.state = other.state;
            self.breaker = other.breaker;
        }
        self.in_flight += other.in_flight;
        self.requests += other.requests;
        self.latency.merge(&other.latency);
        let (errors, others) = (&mut self.errors, other.errors);
        errors.lost += others.lost;
        errors.shed += others.shed;
        errors.failed += others.failed;
        errors.late += others.late;
        let younger = |it: &LoadView| self.load.is_none_or(|known| it.age < known.age);
        if let Some(load) = other.load.filter(younger) {
            self.load = Some(load);
        }
        if self.changed.as_ref().map(|it| it.0) < other.changed.as_ref().map(|it| it.0) {
            self.changed.clone_from(&other.changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, state: EndpointState, in_flight: u64, age_ms: u64) -> EndpointView {
        EndpointView {
            name: name.into(),
            addr: String::new(),
            kind: "trunk",
            state,
            weight: 1,
            in_flight,
            load: Some(LoadView {
                in_flight: 1,
                latency: Duration::ZERO,
                limit_permille: 0,
                age: Duration::from_millis(age_ms),
            }),
            latency: LatencyCounts::default(),
            requests: 10,
            errors: Errors { lost: 1, ..Errors::default() },
            breaker: None,
            changed: Some((Timestamp(i64::try_from(age_ms).unwrap()), format!("{age_ms}"))),
        }
    }

    #[test]
    fn all_workers_together_are_the_sum_and_the_worst() {
        let worker = |endpoints| View { endpoints, ..View::default() };
        let views = [
            worker(vec![
                view("x", EndpointState::Passing, 2, 9),
                view("y", EndpointState::Down, 0, 1),
            ]),
            worker(vec![view("x", EndpointState::Tripped, 3, 4)]),
        ];
        let merged = merge(&views);
        assert_eq!(merged.len(), 2);
        let x = &merged[0];
        assert_eq!((&*x.name, x.state, x.in_flight), ("x", EndpointState::Tripped, 5));
        assert_eq!((x.requests, x.errors.lost), (20, 2));
        assert_eq!(x.load.unwrap().age, Duration::from_millis(4));
        assert_eq!(x.changed.as_ref().unwrap().1, "9");
        assert_eq!(merged[1].state.text(), "down");
    }
}
