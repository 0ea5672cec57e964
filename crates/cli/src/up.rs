//! `tollgate up`: the whole tree on this machine, every node its own process.

mod banner;
mod child;
mod folder;
mod generate;
mod in_force;
mod life;
mod orders;
mod ports;
mod reload;
mod rotation;
mod supervisor;

use crate::{
    args,
    commands::{Outcome, keep_private, load_topology},
    data::{Data, ensure_key, read_key},
    error::CliError,
    terminal::{Paint, say, say_json, tell},
    topology::{Topology, elements::notify},
};
use ports::Ports;
use std::{
    env,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};
use supervisor::{Started, Supervisor, absolute};

/// Runs the tree until Ctrl-C or SIGTERM.
pub(crate) fn up(args: &args::Up, data: &Path) -> Outcome {
    // Read once before anything else: moments count from here.
    net::clock::now();
    keep_private();
    let mut told = args.notify.iter().chain(&args.fallback);
    if args.smtp.is_none() && told.any(|it| it.starts_with("mailto:")) {
        return Err(CliError::usage("--notify mailto:… needs a mail server: --smtp HOST:PORT"));
    }
    let has_user = args.smtp.as_ref().is_some_and(|it| notify::wants_password(it));
    if has_user && args.smtp_password.is_none() {
        return Err(CliError::usage("--smtp with a user needs --smtp-password FILE"));
    }
    let data = Data::at(data);
    let given = args.config.as_deref().map(|path| load_topology(path).map(|tree| (path, tree)));
    let given = given.transpose()?;
    let mut lock = folder::take(&data)?;
    let failed = |error: io::Error| CliError::io("cannot prepare the tree", &error);
    let mut ports = Ports::new().map_err(failed)?;
    let config = match given {
        Some((path, tree)) => {
            claim_all(&tree, &mut ports)?;
            path.to_owned()
        }
        None => {
            generate::write(args, &data, &mut ports)?;
            data.topology()
        }
    };
    lock.settle();
    // Paths in it count from the file, and a reload, a node and a command that stands elsewhere are
    // to read the same ones.
    let config = absolute(&config).map_err(failed)?;
    // What is started is what was checked, whatever becomes of the file meanwhile.
    let tree = in_force::keep(&config, &data)?;
    in_force::enact(&data)?;
    make_keys(&tree, &data)?;
    let program = env::current_exe().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // The nodes bind these addresses themselves, from here on.
    drop(ports);
    let outcome = runtime.map_err(failed)?.block_on(supervise(args, &data, &tree, program, config));
    drop(std::fs::remove_file(data.control()));
    drop(lock);
    outcome
}

/// Every address of a tree that was written by hand must be free.
fn claim_all(tree: &Topology, ports: &mut Ports) -> Result<(), CliError> {
    for node in &tree.nodes {
        let addresses = [node.role.http(), node.role.trunk(), node.admin];
        for address in addresses.into_iter().flatten() {
            ports.claim(address)?;
        }
    }
    Ok(())
}

fn make_keys(tree: &Topology, data: &Data) -> Result<(), CliError> {
    ensure_key(&tree.api_key, "tg_admin_")?;
    ensure_key(&tree.cluster_key, "tg_cluster_")?;
    ensure_key(&data.ping_key(), "tg_ping_")?;
    if !tree.ping_key.exists() && tree.ping_key != data.ping_key() {
        // One key, whether it is looked for beside the file or in the folder.
        let failed =
            |error| CliError::io(format!("cannot write {}", tree.ping_key.display()), &error);
        std::fs::copy(data.ping_key(), &tree.ping_key).map_err(failed)?;
    }
    Ok(())
}

async fn supervise(
    args: &args::Up,
    data: &Data,
    tree: &Topology,
    program: PathBuf,
    config: PathBuf,
) -> Outcome {
    let mut supervisor = Supervisor::new(data, program, config, tree)?;
    let started = supervisor.start_all().await;
    if let Ok(Started::Ready) = started {
        announce(args, data, tree, &supervisor)?;
        supervisor.serve().await;
    }
    tell!("draining the tree, edge first; once more to kill it");
    let killed = supervisor.drain().await;
    if killed.is_empty() {
        tell!("every node has drained and ended");
    } else {
        let names = killed.join(", ");
        tell!("every node has ended; killed, for they did not drain: {names}");
    }
    started.map(|_| ExitCode::SUCCESS)
}

fn announce(
    args: &args::Up,
    data: &Data,
    tree: &Topology,
    supervisor: &Supervisor,
) -> Result<(), CliError> {
    if args.json {
        say_json(supervisor.state());
        return Ok(());
    }
    // Shown to a person; a file or a pipe that takes our output is not to keep it.
    let key = io::stdout().is_terminal().then(|| read_key(&tree.api_key)).transpose()?;
    let (own, path) = (env::current_exe().ok(), env::var_os("PATH"));
    let program = own.as_deref().and_then(|it| banner::unless_found(it, path.as_deref()));
    say(&banner::banner(tree, data, key.as_deref(), program, Paint::stdout()));
    Ok(())
}
