//! What a balancer counts, and what it tells about itself.

use super::plan::Plan;
use crate::{config::BalancerConfig, gate::LineCounters};
use balance::{Outcome, Policy, breaker::Phase};
use net::{
    admin::{Exposition, Source},
    agent::{self, beat::SelfCheck},
    control::Errors,
    counters::Counter,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stdx::Moment;
use wire::frame::LoadReport;

/// The counters of all workers.
#[derive(Debug)]
pub(super) struct Board {
    node: Arc<str>,
    /// Of each worker's router; the first one to hear of another sets it.
    policy: Mutex<&'static str>,
    plan: Plan,
    workers: Vec<Arc<WorkerCounters>>,
}

/// Counted by one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerCounters {
    /// Requests that came in.
    pub(super) requests: Counter,
    /// Attempts after a lost connection.
    pub(super) repeats: Counter,
    /// Attempts that the retry budget did not grant.
    pub(super) denied: Counter,
    /// Refused as certainly not executed.
    pub(super) unsent: Counter,
    /// Of clients, refused because as much was in flight as the limit allows.
    pub(super) shed: Counter,
    /// Of clients, who wait for room before they are refused.
    pub(super) line: Arc<LineCounters>,
    /// Answered with "outcome unknown".
    pub(super) unknown: Counter,
    /// Requests that wait for an endpoint to be connected.
    pub(super) waiting: Counter,
    /// Choices among endpoints that were all tripped.
    pub(super) panics: Counter,
    /// By name. Locked when the list of endpoints changes and when somebody looks.
    endpoints: Mutex<Vec<(Arc<str>, Arc<EndpointCounters>)>>,
}

/// What one worker counts of one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointCounters {
    pub(super) up: Counter,
    pub(super) drained: Counter,
    pub(super) weight: Counter,
    pub(super) in_flight: Counter,
    pub(super) requests: Counter,
    lost: Counter,
    shed: Counter,
    failed: Counter,
    elsewhere: Counter,
    abandoned: Counter,
    pub(super) missed: Counter,
    pub(super) trips: Counter,
    pub(super) probes: Counter,
    /// Of the breaker: 0 passing, 1 probing, 2 tripped.
    phase: Counter,
    reported_in_flight: Counter,
    reported_latency_us: Counter,
    reported_limit_permille: Counter,
    reported_draining: Counter,
}

impl WorkerCounters {
    /// The counters of the endpoint of this name, made if need be.
    pub(super) fn endpoint(&self, name: &Arc<str>) -> Arc<EndpointCounters> {
        let mut endpoints = self.endpoints();
        if let Some((_, counters)) = endpoints.iter().find(|(it, _)| it == name) {
            return Arc::clone(counters);
        }
        let counters = Arc::<EndpointCounters>::default();
        endpoints.push((Arc::clone(name), Arc::clone(&counters)));
        counters
    }

    /// The endpoint went.
    pub(super) fn forget(&self, counters: &Arc<EndpointCounters>) {
        self.endpoints().retain(|(_, it)| !Arc::ptr_eq(it, counters));
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<(Arc<str>, Arc<EndpointCounters>)>> {
        // Whoever panicked, each entry is whole.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointCounters {
    /// Counts the end of a request.
    pub(super) fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => (), // The latencies count it.
            Outcome::Shed => self.shed.add(1),
            Outcome::Failed => self.failed.add(1),
            Outcome::Lost => self.lost.add(1),
            Outcome::Elsewhere => self.elsewhere.add(1),
            Outcome::Abandoned => self.abandoned.add(1),
        }
    }

    /// What went wrong by the endpoint's own fault, and what nobody waited for.
    pub(super) fn errors(&self) -> Errors {
        Errors {
            lost: self.lost.get(),
            shed: self.shed.get(),
            failed: self.failed.get(),
            late: self.abandoned.get(),
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(match phase {
            Phase::Passing => 0,
            Phase::Probing => 1,
            Phase::Tripped => 2,
        });
    }

    pub(super) fn reported(&self, report: LoadReport) {
        self.reported_in_flight.set(report.in_flight.into());
        self.reported_latency_us.set(report.latency_us.into());
        self.reported_limit_permille.set(report.limit_permille.into());
        self.reported_draining.set(report.draining.into());
    }
}

impl Board {
    pub(super) fn new(config: &BalancerConfig, plan: Plan) -> Board {
        Board {
            node: Arc::clone(&config.node.name),
            policy: Mutex::new(config.policy.text()),
            plan,
            workers: (0..config.workers).map(|_| Arc::default()).collect(),
        }
    }

