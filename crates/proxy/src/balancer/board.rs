//! What a balancer counts, and what it tells about itself.

use crate::config::BalancerConfig;
use net::{
    admin::{Exposition, Source},
    counters::Counter,
};
use serde::Serialize;
use std::sync::Arc;

/// The counters of all workers.
#[derive(Debug)]
pub(super) struct Board {
    node: Arc<str>,
    endpoints: Vec<Arc<str>>,
    workers: Vec<Arc<WorkerCounters>>,
}

/// Counted by one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerCounters {
    /// Requests that came in.
    pub(super) requests: Counter,
    /// Attempts after a lost connection.
    pub(super) repeats: Counter,
    /// Refused as certainly not executed.
    pub(super) unsent: Counter,
    /// Answered with "outcome unknown".
    pub(super) unknown: Counter,
    /// Requests that wait for an endpoint to be connected.
    pub(super) waiting: Counter,
    pub(super) endpoints: Vec<EndpointCounters>,
}

#[derive(Debug, Default)]
pub(super) struct EndpointCounters {
    pub(super) up: Counter,
    pub(super) in_flight: Counter,
    pub(super) requests: Counter,
    pub(super) lost: Counter,
}

impl Board {
    pub(super) fn new(config: &BalancerConfig) -> Board {
        let worker = || {
            let endpoints = config.endpoints.iter().map(|_| EndpointCounters::default()).collect();
            Arc::new(WorkerCounters { endpoints, ..WorkerCounters::default() })
        };
        Board {
            node: Arc::clone(&config.node.name),
            endpoints: config.endpoints.iter().map(|it| Arc::clone(&it.name)).collect(),
            workers: (0..config.workers).map(|_| worker()).collect(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerCounters> {
        Arc::clone(&self.workers[index])
    }

    fn sum(&self, of: impl Fn(&WorkerCounters) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| of(worker).get()).sum()
    }

    fn endpoint_sum(&self, at: usize, of: impl Fn(&EndpointCounters) -> &Counter) -> u64 {
        self.sum(|worker| of(&worker.endpoints[at]))
    }
}

#[derive(Serialize)]
struct Status<'a> {
    node: &'a str,
    role: &'static str,
    workers: usize,
    requests: u64,
    repeats: u64,
    endpoints: Vec<EndpointStatus<'a>>,
}

#[derive(Serialize)]
struct EndpointStatus<'a> {
    name: &'a str,
    /// Workers that are connected to it.
    up: u64,
    in_flight: u64,
    requests: u64,
    lost: u64,
}

impl Source for Board {
    fn readiness(&self) -> Result<(), String> {
        let has_endpoint =
            |worker: &Arc<WorkerCounters>| worker.endpoints.iter().any(|it| it.up.get() != 0);
        if self.workers.iter().all(has_endpoint) {
            Ok(())
        } else {
            Err("a worker is connected to no endpoint".to_owned())
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        type Of = fn(&WorkerCounters) -> &Counter;
        type OfEndpoint = fn(&EndpointCounters) -> &Counter;
        let totals: [(&str, &str, Of); 4] = [
            ("balancer_requests_total", "Requests taken.", |it| &it.requests),
            ("balancer_repeats_total", "Second attempts.", |it| &it.repeats),
            ("balancer_unsent_total", "Refused, certainly not executed.", |it| &it.unsent),
            ("balancer_unknown_total", "Answered: outcome unknown.", |it| &it.unknown),
        ];
        for (name, help, of) in totals {
            out.counter(name, help, &[(&[], self.sum(of))]);
        }
        out.gauge(
            "balancer_waiting",
            "Requests that wait for any endpoint.",
            &[(&[], self.sum(|it| &it.waiting))],
        );
        let labels: Vec<_> = self.endpoints.iter().map(|name| [("endpoint", &**name)]).collect();
        let per_endpoint = |of: OfEndpoint| -> Vec<(&[(&str, &str)], u64)> {
            let samples = labels.iter().enumerate();
            samples.map(|(at, label)| (&label[..], self.endpoint_sum(at, of))).collect()
        };
        out.gauge("balancer_endpoint_up", "Workers connected.", &per_endpoint(|it| &it.up));
        out.gauge("balancer_endpoint_in_flight", "In flight.", &per_endpoint(|it| &it.in_flight));
        let requests = per_endpoint(|it| &it.requests);
        out.counter("balancer_endpoint_requests_total", "Attempts sent.", &requests);
        let lost = per_endpoint(|it| &it.lost);
        out.counter("balancer_endpoint_lost_total", "Attempts lost with a connection.", &lost);
    }

    fn status(&self) -> String {
        let endpoints = self.endpoints.iter().enumerate().map(|(at, name)| EndpointStatus {
            name,
            up: self.endpoint_sum(at, |it| &it.up),
            in_flight: self.endpoint_sum(at, |it| &it.in_flight),
            requests: self.endpoint_sum(at, |it| &it.requests),
            lost: self.endpoint_sum(at, |it| &it.lost),
        });
        let status = Status {
            node: &self.node,
            role: "balancer",
            workers: self.workers.len(),
            requests: self.sum(|it| &it.requests),
            repeats: self.sum(|it| &it.repeats),
            endpoints: endpoints.collect(),
        };
        serde_json::to_string(&status).expect("numbers and strings are JSON")
    }
}
