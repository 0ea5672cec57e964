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
    /// Those after the one before it.
    pages_before: i32,
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
        Ok(Wal { pages, pages_before: 0, pages_max, due: pages_max })
    }

    /// To be called after a commit, before the next writer is let in.
    pub(crate) fn checkpoint_if_long(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        // Shorter than it was: somebody started it afresh. It need not be short, for the
        // transactions since then may have been long ones.
        if pages < self.pages_before {
            self.due = self.pages_max;
        }
        self.pages_before = pages;
        if pages < self.due {
            return Ok(());
        }
        self.due = pages.saturating_add(self.pages_max);
        // PASSIVE waits for nobody. What it could not copy, the next one does.
        connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const PAGES_MAX: i32 = 10;

    fn open(path: &Path) -> (Connection, Wal) {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS t (x BLOB)").unwrap();
        let wal = Wal::watch(&mut connection, PAGES_MAX).unwrap();
        (connection, wal)
    }

    /// Transactions that change a few more pages than so many.
    fn write(connection: &Connection, pages: u32) {
        connection.execute("INSERT INTO t VALUES (randomblob(?1))", [pages * 4_096]).unwrap();
        connection.execute("DELETE FROM t", []).unwrap();
    }

    #[test]
    fn it_stays_short_whatever_the_length_of_transactions() {
        let name = format!("tollgate-wal-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let wal_path = path.with_extension("db-wal");
        for pages in [1, 5, 9, 15, 40] {
            let mut writers = [open(&path), open(&path)];
            for round in 0..200 {
                for (connection, wal) in &mut writers {
                    write(connection, pages);
                    wal.checkpoint_if_long(connection).unwrap();
                }
                let length = std::fs::metadata(&wal_path).unwrap().len() / 4_096;
                // What both wrote twice, and what was there when the last checkpoint was due.
                let bound = 4 * u64::from(pages + 10) + 2 * u64::from(PAGES_MAX.unsigned_abs());
                assert!(length < bound, "{pages}, {round}: {length} pages");
            }
            drop(writers);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
