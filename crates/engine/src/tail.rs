//! What a new owner gets: the views at their watermark, the journal above it, and the recent past.

use crate::{
    engine::{LOAD_TAIL_RECORDS_MAX, Loaded, Projector, RECENT_SECONDS},
    error::{EngineError, ProjectError},
    records::{Range, Records, SEQ_MAX},
    views::Views,
};
use ledger::{Chain, Hash, Object, ObjectKey, Record};
use std::{collections::BTreeSet, sync::Arc};
use wire::{AccountId, Contra, PartitionId, Seq, Timestamp};

const SECOND_MICROS: i64 = 1_000_000;

/// What a load looks at first, all of it of one state.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) watermark: Chain,
    pub(crate) external: Vec<(Contra, i128)>,
    pub(crate) open: Vec<Object>,
    /// Where the journal ends; it may have been looked at later than the rest.
    pub(crate) fence: Chain,
}

impl Head {
    pub(crate) fn read(
        journal: &impl Records,
        views: &impl Views,
        partition: PartitionId,
    ) -> Result<Head, EngineError> {
        let (watermark, external) = (views.mark(partition)?, views.external(partition)?);
        let open = views.open_objects(partition)?;
        let fence = journal.fence(partition)?.chain;
        Ok(Head { watermark, external, open, fence })
    }
}

/// Everything, out of the state of the views that `head` is of.
pub(crate) fn load(
    journal: &impl Records,
    views: &impl Views,
    partition: PartitionId,
    head: Head,
    recent_from: Seq,
) -> Result<Loaded, EngineError> {
    let Head { watermark, external, open, fence } = head;
    let tail = checked(journal, partition, watermark, fence)?;
    let named: BTreeSet<&AccountId> = tail
        .iter()
        .flat_map(|(record, _)| record.items.iter().map(|item| item.action.account()))
        .collect();
    let named: Vec<_> = named.into_iter().map(|id| (partition, id.clone())).collect();
    let states = views.accounts(&named)?;
    let accounts = named.into_iter().map(|(_, id)| id).zip(states).collect();
    let keys: BTreeSet<ObjectKey> = tail
        .iter()
        .flat_map(|(record, _)| record.items.iter())
        .filter_map(|item| ObjectKey::wanted_by(&item.action))
        .collect();
    let keys: Vec<_> = keys.into_iter().map(|key| (partition, key)).collect();
    let found = views.objects(&keys)?;
    let objects = keys.into_iter().map(|(_, key)| key).zip(found).collect();
    let end = tail.last().map_or(watermark.time, |(record, _)| record.header.time);
    let whole = Range { partition, first: recent_from, last: watermark.seq };
    let recent = young(journal, whole, end)?;
    Ok(Loaded { watermark, external, open, tail, accounts, objects, recent })
}

/// The youngest records from this number on.
pub(crate) fn recent(
    journal: &impl Records,
    partition: PartitionId,
    from: Seq,
) -> Result<Vec<Record>, EngineError> {
    let last = journal.end(partition)?;
    match journal.time(partition, last)? {
        Some(time) => young(journal, Range { partition, first: from, last }, time),
        None => Ok(Vec::new()),
    }
}

/// Projects what is more than a new owner should get at once.
pub(crate) fn catch_up(
    journal: &impl Records,
    partition: PartitionId,
    end: Seq,
    projector: &mut impl Projector,
) -> Result<(), EngineError> {
    let mut watermark = projector.watermark(partition)?;
    while LOAD_TAIL_RECORDS_MAX < end.0.saturating_sub(watermark.seq.0) {
        let range = Range { partition, first: watermark.seq.next(), last: end };
        let records: Vec<(Arc<Record>, Hash)> = journal
            .chunk(range)?
            .into_iter()
            .map(|(record, hash)| (Arc::new(record), hash))
            .collect();
        match projector.project(&records) {
            // Another's projector moved it: look again where it is.
            Ok(()) | Err(ProjectError::Deposed(_)) => (),
            Err(ProjectError::Engine(error)) => return Err(error),
        }
        let reached = projector.watermark(partition)?;
        if reached.seq <= watermark.seq {
            return Err(journal.corrupt(format!("partition {} does not catch up", partition.0)));
        }
        watermark = reached;
    }
    Ok(())
}

/// Everything above the watermark, its chain checked from the views' mark to the fence row.
fn checked(
    journal: &impl Records,
    partition: PartitionId,
    watermark: Chain,
    fence: Chain,
) -> Result<Vec<(Record, Hash)>, EngineError> {
    let wrong = |what: String| journal.corrupt(format!("partition {}: {what}", partition.0));
    // The record of the views' mark is read with what follows it.
    let mut at_mark = (watermark.seq == Seq(0)).then_some(Chain::EMPTY);
    let mut end = Chain::EMPTY;
    let mut tail = Vec::new();
    let mut broken = None;
    let first = watermark.seq.max(Seq(1));
    journal.for_each(Range { partition, first, last: SEQ_MAX }, |record, hash| {
        let header = &record.header;
        let here = Chain { seq: header.seq, hash, time: header.time };
        if at_mark.is_none() {
            at_mark = Some(here);
            end = here;
            return;
        }
        if (header.seq, header.previous) != (end.seq.next(), end.hash) {
            broken = broken.or(Some(header.seq));
        }
        end = here;
        tail.push((record, hash));
    })?;
    match at_mark {
        None => return Err(wrong(format!("the views are beyond its end, at {}", first.0))),
        Some(found) if found != watermark => {
            return Err(wrong(format!("record {} is not the one in the views", first.0)));
        }
        Some(_) => (),
    }
    if let Some(seq) = broken {
        return Err(wrong(format!("record {} does not continue the one before it", seq.0)));
    }
    if end != fence {
        let what = format!(
            "the journal ends with record {}, the fence row says {}, or another hash",
            end.seq.0, fence.seq.0
        );
        return Err(wrong(what));
    }
    Ok(tail)
}

/// Records that are as young at `end` as a key must be remembered for.
fn young(journal: &impl Records, whole: Range, end: Timestamp) -> Result<Vec<Record>, EngineError> {
    let from = Timestamp(end.0.saturating_sub(i64::from(RECENT_SECONDS) * SECOND_MICROS));
    let whole = Range { first: whole.first.max(Seq(1)), ..whole };
    let mut recent = Vec::new();
    if whole.first <= whole.last {
        let first = journal.first_from(whole, from)?;
        journal.for_each(Range { first, ..whole }, |record, _| recent.push(record))?;
    }
    Ok(recent)
}
