//! Taking partitions: the only way an epoch goes up.

use crate::{
    engine::Tenure,
    error::{EngineError, Kind},
    sqlite::{
        files::{Files, corrupt, sql},
        member,
    },
};
use ledger::{Chain, Hash};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use wire::{Epoch, PartitionId, Seq, Timestamp};

/// A partition's fence row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) owner: Option<i64>,
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
}

/// Makes `node_id` the owner of `partitions`, or of none of them. To be called at the turnstile.
pub(crate) fn take(
    files: &Files,
    connection: &mut Connection,
    node_id: i64,
    partitions: &[PartitionId],
) -> Result<Vec<Tenure>, EngineError> {
    let path = files.journal();
    let failed = |error| sql(&path, &error);
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(failed)?;
    let mut tenures = Vec::with_capacity(partitions.len());
    for &partition in partitions {
        let fence = fence(files, &transaction, partition)?;
        if let Some(owner) = fence.owner.filter(|owner| *owner != node_id)
            && let Some(node) = member::alive(files, &transaction, owner)?
        {
            let what = format!(
                "partition {} is owned by node {:?}, process {}, which is alive",
                partition.0, node.name, node.pid
            );
            return Err(EngineError::new(Kind::Owned, files.folder.display(), what));
        }
        let epoch = fence.epoch.0.checked_add(1).and_then(|epoch| i64::try_from(epoch).ok());
        let epoch = epoch.ok_or_else(|| corrupt(&path, "a fence row's epoch has no successor"))?;
        let update = "UPDATE part SET owner = ?, epoch = ? WHERE part_id = ?";
        let row = params![node_id, epoch, partition.0];
        transaction.execute(update, row).map_err(failed)?;
        let epoch = Epoch(epoch.unsigned_abs());
        tenures.push(Tenure { partition, epoch, chain: fence.chain });
    }
    transaction.commit().map_err(failed)?;
    Ok(tenures)
}

/// Reads a fence row.
pub(crate) fn fence(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
) -> Result<Fence, EngineError> {
    let path = files.journal();
    let select = "SELECT owner, epoch, seq, hash, time FROM part WHERE part_id = ?";
    let read = || {
        connection.prepare_cached(select)?.query_row([partition.0], |row| {
            let numbers: (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, numbers, row.get(3)?, row.get(4)?))
        })
    };
    let row = read().optional().map_err(|error| sql(&path, &error))?;
    let Some((owner, (epoch, seq), hash, time)) = row else {
        let what = format!("has no partition {}", partition.0);
        return Err(EngineError::new(Kind::Mismatch, path.display(), what));
    };
    let count = |number: i64| {
        u64::try_from(number).map_err(|_| corrupt(&path, "a fence row has a negative number"))
    };
    let chain = Chain { seq: Seq(count(seq)?), hash: Hash(hash), time: Timestamp(time) };
    Ok(Fence { owner, epoch: Epoch(count(epoch)?), chain })
}
