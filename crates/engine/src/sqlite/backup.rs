//! Copies journals, beside whoever writes: one cut through all of them, then record after record.
//!
//! A record once written never changes, so what is copied after the cut was made is of the cut. For
//! the cut itself the writers of all journals stand still for the moment that it takes to read
//! where each ends: money that is on its way from one service to another is then in one of them.

use crate::{
    error::{EngineError, Kind},
    sqlite::{
        files::{Files, Mode, disk, sql},
        journal::Journal,
        meta::{self, Meta},
        take,
        turnstile::{self, Turnstile},
    },
    verify::check_service,
};
use ledger::Chain;
use rusqlite::{Connection, params};
use std::{
    fs::{self, File},
    path::Path,
};
use wire::PartitionId;

/// Records of one chunk: a read that is over in a moment, and a commit.
const CHUNK_RECORDS: i64 = 256;
/// Places of one chunk.
const CHUNK_PLACES: i64 = 10_000;

/// A journal as it was when the cut was made.
#[derive(Debug)]
pub struct Cut {
    files: Files,
    meta: Meta,
    /// Epoch and end of each partition.
    partitions: Vec<(PartitionId, i64, Chain)>,
    pins: Vec<(i64, String)>,
    /// The last row.
    last: i64,
}

/// What becomes of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is kept: no node goes on from it.
    Keep,
    /// Nodes go on from it: it is a journal of its own, of this incarnation.
    GoOn(u128),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub rows_done: u64,
    pub rows_count: u64,
}

/// One cut through the journals in these folders, each of the service named with it, beside
/// whoever writes them.
///
/// # Errors
/// When a folder has no journal, or another service's.
pub fn cut(engines: &[(&Path, &str)]) -> Result<Vec<Cut>, EngineError> {
    let mut sources = Vec::with_capacity(engines.len());
    for (place, (folder, service)) in engines.iter().enumerate() {
        sources.push((
            Source::open(folder, service)?,
            Turnstile::open(folder, turnstile::JOURNAL)?,
            place,
        ));
    }
    // In one order, so that two backups at once do not wait for each other.
    sources.sort_by(|a, b| a.0.files.folder.cmp(&b.0.files.folder));
    let turns: Result<Vec<_>, _> = sources.iter().map(|it| it.1.enter()).collect();
    let turns = turns?;
    let cuts: Result<Vec<_>, _> = sources.into_iter().map(|it| Ok((it.0.cut()?, it.2))).collect();
    drop(turns);
    let mut cuts: Vec<(Cut, usize)> = cuts?;
    cuts.sort_by_key(|it| it.1);
    Ok(cuts.into_iter().map(|it| it.0).collect())
}

/// All of a journal that nobody writes: a copy that was kept.
///
/// # Errors
/// As of [`cut`].
pub fn kept(folder: &Path, service: &str) -> Result<Cut, EngineError> {
    Source::open(folder, service)?.cut()
}

/// A journal that is to be cut.
struct Source {
    files: Files,
    meta: Meta,
    connection: Connection,
}

impl Source {
    fn open(folder: &Path, service: &str) -> Result<Source, EngineError> {
        let files = Files::existing(folder)?;
        let meta = Journal::open(&files)?.meta()?;
        meta.check_format(&files)?;
        check_service(&folder.display().to_string(), &meta.service, service)?;
        let connection = files.open_journal(Mode::Read)?;
        Ok(Source { files, meta, connection })
    }

    /// What there is now.
    fn cut(self) -> Result<Cut, EngineError> {
        let Source { files, meta, connection } = self;
        let path = files.journal();
        let failed = |error| sql(&path, &error);
        let snapshot = connection.unchecked_transaction().map_err(failed)?;
        let mut partitions = Vec::new();
        for partition in (0..meta.partitions(&files)?).map(PartitionId) {
            let fence = take::fence(&files, &snapshot, partition)?;
            let epoch = i64::try_from(fence.epoch.0).unwrap_or(i64::MAX);
            partitions.push((partition, epoch, fence.chain));
        }
        let last = "SELECT coalesce(max(number), 0) FROM journal";
        let last = snapshot.query_row(last, [], |row| row.get(0)).map_err(failed)?;
        let pins = pins(&snapshot).map_err(failed)?;
        drop(snapshot);
        Ok(Cut { files, meta, partitions, pins, last })
    }
}

