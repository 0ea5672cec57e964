//! An HTTP service as a node sees it: its configuration, what the checks say, what was counted.
//!
//! One of these is shared by all workers; each worker opens a [`Group`] of its own on it.
//!
//! [`Group`]: super::group::Group

use super::config::{HttpEndpoint, HttpServiceConfig};
use balance::Health;
use net::counters::Counter;
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// Shared by the workers of a node. Nothing in it is touched on the way of a request but the
/// worker's own counters.
#[derive(Debug)]
pub struct HttpService {
    name: String,
    /// Every worker follows it.
    pub(super) current: watch::Sender<Arc<Current>>,
    workers: Vec<Arc<WorkerBoard>>,
}

/// A service as it is between two changes of its configuration.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) config: HttpServiceConfig,
    /// What the checks say, by endpoint.
    pub(super) health: watch::Sender<Box<[Health]>>,
    /// By worker and endpoint.
    boards: Vec<Vec<Arc<EndpointBoard>>>,
}

impl Current {
    /// What is known of an endpoint that stays is kept.
    fn new(config: HttpServiceConfig, workers: usize, before: Option<&Current>) -> Current {
        let place = |endpoint: &HttpEndpoint| {
            let endpoints = &before?.config.endpoints;
            endpoints.iter().position(|it| it.is_same(endpoint))
        };
        let places: Vec<_> = config.endpoints.iter().map(place).collect();
        let known = before.map(|it| it.health.borrow().clone());
        let health = |place: &Option<usize>| match (&known, place) {
            (Some(known), Some(at)) => known[*at],
            (Some(_), None) | (None, _) => Health::Unknown,
        };
        let board = |worker: usize, place: &Option<usize>| match (before, place) {
            (Some(before), Some(at)) => Arc::clone(&before.boards[worker][*at]),
            (Some(_), None) | (None, _) => Arc::default(),
        };
        let healths = places.iter().map(health).collect();
        let boards = |worker| places.iter().map(|place| board(worker, place)).collect();
        let boards = (0..workers).map(boards).collect();
        Current { health: watch::Sender::new(healths), boards, config }
    }

    pub(super) fn boards(&self, worker: usize) -> &[Arc<EndpointBoard>] {
        &self.boards[worker]
    }
}

/// Counted by one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerBoard {
    /// Requests that came in.
    pub(super) requests: Counter,
    /// Attempts after the first.
    pub(super) repeats: Counter,
    /// Attempts on connections that had ended unnoticed, made again at once.
    pub(super) stale: Counter,
    /// Refused as certainly not executed.
    pub(super) unsent: Counter,
    /// Sent, and no sound answer came.
    pub(super) failed: Counter,
    /// Choices among endpoints of which none seemed well.
    pub(super) panics: Counter,
    /// Connections that were upgraded and have not ended.
    pub(super) tunnels: Counter,
}

/// One endpoint as one worker counts it.
#[derive(Debug, Default)]
pub(super) struct EndpointBoard {
    pub(super) requests: Counter,
    pub(super) in_flight: Counter,
    pub(super) connections: Counter,
    /// No connection could be made.
    pub(super) unreachable: Counter,
    /// Connections that ended under a request.
    pub(super) lost: Counter,
    /// Broken answers, 502 and 504.
    pub(super) failed: Counter,
    /// No head of an answer within the deadline.
    pub(super) late: Counter,
    /// 503.
    pub(super) shed: Counter,
    /// Its breaker lets nothing through.
    pub(super) tripped: Counter,
}

/// One endpoint of a service, all workers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    pub name: String,
    pub health: Health,
    pub weight: NonZeroU32,
    /// Somebody took it out of rotation.
    pub drained: bool,
    pub requests: u64,
    pub in_flight: u64,
    pub connections: u64,
    pub unreachable: u64,
    pub lost: u64,
    pub failed: u64,
    pub late: u64,
    pub shed: u64,
    /// Workers whose breaker lets nothing through.
    pub tripped: u64,
}

/// What all workers counted of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    pub requests: u64,
    pub repeats: u64,
    pub stale: u64,
    pub unsent: u64,
    pub failed: u64,
    pub panics: u64,
    pub tunnels: u64,
}

impl HttpService {
    /// For a node with this many workers.
    pub fn new(config: HttpServiceConfig, workers: usize) -> Arc<HttpService> {
        Arc::new(HttpService {
            name: config.name.clone(),
            current: watch::Sender::new(Arc::new(Current::new(config, workers, None))),
            workers: (0..workers).map(|_| Arc::default()).collect(),
        })
    }

    /// Its name in the topology file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The configuration in force.
    pub fn config(&self) -> HttpServiceConfig {
        self.current.borrow().config.clone()
    }

