//! The data folder: what lies where, and the state of the tree that `up` keeps in it.

use crate::{error::CliError, topology::elements::role::RoleName};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Longest key file. Ours have one line of some 50 bytes.
const KEY_BYTES_MAX: u64 = 4 * 1024;
/// Longest `tree.json`: thousands of nodes.
const TREE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The paths within a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) root: PathBuf,
}

impl Data {
    /// The folder at `root`, which need not exist.
    pub(crate) fn at(root: &Path) -> Data {
        Data { root: root.to_owned() }
    }

    /// The topology file that a plain `up` writes.
    pub(crate) fn topology(&self) -> PathBuf {
        self.root.join("tollgate.toml")
    }

    /// The copy of the topology file that is in force, whatever has become of the file.
    pub(crate) fn in_force(&self) -> PathBuf {
        self.root.join("in-force.toml")
    }

    /// Locked by `up` as long as it lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("up.lock")
    }

    /// The state of the tree.
    pub(crate) fn tree(&self) -> PathBuf {
        self.root.join("tree.json")
    }

    /// The socket on which `up` takes orders.
    pub(crate) fn control(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The API key of the default tree.
    pub(crate) fn admin_key(&self) -> PathBuf {
        self.root.join("admin.key")
    }

    /// The key for heartbeats by slug.
    pub(crate) fn ping_key(&self) -> PathBuf {
        self.root.join("ping.key")
    }

    /// The folder of the nodes' logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Everything a node wrote.
    pub(crate) fn log(&self, node: &str) -> PathBuf {
        self.logs().join(format!("{node}.log"))
    }

    /// The tree as `up` last wrote it down; `None` when there never was one.
    pub(crate) fn read_tree(&self) -> Result<Option<TreeState>, CliError> {
        let path = self.tree();
        let text = match read_at_most(&path, TREE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::io(path.display(), &error)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))
    }

    /// Writes the state so that a reader sees the old or the new one, never a part.
    pub(crate) fn write_tree(&self, tree: &TreeState) -> io::Result<()> {
        let text = serde_json::to_string_pretty(tree).map_err(io::Error::other)?;
        let fresh = self.root.join("tree.json.new");
        fs::write(&fresh, text + "\n")?;
        fs::rename(fresh, self.tree())
    }

    /// The file of the running or last tree: the one that `up --config` named, or our own.
    pub(crate) fn topology_in_force(&self) -> Result<PathBuf, CliError> {
        let elsewhere = self.read_tree()?.filter(|tree| !tree.is_own);
        Ok(elsewhere.map_or_else(|| self.topology(), |tree| tree.config))
    }

    /// The API key's file of the running or last tree.
    pub(crate) fn api_key_in_force(&self) -> Result<PathBuf, CliError> {
        let elsewhere = self.read_tree()?.filter(|tree| !tree.is_own);
        Ok(elsewhere.map_or_else(|| self.admin_key(), |tree| tree.api_key))
    }

    /// True while an `up` lives: only then is the lock held.
    pub(crate) fn is_up(&self) -> Result<bool, CliError> {
        let path = self.lock();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(CliError::io(path.display(), &error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(CliError::io(path.display(), &error)),
        }
    }

    /// For commands that need a running tree.
    pub(crate) fn require_up(&self) -> Result<TreeState, CliError> {
        match self.read_tree()? {
            Some(tree) if self.is_up()? => Ok(tree),
            Some(_) | None => {
                Err(CliError::failed(format!("no tree is running in {}", self.root.display()))
                    .hint("start it with `tollgate up`, or name its folder with --data DIR"))
            }
        }
    }
}

/// `tree.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeState {
    pub(crate) name: String,
    /// Process id of the `up` that wrote this.
    pub(crate) pid: u32,
    /// The topology file in force.
    pub(crate) config: PathBuf,
    /// That file is the folder's own. Then a copy of the folder means its own copy of it.
    pub(crate) is_own: bool,
    /// Where clients connect, as a URL.
    pub(crate) edge: Option<String>,
    pub(crate) api_key: PathBuf,
    pub(crate) nodes: Vec<NodeState>,
}

/// One node of `tree.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) role: String,
    /// `starting`, `ready`, `paused`, `draining`, `drained`, `restarting`, `stopped`, `killed` or `down`.
    pub(crate) state: String,
    pub(crate) pid: Option<u32>,
    /// How often it was started again after it had ended by itself.
    pub(crate) restarts: u64,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) trunk: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