fn pins(from: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'pin'";
    if from.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let mut statement = from.prepare("SELECT part_id, node FROM pin")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl Cut {
    /// Partitions of the service.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Writes the journal of the cut into `folder`, which must have none. What is there when this
    /// returns is durable. The views are not copied: they are made again of the journal.
    ///
    /// # Errors
    /// When there is a journal already, or there is no room for it.
    pub fn copy(
        &self,
        folder: &Path,
        purpose: Purpose,
        mut progress: impl FnMut(Copied),
    ) -> Result<(), EngineError> {
        let target = Files::create(folder)?;
        if fs::exists(target.journal()).map_err(|error| disk(folder, &error))? {
            return Err(EngineError::new(
                Kind::Mismatch,
                folder.display(),
                "has a journal already",
            ));
        }
        let to = target.open_journal(Mode::Write)?;
        let from = self.files.open_journal(Mode::Read)?;
        meta::create_copy(&target, &to, &self.meta, purpose)?;
        let (path, source) = (target.journal(), self.files.journal());
        let written = |error| sql(&path, &error);
        let read = |error| sql(&source, &error);
        let mut done = 0;
        while done < self.last {
            let rows = records(&from, done, self.last).map_err(read)?;
            let Some(last) = rows.last().map(|row| row.0) else { break };
            insert(&to, &rows).map_err(written)?;
            done = last;
            let count = |it: i64| u64::try_from(it).unwrap_or(0);
            progress(Copied { rows_done: count(done), rows_count: count(self.last) });
        }
        self.finish(&from, &to, &path)?;
        if purpose == Purpose::Keep {
            // One file, which can be read where nothing can be written.
            to.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(written)?;
        }
        to.close().map_err(|(_, error)| written(error))?;
        File::open(folder).and_then(|it| it.sync_all()).map_err(|error| disk(folder, &error))
    }

    /// Places, pins and, last of all, where each partition ends.
    fn finish(&self, from: &Connection, to: &Connection, path: &Path) -> Result<(), EngineError> {
        let source = self.files.journal();
        let written = |error| sql(path, &error);
        for (partition, epoch, chain) in &self.partitions {
            let end = i64::try_from(chain.seq.0).unwrap_or(i64::MAX);
            let mut after = 0;
            loop {
                let rows = places(from, *partition, (after, end));
                let rows = rows.map_err(|error| sql(&source, &error))?;
                let Some((last, _)) = rows.last() else { break };
                after = *last;
                let insert = || {
                    let transaction = to.unchecked_transaction()?;
                    let mut place =
                        transaction.prepare_cached("INSERT INTO place VALUES (?, ?, ?)")?;
                    for (seq, number) in &rows {
                        place.execute(params![partition.0, seq, number])?;
                    }
                    drop(place);
                    transaction.commit()
                };
                insert().map_err(written)?;
            }
            let update = "UPDATE part SET epoch = ?, seq = ?, hash = ?, time = ? WHERE part_id = ?";
            let fence = params![epoch, end, chain.hash.0, chain.time.0, partition.0];
            to.execute(update, fence).map_err(written)?;
        }
        for (partition, node) in &self.pins {
            to.execute("INSERT INTO pin VALUES (?, ?)", params![partition, node])
                .map_err(written)?;
        }
        to.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(written)
    }
}

/// Number, partition, number in the partition, hash, bytes.
type Row = (i64, i64, i64, [u8; 32], Vec<u8>);

fn records(from: &Connection, after: i64, last: i64) -> rusqlite::Result<Vec<Row>> {
    let select = "SELECT number, partition, seq, hash, record FROM journal
                  WHERE number > ? AND number <= ? ORDER BY number LIMIT ?";
    let mut statement = from.prepare_cached(select)?;
    let rows = statement.query_map(params![after, last, CHUNK_RECORDS], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    rows.collect()
}

fn insert(to: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    let transaction = to.unchecked_transaction()?;
    let mut statement = transaction.prepare_cached("INSERT INTO journal VALUES (?, ?, ?, ?, ?)")?;
    for (number, partition, seq, hash, record) in rows {
        statement.execute(params![number, partition, seq, hash, record])?;
    }
    drop(statement);
    transaction.commit()
}

fn places(
    from: &Connection,
    partition: PartitionId,
    (after, end): (i64, i64),
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let select = "SELECT seq, number FROM place WHERE partition = ? AND seq > ? AND seq <= ?
                  ORDER BY seq LIMIT ?";
    let mut statement = from.prepare_cached(select)?;
    let rows = statement.query_map(params![partition.0, after, end, CHUNK_PLACES], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    rows.collect()
}
