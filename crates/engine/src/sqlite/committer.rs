//! The only way into the journal: one transaction for all partitions of a batch, at the turnstile.
//!
//! The journal is appended to, and only every so many rows has a partition an entry in an index
//! (`PLACE_SPAN`): a key that begins with the partition, and an index of every record as well, puts
//! the records of a batch on as many pages as it has partitions, each of which is written whole,
//! twice. Two processes in turn, six of eight partitions a commit, records of 400 bytes, a shared
//! machine of 2 cores with an ext4 disk (a sketch of the same SQL; medians of two runs):
//!
//! ```text
//! index            page    commits/s   CPU     a commit p50   p99
//! every record     8,192   1,826       317 µs  383 µs         1,734 µs
//! every record     4,096   1,982       289     333            2,362
//! every 8th        8,192   2,238       259     303            1,183
//! every 8th        4,096   2,558       235     263            1,110
//! every 64th       4,096   2,585       232     264            1,069
//! none             4,096   2,562       231     265            1,081
//! ```

use crate::{
    engine::{Committer, Fate, Write},
    error::{CommitError, EngineError, Kind},
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        member::Member,
        meta::{PLACE_SPAN, record_id},
        pulse::Pulse,
        turnstile::{self, Turn, Turnstile},
        wal::Wal,
    },
};
use rusqlite::{Connection, ErrorCode, ffi, params};
use std::{collections::BTreeMap, ffi::c_int, path::PathBuf};
use stdx::fault::{self, Point};
use wire::PartitionId;

/// The journal is checkpointed when its WAL is this long: 4 MB, so that no checkpoint takes long,
/// and yet each page of the database is written once for several commits.
const WAL_PAGES_MAX: i32 = 1_000;

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
    /// The row of each partition's last place, as far as this committer made it.
    places: BTreeMap<PartitionId, i64>,
    /// Told while a batch is being written.
    pulse: Pulse,
    /// Set by the failure after which nothing is tried again.
    dead: Option<EngineError>,
}

impl SqliteCommitter {
    pub(crate) fn open(files: &Files, member: &Member) -> Result<SqliteCommitter, EngineError> {
        let path = files.journal();
        let mut connection = files.open_journal(Mode::Write)?;
        let wal = Wal::watch(&mut connection, WAL_PAGES_MAX).map_err(|error| sql(&path, &error))?;
        let turnstile = Turnstile::open(&files.folder, turnstile::JOURNAL)?;
        let (node_id, pulse) = (member.node_id, member.pulse.handle());
        let (turn, places, dead) = (None, BTreeMap::new(), None);
        Ok(SqliteCommitter { path, connection, turnstile, turn, wal, node_id, places, pulse, dead })
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
        #[cfg(debug_assertions)]
        let turn = super::sabotage::give_up(turn);
        self.pulse.set_writing(true);
        let written = write_batch(&self.connection, self.node_id, writes, &mut self.places);
        let decided = written.map_err(|failure| {
            self.places.clear(); // Of a batch that is not there.
            self.settle(failure)
        });
        self.pulse.set_writing(false);
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
    places: &mut BTreeMap<PartitionId, i64>,
) -> Result<Vec<Fate>, Failure> {
    let mut rows = Vec::with_capacity(writes.len());
    for write in writes {
        rows.push(Row::of(write).ok_or_else(|| {
            Failure::Unwritable(format!("{:?} is beyond what a row can bear", write.header))
        })?);
    }
    let fates = write_rows(connection, node_id, rows.iter().zip(writes), places);
    let fates = fates.map_err(Failure::Before)?;
    pass(Point::BeforeCommit, ffi::SQLITE_FULL).map_err(Failure::Before)?;
    let commit = || connection.prepare_cached("COMMIT")?.execute([]);
    commit().map_err(Failure::Commit)?;
    pass(Point::AfterCommit, ffi::SQLITE_IOERR).map_err(Failure::Commit)?;
    Ok(fates)
}

/// Fails with this code where a test wants it: before COMMIT as a full disk does, and after it as
/// one that breaks.
fn pass(point: Point, code: c_int) -> rusqlite::Result<()> {
    match fault::passed(point) {
        false => Ok(()),
        true => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// The numbers of a write, as SQLite has numbers.
pub(super) struct Row {
    pub(super) epoch: i64,
    pub(super) seq: i64,
    pub(super) seq_before: i64,
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

fn write_rows<'a>(
    connection: &Connection,
    node_id: i64,
    rows: impl Iterator<Item = (&'a Row, &'a Write)>,
    places: &mut BTreeMap<PartitionId, i64>,
) -> rusqlite::Result<Vec<Fate>> {
    #[cfg(debug_assertions)]
    if fault::has(fault::Mutant::PlainFence) {
        let rows: Vec<_> = rows.collect();
        return super::sabotage::write_unfenced(connection, node_id, &rows);
    }
    pass(Point::BeforeBegin, ffi::SQLITE_FULL)?;
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    pass(Point::BeforeFence, ffi::SQLITE_FULL)?;
    let mut fence = connection.prepare_cached(
        "UPDATE part SET seq = ?1, hash = ?2, time = ?3
         WHERE part_id = ?4 AND owner = ?5 AND epoch = ?6 AND seq = ?7 AND hash = ?8",
    )?;
    let mut insert = connection
        .prepare_cached("INSERT INTO journal (partition, seq, hash, record) VALUES (?, ?, ?, ?)")?;
    let mut place = connection.prepare_cached("INSERT INTO place VALUES (?, ?, ?)")?;
    let mut fates = Vec::new();
    for (row, write) in rows {
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
            let number = connection.last_insert_rowid();
            let last = places.get(&header.partition);
            if last.is_none_or(|last| PLACE_SPAN <= number.saturating_sub(*last)) {
                place.execute(params![header.partition.0, row.seq, number])?;
                places.insert(header.partition, number);
            }
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
    use wire::{Epoch, Seq, Timestamp};

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
        let committer = SqliteCommitter::open(&engine.files, &engine.member).unwrap();
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
        // A place of the next record, which is not there: no honest engine has one.
        let insert = "INSERT INTO place (partition, seq, number) VALUES (0, 1, 1)";
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
