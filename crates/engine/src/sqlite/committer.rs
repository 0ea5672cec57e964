//! The only way into the journal: one transaction for all partitions of a batch, at the turnstile.
//!
//! The shape of the journal was measured once through on a quiet machine of 2 cores, with an ext4
//! disk; each commit with 1 or 8 records of 1,500 bytes, checkpointed at 4 MB (commits a second,
//! p99; bytes of database per byte of record, and WAL, with 8):
//!
//! ```text
//! key                          page    1 record          8 records         size   WAL
//! partition << 40 | seq        4,096   4,398   462 µs    1,861   2,752 µs  1.37   4.3 MB
//! partition << 40 | seq        8,192   4,307   504       1,769   2,041     1.09   4.4
//! partition << 40 | seq       16,384   3,699 1,380       1,608   1,747     1.14   4.5
//! rowid, UNIQUE (part, seq)    4,096   5,630   364       2,376   4,008     1.38   4.2
//! rowid, UNIQUE (part, seq)    8,192   4,720   451       2,502   2,179     1.10   4.3
//! rowid, UNIQUE (part, seq)   16,384   3,752 1,177       2,261   1,612     1.10   4.3
//! ```
//!
//! Repeats beside other builds kept that order of keys with 8 records; between pages of 4 and 8 KiB
//! the commits a second went either way, by a tenth. A key that begins with the partition puts the
//! records of a batch on as many pages, each of which is written whole; appended, they share pages.
//! Pages of 8 KiB keep a fifth of the disk and have the shorter p99 with 8 records.

use crate::{
    engine::{Committer, Fate, Write},
    error::{CommitError, EngineError, Kind},
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        meta::record_id,
        turnstile::{Turn, Turnstile},
        wal::Wal,
    },
};
use rusqlite::{Connection, ErrorCode, params};
use std::path::PathBuf;

/// The journal is checkpointed when its WAL is this long: 4 MB, so that no checkpoint takes long,
/// and yet each page of the database is written once for several commits.
const WAL_PAGES_MAX: i32 = 500;

/// The commit thread's end of the engine.
#[derive(Debug)]
pub(crate) struct SqliteCommitter {
    path: PathBuf,
    connection: Connection,
    turnstile: Turnstile,
    /// Waited for, and not used yet.
    turn: Option<Turn>,
    wal: Wal,
    node_id: i64,
    /// Set by the failure after which nothing is tried again.
    dead: Option<EngineError>,
}

impl SqliteCommitter {
    pub(crate) fn open(files: &Files, node_id: i64) -> Result<SqliteCommitter, EngineError> {
        let path = files.journal();
        let mut connection = files.open_journal(Mode::Write)?;
        let wal = Wal::watch(&mut connection, WAL_PAGES_MAX).map_err(|error| sql(&path, &error))?;
        let turnstile = Turnstile::open(&files.folder, "journal")?;
        Ok(SqliteCommitter { path, connection, turnstile, turn: None, wal, node_id, dead: None })
    }
}

