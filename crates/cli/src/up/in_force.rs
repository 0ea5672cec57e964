//! The copy of the topology file that is in force: what nodes start with.
//!
//! A person may be in the middle of changing the file when a node dies. The node is started again
//! with the last file that was sound and that a reload has taken, not with half a change.

use crate::{commands::load_copy, data::Data, error::CliError, topology::Topology};
use std::{fs, path::Path};

/// Checks the file at `config` and keeps a copy of what was checked.
pub(super) fn keep(config: &Path, data: &Data) -> Result<Topology, CliError> {
    let fresh = data.root.join("in-force.toml.new");
    let failed = |error| CliError::io(format!("cannot copy {}", config.display()), &error);
    let bytes = fs::read(config).map_err(failed)?;
    fs::write(&fresh, bytes).map_err(failed)?;
    let tree = load_copy(&fresh, config)?;
    Ok(tree)
}

/// From now on nodes start with what was kept.
pub(super) fn enact(data: &Data) -> Result<(), CliError> {
    let path = data.in_force();
    fs::rename(data.root.join("in-force.toml.new"), &path)
        .map_err(|error| CliError::io(format!("cannot write {}", path.display()), &error))
}
