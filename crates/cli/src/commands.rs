//! The commands, one module each.

mod account;
mod alerts;
mod amount;
mod backup;
mod beat;
mod bench;
mod check;
mod export;
mod key;
mod node;
mod partitions;
mod progress;
mod reload;
mod run;
mod status;
mod top;
mod verify;

pub(crate) use run::keep_private;

use crate::{
    args::{Cli, Command},
    data::Data,
    error::CliError,
    topology::{LoadError, Topology},
};
use std::{path::Path, process::ExitCode};

/// What a command comes to.
pub(crate) type Outcome = Result<ExitCode, CliError>;

/// Does what the command line says.
pub(crate) fn perform(cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Up(args) => crate::up::up(args, &cli.data),
        Command::Run(args) => run::run(args, &cli.data),
        Command::Check(args) => check::check(args),
        Command::Status(args) => status::status(args, &cli.data),
        Command::Top => top::top(&cli.data),
        Command::Node(args) => node::node(args, &cli.data),
        Command::Reload(args) => reload::reload(args, &cli.data),
        Command::Account(args) => account::account(args, &cli.data),
        Command::Bench(args) => bench::bench(args, &cli.data),
        Command::Partitions(args) => partitions::partitions(args, &cli.data),
        Command::Verify(args) => verify::verify(args, &cli.data),
        Command::Key(args) => key::key(args, &cli.data),
        Command::Backup(args) => backup::backup(args, &cli.data),
        Command::Restore(args) => backup::restore(args, &cli.data),
        Command::Export(args) => export::export(args, &cli.data),
        Command::Beat(args) => beat::beat(args, &cli.data),
        Command::Alerts(args) => alerts::alerts(args, &cli.data),
    }
}

/// The tree of `config`, else what is in force of the data folder's, so that half an edit of its file
/// never stands in the way.
pub(crate) fn in_force(config: Option<&Path>, data: &Data) -> Result<Topology, CliError> {
    if let Some(config) = config {
        return load_topology(config);
    }
    let (file, copy) = (data.topology_in_force()?, data.in_force());
    if copy.exists() {
        return load_copy(&copy, &file);
    }
    if !file.exists() {
        let root = data.root.display();
        return Err(CliError::failed(format!("no tree is known in {root}"))
            .hint("start one with `tollgate up`, or name its folder: --data DIR"));
    }
    load_topology(&file)
}

/// Loads a topology file for a command that needs a sound one.
pub(crate) fn load_topology(path: &Path) -> Result<Topology, CliError> {
    told(path, Topology::load(path))
}

/// Loads a copy of the topology file at `original`, as if it stood there.
pub(crate) fn load_copy(copy: &Path, original: &Path) -> Result<Topology, CliError> {
    told(original, Topology::load_as(copy, original))
}

fn told(path: &Path, loaded: Result<Topology, LoadError>) -> Result<Topology, CliError> {
    loaded.map_err(|error| match error {
        LoadError::Unreadable(error) => {
            CliError::io(format!("cannot read {}", path.display()), &error)
        }
        LoadError::Unsound(complaints) => {
            let lines: Vec<String> =
                complaints.iter().map(|it| format!("{}:{it}", path.display())).collect();
            CliError::failed(format!("{} is not sound\n{}", path.display(), lines.join("\n")))
        }
    })
}