/// Reads a key file: the key alone on one line.
pub(crate) fn read_key(path: &Path) -> Result<String, CliError> {
    let text = read_at_most(path, KEY_BYTES_MAX)
        .map_err(|error| CliError::io(format!("cannot read the key {}", path.display()), &error))?;
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(CliError::failed(format!("{} holds no key", path.display()))
            .hint("a key file holds the key alone on one line"));
    }
    Ok(key.to_owned())
}

/// Reads a password of somebody else's: the first line of a file, whatever it holds.
pub(crate) fn read_password(path: &Path) -> Result<String, CliError> {
    let text = read_at_most(path, KEY_BYTES_MAX).map_err(|error| {
        CliError::io(format!("cannot read the password {}", path.display()), &error)
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        Some(_) | None => Err(CliError::failed(format!("{} holds no password", path.display()))
            .hint("the password stands alone on its first line")),
    }
}

/// Makes a key file that only its owner can read, unless there is one.
pub(crate) fn ensure_key(path: &Path, prefix: &str) -> Result<(), CliError> {
    let failed =
        |error: io::Error| CliError::io(format!("cannot write {}", path.display()), &error);
    let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let secret = random_id().map_err(failed)? + &random_id().map_err(failed)?;
    writeln!(file, "{prefix}{secret}").and_then(|()| file.sync_all()).map_err(failed)
}

/// 128 random bits as 26 letters and digits.
pub(crate) fn random_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(wire::id::base32(u128::from_le_bytes(bytes), &mut [0; 26]).to_owned())
}

fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max).read_to_string(&mut text)?;
    Ok(text)
}

impl NodeState {
    /// How a node is written down before it was ever started.
    pub(crate) fn new(name: &str, role: RoleName) -> NodeState {
        NodeState {
            name: name.to_owned(),
            role: role.text().to_owned(),
            state: "down".to_owned(),
            pid: None,
            restarts: 0,
            http: None,
            trunk: None,
            admin: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> Data {
        let root = std::env::temp_dir().join(format!("tollgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Data::at(&root)
    }

    fn tree(is_own: bool) -> TreeState {
        TreeState {
            name: "x".to_owned(),
            pid: 1,
            config: PathBuf::from("/elsewhere/tree.toml"),
            is_own,
            edge: None,
            api_key: PathBuf::from("/elsewhere/admin.key"),
            nodes: vec![NodeState::new("a-1", RoleName::Account)],
        }
    }

    #[test]
    fn a_copied_folder_means_its_own_files() {
        let data = folder("own");
        assert_eq!(data.topology_in_force().unwrap(), data.topology());
        data.write_tree(&tree(true)).unwrap();
        assert_eq!(data.read_tree().unwrap(), Some(tree(true)));
        assert_eq!(data.topology_in_force().unwrap(), data.topology());
        assert_eq!(data.api_key_in_force().unwrap(), data.admin_key());
        data.write_tree(&tree(false)).unwrap();
        assert_eq!(data.topology_in_force().unwrap(), Path::new("/elsewhere/tree.toml"));
        assert_eq!(data.api_key_in_force().unwrap(), Path::new("/elsewhere/admin.key"));
        fs::remove_dir_all(&data.root).unwrap();
    }

    #[test]
    fn a_tree_is_up_while_its_lock_is_held() {
        let data = folder("lock");
        assert!(!data.is_up().unwrap());
        let lock = File::create(data.lock()).unwrap();
        assert!(!data.is_up().unwrap());
        lock.lock().unwrap();
        assert!(data.is_up().unwrap());
        drop(lock);
        assert!(!data.is_up().unwrap());
        fs::remove_dir_all(&data.root).unwrap();
    }

    #[test]
    fn keys_are_made_once_and_read_back() {
        let data = folder("keys");
        let path = data.admin_key();
        ensure_key(&path, "tg_admin_").unwrap();
        let key = read_key(&path).unwrap();
        assert!(key.starts_with("tg_admin_") && key.len() == 9 + 2 * 26, "{key}");
        ensure_key(&path, "tg_admin_").unwrap();
        assert_eq!(read_key(&path).unwrap(), key);
        for bad in ["", "\n", "two words\n", "caf\u{e9}\n"] {
            fs::write(&path, bad).unwrap();
            assert!(read_key(&path).is_err(), "{bad:?}");
        }
        fs::remove_dir_all(&data.root).unwrap();
    }
}
