//! Looks at the file of keys every so often, so that a key is known, or is no more, soon after
//! somebody said so, on whatever machine the gateway is.

use super::{FILE_BYTES_MAX, Key, parse};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The keys of a file, as they stood when it was last sound. A file that is not there has none.
#[derive(Clone, Debug)]
pub struct Watch {
    current: Arc<Mutex<Current>>,
}

#[derive(Clone, Debug)]
struct Current {
    keys: Arc<Vec<Key>>,
    /// One more with each change.
    version: u64,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Watch {
    /// Reads the file, which must be sound, and goes on looking at it for as long as the watch is
    /// held by anybody.
    pub fn start(path: PathBuf) -> io::Result<Watch> {
        let stamp = stamp(&path)?;
        let keys = Arc::new(read(&path, stamp)?);
        let watch = Watch { current: Arc::new(Mutex::new(Current { keys, version: 1 })) };
        let current = Arc::downgrade(&watch.current);
        let thread = thread::Builder::new().name("keys".to_owned());
        drop(thread.spawn(move || follow(&path, stamp, &current))?);
        Ok(watch)
    }

    /// A watch of no file, with these keys for ever.
    pub fn fixed(keys: Vec<Key>) -> Watch {
        let current = Current { keys: Arc::new(keys), version: 1 };
        Watch { current: Arc::new(Mutex::new(current)) }
    }

    /// The keys if they are others than at `version`, and their version; that of none is 0.
    pub(crate) fn since(&self, version: u64) -> Option<(Arc<Vec<Key>>, u64)> {
        let current = lock(&self.current);
        (current.version != version).then(|| (Arc::clone(&current.keys), current.version))
    }
}

fn lock(current: &Mutex<Current>) -> std::sync::MutexGuard<'_, Current> {
    // What is replaced whole is sound whoever panicked.
    current.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(path: &Path, mut seen: Option<Stamp>, current: &Weak<Mutex<Current>>) {
    loop {
        thread::sleep(LOOK_EVERY);
        let Some(current) = current.upgrade() else { return };
        let Ok(now) = stamp(path) else { continue };
        if now == seen {
            continue;
        }
        seen = now;
        match read(path, now) {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "the API keys were read again");
                let mut current = lock(&current);
                current.keys = Arc::new(keys);
                current.version += 1;
            }
            Err(error) => {
                tracing::error!(%error, "the API keys stay as they were");
            }
        }
    }
}

/// `None` when there is no such file.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error.to_string())),
    };
    let modified = (meta.mtime(), meta.mtime_nsec());
    Ok(Some(Stamp { inode: meta.ino(), bytes: meta.len(), modified }))
}

fn read(path: &Path, stamp: Option<Stamp>) -> io::Result<Vec<Key>> {
    if stamp.is_none() {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|it| it.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| named(path, &error.to_string()))?;
    parse(&text).map_err(|flaw| named(path, &flaw))
}

fn named(path: &Path, flaw: &str) -> io::Error {
    io::Error::other(format!("{}: {flaw}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{super::text, *};
    use wire::Timestamp;

    fn key(name: &str) -> Key {
        Key {
            name: name.to_owned(),
            hash: super::super::hash(name.as_bytes()),
            created: Timestamp(0),
            services: None,
            read_only: false,
            expires: None,
            rate: None,
        }
    }

    #[track_caller]
    fn next(watch: &Watch, version: u64) -> (Vec<String>, u64) {
        for _ in 0..2_000 {
            if let Some((keys, version)) = watch.since(version) {
                return (keys.iter().map(|it| it.name.clone()).collect(), version);
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the file was not read again");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("tollgate-keys-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("keys.json");
        let put = |text: &str| {
            fs::write(folder.join("new"), text).unwrap();
            fs::rename(folder.join("new"), &path).unwrap();
        };
        put("{");
        assert!(Watch::start(path.clone()).is_err());
        fs::remove_file(&path).unwrap();
        let watch = Watch::start(path.clone()).unwrap();
        let (names, version) = next(&watch, 0);
        assert!(names.is_empty());
        put(&text(&[key("shop")]));
        let (names, version) = next(&watch, version);
        assert_eq!(names, ["shop"]);
        put("{");
        put(&text(&[key("shop"), key("desk")]));
        let (names, version) = next(&watch, version);
        assert_eq!(names, ["shop", "desk"], "nothing was taken of the broken one");
        fs::remove_file(&path).unwrap();
        assert!(next(&watch, version).0.is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }
}
