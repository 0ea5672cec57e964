//! Reads the journal, in chunks short enough that no read keeps the WAL from starting afresh.

use crate::{
    error::EngineError,
    records::{CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX, Fence, Order, Range, RawRecord, Records},
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        meta::{self, Meta, PLACE_SPAN},
        take,
    },
};
use ledger::Hash;
use rusqlite::{Connection, Row, params};
use std::path::PathBuf;
use wire::{PartitionId, Seq};

/// The rows of a range, found by the places before and within it. Where a partition's places are
/// nearer to each other than [`PLACE_SPAN`] a row may come twice.
const ROWS: &str = "
    SELECT journal.seq, journal.hash, journal.record FROM place CROSS JOIN journal
    WHERE place.partition = ?1 AND place.seq <= ?3 AND place.seq >= coalesce(
            (SELECT max(seq) FROM place WHERE partition = ?1 AND seq <= ?2), 0)
        AND journal.number >= place.number AND journal.number < place.number + ?5
        AND journal.partition = ?1 AND journal.seq BETWEEN ?2 AND ?3";
const FORWARD: &str = "ORDER BY place.seq, journal.number LIMIT ?4";
const BACKWARD: &str = "ORDER BY place.seq DESC, journal.number DESC LIMIT ?4";
/// The last record's number.
const END: &str = "
    SELECT max(journal.seq) FROM
        (SELECT number FROM place WHERE partition = ?1 ORDER BY seq DESC LIMIT 1) AS last
        CROSS JOIN journal
    WHERE journal.number >= last.number AND journal.number < last.number + ?2
        AND journal.partition = ?1";

/// A reading connection to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Files,
    path: PathBuf,
    connection: Connection,
}

impl Journal {
    pub(crate) fn open(files: &Files) -> Result<Journal, EngineError> {
        let (path, connection) = (files.journal(), files.open_journal(Mode::Read)?);
        Ok(Journal { files: files.clone(), path, connection })
    }

    /// The fence row of a partition and the number of its last record, in one snapshot.
    pub(crate) fn fence_and_end(
        &self,
        partition: PartitionId,
    ) -> Result<(Fence, Seq), EngineError> {
        let begun = self.connection.unchecked_transaction();
        let _snapshot = begun.map_err(|error| sql(&self.path, &error))?;
        Ok((self.fence(partition)?, self.end(partition)?))
    }

    /// What was fixed when the journal was made.
    pub(crate) fn meta(&self) -> Result<Meta, EngineError> {
        meta::read(&self.files, &self.connection)
    }
}

impl Records for Journal {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn rows(&self, range: Range, order: Order) -> Result<Vec<RawRecord>, EngineError> {
        let select = match order {
            Order::Forward => format!("{ROWS} {FORWARD}"),
            Order::Backward => format!("{ROWS} {BACKWARD}"),
        };
        // In this order, but for what has come already.
        let is_next = |before: &RawRecord, seq: Seq| match order {
            Order::Forward => before.seq < seq,
            Order::Backward => seq < before.seq,
        };
        let number = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
        let (first, last) = (number(range.first), number(range.last));
        let read = || {
            let mut statement = self.connection.prepare_cached(&select)?;
            let mut rows = statement.query(params![
                range.partition.0,
                first,
                last,
                CHUNK_RECORDS_MAX,
                PLACE_SPAN
            ])?;
            let (mut found, mut bytes): (Vec<RawRecord>, _) = (Vec::new(), 0);
            while bytes < CHUNK_BYTES_MAX
                && let Some(row) = rows.next()?
            {
                let raw = raw(row)?;
                if found.last().is_none_or(|before| is_next(before, raw.seq)) {
                    bytes += raw.bytes.len();
                    found.push(raw);
                }
            }
            Ok(found)
        };
        read().map_err(|error| sql(&self.path, &error))
    }

    fn end(&self, partition: PartitionId) -> Result<Seq, EngineError> {
        let read = || -> rusqlite::Result<Option<i64>> {
            let mut statement = self.connection.prepare_cached(END)?;
            statement.query_row(params![partition.0, PLACE_SPAN], |row| row.get(0))
        };
        let seq = read().map_err(|error| sql(&self.path, &error))?;
        u64::try_from(seq.unwrap_or(0))
            .map(Seq)
            .map_err(|_| corrupt(&self.path, "a record's number is negative"))
    }

    fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError> {
        take::fence(&self.files, &self.connection, partition)
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<RawRecord> {
    let seq: i64 = row.get(0)?;
    // The query asked for no negative ones.
    Ok(RawRecord { seq: Seq(seq.unsigned_abs()), hash: Hash(row.get(1)?), bytes: row.get(2)? })
}
