//! Takes office: makes a partition's memory from views and journal.

use engine::{EngineError, Kind, Loaded, Reader, Tenure};
use ledger::{Hash, Partition, Record};
use std::sync::Arc;
use wire::ServiceTag;

/// A partition that was taken and loaded, and what of it waits for the projector.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) partition: Partition,
    pub(crate) unprojected: Vec<(Arc<Record>, Hash)>,
}

/// The views up to their watermark, and the journal's tail replayed over them.
pub(crate) fn load(
    reader: &mut dyn Reader,
    service: ServiceTag,
    tenure: &Tenure,
) -> Result<Taken, EngineError> {
    let id = tenure.partition;
    let Loaded { watermark, external, accounts, tail, recent } = reader.load(id)?;
    let mut partition = Partition::new(service, id, tenure.epoch, watermark, external);
    for record in &recent {
        partition.remember(record);
    }
    let corrupt = |what: String| EngineError {
        kind: Kind::Corrupt,
        place: format!("partition {}", id.0),
        what,
    };
    for (account, state) in accounts {
        partition.admit(account, state).map_err(|err| corrupt(err.0.to_owned()))?;
    }
    for (record, hash) in &tail {
        let seq = record.header.seq.0;
        partition.replay(record, *hash).map_err(|err| corrupt(format!("record {seq}: {err}")))?;
    }
    if partition.chain() != tenure.chain {
        return Err(corrupt(format!(
            "the journal ends at record {}, its fence row says {}",
            partition.chain().seq.0,
            tenure.chain.seq.0,
        )));
    }
    let unprojected = tail.into_iter().map(|(record, hash)| (Arc::new(record), hash)).collect();
    Ok(Taken { partition, unprojected })
}
