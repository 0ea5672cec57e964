//! One reader thread's end of the engine.
//!
//! A read that needs journal and views takes its snapshot of the views first and the journal after
//! it: whatever was acknowledged before the read is then in the one or in the other.

use crate::{
    engine::{KeyPlace, LOAD_TAIL_RECORDS_MAX, Loaded, Reader},
    error::EngineError,
    history, listing, near,
    records::Records,
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        journal::Journal,
        meta::record_place,
        projector::SqliteProjector,
        snapshot::SqliteViews,
        views,
    },
    tail,
    views::Views,
};
use ledger::Record;
use rusqlite::{Connection, OptionalExtension};
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

    fn failed(&self, error: &rusqlite::Error) -> EngineError {
        sql(&self.path, error)
    }
}

impl Reader for SqliteReader {
    fn load(&mut self, partition: PartitionId, recent_from: Seq) -> Result<Loaded, EngineError> {
        self.catch_up(partition)?;
        tail::load(&self.journal, &self.snapshot()?, partition, recent_from)
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

    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        let snapshot = self.snapshot()?;
        let snapshot = snapshot.connection();
        let days = views::key_days(snapshot).map_err(|error| self.failed(&error))?;
        let find = |(partition, key): &(PartitionId, KeyHash)| {
            for day in &days {
                let found = self.key_of_day(snapshot, *day, *partition, *key)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        };
        keys.iter().map(find).collect()
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
    fn key_of_day(
        &self,
        snapshot: &Connection,
        day: i64,
        partition: PartitionId,
        key: KeyHash,
    ) -> Result<Option<KeyPlace>, EngineError> {
        let select = format!("SELECT record, place FROM {} WHERE key = ?", views::keys_table(day));
        let read = || -> rusqlite::Result<Option<(i64, u16)>> {
            let mut statement = snapshot.prepare_cached(&select)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            statement.query_row([views::key_bytes(key)], row).optional()
        };
        let Some((record, index)) = read().map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        match record_place(record) {
            Some((found, seq)) if found == partition => Ok(Some(KeyPlace { seq, index })),
            _ => Err(corrupt(&self.path, "a key is in a partition that is not its account's")),
        }
    }

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