impl Committer for SqliteCommitter {
    fn wait_turn(&mut self) -> Result<(), EngineError> {
        if self.turn.is_none() {
            self.turn = Some(self.turnstile.enter()?);
        }
        Ok(())
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Fate>, CommitError> {
        if let Some(error) = &self.dead {
            return Err(CommitError::Fatal(error.clone()));
        }
        self.wait_turn().map_err(CommitError::NotExecuted)?;
        let turn = self.turn.take();
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let decided = write_batch(&self.connection, self.node_id, writes)
            .map_err(|failure| self.settle(failure));
        match decided {
            Ok(fates) => {
                // The batch is durable whatever the checkpoint says, and is told so; what it says
                // about the disk counts from the next batch on.
                if let Err(error) = self.wal.checkpoint_if_long(&self.connection) {
                    if is_failing_disk(&error) {
                        self.dead = Some(sql(&self.path, &error));
                    }
                    tracing::error!(%error, path = %self.path.display(), "checkpoint failed");
                }
                drop(turn);
                Ok(fates)
            }
            Err(CommitError::Fatal(error)) => {
                self.dead = Some(error.clone());
                Err(CommitError::Fatal(error))
            }
            Err(error @ (CommitError::NotExecuted(_) | CommitError::Unknown(_))) => Err(error),
        }
    }

    /// A commit here is executed, or it is not, or the process ends: there is nothing to resolve.
    fn resolve(&mut self, _: &[Write]) -> Result<Vec<Fate>, EngineError> {
        let what = "no commit of this process is unresolved";
        Err(EngineError::new(Kind::Unsupported, self.path.display(), what))
    }
}

/// Which statement failed: what is known of the batch depends on it.
enum Failure {
    /// Before COMMIT was asked for.
    Before(rusqlite::Error),
    /// COMMIT itself.
    Commit(rusqlite::Error),
    /// A record that cannot be in any journal; the batch was not begun.
    Unwritable(String),
}

/// The batch in one transaction. On an error the transaction may still be open.
fn write_batch(
    connection: &Connection,
    node_id: i64,
    writes: &[Write],
) -> Result<Vec<Fate>, Failure> {
    let mut rows = Vec::with_capacity(writes.len());
    for write in writes {
        rows.push(Row::of(write).ok_or_else(|| {
            Failure::Unwritable(format!("{:?} is beyond what a row can bear", write.header))
        })?);
    }
    let fates = write_rows(connection, node_id, &rows, writes).map_err(Failure::Before)?;
    let commit = || connection.prepare_cached("COMMIT")?.execute([]);
    commit().map_err(Failure::Commit)?;
    Ok(fates)
}

/// The numbers of a write, as SQLite has numbers.
struct Row {
    epoch: i64,
    seq: i64,
    seq_before: i64,
}

impl Row {
    fn of(write: &Write) -> Option<Row> {
        let header = &write.header;
        let seq = i64::try_from(header.seq.0).ok()?;
        record_id(header.partition, header.seq)?; // A transaction's id must bear it.
        Some(Row {
            epoch: i64::try_from(header.epoch.0).ok()?,
            seq,
            seq_before: seq.checked_sub(1).filter(|before| 0 <= *before)?,
        })
    }
}

fn write_rows(
    connection: &Connection,
    node_id: i64,
    rows: &[Row],
    writes: &[Write],
) -> rusqlite::Result<Vec<Fate>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut fence = connection.prepare_cached(
        "UPDATE part SET seq = ?1, hash = ?2, time = ?3
         WHERE part_id = ?4 AND owner = ?5 AND epoch = ?6 AND seq = ?7 AND hash = ?8",
    )?;
    let mut insert = connection
        .prepare_cached("INSERT INTO journal (partition, seq, hash, record) VALUES (?, ?, ?, ?)")?;
    let mut fates = Vec::with_capacity(writes.len());
    for (row, write) in rows.iter().zip(writes) {
        let header = &write.header;
        let moved = fence.execute(params![
            row.seq,
            write.hash.0,
            header.time.0,
            header.partition.0,
            node_id,
            row.epoch,
            row.seq_before,
            header.previous.0,
        ])?;
        if moved == 1 {
            insert.execute(params![header.partition.0, row.seq, write.hash.0, write.record])?;
            fates.push(Fate::Committed);
        } else {
            fates.push(Fate::Fenced);
        }
    }
    Ok(fates)
}

