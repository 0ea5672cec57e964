//! The records of a journal, as every engine has them: read in chunks, checked and decoded.
//!
//! An engine gives rows; what a row must be to be a record is the same for all.

use crate::error::{EngineError, Kind};
use ledger::{Chain, Hash, Record};
use wire::{Epoch, PartitionId, Seq, Timestamp};

/// Records of one chunk, and bytes of them past which it ends early: no read takes long.
pub(crate) const CHUNK_RECORDS_MAX: u32 = 256;
pub(crate) const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The highest number that a record can have.
pub(crate) const SEQ_MAX: Seq = Seq((1 << 40) - 1);

/// Which records of a partition, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) partition: PartitionId,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

/// From which end of a range to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Forward,
    Backward,
}

/// A record's row: its bytes may be anything.
#[derive(Debug)]
pub(crate) struct RawRecord {
    pub(crate) seq: Seq,
    /// What is stored as their hash.
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
}

/// A partition's fence row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) owner: Option<i64>,
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
}

/// Reads a journal.
pub(crate) trait Records {
    /// What a complaint about a record names.
    fn place(&self) -> String;

    /// The first rows of a range in this order, as they are: as many as one chunk holds.
    fn rows(&self, range: Range, order: Order) -> Result<Vec<RawRecord>, EngineError>;

    /// Whether nothing of the range can come after these rows: then nobody asks for more.
    fn is_surely_last(&self, _: &[RawRecord]) -> bool {
        false
    }

    /// The number of the last record; 0 when there is none.
    fn end(&self, partition: PartitionId) -> Result<Seq, EngineError>;

    /// The fence row of a partition.
    fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError>;

    /// When a record was made; `None` when there is none of this number.
    fn time(&self, partition: PartitionId, seq: Seq) -> Result<Option<Timestamp>, EngineError> {
        Ok(self.record(partition, seq)?.map(|(record, _)| record.header.time))
    }

    /// One record with its hash.
    fn record(
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
    fn chunk(&self, range: Range) -> Result<Vec<(Record, Hash)>, EngineError> {
        let rows = self.rows(range, Order::Forward)?;
        rows.into_iter().map(|row| self.decode(range.partition, &row)).collect()
    }

    /// The last records of a range, newest first: as many as one chunk holds.
    fn chunk_back(&self, range: Range) -> Result<Vec<(Record, Hash)>, EngineError> {
        let rows = self.rows(range, Order::Backward)?;
        rows.into_iter().map(|row| self.decode(range.partition, &row)).collect()
    }

    /// Every record of a range, in order, chunk by chunk.
    fn for_each(&self, range: Range, mut each: impl FnMut(Record, Hash)) -> Result<(), EngineError>
    where
        Self: Sized,
    {
        let mut rest = range;
        while rest.first <= rest.last {
            let rows = self.rows(rest, Order::Forward)?;
            let Some(last) = rows.last() else { break };
            rest.first = last.seq.next();
            let is_last = self.is_surely_last(&rows);
            for row in rows {
                let (record, hash) = self.decode(range.partition, &row)?;
                each(record, hash);
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// The number of the first record of a range that is not before `at`; one past the range when
    /// all are. Times never go back along a journal.
    fn first_from(&self, range: Range, at: Timestamp) -> Result<Seq, EngineError> {
        let (mut low, mut high) = (range.first, range.last.next());
        while low < high {
            let middle = Seq(low.0 + (high.0 - low.0) / 2);
            let Some(time) = self.time(range.partition, middle)? else {
                let what = format!("partition {} lacks record {}", range.partition.0, middle.0);
                return Err(self.corrupt(what));
            };
            if time < at {
                low = middle.next();
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// What is stored makes no sense.
    fn corrupt(&self, what: String) -> EngineError {
        EngineError::new(Kind::Corrupt, self.place(), what)
    }

    /// The record of a row, if it is one.
    fn decode(
        &self,
        partition: PartitionId,
        raw: &RawRecord,
    ) -> Result<(Record, Hash), EngineError> {
        let at = || format!("partition {}, record {}", partition.0, raw.seq.0);
        let hash = Hash::of(&raw.bytes);
        if hash != raw.hash {
            return Err(self.corrupt(format!("{}: its bytes were changed", at())));
        }
        let record = Record::decode(&raw.bytes)
            .map_err(|flaw| self.corrupt(format!("{}: {}", at(), flaw.0)))?;
        if (record.header.partition, record.header.seq) != (partition, raw.seq) {
            let what = format!("{} says that it is another: {:?}", at(), record.header);
            return Err(self.corrupt(what));
        }
        Ok((record, hash))
    }
}
