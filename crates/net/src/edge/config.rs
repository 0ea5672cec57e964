//! What an edge is told about the world in front of it.

use super::{network::Network, patience::Patience, tls::EdgeTls};
use crate::node::ClusterKey;
use std::sync::Arc;

/// How clients reach a node, and which of them it believes. By default in the clear, and none.
#[derive(Clone, Debug, Default)]
pub struct EdgeConfig {
    /// Set, clients speak TLS.
    pub tls: Option<EdgeTls>,
    /// Every connection begins with a header of the PROXY protocol, version 2.
    pub proxy_protocol: bool,
    /// Peers whose statements about the client are passed on; what others say is replaced.
    pub trusted: Arc<[Network]>,
    /// How long a client may take.
    pub patience: Patience,
}

/// What the node is called in `Via`: by its name, and so that no other tree has the same.
pub(super) fn pseudonym(name: &str, key: &ClusterKey) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("tollgate 2026-11-22 pseudonym in Via");
    hasher.update(&key.0).update(name.as_bytes());
    let hash = hasher.finalize().to_hex();
    format!("{name}-{}", &hash[..8])
}
