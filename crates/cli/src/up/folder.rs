//! Takes possession of a data folder.

use crate::{
    data::{Data, NodeState, TreeState},
    error::CliError,
    proc,
    terminal::tell,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How long the nodes of a dead `up` may take to drain before they are killed.
const ORPHANS_DRAIN_MAX: Duration = Duration::from_secs(15);
const ORPHANS_LOOK_EVERY: Duration = Duration::from_millis(50);

/// A command that looks whether a tree is up holds the lock for a moment; an `up` for long.
const LOCK_TRIES: u32 = 10;
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// Held as long as the tree runs. Dropped before the tree was begun, it takes away what was not
/// there before, so that an `up` that is refused leaves nothing behind.
#[derive(Debug)]
pub(super) struct Lock {
    /// Goes before the file is unlocked.
    made: Made,
    #[expect(dead_code, reason = "dropping it is what it is for")]
    file: File,
}

impl Lock {
    /// From now on there is something in the folder that is to stay.
    pub(super) fn settle(&mut self) {
        self.made.0.clear();
    }
}

/// Folders and files that were not there before, each after the one that it is in. Dropped, they go
/// again; a folder only if nothing else came into it.
#[derive(Debug)]
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes a folder, and those that it is to be in.
    fn folder(&mut self, path: &Path) -> Result<(), CliError> {
        let missing = path.ancestors().filter(|it| !it.as_os_str().is_empty() && !it.exists());
        let missing: Vec<_> = missing.map(Path::to_owned).collect();
        self.0.extend(missing.into_iter().rev());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| CliError::io(format!("cannot create {}", path.display()), &error))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            drop(fs::remove_file(path).or_else(|_| fs::remove_dir(path)));
        }
    }
}

/// Makes the folder if need be, locks it, and sees the nodes of an earlier run out.
pub(super) fn take(data: &Data) -> Result<Lock, CliError> {
    let root = data.root.display();
    let mut made = Made(Vec::new());
    match fs::metadata(&data.root) {
        Ok(meta) if !meta.is_dir() => {
            return Err(CliError::failed(format!("{root} is not a folder")));
        }
        Ok(_) => refuse_foreign(data)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => made.folder(&data.root)?,
        Err(error) => return Err(CliError::io(root, &error)),
    }
    let (file, is_new) = lock(data)?;
    if is_new {
        made.0.push(data.lock());
    }
    let mut lock = Lock { made, file };
    lock.made.folder(&data.logs())?;
    // An unreadable state is no reason not to start: it is about to be written anew.
    if let Ok(Some(tree)) = data.read_tree() {
        see_out(&tree)?;
    }
    Ok(lock)
}

/// A folder is ours when we have locked it before, or when it is empty.
fn refuse_foreign(data: &Data) -> Result<(), CliError> {
    let root = data.root.display();
    let failed = |error: io::Error| CliError::io(&root, &error);
    let is_empty = fs::read_dir(&data.root).map_err(failed)?.next().is_none();
    if is_empty || data.lock().exists() {
        return Ok(());
    }
    Err(CliError::failed(format!("{root} is not empty and no data folder of tollgate"))
        .hint("name a folder that is empty or does not exist yet: --data DIR"))
}

/// The file, locked, and whether it was not there before.
fn lock(data: &Data) -> Result<(File, bool), CliError> {
    let path = data.lock();
    let failed = |error: io::Error| CliError::io(path.display(), &error);
    let mut options = File::options().read(true).write(true).to_owned();
    let (mut file, is_new) = match options.clone().create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            (options.create(true).truncate(false).open(&path).map_err(failed)?, false)
        }
        opened => (opened.map_err(failed)?, true),
    };
    let mut tries_left = LOCK_TRIES;
    let mut locked = file.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && 0 < tries_left {
        thread::sleep(LOCK_EVERY);
        tries_left -= 1;
        locked = file.try_lock();
    }
    // An `up` that was refused takes its file away again: the lock of that keeps nobody out.
    if locked.is_ok() && !is_at(&file, &path).map_err(failed)? {
        let root = data.root.display();
        return Err(CliError::failed(format!("another `tollgate up` has just given up {root}"))
            .hint("try once more"));
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(failed)?;
            let holder = text.trim().parse().ok().and_then(proc::holder);
            let whose = holder.map_or("another process".to_owned(), |it| it.to_string());
            let root = data.root.display();
            return Err(CliError::failed(format!("{root} is in use by {whose}")).hint(
                "look at that tree with `tollgate status`, or name another folder: --data DIR",
            ));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(failed)?;
    Ok((file, is_new))
}

/// Whether this open file is the one at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match fs::metadata(path) {
        Ok(meta) => Ok(id(meta) == id(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Nodes whose `up` was killed drain by themselves; one that cannot, because it hangs, is killed.
fn see_out(tree: &TreeState) -> Result<(), CliError> {
    let mut looks_left = ORPHANS_DRAIN_MAX.as_millis() / ORPHANS_LOOK_EVERY.as_millis();
    let mut left = orphans(tree);
    if !left.is_empty() {
        tell!("waiting for nodes of an earlier run to drain: {}", names(&left));
    }
    while !left.is_empty() && 0 < looks_left {
        thread::sleep(ORPHANS_LOOK_EVERY);
        looks_left -= 1;
        left = orphans(tree);
    }
    for node in &left {
        tell!("{} of an earlier run does not drain: killed", node.name);
        kill(node).map_err(|error| CliError::io(format!("cannot kill {}", node.name), &error))?;
    }
    Ok(())
}

fn names(nodes: &[&NodeState]) -> String {
    nodes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The recorded processes that are still nodes of this tree; an id may have a new holder by now.
fn orphans(tree: &TreeState) -> Vec<&NodeState> {
    let config = tree.config.to_string_lossy();
    let is_ours = |node: &&NodeState| {
        let arguments = node.pid.and_then(proc::arguments).unwrap_or_default();
        let has = |wanted: &str| arguments.iter().any(|it| it == wanted);
        has("--supervised") && has(&node.name) && has(&config)
    };
    tree.nodes.iter().filter(is_ours).collect()
}

fn kill(node: &NodeState) -> io::Result<()> {
    let pid = node.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