impl SqliteCommitter {
    /// Rolls back, and says whether that is certain.
    ///
    /// It is certain unless the disk failed. A transaction is in the WAL if its last frame is,
    /// whole, with its mark and its checksum. Before COMMIT no frame bears that mark. A COMMIT
    /// that fails for a full disk failed in writing one of its frames, the marked one being the
    /// last (nothing is written behind it: SQLite counts on a sector's neighbours surviving a
    /// power cut and does not pad), so the marked one is not whole; the next transaction
    /// overwrites what is there, and recovery stops before it. Any other failure of COMMIT may
    /// have come after the marked frame, from the sync or from the index of the WAL.
    fn settle(&self, failure: Failure) -> CommitError {
        let (error, is_certain) = match failure {
            Failure::Unwritable(what) => {
                return CommitError::NotExecuted(corrupt(&self.path, what));
            }
            Failure::Before(error) => {
                let is_certain = !is_failing_disk(&error);
                (error, is_certain)
            }
            Failure::Commit(error) => {
                let is_certain = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                (error, is_certain)
            }
        };
        let failed = sql(&self.path, &error);
        // SQLite rolls back by itself after some errors.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            return CommitError::Fatal(sql(&self.path, &error));
        }
        if is_certain && failed.kind != Kind::Corrupt {
            CommitError::NotExecuted(failed)
        } else {
            CommitError::Fatal(failed)
        }
    }
}

/// A read, write or sync that the kernel refused.
pub(crate) fn is_failing_disk(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Claim, Engine, Place, Settings},
        sqlite::Sqlite,
    };
    use ledger::{Hash, Header};
    use wire::{Epoch, PartitionId, Seq, Timestamp};

    /// A folder that is removed with the test.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap_or(());
        }
    }

    fn write(seq: u64, previous: Hash, bytes: usize) -> Write {
        let (partition, epoch, time) = (PartitionId(0), Epoch(1), Timestamp(0));
        let header = Header { partition, seq: Seq(seq), epoch, time, previous };
        let record = vec![7; bytes];
        Write { header, hash: Hash::of(&record), record }
    }

    fn opened(name: &str) -> (Folder, Sqlite, SqliteCommitter) {
        let name = format!("tollgate-committer-{name}-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        let settings = Settings {
            service: "a".to_string(),
            partitions: 2,
            place: Place::ALONE,
            node: "a-1".to_string(),
            trunk: ([127, 0, 0, 1], 7301).into(),
            node_id: 2,
            incarnation: 1,
        };
        let engine = Sqlite::open(&folder.0, &settings).unwrap();
        let claim = Claim { partition: PartitionId(0), seen: Epoch(0) };
        engine.registry().unwrap().take(&[claim]).unwrap();
        let node_id = engine.member.node_id;
        let committer = SqliteCommitter::open(&engine.files, node_id).unwrap();
        (folder, engine, committer)
    }

    #[test]
    fn a_full_disk_is_no_execution_and_no_end() {
        let (_folder, _engine, mut committer) = opened("full");
        assert_eq!(committer.commit(&[write(1, Hash::NONE, 100)]).unwrap(), [Fate::Committed]);
        let before = write(1, Hash::NONE, 100).hash;
        committer.connection.pragma_update(None, "max_page_count", 1).unwrap();
        match committer.commit(&[write(2, before, 100_000)]) {
            Err(CommitError::NotExecuted(error)) => assert_eq!(error.kind, Kind::Full),
            other => panic!("{other:?}"),
        }
        committer.connection.pragma_update(None, "max_page_count", 100_000).unwrap();
        assert_eq!(committer.commit(&[write(2, before, 100_000)]).unwrap(), [Fate::Committed]);
    }

    #[test]
    fn after_a_fatal_failure_nothing_is_tried() {
        let (_folder, _engine, mut committer) = opened("fatal");
        // A row in the place of the next record: no honest engine has one.
        let insert = "INSERT INTO journal (partition, seq, hash, record) VALUES (0, 1, x'', x'')";
        committer.connection.execute(insert, []).unwrap();
        for _ in 0..2 {
            match committer.commit(&[write(1, Hash::NONE, 100)]) {
                Err(CommitError::Fatal(error)) => assert_eq!(error.kind, Kind::Corrupt),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_wal_starts_afresh_again_and_again() {
        let (folder, _engine, mut committer) = opened("wal");
        let mut previous = Hash::NONE;
        for seq in 1..200 {
            let write = write(seq, previous, 400_000);
            previous = write.hash;
            committer.commit(&[write]).unwrap();
        }
        let wal = std::fs::metadata(folder.0.join("journal.db-wal")).unwrap().len();
        assert!(wal < 12_000_000, "{wal} bytes");
    }
}
