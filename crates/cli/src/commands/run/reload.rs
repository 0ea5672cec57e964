//! Where a running node reads its topology file anew, and what of it may then change.

use super::Config;
use crate::topology::{Difference, LoadError, Node, Role, Topology, difference};
use net::{
    control::{Hangups, Loaded, Loader, Reload},
    edge::EdgeTls,
    node::NodeConfig,
    trunk::TrunkTls,
};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The file of one node, and what of it is in force.
pub(super) struct Source {
    path: PathBuf,
    node: String,
    certificates: Certificates,
    in_force: Mutex<InForce>,
}

/// What the node goes by.
struct InForce {
    tree: Topology,
    /// What the file of the API key held.
    api_key: Option<String>,
}

impl Source {
    /// The node that was started with `tree`, which is to be read anew from `path`.
    pub(super) fn new(path: PathBuf, tree: Topology, node: &NodeConfig) -> Source {
        let api_key = read_key(&tree);
        let in_force = Mutex::new(InForce { tree, api_key });
        let certificates = Certificates::of(node);
        Source { path, node: node.name.as_ref().to_owned(), certificates, in_force }
    }

    /// How the node reloads; `role` takes its own kind of configuration out of any.
    pub(super) fn reload<C: 'static>(
        self,
        hangups: Hangups,
        role: fn(Config) -> Option<C>,
    ) -> Reload<C> {
        let load: Loader<C> = Box::new(move || self.load(role));
        Reload::new(hangups, load)
    }

    fn load<C>(&self, role: fn(Config) -> Option<C>) -> Result<Loaded<C>, Vec<String>> {
        let fresh = load(&self.path)?;
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let Difference { mut changes, restarts } = difference(&in_force.tree, &fresh, &self.node);
        if !restarts.is_empty() {
            return Err(restarts);
        }
        let api_key = read_key(&fresh);
        let asks_for_key =
            |node: &Node| node.role.is_gateway() || matches!(node.role, Role::Monitor(_));
        let has_key = fresh.node(&self.node).is_some_and(asks_for_key);
        if has_key && in_force.api_key != api_key {
            changes.push("api_key: another one".to_owned());
        }
        let mut config = None;
        if !changes.is_empty() || self.certificates.are_there() {
            let node = fresh.node(&self.node).ok_or_else(Vec::new)?;
            let whole = Config::of(&fresh, node).map_err(|error| vec![error.to_string()])?;
            // Nothing that follows can be refused any more.
            changes.extend(self.certificates.renew(whole.base()));
            config = (!changes.is_empty()).then(|| role(whole)).flatten();
        }
        *in_force = InForce { tree: fresh, api_key };
        Ok(Loaded { config, changes })
    }
}

/// What the running node made of its certificate files: read again with every reload, since they
/// change under the same names.
struct Certificates {
    edge: Option<EdgeTls>,
    trunk: Option<TrunkTls>,
}

impl Certificates {
    fn of(node: &NodeConfig) -> Certificates {
        Certificates { edge: node.edge.tls.clone(), trunk: node.trunk_tls.clone() }
    }

    fn are_there(&self) -> bool {
        self.edge.is_some() || self.trunk.is_some()
    }

    /// Goes by what was read for `fresh`; what was another than before.
    fn renew(&self, fresh: &NodeConfig) -> Vec<String> {
        let edge = self.edge.as_ref().zip(fresh.edge.tls.as_ref());
        let trunk = self.trunk.as_ref().zip(fresh.trunk_tls.as_ref());
        let renewed = [
            ("tls", edge.is_some_and(|(held, fresh)| held.renew(fresh))),
            ("trunk_tls", trunk.is_some_and(|(held, fresh)| held.renew(fresh))),
        ];
        let renewed = renewed.into_iter().filter(|(_, differs)| *differs);
        renewed.map(|(key, _)| format!("{key}: the files were read again")).collect()
    }
}

/// Reads and checks the whole file; the errors are everything that is wrong with it.
pub(super) fn load(path: &Path) -> Result<Topology, Vec<String>> {
    Topology::load(path).map_err(|error| match error {
        LoadError::Unreadable(error) => vec![format!("cannot read {}: {error}", path.display())],
        LoadError::Unsound(complaints) => {
            complaints.iter().map(|it| format!("{}:{it}", path.display())).collect()
        }
    })
}

/// What the API key's file holds, unless it cannot be read: who needs it will say so.
fn read_key(tree: &Topology) -> Option<String> {
    crate::data::read_key(&tree.api_key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const TREE: &str = r#"
name = "t"
[services.a]
engine = "sqlite:a"
[[nodes]]
name = "edge"
role = "balancer"
http = "127.0.0.1:8080"
endpoints = ["gateway"]
tls = { cert = "edge.pem", key = "edge.key" }
[[nodes]]
name = "gateway"
role = "gateway"
trunk = "127.0.0.1:7201"
[[nodes]]
name = "a-1"
role = "account"
service = "a"
trunk = "127.0.0.1:7301"
"#;

    /// Files under the same names are read again, and what cannot be used changes nothing.
    #[test]
    fn certificates_are_read_again() {
        let folder = std::env::temp_dir().join(format!("tollgate-certs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        let certs = |name: &str| {
            let path = format!("{}/../net/tests/it/{name}", env!("CARGO_MANIFEST_DIR"));
            fs::read(path).unwrap()
        };
        let path = folder.join("tollgate.toml");
        put("tollgate.toml", TREE.as_bytes());
        put("cluster.key", b"cluster\n");
        put("edge.pem", &certs("edge/certs/server.pem"));
        put("edge.key", &certs("edge/certs/server.key"));
        let tree = Topology::load(&path).unwrap();
        let config = Config::of(&tree, tree.node("edge").unwrap()).unwrap();
        let source = Source::new(path, tree, config.base());
        let changes = || source.load(Config::balancer).map(|it| it.changes);

        assert_eq!(changes(), Ok(Vec::new()));
        // A certificate whose key has not come yet.
        put("edge.pem", &certs("certs/node.pem"));
        assert!(changes().unwrap_err()[0].contains("edge.key"));
        put("edge.key", &certs("certs/node.key"));
        assert_eq!(changes(), Ok(vec!["tls: the files were read again".to_owned()]));
        assert_eq!(changes(), Ok(Vec::new()));
        fs::remove_dir_all(&folder).unwrap();
    }
}