    /// Puts another configuration in force, for requests that come from now on. An endpoint that
    /// stays keeps its connections and what is known of it; what is in flight to one that goes is
    /// finished.
    pub fn set(&self, config: HttpServiceConfig) {
        self.current.send_if_modified(|current| {
            let differs = current.config != config;
            if differs {
                *current = Arc::new(Current::new(config, self.workers.len(), Some(current)));
            }
            differs
        });
    }

    /// As [`HttpService::set`], with a list of a file: who was taken out of rotation by order stays
    /// out.
    pub fn reload(&self, mut config: HttpServiceConfig) {
        let present = self.config();
        for endpoint in &mut config.endpoints {
            let known = present.endpoints.iter().find(|it| it.is_same(endpoint));
            endpoint.drained = known.is_some_and(|it| it.drained);
        }
        self.set(config);
    }

    /// Takes an endpoint out of rotation or back in; false when there is none of this name.
    pub fn set_drained(&self, name: &str, drained: bool) -> bool {
        self.edit(name, |endpoint| endpoint.drained = drained)
    }

    /// Sets an endpoint's part of the work; false when there is none of this name.
    pub fn set_weight(&self, name: &str, weight: NonZeroU32) -> bool {
        self.edit(name, |endpoint| endpoint.weight = weight)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut HttpEndpoint)) -> bool {
        let mut config = self.config();
        let found = config.endpoints.iter_mut().find(|it| it.authority() == name);
        let is_known = found.map(change).is_some();
        self.set(config);
        is_known
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerBoard> {
        Arc::clone(&self.workers[index])
    }

    /// `Err` says why no request can be expected to be answered.
    pub fn readiness(&self) -> Result<(), String> {
        let current = Arc::clone(&self.current.borrow());
        let health = current.health.borrow();
        let mut states = health.iter().zip(&current.config.endpoints);
        let name = &self.name;
        if states.any(|(health, endpoint)| *health == Health::Well && !endpoint.drained) {
            Ok(())
        } else if health.contains(&Health::Unknown) {
            Err(format!("no endpoint of {name} was checked yet"))
        } else {
            Err(format!("no endpoint of {name} passes its checks"))
        }
    }

    /// Its endpoints, in the order of the file.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let current = Arc::clone(&self.current.borrow());
        let health = current.health.borrow().clone();
        let endpoints = current.config.endpoints.iter().zip(health).enumerate();
        let state = |(at, (endpoint, health)): (usize, (&HttpEndpoint, Health))| {
            let sum = |of: fn(&EndpointBoard) -> &Counter| {
                current.boards.iter().map(|it| of(&it[at]).get()).sum()
            };
            EndpointState {
                name: endpoint.authority(),
                health,
                weight: endpoint.weight,
                drained: endpoint.drained,
                requests: sum(|it| &it.requests),
                in_flight: sum(|it| &it.in_flight),
                connections: sum(|it| &it.connections),
                unreachable: sum(|it| &it.unreachable),
                lost: sum(|it| &it.lost),
                failed: sum(|it| &it.failed),
                late: sum(|it| &it.late),
                shed: sum(|it| &it.shed),
                tripped: sum(|it| &it.tripped),
            }
        };
        endpoints.map(state).collect()
    }

    /// What was counted of it as a whole.
    pub fn totals(&self) -> ServiceTotals {
        let sum =
            |of: fn(&WorkerBoard) -> &Counter| self.workers.iter().map(|it| of(it).get()).sum();
        ServiceTotals {
            requests: sum(|it| &it.requests),
            repeats: sum(|it| &it.repeats),
            stale: sum(|it| &it.stale),
            unsent: sum(|it| &it.unsent),
            failed: sum(|it| &it.failed),
            panics: sum(|it| &it.panics),
            tunnels: sum(|it| &it.tunnels),
        }
    }
}

/// The HTTP services of a node.
#[derive(Debug)]
pub struct HttpServices {
    workers: usize,
    list: Mutex<Vec<Arc<HttpService>>>,
}

impl HttpServices {
    /// None yet, for a node with this many workers.
    pub fn new(workers: usize) -> HttpServices {
        HttpServices { workers, list: Mutex::default() }
    }

    /// Makes the services those of the list. One that stays, by name, takes its configuration; to do
    /// it once more changes nothing, so every worker may.
    pub fn set(&self, configs: &[HttpServiceConfig]) -> Vec<Arc<HttpService>> {
        // A list that is replaced whole is sound whoever panicked.
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let service =
            |config: &HttpServiceConfig| match list.iter().find(|it| it.name() == config.name) {
                Some(service) => {
                    service.reload(config.clone());
                    Arc::clone(service)
                }
                None => HttpService::new(config.clone(), self.workers),
            };
        let services: Vec<_> = configs.iter().map(service).collect();
        list.clone_from(&services);
        services
    }

    /// The services there are.
    pub fn list(&self) -> Vec<Arc<HttpService>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
