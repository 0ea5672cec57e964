//! What a balancer before an HTTP service tells about itself, and the metrics of any such service.

use super::service::{EndpointState, HttpService, ServiceTotals};
use balance::Health;
use net::{
    admin::{Exposition, Source},
    agent::{self, beat::SelfCheck},
};
use serde::Serialize;
use std::sync::Arc;
use stdx::Moment;

/// What the admin server of a balancer reads.
#[derive(Debug)]
pub(super) struct Board {
    node: Arc<str>,
    service: Arc<HttpService>,
}

impl Board {
    pub(super) fn new(node: Arc<str>, service: Arc<HttpService>) -> Board {
        Board { node, service }
    }
}

#[derive(Serialize)]
struct Status<'a> {
    node: &'a str,
    role: &'static str,
    #[serde(flatten)]
    service: ServiceStatus<'a>,
}

/// A service with its endpoints, for `/admin/status`.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceStatus<'a> {
    service: &'a str,
    requests: u64,
    repeats: u64,
    unsent: u64,
    failed: u64,
    tunnels: u64,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Debug, Serialize)]
struct EndpointStatus {
    name: String,
    /// What the checks say: `unknown`, `well` or `sick`.
    health: &'static str,
    weight: u32,
    drained: bool,
    /// Workers whose breaker lets nothing through.
    tripped: u64,
    in_flight: u64,
    connections: u64,
    requests: u64,
    unreachable: u64,
    lost: u64,
    failed: u64,
    late: u64,
    shed: u64,
}

impl ServiceStatus<'_> {
    pub(crate) fn of(service: &HttpService) -> ServiceStatus<'_> {
        let totals = service.totals();
        ServiceStatus {
            service: service.name(),
            requests: totals.requests,
            repeats: totals.repeats,
            unsent: totals.unsent,
            failed: totals.failed,
            tunnels: totals.tunnels,
            endpoints: service.endpoints().into_iter().map(EndpointStatus::of).collect(),
        }
    }
}

impl EndpointStatus {
    fn of(it: EndpointState) -> EndpointStatus {
        EndpointStatus {
            health: health_text(it.health),
            weight: it.weight.get(),
            drained: it.drained,
            name: it.name,
            tripped: it.tripped,
            in_flight: it.in_flight,
            connections: it.connections,
            requests: it.requests,
            unreachable: it.unreachable,
            lost: it.lost,
            failed: it.failed,
            late: it.late,
            shed: it.shed,
        }
    }
}

fn health_text(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Well => "well",
        Health::Sick => "sick",
    }
}

impl Source for Board {
    fn readiness(&self) -> Result<(), String> {
        self.service.readiness()
    }

    fn checks(&self, _now: Moment, out: &mut Vec<SelfCheck>) {
        let endpoints = self.service.endpoints();
        let well = endpoints.iter().filter(|it| it.health != Health::Sick).count();
        let check = agent::verdict(
            "endpoints",
            match (well, endpoints.len()) {
                (0, 1..) => Err("all of its endpoints fail their checks".to_owned()),
                (well, of) => Ok(format!("{well} of {of} not known as sick")),
            },
        );
        let percent = (well * 100).checked_div(endpoints.len()).unwrap_or(100);
        out.push(check.with_value(percent as u64));
    }

    fn metrics(&self, out: &mut Exposition) {
        metrics(&[&self.service], out);
    }

    fn status(&self) -> String {
        let service = ServiceStatus::of(&self.service);
        let status = Status { node: &self.node, role: "balancer", service };
        serde_json::to_string(&status).expect("numbers and strings are JSON")
    }
}

type OfService = fn(&ServiceTotals) -> u64;
type OfEndpoint = fn(&EndpointState) -> u64;

const SERVICE_COUNTERS: [(&str, &str, OfService); 6] = [
    ("upstream_requests_total", "Requests for an HTTP service.", |it| it.requests),
    ("upstream_repeats_total", "Attempts after the first.", |it| it.repeats),
    ("upstream_stale_total", "Found a connection ended, asked on another.", |it| it.stale),
    ("upstream_unsent_total", "Refused, certainly not executed.", |it| it.unsent),
    ("upstream_failed_total", "Sent, and no sound answer came.", |it| it.failed),
    ("upstream_panics_total", "Chosen though none seemed well.", |it| it.panics),
];
const SERVICE_GAUGES: [(&str, &str, OfService); 1] =
    [("upstream_tunnels", "Upgraded connections.", |it| it.tunnels)];
const ENDPOINT_COUNTERS: [(&str, &str, OfEndpoint); 6] = [
    ("upstream_endpoint_requests_total", "Attempts sent.", |it| it.requests),
    ("upstream_endpoint_unreachable_total", "No connection.", |it| it.unreachable),
    ("upstream_endpoint_lost_total", "Connections that ended early.", |it| it.lost),
    ("upstream_endpoint_failed_total", "Unsound answers, 502, 504.", |it| it.failed),
    ("upstream_endpoint_late_total", "No answer in time.", |it| it.late),
    ("upstream_endpoint_shed_total", "Answered 503.", |it| it.shed),
];
const ENDPOINT_GAUGES: [(&str, &str, OfEndpoint); 4] = [
    ("upstream_endpoint_up", "Not known as sick.", |it| u64::from(it.health != Health::Sick)),
    ("upstream_endpoint_in_flight", "In flight.", |it| it.in_flight),
    ("upstream_endpoint_connections", "Connections.", |it| it.connections),
    ("upstream_endpoint_tripped", "Workers with a tripped breaker.", |it| it.tripped),
];

/// Appends what was counted of services: a label per service, and one per endpoint of the file.
pub(crate) fn metrics(services: &[&HttpService], out: &mut Exposition) {
    if services.is_empty() {
        return;
    }
    let totals: Vec<_> =
        services.iter().map(|it| ([("service", it.name())], it.totals())).collect();
    let per_service = |of: OfService| -> Vec<(&[(&str, &str)], u64)> {
        totals.iter().map(|(labels, totals)| (&labels[..], of(totals))).collect()
    };
    for (name, help, of) in SERVICE_COUNTERS {
        out.counter(name, help, &per_service(of));
    }
    for (name, help, of) in SERVICE_GAUGES {
        out.gauge(name, help, &per_service(of));
    }
    let states: Vec<_> = services.iter().map(|it| (it.name(), it.endpoints())).collect();
    let states: Vec<_> = states
        .iter()
        .flat_map(|(service, states)| states.iter().map(move |it| (*service, it)))
        .map(|(service, it)| ([("service", service), ("endpoint", &*it.name)], it))
        .collect();
    let per_endpoint = |of: OfEndpoint| -> Vec<(&[(&str, &str)], u64)> {
        states.iter().map(|(labels, state)| (&labels[..], of(state))).collect()
    };
    for (name, help, of) in ENDPOINT_COUNTERS {
        out.counter(name, help, &per_endpoint(of));
    }
    for (name, help, of) in ENDPOINT_GAUGES {
        out.gauge(name, help, &per_endpoint(of));
    }
}
