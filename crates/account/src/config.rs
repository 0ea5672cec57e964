//! What an account node runs on.

use engine::EngineUrl;
use net::node::NodeConfig;
use std::{net::SocketAddr, sync::Arc};

/// One node of role `account`.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    pub node: NodeConfig,
    pub trunk: SocketAddr,
    /// Name of the service whose accounts it holds.
    pub service: String,
    /// Partitions of that service in all, 1 to 4096.
    pub partitions: u16,
    /// Where the accounts are kept: partition *p* in the engine at place *p* modulo their number. At
    /// least one.
    pub engines: Vec<EngineUrl>,
    /// The service's nodes in the order of the topology file: partitions are dealt in turn.
    pub roster: Vec<Arc<str>>,
    /// Which of the tree's account nodes it is, from 0, of how many: what each does once in a while
    /// they do one after the other.
    pub place: (usize, usize),
}
