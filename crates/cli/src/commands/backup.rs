//! `tollgate backup` and `tollgate restore`: the journals of a tree's SQLite services, copied while
//! it runs, and made a tree again.

use super::{Outcome, in_force, load_copy, load_topology, progress::Bar};
use crate::{
    args::copy::{Backup, Restore},
    data::Data,
    error::CliError,
    terminal::{say_json, tell},
    topology::{ServiceKind, Topology, elements::engine::EngineUrl},
};
use engine::sqlite::backup::{Cut, Purpose, cut, kept};
use net::clock;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Written last: a backup without it is none.
const MANIFEST: &str = "backup.json";
const VERSION: u32 = 1;
/// Of the topology file within a backup of a data folder.
const TOPOLOGY: &str = "tollgate.toml";

/// What a backup has.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    tree: String,
    created: String,
    /// Of a data folder, with its keys: it can be made one again.
    is_whole: bool,
    engines: Vec<Engine>,
}

/// One journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Engine {
    service: String,
    /// Which of the service's engines, from 0, of how many.
    place: usize,
    of: usize,
    partitions: usize,
    /// Within the backup.
    folder: String,
}

/// A journal of a tree, and where it is.
struct Located {
    engine: Engine,
    folder: PathBuf,
}

/// Copies the journals.
pub(super) fn backup(args: &Backup, data: &Path) -> Outcome {
    let data = Data::at(data);
    let tree = in_force(None, &data)?;
    let located = located(&tree)?;
    empty_folder(&args.to)?;
    let sources: Vec<(&Path, &str)> =
        located.iter().map(|it| (it.folder.as_path(), it.engine.service.as_str())).collect();
    let cuts = cut(&sources).map_err(|error| CliError::failed(error.to_string()))?;
    let created = clock::wall();
    for (cut, it) in cuts.iter().zip(&located) {
        copy(cut, &it.engine, &args.to.join(&it.engine.folder), Purpose::Keep)?;
    }
    let is_whole = data.read_tree()?.is_none_or(|it| it.is_own);
    if is_whole {
        for (name, path) in own_files(&tree, &data) {
            copy_file(&path, &args.to.join(name))?;
        }
    }
    if !args.no_verify {
        verify(located.iter().map(|it| (&it.engine, args.to.join(&it.engine.folder))))?;
    }
    let engines = located.into_iter().map(|it| it.engine).collect();
    let (tree, created) = (tree.name, created.to_string());
    let manifest = Manifest { version: VERSION, tree, created, is_whole, engines };
    write_manifest(&args.to, &manifest)?;
    told(&manifest, "backed up", args.json);
    Ok(ExitCode::SUCCESS)
}

/// Makes a backup a tree that can be started.
pub(super) fn restore(args: &Restore, data: &Path) -> Outcome {
    let manifest = read_manifest(&args.from)?;
    let data = Data::at(data);
    let tree = match &args.config {
        Some(config) => load_topology(config)?,
        None if manifest.is_whole => load_copy(&args.from.join(TOPOLOGY), &data.topology())?,
        None => {
            return Err(CliError::failed(
                "the backup is of a tree with a topology file of its own",
            )
            .hint("say where its journals are to be: --config FILE"));
        }
    };
    let located = located(&tree)?;
    let wanted: Vec<&Engine> = located.iter().map(|it| &it.engine).collect();
    if wanted != manifest.engines.iter().collect::<Vec<_>>() {
        return Err(CliError::failed("the topology has other services, engines or partitions")
            .hint("what decides where an account lives can never change"));
    }
    if args.config.is_none() {
        empty_folder(&data.root)?;
    }
    for it in &located {
        let failed = |error: &dyn std::fmt::Display| CliError::failed(error.to_string());
        let source = args.from.join(&it.engine.folder);
        let cut = kept(&source, &it.engine.service).map_err(|error| failed(&error))?;
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| failed(&error))?;
        copy(&cut, &it.engine, &it.folder, Purpose::GoOn(u128::from_le_bytes(bits)))?;
    }
    if !args.no_verify {
        verify(located.iter().map(|it| (&it.engine, it.folder.clone())))?;
    }
    if args.config.is_none() {
        for (name, path) in own_files(&tree, &data) {
            copy_file(&args.from.join(name), &path)?;
        }
        // Last: a folder without it is not taken for a tree's.
        let lock = data.lock();
        File::create(&lock).map_err(|error| CliError::io(lock.display(), &error))?;
    }
    told(&manifest, "restored", args.json);
    Ok(ExitCode::SUCCESS)
}

