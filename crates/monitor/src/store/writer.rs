//! The thread that writes: whatever has come while the last commit was running is the next one.
//!
//! What cannot be stored is told to whoever waits for it, and a beat is then sent again by who sent
//! it. What nobody would send again, a change of a state, an incident, a letter, stays here and
//! is written as soon as that is possible.

use super::{
    Site,
    load::Loaded,
    log::{FOLD_EVERY, Log},
    row::Row,
    sql::{Database, StoreError},
};
use crate::core::check::CheckId;
use std::{
    collections::BTreeSet,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::oneshot;

/// Transactions that are committed together, at most.
const GROUP_MAX: usize = 4_096;
/// Transactions that wait for the disk; one more is refused.
const WAITING_MAX: usize = 65_536;
/// Rows that wait for a store that is away. Of more the oldest are lost, and the log says so.
const BACKLOG_MAX: usize = 200_000;
/// How often what waits for the store is tried again while nothing else comes.
const RETRY_EVERY: Duration = Duration::from_millis(500);

struct Job {
    rows: Vec<Row>,
    done: oneshot::Sender<bool>,
}

/// Why the last commit failed; `None` after one that did not.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    /// With these words, until something is stored.
    pub(crate) fn of(words: String) -> Trouble {
        Trouble(Arc::new(Mutex::new(Some(words))))
    }

    /// What is wrong now, in words.
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, words: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// The way to the writer. Dropped, it lets the writer finish.
#[derive(Debug)]
pub struct Store {
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    trouble: Trouble,
}

impl Store {
    /// Opens what is kept at a site, made if need be, and reads it back.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(site: &Site) -> Result<(Store, Loaded), StoreError> {
        // Of its own: whoever opens may be driving a runtime on this thread, and must not wait.
        let (db, (loaded, log)) = thread::scope(|scope| {
            let opening = scope.spawn(|| {
                let db = site.create()?;
                let loaded = Loaded::read(&*db)?;
                Ok::<_, StoreError>((db, loaded))
            });
            opening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let (jobs, inbox) = mpsc::sync_channel(WAITING_MAX);
        let trouble = Trouble::default();
        let mut writer = Writer { db, log, backlog: Vec::new(), trouble: trouble.clone() };
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.work(&inbox))
            .map_err(|err| StoreError::new("a thread", err))?;
        Ok((Store { jobs: Some(jobs), thread: Some(thread), trouble }, loaded))
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

    /// Tells whether it can store.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
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

struct Writer {
    db: Box<dyn Database>,
    log: Log,
    /// What was not stored and nobody sends again, in order.
    backlog: Vec<Row>,
    trouble: Trouble,
}

impl Writer {
    fn work(&mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            let first = match (self.backlog.is_empty(), self.log.is_behind()) {
                (true, false) => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (true, true) => inbox.recv_timeout(FOLD_EVERY),
                (false, _) => inbox.recv_timeout(RETRY_EVERY),
            };
            let mut group: Vec<Job> = match first {
                Ok(first) => vec![first],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return self.last_try(),
            };
            while group.len() < GROUP_MAX
                && let Ok(next) = inbox.try_recv()
            {
                group.push(next);
            }
            match self.commit(&group) {
                // One of them will never be stored: it is not to hold up the others.
                Err(err) if err.is_refused => self.commit_each(group),
                done => self.answer(group, done.is_ok()),
            }
        }
    }

    fn commit_each(&mut self, group: Vec<Job>) {
        for row in mem::take(&mut self.backlog) {
            self.commit_one(Job { rows: vec![row], done: oneshot::channel().0 });
        }
        group.into_iter().for_each(|job| self.commit_one(job));
    }

    fn commit_one(&mut self, job: Job) {
        let group = vec![job];
        match self.commit(&group) {
            Err(err) if err.is_refused => {
                tracing::error!(%err, rows = ?group[0].rows, "not stored, and given up");
                self.trouble.set(None);
                group.into_iter().for_each(|job| _ = job.done.send(false));
            }
            done => self.answer(group, done.is_ok()),
        }
    }

    fn answer(&mut self, group: Vec<Job>, is_written: bool) {
        let mut unwritten = Vec::new();
        for job in group {
            _ = job.done.send(is_written); // Whoever asked may have gone away.
            unwritten.extend(job.rows);
        }
        if !is_written {
            self.put_by(unwritten);
        }
    }

    /// Stores what waits and this group, in one transaction.
    fn commit(&mut self, group: &[Job]) -> Result<(), StoreError> {
        let rows: Vec<&Row> =
            self.backlog.iter().chain(group.iter().flat_map(|job| &job.rows)).collect();
        let done = transaction(&*self.db, &mut self.log, &rows);
        match &done {
            Ok(()) => {
                self.log.committed();
                if !mem::take(&mut self.backlog).is_empty() {
                    tracing::info!("what could not be stored is stored now");
                }
                self.trouble.set(None);
            }
            Err(err) => {
                self.db.undo();
                self.log.undone();
                tracing::error!(%err, "cannot store what was heard");
                self.trouble.set(Some(err.to_string()));
            }
        }
        done
    }

    /// Keeps what nobody sends again: beats come again, and what they made of their checks is known
    /// to the log.
    fn put_by(&mut self, rows: Vec<Row>) {
        self.backlog
            .extend(rows.into_iter().filter(|row| !matches!(row, Row::Beat(..) | Row::Alive(_))));
        let needed = needed(&self.backlog.iter().collect::<Vec<_>>());
        let mut at = 0;
        self.backlog.retain(|_| {
            at += 1;
            needed[at - 1]
        });
        if let Some(surplus) = self.backlog.len().checked_sub(BACKLOG_MAX).filter(|it| *it != 0) {
            tracing::error!(surplus, "the store is away for too long: some of the history is lost");
            self.backlog.drain(..surplus);
        }
    }

    fn last_try(&mut self) {
        if !self.backlog.is_empty() && self.commit(&[]).is_err() {
            tracing::error!(rows = self.backlog.len(), "ends, and what was not stored is lost");
        }
    }
}

fn transaction(db: &dyn Database, log: &mut Log, rows: &[&Row]) -> Result<(), StoreError> {
    let needed = needed(rows);
    db.begin()?;
    for (row, _) in rows.iter().zip(needed).filter(|it| it.1) {
        row.write(db, log)?;
    }
    log.tidy(db)?;
    db.commit()
}

/// Which rows are to be written: what is known of a check is told by the last of them.
fn needed(rows: &[&Row]) -> Vec<bool> {
    let mut heard: BTreeSet<CheckId> = BTreeSet::new();
    let mut needed: Vec<bool> = rows
        .iter()
        .rev()
        .map(|row| if let Row::Heard(it) = row { heard.insert(it.check) } else { true })
        .collect();
    needed.reverse();
    needed
}
