//! What an account node runs on.

use net::node::NodeConfig;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// One node of role `account`.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    pub node: NodeConfig,
    pub trunk: SocketAddr,
    /// Name of the service whose accounts it holds.
    pub service: String,
    /// Partitions of that service in all, 1 to 4096.
    pub partitions: u16,
    /// Folder of the SQLite engine.
    pub engine: PathBuf,
    /// The service's nodes in the order of the topology file: partitions are dealt in turn.
    pub roster: Vec<Arc<str>>,
}
