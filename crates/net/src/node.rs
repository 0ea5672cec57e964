//! What every node is told at its start, whatever its role.

use crate::{
    agent::Watched,
    edge::EdgeConfig,
    trunk::{Ages, TrunkTls},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The part of a node's configuration that all roles share.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Unique in the tree.
    pub name: Arc<str>,
    /// Where `/healthz`, `/readyz`, `/metrics` and `/admin/…` answer.
    pub admin: SocketAddr,
    /// What every node of the tree knows and nobody else: proved in each trunk hello.
    pub cluster_key: ClusterKey,
    /// How its HTTP clients reach it.
    pub edge: EdgeConfig,
    /// Set, every trunk of the tree is spoken within TLS.
    pub trunk_tls: Option<TrunkTls>,
    /// How old its trunk connections become.
    pub trunk_ages: Ages,
    /// How long a drain may take before what is left is cut off.
    pub drain_max: Duration,
    /// Whoever runs the node's self checks, if somebody does.
    pub watched: Watched,
}

/// A node's trunk address, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub name: Arc<str>,
    pub addr: SocketAddr,
}

/// The secret of the cluster. Its `Debug` form hides it.
#[derive(Clone)]
pub struct ClusterKey(pub Arc<[u8]>);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}