/// The journals of a tree, all of which must be SQLite's.
fn located(tree: &Topology) -> Result<Vec<Located>, CliError> {
    let mut out = Vec::new();
    for service in &tree.services {
        let ServiceKind::Account { engines, partitions } = &service.kind else { continue };
        for (place, engine) in engines.iter().enumerate() {
            let EngineUrl::Sqlite(folder) = engine else {
                let what = format!("service {} is on PostgreSQL", service.name);
                return Err(CliError::failed(what).hint(
                    "back its database up with its own tools: pg_dump, or better continuous \
                     archiving and point-in-time recovery",
                ));
            };
            let name = &service.name;
            // No service has a point in its name.
            let within = if place == 0 { name.clone() } else { format!("{name}.{place}") };
            let (service, of) = (name.clone(), engines.len());
            let partitions = usize::from(*partitions);
            let engine = Engine { service, place, of, partitions, folder: within };
            out.push(Located { engine, folder: folder.clone() });
        }
    }
    Ok(out)
}

/// What else a data folder needs, by its name in a backup. Not all of it need be there.
fn own_files(tree: &Topology, data: &Data) -> [(&'static str, PathBuf); 5] {
    [
        ("admin.key", tree.api_key.clone()),
        ("cluster.key", tree.cluster_key.clone()),
        ("ping.key", tree.ping_key.clone()),
        ("keys.json", tree.api_keys.clone()),
        (TOPOLOGY, data.topology()),
    ]
}

fn copy_file(from: &Path, to: &Path) -> Result<(), CliError> {
    let copied = match fs::copy(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        copied => copied.and_then(|_| File::open(to)).and_then(|it| it.sync_all()),
    };
    copied.map_err(|error| CliError::io(format!("{} to {}", from.display(), to.display()), &error))
}

fn copy(cut: &Cut, engine: &Engine, folder: &Path, purpose: Purpose) -> Result<(), CliError> {
    let mut bar = Bar::new();
    let label = format!("service {}", engine.service);
    let copied = cut.copy(folder, purpose, |it| bar.tell(&label, it.rows_done, it.rows_count));
    copied.map_err(|error| CliError::failed(error.to_string()))
}

/// The copy is as good as what it is of: hashes, balances, sums of zero.
fn verify<'a>(copies: impl Iterator<Item = (&'a Engine, PathBuf)>) -> Result<(), CliError> {
    for (engine, folder) in copies {
        let url = EngineUrl::Sqlite(folder.clone());
        let report = engine::verify::verify(&url, &engine.service, |_| ());
        let report = report.map_err(|error| CliError::failed(error.to_string()))?;
        if let Some(problem) = report.partitions.iter().flat_map(|it| &it.problems).next() {
            let what = format!("{} is not sound: {problem}", folder.display());
            return Err(CliError::failed(what).hint("see what `tollgate verify` says of the tree"));
        }
    }
    Ok(())
}

/// Makes the folder, which only its owner can read, or refuses one that has something in it.
fn empty_folder(path: &Path) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::io(path.display(), &error);
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::failed(format!("{} is not empty", path.display()))
            .hint("name a folder that is empty or does not exist yet")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<(), CliError> {
    let path = folder.join(MANIFEST);
    let text = serde_json::to_string_pretty(manifest).expect("our own values have string keys");
    let written = fs::write(&path, text + "\n")
        .and_then(|()| File::open(&path)?.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|error| CliError::io(path.display(), &error))
}

fn read_manifest(folder: &Path) -> Result<Manifest, CliError> {
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| {
        CliError::io(format!("{} is no whole backup: {MANIFEST}", folder.display()), &error)
    })?;
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    if manifest.version != VERSION {
        let what = format!("{}: version {}, want {VERSION}", path.display(), manifest.version);
        return Err(CliError::failed(what));
    }
    Ok(manifest)
}

fn told(manifest: &Manifest, done: &str, is_json: bool) {
    if is_json {
        return say_json(manifest);
    }
    for it in &manifest.engines {
        tell!("service {}: {done}", it.folder);
    }
    tell!("as of {}", manifest.created);
}
