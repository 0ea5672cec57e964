//! Where a running node reads its topology file anew, and what of it may then change.

use super::Config;
use crate::topology::{Difference, LoadError, Node, Role, Topology, difference};
use net::control::{Hangups, Loaded, Loader, Reload};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The file of one node, and what of it is in force.
pub(super) struct Source {
    path: PathBuf,
    node: String,
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
    pub(super) fn new(path: PathBuf, tree: Topology, node: &str) -> Source {
        let api_key = read_key(&tree);
        let in_force = Mutex::new(InForce { tree, api_key });
        Source { path, node: node.to_owned(), in_force }
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
        if !changes.is_empty() {
            let node = fresh.node(&self.node).ok_or_else(Vec::new)?;
            let whole = Config::of(&fresh, node).map_err(|error| vec![error.to_string()])?;
            config = role(whole);
        }
        *in_force = InForce { tree: fresh, api_key };
        Ok(Loaded { config, changes })
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
