//! One reader thread's end of the engine: one state of everything for each call.

use crate::{
    engine::{KeyMark, KeyPlace, KeyScan, LOAD_TAIL_RECORDS_MAX, Loaded, Reader},
    error::EngineError,
    history, listing, near,
    postgres::{
        Doors, key_reads,
        limits::Purpose,
        link::Link,
        projector::PostgresProjector,
        reading::{Reading, Reads},
    },
    records::{Range, Records, SEQ_MAX},
    tail,
    views::Views,
};
use ledger::{Chain, Object, ObjectKey, Record};
use wire::{
    AccountId, AccountState, KeyHash, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    query::{Books, History, Listing},
};

pub(crate) struct PostgresReader {
    doors: Doors,
    link: Link,
    reads: Reads,
    service: ServiceTag,
}

impl PostgresReader {
    pub(crate) fn open(doors: &Doors) -> Result<PostgresReader, EngineError> {
        let reads = Reads::of(&doors.schema);
        let (doors, service) = (doors.clone(), doors.service);
        Ok(PostgresReader { link: doors.link(Purpose::Read)?, doors, reads, service })
    }

    fn begin(&self) -> Result<Reading<'_>, EngineError> {
        Reading::begin(&self.link, &self.reads)
    }

    /// Projects what is more than a new owner should get at once.
    fn catch_up(&self, partition: PartitionId, fence: Chain) -> Result<(), EngineError> {
        tracing::info!(partition = partition.0, to = fence.seq.0, "catching up");
        let mut projector = PostgresProjector::open(&self.doors)?;
        projector.leave_out_keys_before(fence.time);
        let journal = Reading::plain(&self.link, &self.reads);
        tail::catch_up(&journal, partition, fence.seq, &mut projector)
    }
}

impl Reader for PostgresReader {
    fn load(&mut self, partition: PartitionId, recent_from: Seq) -> Result<Loaded, EngineError> {
        let (state, head) = Reading::begin_at_head(&self.link, &self.reads, partition)?;
        let behind = head.fence.seq.0.saturating_sub(head.watermark.seq.0);
        if behind <= LOAD_TAIL_RECORDS_MAX {
            return tail::load(&state, &state, partition, head, recent_from);
        }
        drop(state);
        self.catch_up(partition, head.fence)?;
        let (state, head) = Reading::begin_at_head(&self.link, &self.reads, partition)?;
        tail::load(&state, &state, partition, head, recent_from)
    }

    fn recent(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError> {
        tail::recent(&self.begin()?, partition, from)
    }

    fn accounts(
        &mut self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        Reading::plain(&self.link, &self.reads).accounts(ids)
    }

    fn objects(
        &mut self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError> {
        Reading::plain(&self.link, &self.reads).objects(keys)
    }

    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let find = || key_reads::find(&self.link, &self.doors.schema, keys);
        key_reads::again_without_a_day(find).map_err(|failure| self.link.told(failure))
    }

    fn scan_keys(
        &mut self,
        partitions: &[PartitionId],
        from: Option<KeyMark>,
        wanted: usize,
    ) -> Result<KeyScan, EngineError> {
        let schema = &self.doors.schema;
        let part = || key_reads::part(&self.link, schema, partitions, from, wanted);
        let part = key_reads::again_without_a_day(part);
        Ok(part.map_err(|failure| self.link.told(failure))?.into())
    }

    fn keys_near(
        &mut self,
        keys: &[(PartitionId, KeyHash, Timestamp)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        near::find(&self.begin()?, keys)
    }

    fn record(&mut self, partition: PartitionId, seq: Seq) -> Result<Option<Record>, EngineError> {
        let journal = Reading::plain(&self.link, &self.reads);
        Ok(journal.record(partition, seq)?.map(|(record, _)| record))
    }

    fn journaled(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError> {
        let records = Reading::plain(&self.link, &self.reads).chunk(Range {
            partition,
            first: from,
            last: SEQ_MAX,
        })?;
        Ok(records.into_iter().map(|(record, _)| record).collect())
    }

    fn history(
        &mut self,
        partition: PartitionId,
        history: &History,
    ) -> Result<(Vec<Posting>, bool), EngineError> {
        let state = self.begin()?;
        history::page(&state, &state, self.service, partition, history)
    }

    fn list(
        &mut self,
        partitions: &[PartitionId],
        listing: &Listing,
    ) -> Result<(Vec<AccountState>, bool), EngineError> {
        let state = self.begin()?;
        listing::page(&state, &state, self.service, partitions, listing)
    }

    fn books(&mut self, partitions: &[PartitionId]) -> Result<Vec<Books>, EngineError> {
        let state = self.begin()?;
        listing::books(&state, &state, self.service, partitions)
    }
}
