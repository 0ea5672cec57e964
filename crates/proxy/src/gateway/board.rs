//! What a gateway counts, and what it tells about itself.

use crate::{
    config::{GatewayConfig, ServiceConfig},
    gate::LineCounters,
    upstream::{
        HttpService, HttpServices,
        status::{self, ServiceStatus as HttpStatus},
    },
};
use net::{
    admin::{Exposition, Source},
    agent::{self, beat::SelfCheck},
    counters::Counter,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stdx::Moment;
use wire::PartitionId;

/// The boards of all workers.
#[derive(Debug)]
pub(super) struct Board {
    node: Arc<str>,
    services: Vec<ServiceRow>,
    http: Arc<HttpServices>,
    workers: Vec<Arc<WorkerBoard>>,
}

#[derive(Debug)]
struct ServiceRow {
    name: Box<str>,
    partitions: u16,
    nodes: usize,
}

/// Counted by one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerBoard {
    /// Requests that came in.
    pub(super) requests: Counter,
    /// Answered with 4xx: a mistake of the client's or a refusal of the ledger's.
    refused: Counter,
    /// Refused by the limit of this node.
    pub(super) shed: Counter,
    /// Who wait for room before they are refused.
    pub(super) line: Arc<LineCounters>,
    /// Answered with 503: not executed.
    unavailable: Counter,
    /// Answered with 504: outcome unknown.
    unknown: Counter,
    pub(super) services: Vec<Arc<ServiceBoard>>,
}

/// One service as one worker sees it.
#[derive(Debug, Default)]
pub(super) struct ServiceBoard {
    /// Account nodes that are connected.
    pub(super) connected: Counter,
    /// Attempts after the first.
    pub(super) repeats: Counter,
    /// Attempts that the retry budget did not grant.
    pub(super) denied: Counter,
    /// Refused because too many wait for the partition.
    pub(super) crowded: Counter,
    /// Partitions that nobody owns. Locked when an owner changes and when somebody looks.
    orphans: Mutex<Vec<PartitionId>>,
}

impl WorkerBoard {
    /// Counts an answer.
    pub(super) fn count(&self, status: u16) {
        match status {
            503 => self.unavailable.add(1),
            504 => self.unknown.add(1),
            400..500 => self.refused.add(1),
            _ => (),
        }
    }
}

impl ServiceBoard {
    /// Nothing is connected, and no partition has an owner yet.
    pub(super) fn new(partitions: u16) -> ServiceBoard {
        let orphans = Mutex::new((0..partitions).map(PartitionId).collect());
        ServiceBoard { orphans, ..ServiceBoard::default() }
    }

    /// The partitions that nobody owns now.
    pub(super) fn set_orphans(&self, orphans: Vec<PartitionId>) {
        *self.orphans() = orphans;
    }

    fn orphans(&self) -> MutexGuard<'_, Vec<PartitionId>> {
        // A list that is replaced whole is sound whoever panicked.
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    pub(super) fn new(config: &GatewayConfig, http: Arc<HttpServices>) -> Board {
        let worker = || {
            let service = |service: &ServiceConfig| Arc::new(ServiceBoard::new(service.partitions));
            let services = config.services.iter().map(service).collect();
            Arc::new(WorkerBoard { services, ..WorkerBoard::default() })
        };
        let row = |service: &ServiceConfig| ServiceRow {
            name: service.name.as_str().into(),
            partitions: service.partitions,
            nodes: service.nodes.len(),
        };
        Board {
            node: Arc::clone(&config.node.name),
            services: config.services.iter().map(row).collect(),
            http,
            workers: (0..config.workers).map(|_| worker()).collect(),
        }
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerBoard> {
        Arc::clone(&self.workers[index])
    }

    fn sum(&self, of: impl Fn(&WorkerBoard) -> &Counter) -> u64 {
        self.workers.iter().map(|worker| of(worker).get()).sum()
    }

    /// The sum over all workers of something about the service at `at`.
    fn service_sum(&self, at: usize, of: impl Fn(&ServiceBoard) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(&worker.services[at])).sum()
    }

