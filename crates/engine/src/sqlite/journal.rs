//! Reads the journal, in chunks short enough that no read keeps the WAL from starting afresh.

use crate::{
    error::EngineError,
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        meta::{self, Meta},
        take::{self, Fence},
    },
};
use ledger::{Hash, Record};
use rusqlite::{Connection, Row, params};
use std::path::PathBuf;
use wire::{PartitionId, Seq, Timestamp};

/// Records of one chunk, and bytes of them past which it ends early.
const CHUNK_RECORDS_MAX: u32 = 256;
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

const FORWARD: &str =
    "SELECT seq, hash, record FROM journal WHERE partition = ? AND seq BETWEEN ? AND ?
                       ORDER BY seq LIMIT ?";
const BACKWARD: &str =
    "SELECT seq, hash, record FROM journal WHERE partition = ? AND seq BETWEEN ? AND ?
                        ORDER BY seq DESC LIMIT ?";

/// A reading connection to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    files: Files,
    path: PathBuf,
    connection: Connection,
}

/// Which records of a partition, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) partition: PartitionId,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

/// A record's row: its bytes may be anything.
#[derive(Debug)]
pub(crate) struct RawRecord {
    pub(crate) seq: Seq,
    /// What is stored as their hash.
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
}

impl Journal {
    pub(crate) fn open(files: &Files) -> Result<Journal, EngineError> {
        let (path, connection) = (files.journal(), files.open_journal(Mode::Read)?);
        Ok(Journal { files: files.clone(), path, connection })
    }

    /// The fence row of a partition.
    pub(crate) fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError> {
        take::fence(&self.files, &self.connection, partition)
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

    /// The number of the last record; 0 when there is none.
    pub(crate) fn end(&self, partition: PartitionId) -> Result<Seq, EngineError> {
        let select = "SELECT max(seq) FROM journal WHERE partition = ?";
        let read = || -> rusqlite::Result<Option<i64>> {
            let mut statement = self.connection.prepare_cached(select)?;
            statement.query_row([partition.0], |row| row.get(0))
        };
        let seq = read().map_err(|error| sql(&self.path, &error))?;
        u64::try_from(seq.unwrap_or(0))
            .map(Seq)
            .map_err(|_| corrupt(&self.path, "a record's number is negative"))
    }

    /// One record with its hash.
    pub(crate) fn record(
        &self,
        partition: PartitionId,
        seq: Seq,
    ) -> Result<Option<(Record, Hash)>, EngineError> {
        if SEQ_MAX < seq {
            return Ok(None);
        }
        let found = self.chunk(Range { partition, first: seq, last: seq })?;
        Ok(found.into_iter().next())
    }

    /// The first records of a range, in order: as many as one chunk holds, none when there are
    /// none.
    pub(crate) fn chunk(&self, range: Range) -> Result<Vec<(Record, Hash)>, EngineError> {
        let rows = self.rows(range, FORWARD)?;
        rows.into_iter().map(|row| self.decode(range.partition, &row)).collect()
    }

    /// The last records of a range, newest first: as many as one chunk holds.
    pub(crate) fn chunk_back(&self, range: Range) -> Result<Vec<(Record, Hash)>, EngineError> {
        let rows = self.rows(range, BACKWARD)?;
        rows.into_iter().map(|row| self.decode(range.partition, &row)).collect()
    }

    /// The first rows of a range, as they are.
    pub(crate) fn raw_chunk(&self, range: Range) -> Result<Vec<RawRecord>, EngineError> {
        self.rows(range, FORWARD)
    }

    /// Every record of a range, in order, chunk by chunk.
    pub(crate) fn for_each(
        &self,
        range: Range,
        mut each: impl FnMut(Record, Hash),
    ) -> Result<(), EngineError> {
        let mut rest = range;
        while rest.first <= rest.last {
            let records = self.chunk(rest)?;
            let Some((last, _)) = records.last() else { break };
            rest.first = last.header.seq.next();
            records.into_iter().for_each(|(record, hash)| each(record, hash));
        }
        Ok(())
    }

    /// The number of the first record of a range that is not before `at`; one past the range when
    /// all are. Times never go back along a journal.
    pub(crate) fn first_from(&self, range: Range, at: Timestamp) -> Result<Seq, EngineError> {
        let (mut low, mut high) = (range.first, range.last.next());
        while low < high {
            let middle = Seq(low.0 + (high.0 - low.0) / 2);
            let Some((record, _)) = self.record(range.partition, middle)? else {
                let what = format!("partition {} lacks record {}", range.partition.0, middle.0);
                return Err(corrupt(&self.path, what));
            };
            if record.header.time < at {
                low = middle.next();
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn rows(&self, range: Range, select: &str) -> Result<Vec<RawRecord>, EngineError> {
        let number = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
        let (first, last) = (number(range.first), number(range.last));
        let read = || {
            let mut statement = self.connection.prepare_cached(select)?;
            let mut rows =
                statement.query(params![range.partition.0, first, last, CHUNK_RECORDS_MAX])?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while bytes < CHUNK_BYTES_MAX
                && let Some(row) = rows.next()?
            {
                let raw = raw(row)?;
                bytes += raw.bytes.len();
                found.push(raw);
            }
            Ok(found)
        };
        read().map_err(|error| sql(&self.path, &error))
    }

    fn decode(
        &self,
        partition: PartitionId,
        raw: &RawRecord,
    ) -> Result<(Record, Hash), EngineError> {
        let at = || format!("partition {}, record {}", partition.0, raw.seq.0);
        let hash = Hash::of(&raw.bytes);
        if hash != raw.hash {
            return Err(corrupt(&self.path, format!("{}: its bytes were changed", at())));
        }
        let record = Record::decode(&raw.bytes)
            .map_err(|flaw| corrupt(&self.path, format!("{}: {}", at(), flaw.0)))?;
        if (record.header.partition, record.header.seq) != (partition, raw.seq) {
            let what = format!("{} says that it is another: {:?}", at(), record.header);
            return Err(corrupt(&self.path, what));
        }
        Ok((record, hash))
    }
}

/// The highest number that a record can have.
pub(crate) const SEQ_MAX: Seq = Seq((1 << 40) - 1);

fn raw(row: &Row<'_>) -> rusqlite::Result<RawRecord> {
    let seq: i64 = row.get(0)?;
    // The query asked for no negative ones.
    Ok(RawRecord { seq: Seq(seq.unsigned_abs()), hash: Hash(row.get(1)?), bytes: row.get(2)? })
}