    /// Another policy is in force.
    pub(super) fn set_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy.text();
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerCounters> {
        Arc::clone(&self.workers[index])
    }

    fn sum(&self, of: impl Fn(&WorkerCounters) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| of(worker).get()).sum()
    }

    /// Every endpoint of the list with the counters of all workers that have it.
    fn rows(&self) -> Vec<Row> {
        let known: Vec<_> = self.workers.iter().map(|it| it.endpoints().clone()).collect();
        let row = |name: &Arc<str>| {
            let of_name = known.iter().flatten().filter(|(it, _)| it == name);
            let workers = of_name.map(|(_, counters)| Arc::clone(counters)).collect();
            Row { name: Arc::clone(name), workers }
        };
        self.plan.endpoints().iter().map(|it| row(&it.name)).collect()
    }
}

/// One endpoint, over all workers.
struct Row {
    name: Arc<str>,
    workers: Vec<Arc<EndpointCounters>>,
}

impl Row {
    fn sum(&self, of: impl Fn(&EndpointCounters) -> &Counter) -> u64 {
        self.workers.iter().map(|it| of(it).get()).sum()
    }

    fn max(&self, of: impl Fn(&EndpointCounters) -> &Counter) -> u64 {
        self.workers.iter().map(|it| of(it).get()).max().unwrap_or(0)
    }

    /// The worst of what the breakers of the workers do.
    fn breaker(&self) -> &'static str {
        match self.max(|it| &it.phase) {
            0 => "passing",
            1 => "probing",
            _ => "tripped",
        }
    }

    fn state(&self) -> &'static str {
        if self.max(|it| &it.drained) != 0 {
            "drained"
        } else if self.max(|it| &it.up) == 0 {
            "down"
        } else if self.max(|it| &it.reported_draining) != 0 {
            "draining"
        } else {
            "up"
        }
    }

    fn status(&self) -> EndpointStatus<'_> {
        EndpointStatus {
            name: &self.name,
            state: self.state(),
            breaker: self.breaker(),
            up: self.sum(|it| &it.up),
            weight: self.max(|it| &it.weight),
            in_flight: self.sum(|it| &it.in_flight),
            requests: self.sum(|it| &it.requests),
            lost: self.sum(|it| &it.lost),
            shed: self.sum(|it| &it.shed),
            failed: self.sum(|it| &it.failed),
            elsewhere: self.sum(|it| &it.elsewhere),
            abandoned: self.sum(|it| &it.abandoned),
            missed_checks: self.sum(|it| &it.missed),
            trips: self.sum(|it| &it.trips),
            probes: self.sum(|it| &it.probes),
            reported: ReportedStatus {
                in_flight: self.max(|it| &it.reported_in_flight),
                latency_us: self.max(|it| &it.reported_latency_us),
                limit_permille: self.max(|it| &it.reported_limit_permille),
            },
        }
    }
}

#[derive(Serialize)]
struct Status<'a> {
    node: &'a str,
    role: &'static str,
    policy: &'static str,
    workers: usize,
    requests: u64,
    repeats: u64,
    unsent: u64,
    unknown: u64,
    shed: u64,
    in_line: u64,
    let_in: u64,
    panics: u64,
    endpoints: Vec<EndpointStatus<'a>>,
}

#[derive(Serialize)]
struct EndpointStatus<'a> {
    name: &'a str,
    /// `up`, `draining` (it says so), `drained` (by us) or `down`.
    state: &'static str,
    breaker: &'static str,
    /// Workers that are connected to it.
    up: u64,
    weight: u64,
    in_flight: u64,
    requests: u64,
    lost: u64,
    shed: u64,
    failed: u64,
    /// Failures that a hop behind it is to blame for.
    elsewhere: u64,
    abandoned: u64,
    missed_checks: u64,
    trips: u64,
    probes: u64,
    reported: ReportedStatus,
}

/// What it last said of itself; of several connections the most.
#[derive(Serialize)]
struct ReportedStatus {
    in_flight: u64,
    latency_us: u64,
    limit_permille: u64,
}

impl Source for Board {
    fn readiness(&self) -> Result<(), String> {
        let has_endpoint = |worker: &Arc<WorkerCounters>| {
            let takes = |it: &EndpointCounters| it.up.get() != 0 && it.reported_draining.get() == 0;
            worker.endpoints().iter().any(|(_, it)| takes(it))
        };
        if self.workers.iter().all(has_endpoint) {
            Ok(())
        } else {
            Err("a worker has no endpoint that takes requests".to_owned())
        }
    }

