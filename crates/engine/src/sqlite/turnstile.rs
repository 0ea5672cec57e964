//! Lets the writers of one database through one by one, in the order in which they came.
//!
//! Two locks: whoever holds `queue` is next, whoever holds `busy` is in. The kernel wakes waiters
//! of a lock in their order, so nobody polls and nobody is overtaken, as writers that retry on
//! SQLITE_BUSY are (two processes committing, measured: p99.9 of 90 ms by retrying).

use crate::{
    engine::{Turn, Turns},
    error::EngineError,
    sqlite::files::{disk, lock_file},
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The turnstile of a service's journal.
pub(crate) const JOURNAL_TURNS: &str = "journal";

/// One writer's place at a turnstile. Each has its own: a lock belongs to the opened file, so two
/// threads of one process queue like two processes.
#[derive(Debug)]
pub(crate) struct Turnstile {
    path: PathBuf,
    queue: File,
    busy: Arc<File>,
}

/// Being let in; dropped, the next one is.
#[derive(Debug)]
pub(crate) struct Entered {
    busy: Arc<File>,
}

impl Turnstile {
    /// The turnstile of this name in `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Turnstile, EngineError> {
        let path = folder.join(format!("{name}.queue"));
        let queue = lock_file(&path)?;
        let busy = Arc::new(lock_file(&folder.join(format!("{name}.busy")))?);
        Ok(Turnstile { path, queue, busy })
    }

    /// Waits for this writer's turn.
    pub(crate) fn enter(&self) -> Result<Entered, EngineError> {
        let failed = |error| disk(&self.path, &error);
        wait(&self.queue).map_err(failed)?;
        let busy = wait(&self.busy);
        // Unlocking fails only for a closed file; the file's end would unlock it anyway.
        self.queue.unlock().map_err(failed)?;
        busy.map_err(failed)?;
        Ok(Entered { busy: Arc::clone(&self.busy) })
    }
}

impl Turns for Turnstile {
    /// Whoever is in or waits is not overtaken: one waits at `busy`, any others at `queue`, which
    /// that one holds.
    fn try_turn(&self) -> Option<Turn> {
        self.queue.try_lock().ok()?;
        let entered = self.busy.try_lock();
        let left = self.queue.unlock();
        entered.ok()?;
        let entered = Entered { busy: Arc::clone(&self.busy) };
        left.ok()?;
        Some(Turn::of(entered))
    }
}

/// A signal may interrupt the wait; that is no answer.
fn wait(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            done => return done,
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Err(error) = self.busy.unlock() {
            tracing::error!(%error, "a turnstile did not unlock");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    #[test]
    fn a_turn_is_taken_at_once_only_where_nobody_is_in_or_waits() {
        let folder = std::env::temp_dir().join(format!("tollgate-turns-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = || Turnstile::open(&folder, JOURNAL_TURNS).unwrap();
        let (one, other) = (open(), open());

        let turn = one.try_turn().unwrap();
        assert!(other.try_turn().is_none(), "somebody is in");
        drop(turn);
        drop(other.try_turn().unwrap());

        let turn = one.try_turn().unwrap();
        let (leave, left) = mpsc::channel::<()>();
        let third = open();
        let waiting = thread::spawn(move || {
            let entered = third.enter().unwrap();
            left.recv().unwrap();
            drop(entered);
        });
        // Whoever waits for the one who is in holds the queue.
        while one.queue.try_lock().is_ok() {
            one.queue.unlock().unwrap();
            thread::yield_now();
        }
        drop(turn);
        assert!(other.try_turn().is_none(), "the one who waited is before us");
        leave.send(()).unwrap();
        waiting.join().unwrap();
        drop(other.try_turn().unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
