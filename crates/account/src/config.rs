//! What an account node runs on.

use net::node::NodeConfig;
use std::{net::SocketAddr, path::PathBuf};
use wire::PartitionId;

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
    /// The partitions that this node is to own: every n-th of them, by its place among the
    /// service's nodes in the topology file.
    pub owned: Vec<PartitionId>,
}
