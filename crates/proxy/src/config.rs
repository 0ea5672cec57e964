//! What a balancer and a gateway run on. To hold one is proof that the topology file was sound.

use crate::upstream::config::HttpServiceConfig;
use balance::Policy;
use net::node::{Endpoint, NodeConfig};
use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

/// One node of role `balancer`. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug)]
pub struct BalancerConfig {
    pub node: NodeConfig,
    /// Where HTTP clients are served.
    pub http: Option<SocketAddr>,
    /// Where the tier above connects.
    pub trunk: Option<SocketAddr>,
    /// Those that it starts with, never none. [`crate::balancer::Plan`] changes them later.
    pub endpoints: Vec<EndpointConfig>,
    /// How one of them is chosen.
    pub policy: Policy,
    /// What [`Policy::Hash`] goes by.
    pub hash: HashBy,
    /// Threads that carry requests, at least 1. Each has its own connections.
    pub workers: usize,
    /// How long a request may take from its arrival at the edge.
    pub deadline: Duration,
}

/// An endpoint of a balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// Unique among the endpoints of the balancer.
    pub name: Arc<str>,
    /// Its part of the work beside the others'.
    pub weight: NonZeroU32,
    /// Somebody took it out of rotation: it finishes what it has and gets nothing new.
    pub drained: bool,
    pub reach: Reach,
}

/// The way to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A node of ours, over the trunk.
    Trunk(SocketAddr),
}

impl EndpointConfig {
    /// A node of ours, in rotation, of weight 1.
    pub fn trunk(endpoint: &Endpoint) -> EndpointConfig {
        EndpointConfig {
            name: Arc::clone(&endpoint.name),
            weight: NonZeroU32::MIN,
            drained: false,
            reach: Reach::Trunk(endpoint.addr),
        }
    }
}

/// What makes two requests the same to [`Policy::Hash`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashBy {
    /// The service and account that the path names; the path where it names none.
    #[default]
    Account,
    /// The value of a header, by its lower-case name; as [`HashBy::Account`] where it is missing.
    Header(Box<str>),
}

/// One node of role `gateway`. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    pub node: NodeConfig,
    pub http: Option<SocketAddr>,
    pub trunk: Option<SocketAddr>,
    pub services: Vec<ServiceConfig>,
    /// HTTP services that routes lead to.
    pub http_services: Vec<HttpServiceConfig>,
    /// Paths outside the account API.
    pub routes: Vec<RouteConfig>,
    /// The first key that callers present as `Authorization: Bearer …`; it may do everything.
    pub api_key: String,
    /// The file of further keys, which need not be there.
    pub api_keys: Option<PathBuf>,
    pub workers: usize,
    pub deadline: Duration,
}

/// Requests that go to an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// A path, or `/…/*` for everything under one.
    pub path: String,
    /// One of the gateway's HTTP services.
    pub service: String,
}

/// An account service as a gateway sees it.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub name: String,
    pub partitions: u16,
    pub nodes: Vec<Endpoint>,
}
