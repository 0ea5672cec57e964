//! How long a database's WAL is, and when to copy it back into the database.
//!
//! At the turnstile, by the writer whose commit made it long: then no other writer is kept from
//! the WAL, and when no reader is in it either, the next writer starts it afresh. So it stays
//! short without anybody ever truncating it.

use rusqlite::Connection;
use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

/// Watches one writing connection.
#[derive(Debug)]
pub(crate) struct Wal {
    /// Pages in the WAL after this connection's last commit.
    pages: Arc<AtomicI32>,
    pages_max: i32,
    /// The length at which the next checkpoint is due: more than `pages_max` where a reader kept
    /// the last one from starting the WAL afresh, so that not every commit pays for that reader.
    due: i32,
}

impl Wal {
    pub(crate) fn watch(connection: &mut Connection, pages_max: i32) -> rusqlite::Result<Wal> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Wal { pages, pages_max, due: pages_max })
    }

    /// To be called after a commit, before the next writer is let in.
    pub(crate) fn checkpoint_if_long(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.pages_max {
            self.due = self.pages_max; // Somebody started it afresh.
        }
        if pages < self.due {
            return Ok(());
        }
        self.due = pages.saturating_add(self.pages_max);
        // PASSIVE waits for nobody. What it could not copy, the next one does.
        connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
    }
}
