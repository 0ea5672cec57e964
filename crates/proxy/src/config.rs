//! What a balancer and a gateway run on. To hold one is proof that the topology file was sound.

use net::node::{Endpoint, NodeConfig};
use std::{net::SocketAddr, time::Duration};

/// One node of role `balancer`. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug)]
pub struct BalancerConfig {
    pub node: NodeConfig,
    /// Where HTTP clients are served.
    pub http: Option<SocketAddr>,
    /// Where the tier above connects.
    pub trunk: Option<SocketAddr>,
    /// Never empty.
    pub endpoints: Vec<Endpoint>,
    /// Threads that carry requests, at least 1. Each has its own connections.
    pub workers: usize,
    /// How long a request may take from its arrival at the edge.
    pub deadline: Duration,
}

/// One node of role `gateway`. At least one of `http` and `trunk` is set.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    pub node: NodeConfig,
    pub http: Option<SocketAddr>,
    pub trunk: Option<SocketAddr>,
    pub services: Vec<ServiceConfig>,
    /// The one key that callers present as `Authorization: Bearer …`.
    pub api_key: String,
    pub workers: usize,
    pub deadline: Duration,
}

/// An account service as a gateway sees it.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    pub name: String,
    pub partitions: u16,
    pub nodes: Vec<Endpoint>,
}
