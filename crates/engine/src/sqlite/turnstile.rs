//! Lets the writers of one database through one by one, in the order in which they came.
//!
//! Two locks: whoever holds `queue` is next, whoever holds `busy` is in. The kernel wakes waiters
//! of a lock in their order, so nobody polls and nobody is overtaken, as writers that retry on
//! SQLITE_BUSY are (two processes committing, measured: p99.9 of 90 ms by retrying).

use crate::{
    error::EngineError,
    sqlite::files::{disk, lock_file},
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The name of the turnstile of those who write the journal. Two names for one file would let two
/// in at once.
pub(crate) const JOURNAL: &str = "journal";
/// Of those who write the views.
pub(crate) const VIEWS: &str = "views";

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
pub(crate) struct Turn {
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
    pub(crate) fn enter(&self) -> Result<Turn, EngineError> {
        let failed = |error| disk(&self.path, &error);
        wait(&self.queue).map_err(failed)?;
        let busy = wait(&self.busy);
        // Unlocking fails only for a closed file; the file's end would unlock it anyway.
        self.queue.unlock().map_err(failed)?;
        busy.map_err(failed)?;
        Ok(Turn { busy: Arc::clone(&self.busy) })
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

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = self.busy.unlock() {
            tracing::error!(%error, "a turnstile did not unlock");
        }
    }
}
