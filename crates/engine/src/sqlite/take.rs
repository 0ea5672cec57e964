//! Taking and giving partitions: the only two ways in which an epoch goes up.
//!
//! What happens to the row is [`lease::Fence`]'s rule.

use crate::{
    engine::{Claim, Tenure},
    error::{EngineError, Kind},
    records::Fence,
    sqlite::{
        files::{Files, corrupt, sql},
        member,
    },
};
use ledger::{Chain, Hash};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use stdx::fault::{self, Mutant, Point};
use wire::{Epoch, PartitionId, Seq, Timestamp};

/// Makes `node_id` the owner of those of the claims that it can have. To be called at the
/// turnstile.
pub(crate) fn take(
    files: &Files,
    connection: &mut Connection,
    node_id: i64,
    claims: &[Claim],
) -> Result<Vec<Tenure>, EngineError> {
    let path = files.journal();
    let failed = |error| sql(&path, &error);
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(failed)?;
    let mut tenures = Vec::with_capacity(claims.len());
    for &Claim { partition, seen } in claims {
        let fence = fence(files, &transaction, partition)?;
        let other = fence.owner.filter(|owner| *owner != node_id);
        if fence.epoch != seen {
            continue;
        }
        if let Some(owner) = other
            && member::alive(files, &transaction, owner)?
        {
            continue;
        }
        let step = u64::from(!fault::has(Mutant::KeepEpoch));
        let epoch = fence.epoch.0.checked_add(step).and_then(|epoch| i64::try_from(epoch).ok());
        let epoch = epoch.ok_or_else(|| corrupt(&path, "a fence row's epoch has no successor"))?;
        let update = "UPDATE part SET owner = ?, epoch = ? WHERE part_id = ?";
        let row = params![node_id, epoch, partition.0];
        transaction.execute(update, row).map_err(failed)?;
        let epoch = Epoch(epoch.unsigned_abs());
        tenures.push(Tenure { partition, epoch, chain: fence.chain });
    }
    fault::passed(Point::BeforeTaken);
    transaction.commit().map_err(failed)?;
    fault::passed(Point::AfterTaken);
    Ok(tenures)
}

/// Makes `to` the owner of what `node_id` owns in this epoch; false when it does not. To be called
/// at the turnstile.
pub(crate) fn give(
    files: &Files,
    connection: &Connection,
    node_id: i64,
    (partition, epoch): (PartitionId, Epoch),
    to: i64,
) -> Result<bool, EngineError> {
    let path = files.journal();
    let Ok(epoch) = i64::try_from(epoch.0) else { return Ok(false) };
    let update = "UPDATE part SET owner = ?, epoch = epoch + 1
                  WHERE part_id = ? AND owner = ? AND epoch = ? AND epoch < ?";
    let row = params![to, partition.0, node_id, epoch, i64::MAX];
    let changed = connection.execute(update, row).map_err(|error| sql(&path, &error))?;
    Ok(0 < changed)
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
