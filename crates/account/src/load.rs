//! Takes office: makes a partition's memory from views and journal.

use engine::{EngineError, Kind, Loaded, Reader, Tenure};
use ledger::{Hash, Partition, Record};
use std::sync::Arc;
use wire::{Seq, ServiceTag};

/// A partition that was taken and loaded, and what of it waits for the projector.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) partition: Partition,
    pub(crate) unprojected: Vec<(Arc<Record>, Hash)>,
}

/// `ahead`: what was read of the recent past before the partition was taken, in order.
///
/// The views up to their watermark, and the journal's tail replayed over them.
pub(crate) fn load(
    reader: &mut dyn Reader,
    service: ServiceTag,
    tenure: &Tenure,
    ahead: &[Record],
) -> Result<Taken, EngineError> {
    let id = tenure.partition;
    // A gap would be a key forgotten, and a request executed twice: rather read it all again.
    let has_gap =
        |it: &[Record]| it.windows(2).any(|pair| pair[0].header.seq.next() != pair[1].header.seq);
    let ahead = if has_gap(ahead) { &[] } else { ahead };
    let recent_from = ahead.last().map_or(Seq(0), |record| record.header.seq.next());
    let Loaded { watermark, external, open, accounts, objects, tail, recent } =
        reader.load(id, recent_from)?;
    let ahead = ahead.iter().filter(|record| record.header.seq <= watermark.seq);
    let mut partition = Partition::new(service, id, tenure.epoch, watermark, external);
    for record in ahead.chain(&recent) {
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
    let open = open.into_iter().map(|object| (object.key(), Some(object)));
    for (key, object) in open.chain(objects) {
        partition.admit_object(key, object).map_err(|err| corrupt(err.0.to_owned()))?;
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
