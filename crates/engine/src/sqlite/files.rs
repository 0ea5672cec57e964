//! The folder of a service's engine: which files it has, on what disk, and how they are opened.
//!
//! The databases are opened through SQLite alone: were a process to open and close one of them, or
//! their `-shm`, by itself, the kernel would drop SQLite's own locks on it.

use crate::error::{EngineError, Kind};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// 3.51.3 mended a bug by which a reset WAL could lose a commit.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// How long a connection waits for another's lock. Writers queue at a turnstile, so this is only
/// ever about recovery, a closing process, or a stranger's tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept by a connection; no connection uses more.
const STATEMENTS_MAX: usize = 64;

/// Bytes of a page of the journal. See [`crate::sqlite::committer`] for the figures.
const JOURNAL_PAGE_BYTES: i64 = 4_096;
/// Bytes of a page of the views, where a projection changes a row here and a row there: small, for
/// each such page is written whole, twice.
const VIEWS_PAGE_BYTES: i64 = 4_096;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) folder: PathBuf,
}

/// How a connection is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads only, and never creates.
    Read,
    /// Writes, and creates the file where there is none.
    Write,
}

impl Files {
    /// Makes the folder where it is missing, and refuses a place that cannot keep a journal.
    pub(crate) fn create(folder: &Path) -> Result<Files, EngineError> {
        check_version(rusqlite::version_number(), rusqlite::version())?;
        let files = Files { folder: folder.to_path_buf() };
        fs::create_dir_all(files.nodes()).map_err(|error| disk(folder, &error))?;
        check_file_system(folder)?;
        // SQLite syncs the names of its files in the folder; that of the folder is for us.
        let parent = folder.parent().filter(|it| !it.as_os_str().is_empty());
        let synced = File::open(parent.unwrap_or(Path::new("."))).and_then(|it| it.sync_all());
        synced.map_err(|error| disk(folder, &error))?;
        Ok(files)
    }

    /// The files in a folder that is there.
    pub(crate) fn existing(folder: &Path) -> Result<Files, EngineError> {
        check_version(rusqlite::version_number(), rusqlite::version())?;
        let files = Files { folder: folder.to_path_buf() };
        match fs::metadata(files.journal()) {
            Ok(_) => Ok(files),
            Err(error) => Err(disk(&files.journal(), &error)),
        }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    pub(crate) fn views(&self) -> PathBuf {
        self.folder.join("views.db")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.folder.join("nodes")
    }

    /// The lock that a node of this id holds while it lives.
    pub(crate) fn node_lock(&self, node_id: i64) -> PathBuf {
        self.nodes().join(format!("{node_id:016x}.lock"))
    }

    /// Whose lock a file of this name is.
    pub(crate) fn node_of_lock(name: &str) -> Option<i64> {
        i64::from_str_radix(name.strip_suffix(".lock")?, 16).ok()
    }

    /// A connection to the journal: what COMMIT has returned from is on the disk.
    pub(crate) fn open_journal(&self, mode: Mode) -> Result<Connection, EngineError> {
        open(&self.journal(), mode, JOURNAL_PAGE_BYTES, "FULL")
    }

    /// A connection to the views: a power cut may take the last transactions, whole ones, and the
    /// journal brings them back.
    pub(crate) fn open_views(&self, mode: Mode) -> Result<Connection, EngineError> {
        open(&self.views(), mode, VIEWS_PAGE_BYTES, "NORMAL")
    }
}

fn open(
    path: &Path,
    mode: Mode,
    page_bytes: i64,
    synchronous: &str,
) -> Result<Connection, EngineError> {
    let flags = match mode {
        Mode::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Mode::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let attempt = || {
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        if mode == Mode::Write {
            connection.pragma_update(None, "page_size", page_bytes)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?; // Ours is in the turnstile.
        Ok(connection)
    };
    attempt().map_err(|error| sql(path, &error))
}

fn check_version(number: i32, text: &str) -> Result<(), EngineError> {
    if SQLITE_VERSION_MIN <= number {
        return Ok(());
    }
    let what = format!("version {text} is too old to be trusted with a journal: want 3.51.3");
    Err(EngineError::new(Kind::Unsupported, "SQLite", what))
}

/// File systems, by the number that statfs gives, on which locks or syncs are not what SQLite
/// needs: they end at another machine, or in a process.
#[rustfmt::skip] // One file system, one line.
const NETWORK_FILE_SYSTEMS: &[(u64, &str)] = &[
    (0x6969,      "NFS"),
    (0x517b,      "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x6573_5546, "FUSE"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x564c,      "NCP"),
    (0x4750_4653, "GPFS"),
    (0x786f_4256, "a virtual machine's shared folder"),
];

fn check_file_system(folder: &Path) -> Result<(), EngineError> {
    let stat = rustix::fs::statfs(folder).map_err(|error| disk(folder, &error.into()))?;
    match network_file_system(stat.f_type) {
        None => Ok(()),
        Some(name) => Err(EngineError::new(
            Kind::Unsupported,
            folder.display(),
            format!("is on {name}, where locks and syncs cannot be relied on: use a local disk"),
        )),
    }
}

/// The number is a C `long`, whose sign and upper half differ between machines.
fn network_file_system(f_type: impl Into<i128>) -> Option<&'static str> {
    let number = f_type.into() & 0xffff_ffff;
    NETWORK_FILE_SYSTEMS.iter().find(|(known, _)| i128::from(*known) == number).map(|it| it.1)
}

/// Opens a lock file, made where it is missing. Closed on exec, like every file of std.
pub(crate) fn lock_file(path: &Path) -> Result<File, EngineError> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    open.map_err(|error| disk(path, &error))
}

/// A failure of the file system, for people.
pub(crate) fn disk(path: &Path, error: &io::Error) -> EngineError {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if is_full { Kind::Full } else { Kind::Unavailable };
    EngineError::new(kind, path.display(), error)
}

/// A failure of SQLite, for people.
pub(crate) fn sql(path: &Path, error: &rusqlite::Error) -> EngineError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Kind::Full,
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch,
        ) => Kind::Corrupt,
        Some(_) => Kind::Unavailable,
        // Not SQLite's: a column that is not of the type that we wrote.
        None => Kind::Corrupt,
    };
    EngineError::new(kind, path.display(), error)
}

/// What is stored makes no sense.
pub(crate) fn corrupt(path: &Path, what: impl ToString) -> EngineError {
    EngineError::new(Kind::Corrupt, path.display(), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number() {
        assert_eq!(network_file_system(0x6969_i64), Some("NFS"));
        assert_eq!(network_file_system(0xff53_4d42_i64), Some("CIFS"));
        assert_eq!(network_file_system(i64::from(0xff53_4d42_u32.cast_signed())), Some("CIFS"));
        assert_eq!(network_file_system(0xef53_i64), None); // ext4
    }

    #[test]
    fn an_old_sqlite_is_refused() {
        assert_eq!(check_version(3_051_002, "3.51.2").unwrap_err().kind, Kind::Unsupported);
        assert!(check_version(3_051_003, "3.51.3").is_ok());
    }
}