    /// Partitions of the service that a worker knows no owner of.
    fn orphans(&self, at: usize) -> Vec<u16> {
        let of = |worker: &Arc<WorkerBoard>| worker.services[at].orphans().clone();
        let mut orphans: Vec<u16> =
            self.workers.iter().flat_map(of).map(|partition| partition.0).collect();
        orphans.sort_unstable();
        orphans.dedup();
        orphans
    }
}

#[derive(Serialize)]
struct Status<'a> {
    node: &'a str,
    role: &'static str,
    workers: usize,
    requests: u64,
    refused: u64,
    shed: u64,
    in_line: u64,
    let_in: u64,
    unavailable: u64,
    unknown: u64,
    services: Vec<ServiceStatus<'a>>,
    /// Those that routes lead to.
    http_services: Vec<HttpStatus<'a>>,
}

#[derive(Serialize)]
struct ServiceStatus<'a> {
    name: &'a str,
    nodes: usize,
    /// Connections to them, of all workers.
    connected: u64,
    partitions: u16,
    /// Partitions without an owner.
    without_owner: Vec<u16>,
}

impl Source for Board {
    /// Ready once every worker knows an owner of every partition. An HTTP service that is down makes
    /// nobody unready: another gateway would not reach it either.
    fn readiness(&self) -> Result<(), String> {
        for (at, service) in self.services.iter().enumerate() {
            let orphans = self.orphans(at).len();
            if orphans != 0 {
                let (name, count) = (&service.name, service.partitions);
                return Err(format!("{orphans} of {count} partitions of {name} have no owner"));
            }
        }
        Ok(())
    }

    /// It answers for itself even where partitions have no owner.
    fn serves(&self) -> bool {
        true
    }

    /// A gateway is cut off when it reaches none of the nodes of a service.
    fn checks(&self, _now: Moment, out: &mut Vec<SelfCheck>) {
        let connected = |at: usize| self.service_sum(at, |it| it.connected.get());
        let mut services = self.services.iter().enumerate().filter(|(_, it)| it.nodes != 0);
        let cut_off = services.find(|(at, _)| connected(*at) == 0);
        out.push(agent::verdict(
            "endpoints",
            match cut_off {
                None => Ok("every service has a node".to_owned()),
                Some((_, service)) => Err(format!("no node of service {}", service.name)),
            },
        ));
    }

    fn metrics(&self, out: &mut Exposition) {
        type Of = fn(&WorkerBoard) -> &Counter;
        let totals: [(&str, &str, Of); 6] = [
            ("gateway_requests_total", "Requests taken.", |it| &it.requests),
            ("gateway_refused_total", "Answered with 4xx.", |it| &it.refused),
            ("gateway_shed_total", "Refused by the limit of this node.", |it| &it.shed),
            ("gateway_let_in_total", "Let in from the line.", |it| &it.line.let_in),
            ("gateway_unavailable_total", "Not executed: 503.", |it| &it.unavailable),
            ("gateway_unknown_total", "Outcome unknown: 504.", |it| &it.unknown),
        ];
        for (name, help, of) in totals {
            out.counter(name, help, &[(&[], self.sum(of))]);
        }
        let in_line = self.sum(|it| &it.line.waiting);
        out.gauge("gateway_in_line", "Requests that wait for room here.", &[(&[], in_line)]);
        let labels: Vec<_> = self.services.iter().map(|it| [("service", &*it.name)]).collect();
        let per_service = |of: &dyn Fn(usize) -> u64| -> Vec<(&[(&str, &str)], u64)> {
            labels.iter().enumerate().map(|(at, label)| (&label[..], of(at))).collect()
        };
        let repeats = per_service(&|at| self.service_sum(at, |it| it.repeats.get()));
        out.counter("gateway_repeats_total", "Attempts after the first.", &repeats);
        let denied = per_service(&|at| self.service_sum(at, |it| it.denied.get()));
        out.counter("gateway_denied_total", "Attempts over the retry budget.", &denied);
        let crowded = per_service(&|at| self.service_sum(at, |it| it.crowded.get()));
        out.counter("gateway_crowded_total", "Refused: the partition is full.", &crowded);
        let connected = per_service(&|at| self.service_sum(at, |it| it.connected.get()));
        out.gauge("gateway_account_links", "Connections to account nodes.", &connected);
        let orphans = per_service(&|at| self.orphans(at).len().try_into().unwrap_or(u64::MAX));
        out.gauge("gateway_partitions_without_owner", "As it says.", &orphans);
        let http = self.http.list();
        let http: Vec<&HttpService> = http.iter().map(|it| &**it).collect();
        status::metrics(&http, out);
    }