    /// It answers for itself even where nothing below it does.
    fn serves(&self) -> bool {
        true
    }

    /// A balancer is cut off when it is connected to none of its endpoints.
    fn checks(&self, _now: Moment, out: &mut Vec<SelfCheck>) {
        let rows = self.rows();
        let connected = rows.iter().filter(|it| it.sum(|it| &it.up) != 0).count();
        let check = agent::verdict(
            "endpoints",
            match (connected, rows.len()) {
                (0, 1..) => Err("none of its endpoints is connected".to_owned()),
                (connected, of) => Ok(format!("{connected} of {of} connected")),
            },
        );
        let percent = (connected * 100).checked_div(rows.len()).unwrap_or(100);
        out.push(check.with_value(percent as u64));
    }

    fn metrics(&self, out: &mut Exposition) {
        type Of = fn(&WorkerCounters) -> &Counter;
        type OfEndpoint = fn(&EndpointCounters) -> &Counter;
        let totals: [(&str, &str, Of); 8] = [
            ("balancer_requests_total", "Requests taken.", |it| &it.requests),
            ("balancer_repeats_total", "Second attempts.", |it| &it.repeats),
            ("balancer_denied_total", "Second attempts over budget.", |it| &it.denied),
            ("balancer_unsent_total", "Refused, certainly not executed.", |it| &it.unsent),
            ("balancer_shed_total", "Refused by the limit of this node.", |it| &it.shed),
            ("balancer_let_in_total", "Let in from the line.", |it| &it.line.let_in),
            ("balancer_unknown_total", "Answered: outcome unknown.", |it| &it.unknown),
            ("balancer_panics_total", "Choices among tripped endpoints.", |it| &it.panics),
        ];
        for (name, help, of) in totals {
            out.counter(name, help, &[(&[], self.sum(of))]);
        }
        let gauges: [(&str, &str, Of); 2] = [
            ("balancer_in_line", "Requests that wait for room here.", |it| &it.line.waiting),
            ("balancer_waiting", "Requests that wait for any endpoint.", |it| &it.waiting),
        ];
        for (name, help, of) in gauges {
            out.gauge(name, help, &[(&[], self.sum(of))]);
        }
        let rows = self.rows();
        let labels: Vec<_> = rows.iter().map(|row| [("endpoint", &*row.name)]).collect();
        let per_endpoint = |of: OfEndpoint| -> Vec<(&[(&str, &str)], u64)> {
            labels.iter().zip(&rows).map(|(label, row)| (&label[..], row.sum(of))).collect()
        };
        out.gauge("balancer_endpoint_up", "Workers connected.", &per_endpoint(|it| &it.up));
        out.gauge("balancer_endpoint_in_flight", "In flight.", &per_endpoint(|it| &it.in_flight));
        out.gauge("balancer_endpoint_drained", "By hand.", &per_endpoint(|it| &it.drained));
        let totals: [(&str, &str, OfEndpoint); 8] = [
            ("balancer_endpoint_requests_total", "Attempts sent.", |it| &it.requests),
            ("balancer_endpoint_lost_total", "Lost with a connection.", |it| &it.lost),
            ("balancer_endpoint_shed_total", "Shed by it.", |it| &it.shed),
            ("balancer_endpoint_failed_total", "Failed by its fault.", |it| &it.failed),
            ("balancer_endpoint_elsewhere_total", "Failed behind it.", |it| &it.elsewhere),
            ("balancer_endpoint_abandoned_total", "Nobody waited.", |it| &it.abandoned),
            ("balancer_endpoint_trips_total", "Breaker trips.", |it| &it.trips),
            ("balancer_endpoint_probes_total", "Probes of a tripped breaker.", |it| &it.probes),
        ];
        for (name, help, of) in totals {
            out.counter(name, help, &per_endpoint(of));
        }
    }

    fn status(&self) -> String {
        let rows = self.rows();
        let status = Status {
            node: &self.node,
            role: "balancer",
            policy: *self.policy.lock().unwrap_or_else(PoisonError::into_inner),
            workers: self.workers.len(),
            requests: self.sum(|it| &it.requests),
            repeats: self.sum(|it| &it.repeats),
            unsent: self.sum(|it| &it.unsent),
            unknown: self.sum(|it| &it.unknown),
            shed: self.sum(|it| &it.shed),
            in_line: self.sum(|it| &it.line.waiting),
            let_in: self.sum(|it| &it.line.let_in),
            panics: self.sum(|it| &it.panics),
            endpoints: rows.iter().map(Row::status).collect(),
        };
        serde_json::to_string(&status).expect("numbers and strings are JSON")
    }
}
