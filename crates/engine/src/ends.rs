//! Where the records that are to be projected begin and end, partition by partition.

use crate::error::{EngineError, Kind};
use ledger::{Chain, Hash, Record};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Flaw, PartitionId, Seq};

/// Where the views must be before, and where they are after.
pub(crate) struct Ends {
    pub(crate) partitions: BTreeMap<PartitionId, (Chain, Chain)>,
}

impl Ends {
    /// Of records that are in order and without gaps, partition by partition; it is an error where
    /// they are not. `place` is what the error names.
    pub(crate) fn of(
        records: &[(Arc<Record>, Hash)],
        place: impl Fn() -> String,
    ) -> Result<Ends, EngineError> {
        let mut partitions: BTreeMap<PartitionId, (Chain, Chain)> = BTreeMap::new();
        for (record, hash) in records {
            let header = &record.header;
            let before = Seq(header.seq.0.saturating_sub(1));
            let before = Chain { seq: before, hash: header.previous, time: header.time };
            let after = Chain { seq: header.seq, hash: *hash, time: header.time };
            match partitions.get_mut(&header.partition) {
                None => {
                    let _none = partitions.insert(header.partition, (before, after));
                }
                Some((_, end)) if (end.seq, end.hash) == (before.seq, before.hash) => *end = after,
                Some((_, end)) => {
                    let what = format!(
                        "partition {}: record {} does not continue record {}",
                        header.partition.0, header.seq.0, end.seq.0
                    );
                    return Err(EngineError::new(Kind::Corrupt, place(), what));
                }
            }
        }
        Ok(Ends { partitions })
    }

    /// The number of the run of a partition's keys that is written with these records: it ends with
    /// the last of them.
    pub(crate) fn run_number(&self, partition: PartitionId) -> Result<i64, Flaw> {
        let end = self.partitions.get(&partition).map(|(_, end)| end.seq.0);
        let number = end.and_then(|seq| i64::try_from(seq).ok());
        number.ok_or(Flaw("a key is of a partition that is not projected"))
    }
}