    fn status(&self) -> String {
        let services = self.services.iter().enumerate().map(|(at, service)| ServiceStatus {
            name: &service.name,
            nodes: service.nodes,
            connected: self.service_sum(at, |it| it.connected.get()),
            partitions: service.partitions,
            without_owner: self.orphans(at),
        });
        let http = self.http.list();
        let status = Status {
            node: &self.node,
            role: "gateway",
            workers: self.workers.len(),
            requests: self.sum(|it| &it.requests),
            refused: self.sum(|it| &it.refused),
            shed: self.sum(|it| &it.shed),
            in_line: self.sum(|it| &it.line.waiting),
            let_in: self.sum(|it| &it.line.let_in),
            unavailable: self.sum(|it| &it.unavailable),
            unknown: self.sum(|it| &it.unknown),
            services: services.collect(),
            http_services: http.iter().map(|it| HttpStatus::of(it)).collect(),
        };
        serde_json::to_string(&status).expect("numbers and strings are JSON")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use net::node::{ClusterKey, NodeConfig};
    use std::time::Duration;

    pub(in crate::gateway) fn config() -> GatewayConfig {
        let service = |name: &str, partitions| ServiceConfig {
            name: name.to_owned(),
            partitions,
            nodes: Vec::new(),
        };
        GatewayConfig {
            node: NodeConfig {
                name: "gateway-1".into(),
                admin: ([127, 0, 0, 1], 0).into(),
                cluster_key: ClusterKey(Arc::from([7; 32])),
                edge: net::edge::EdgeConfig::default(),
                trunk_tls: None,
                trunk_ages: net::trunk::Ages::default(),
                drain_max: Duration::from_secs(1),
                watched: agent::Watched::default(),
            },
            http: None,
            trunk: None,
            services: vec![service("a", 3), service("b", 2)],
            http_services: Vec::new(),
            routes: Vec::new(),
            api_key: "secret".to_owned(),
            api_keys: None,
            workers: 2,
            deadline: Duration::from_secs(5),
        }
    }

    #[test]
    fn ready_once_every_worker_knows_an_owner_of_every_partition() {
        let board = Board::new(&config(), Arc::new(HttpServices::new(2)));
        assert_eq!(board.readiness(), Err("3 of 3 partitions of a have no owner".to_owned()));
        for worker in 0..2 {
            board.worker(worker).services[0].set_orphans(Vec::new());
            board.worker(worker).services[1].set_orphans(vec![PartitionId(1)]);
        }
        assert_eq!(board.readiness(), Err("1 of 2 partitions of b have no owner".to_owned()));
        board.worker(0).services[1].set_orphans(Vec::new());
        assert!(board.readiness().is_err(), "worker 1 does not know yet");
        board.worker(1).services[1].set_orphans(Vec::new());
        assert_eq!(board.readiness(), Ok(()));
    }

    #[test]
    fn the_status_names_what_is_without_an_owner() {
        let board = Board::new(&config(), Arc::new(HttpServices::new(2)));
        board.worker(0).requests.add(2);
        board.worker(1).requests.add(1);
        for worker in 0..2 {
            let service = &board.worker(worker).services[0];
            service.set_orphans(vec![PartitionId(2)]);
            service.connected.add(1);
        }
        let status: serde_json::Value = serde_json::from_str(&board.status()).unwrap();
        assert_eq!((&status["role"], &status["requests"]), (&"gateway".into(), &3.into()));
        assert_eq!(status["services"][0]["without_owner"], serde_json::json!([2]));
        assert_eq!(status["services"][0]["connected"], 2);
        assert_eq!(status["services"][1]["without_owner"], serde_json::json!([0, 1]));
    }
}
