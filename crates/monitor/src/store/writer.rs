//! The thread that writes: whatever has come while the last commit was running is the next one.

use super::{
    Row, SCHEMA,
    load::{History, Loaded},
};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::oneshot;

/// Transactions that are committed together, at most.
const GROUP_MAX: usize = 4_096;
/// Transactions that wait for the disk; one more is refused.
const WAITING_MAX: usize = 65_536;
/// How long a connection waits for another's lock: only ever a stranger's tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept ready; there are no more.
const STATEMENTS_MAX: usize = 64;

/// Why nothing could be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}: {1}")]
    Disk(PathBuf, io::Error),
    #[error("{0}: {1}")]
    Sql(PathBuf, rusqlite::Error),
}

struct Job {
    rows: Vec<Row>,
    done: oneshot::Sender<bool>,
}

/// The way to the writer. Dropped, it lets the writer finish.
#[derive(Debug)]
pub struct Store {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Store {
    /// Opens `monitor.db` in a folder, both made if need be, and reads back what was kept.
    pub fn open(folder: &Path) -> Result<(Store, Loaded), StoreError> {
        fs::create_dir_all(folder).map_err(|err| StoreError::Disk(folder.to_owned(), err))?;
        let path = folder.join("monitor.db");
        let sql = |err| StoreError::Sql(path.clone(), err);
        let db = open(&path).map_err(sql)?;
        db.execute_batch(SCHEMA).map_err(sql)?;
        let loaded = Loaded::read(&db).map_err(sql)?;
        let (jobs, inbox) = mpsc::sync_channel(WAITING_MAX);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || write(db, &inbox))
            .map_err(|err| StoreError::Disk(path.clone(), err))?;
        Ok((Store { jobs: Some(jobs), thread: Some(thread), path }, loaded))
    }

    /// A connection that reads what has been committed.
    pub fn history(&self) -> Result<History, StoreError> {
        let db = open(&self.path).map_err(|err| StoreError::Sql(self.path.clone(), err))?;
        Ok(History { db })
    }

    /// Writes rows in one transaction. What comes back is true once they are on the disk, and
    /// false, or an error, when they are not.
    pub fn write(&self, rows: Vec<Row>) -> oneshot::Receiver<bool> {
        let (done, answer) = oneshot::channel();
        if let Some(jobs) = &self.jobs
            && let Err(err) = jobs.try_send(Job { rows, done })
        {
            tracing::error!(%err, "the disk does not keep up: something was not stored");
        }
        answer
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has nothing left to write then.
            drop(thread.join());
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(db)
}

fn write(mut db: Connection, inbox: &mpsc::Receiver<Job>) {
    while let Ok(first) = inbox.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = inbox.try_recv()
        {
            group.push(next);
        }
        let written = commit(&mut db, &group);
        if let Err(err) = &written {
            tracing::error!(%err, "cannot store what was heard");
        }
        for job in group {
            _ = job.done.send(written.is_ok()); // Whoever asked may have gone away.
        }
    }
}

fn commit(db: &mut Connection, group: &[Job]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for row in group.iter().flat_map(|job| &job.rows) {
        row.write(&transaction)?;
    }
    transaction.commit()
}
