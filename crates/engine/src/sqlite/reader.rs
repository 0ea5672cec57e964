//! One reader thread's end of the engine.
//!
//! A read that needs journal and views takes its snapshot of the views first and the journal after
//! it: whatever was acknowledged before the read is then in the one or in the other.

use crate::{
    engine::{KeyMark, KeyPlace, KeyScan, LOAD_TAIL_RECORDS_MAX, Loaded, Reader},
    error::EngineError,
    history, listing, near,
    records::{Range, Records, SEQ_MAX},
    sqlite::{
        files::{Files, Mode},
        journal::Journal,
        keys,
        projector::SqliteProjector,
        snapshot::SqliteViews,
        views,
    },
    tail,
    views::Views,
};
use ledger::{Object, ObjectKey, Record};
use rusqlite::Connection;
use std::path::PathBuf;
use wire::{
    AccountId, AccountState, KeyHash, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    query::{Books, History, Listing},
};

/// Connections of one thread.
#[derive(Debug)]
pub(crate) struct SqliteReader {
    files: Files,
    path: PathBuf,
    journal: Journal,
    views: Connection,
    service: ServiceTag,
}

impl SqliteReader {
    pub(crate) fn open(files: &Files, service: ServiceTag) -> Result<SqliteReader, EngineError> {
        Ok(SqliteReader {
            files: files.clone(),
            path: files.views(),
            journal: Journal::open(files)?,
            views: files.open_views(Mode::Read)?,
            service,
        })
    }

    /// One state of the views, until it is dropped. To be held for one call, never longer.
    fn snapshot(&self) -> Result<SqliteViews<'_>, EngineError> {
        SqliteViews::begin(&self.files, &self.path, &self.views)
    }
}

impl Reader for SqliteReader {
    fn load(&mut self, partition: PartitionId, recent_from: Seq) -> Result<Loaded, EngineError> {
        self.catch_up(partition)?;
        let state = self.snapshot()?;
        let head = tail::Head::read(&self.journal, &state, partition)?;
        tail::load(&self.journal, &state, partition, head, recent_from)
    }

    fn recent(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError> {
        tail::recent(&self.journal, partition, from)
    }

    fn accounts(
        &mut self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        self.snapshot()?.accounts(ids)
    }

    fn objects(
        &mut self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError> {
        self.snapshot()?.objects(keys)
    }

    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        let snapshot = self.snapshot()?;
        let found = keys::find(snapshot.connection(), keys);
        found.map_err(|failure| failure.told(&self.path))
    }

    fn scan_keys(
        &mut self,
        partitions: &[PartitionId],
        from: Option<KeyMark>,
        wanted: usize,
    ) -> Result<KeyScan, EngineError> {
        let snapshot = self.snapshot()?;
        let part = keys::part(snapshot.connection(), partitions, from, wanted);
        Ok(part.map_err(|failure| failure.told(&self.path))?.into())
    }

    fn keys_near(
        &mut self,
        keys: &[(PartitionId, KeyHash, Timestamp)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        near::find(&self.journal, keys)
    }

    fn record(&mut self, partition: PartitionId, seq: Seq) -> Result<Option<Record>, EngineError> {
        Ok(self.journal.record(partition, seq)?.map(|(record, _)| record))
    }

    fn journaled(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError> {
        let records = self.journal.chunk(Range { partition, first: from, last: SEQ_MAX })?;
        Ok(records.into_iter().map(|(record, _)| record).collect())
    }

    fn history(
        &mut self,
        partition: PartitionId,
        history: &History,
    ) -> Result<(Vec<Posting>, bool), EngineError> {
        let views = self.snapshot()?;
        history::page(&self.journal, &views, self.service, partition, history)
    }

    fn list(
        &mut self,
        partitions: &[PartitionId],
        listing: &Listing,
    ) -> Result<(Vec<AccountState>, bool), EngineError> {
        let views = self.snapshot()?;
        listing::page(&self.journal, &views, self.service, partitions, listing)
    }

    fn books(&mut self, partitions: &[PartitionId]) -> Result<Vec<Books>, EngineError> {
        listing::books(&self.journal, &self.snapshot()?, self.service, partitions)
    }
}

impl SqliteReader {
    /// Projects what is more than a new owner should get at once.
    fn catch_up(&self, partition: PartitionId) -> Result<(), EngineError> {
        let end = self.journal.end(partition)?;
        let watermark = views::mark(&self.files, &self.views, partition)?;
        if end.0.saturating_sub(watermark.seq.0) <= LOAD_TAIL_RECORDS_MAX {
            return Ok(());
        }
        tracing::info!(partition = partition.0, from = watermark.seq.0, to = end.0, "catching up");
        let mut projector = SqliteProjector::open(&self.files, self.service)?;
        projector.leave_out_keys_before(self.journal.fence(partition)?.chain.time);
        tail::catch_up(&self.journal, partition, end, &mut projector)
    }
}
