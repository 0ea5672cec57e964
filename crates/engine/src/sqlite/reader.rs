//! One reader thread's end of the engine.
//!
//! A read that needs journal and views takes its snapshot of the views first and the journal after
//! it: whatever was acknowledged before the read is then in the one or in the other.

use crate::{
    engine::{KeyPlace, LOAD_TAIL_RECORDS_MAX, Loaded, Projector, RECENT_SECONDS, Reader},
    error::{EngineError, ProjectError},
    sqlite::{
        files::{Files, Mode, corrupt, sql},
        history,
        journal::{Journal, Range, SEQ_MAX},
        listing,
        meta::record_place,
        near,
        projector::SqliteProjector,
        views,
    },
};
use ledger::{Chain, Hash, Record};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use wire::{
    AccountId, AccountState, KeyHash, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    query::{Books, History, Listing},
};

const SECOND_MICROS: i64 = 1_000_000;

/// Connections of one thread.
#[derive(Debug)]
pub(crate) struct SqliteReader {
    pub(crate) files: Files,
    pub(crate) path: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) views: Connection,
    pub(crate) service: ServiceTag,
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
    pub(crate) fn snapshot(&self) -> Result<Transaction<'_>, EngineError> {
        self.views.unchecked_transaction().map_err(|error| self.failed(&error))
    }

    pub(crate) fn failed(&self, error: &rusqlite::Error) -> EngineError {
        sql(&self.path, error)
    }
}

impl Reader for SqliteReader {
    fn load(&mut self, partition: PartitionId, recent_from: Seq) -> Result<Loaded, EngineError> {
        self.catch_up(partition)?;
        let snapshot = self.snapshot()?;
        let watermark = views::mark(&self.files, &snapshot, partition)?;
        let tail = self.checked_tail(partition, watermark)?;
        let named: BTreeSet<&AccountId> = tail
            .iter()
            .flat_map(|(record, _)| record.items.iter().map(|item| item.action.account()))
            .collect();
        let mut accounts = Vec::with_capacity(named.len());
        for id in named {
            let found = views::find_account(&self.files, &snapshot, partition, id)?;
            accounts.push((id.clone(), found.map(|(_, state)| state)));
        }
        let external = views::external(&self.files, &snapshot, partition)?;
        let end = tail.last().map_or(watermark.time, |(record, _)| record.header.time);
        let whole = Range { partition, first: recent_from, last: watermark.seq };
        let recent = self.young(whole, end)?;
        Ok(Loaded { watermark, external, tail, accounts, recent })
    }

    fn recent(&mut self, partition: PartitionId, from: Seq) -> Result<Vec<Record>, EngineError> {
        let last = self.journal.end(partition)?;
        match self.journal.record(partition, last)? {
            Some((record, _)) => {
                self.young(Range { partition, first: from, last }, record.header.time)
            }
            None => Ok(Vec::new()),
        }
    }

    fn accounts(
        &mut self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        let snapshot = self.snapshot()?;
        let find = |(partition, id): &(PartitionId, AccountId)| {
            let found = views::find_account(&self.files, &snapshot, *partition, id)?;
            Ok(found.map(|(_, state)| state))
        };
        ids.iter().map(find).collect()
    }

    fn keys(
        &mut self,
        keys: &[(PartitionId, KeyHash)],
    ) -> Result<Vec<Option<KeyPlace>>, EngineError> {
        let snapshot = self.snapshot()?;
        let days = views::key_days(&snapshot).map_err(|error| self.failed(&error))?;
        let find = |(partition, key): &(PartitionId, KeyHash)| {
            for day in &days {
                let found = self.key_of_day(&snapshot, *day, *partition, *key)?;
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
        history::page(self, partition, history)
    }

    fn list(
        &mut self,
        partitions: &[PartitionId],
        listing: &Listing,
    ) -> Result<(Vec<AccountState>, bool), EngineError> {
        listing::page(self, partitions, listing)
    }

    fn books(&mut self, partitions: &[PartitionId]) -> Result<Vec<Books>, EngineError> {
        listing::books(self, partitions)
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
        let mut watermark = views::mark(&self.files, &self.views, partition)?;
        if end.0.saturating_sub(watermark.seq.0) <= LOAD_TAIL_RECORDS_MAX {
            return Ok(());
        }
        tracing::info!(partition = partition.0, from = watermark.seq.0, to = end.0, "catching up");
        let mut projector = SqliteProjector::open(&self.files, self.service)?;
        projector.leave_out_keys_before(self.journal.fence(partition)?.chain.time);
        while LOAD_TAIL_RECORDS_MAX < end.0.saturating_sub(watermark.seq.0) {
            let range = Range { partition, first: watermark.seq.next(), last: end };
            let records: Vec<(Arc<Record>, Hash)> = self
                .journal
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
                let what = format!("partition {} does not catch up", partition.0);
                return Err(corrupt(&self.path, what));
            }
            watermark = reached;
        }
        Ok(())
    }

    /// Everything above the watermark, its chain checked from the views' mark to the fence row.
    fn checked_tail(
        &self,
        partition: PartitionId,
        watermark: Chain,
    ) -> Result<Vec<(Record, Hash)>, EngineError> {
        let fence = self.journal.fence(partition)?;
        let wrong = |what: String| {
            let what = format!("partition {}: {what}", partition.0);
            corrupt(&self.files.journal(), what)
        };
        let mut end = match watermark.seq {
            Seq(0) => Chain::EMPTY,
            seq => match self.journal.record(partition, seq)? {
                Some((record, hash)) => Chain { seq, hash, time: record.header.time },
                None => return Err(wrong(format!("the views are beyond its end, at {}", seq.0))),
            },
        };
        if end != watermark {
            return Err(wrong(format!("record {} is not the one in the views", end.seq.0)));
        }
        let mut tail = Vec::new();
        let mut broken = None;
        let range = Range { partition, first: end.seq.next(), last: SEQ_MAX };
        self.journal.for_each(range, |record, hash| {
            let header = &record.header;
            if (header.seq, header.previous) != (end.seq.next(), end.hash) {
                broken = broken.or(Some(header.seq));
            }
            end = Chain { seq: header.seq, hash, time: header.time };
            tail.push((record, hash));
        })?;
        if let Some(seq) = broken {
            return Err(wrong(format!("record {} does not continue the one before it", seq.0)));
        }
        if end != fence.chain {
            let what = format!(
                "the journal ends with record {}, the fence row says {}, or another hash",
                end.seq.0, fence.chain.seq.0
            );
            return Err(wrong(what));
        }
        Ok(tail)
    }

    /// Records that are as young at `end` as a key must be remembered for.
    fn young(&self, whole: Range, end: Timestamp) -> Result<Vec<Record>, EngineError> {
        let from = Timestamp(end.0.saturating_sub(i64::from(RECENT_SECONDS) * SECOND_MICROS));
        let whole = Range { first: whole.first.max(Seq(1)), ..whole };
        let mut recent = Vec::new();
        if whole.first <= whole.last {
            let first = self.journal.first_from(whole, from)?;
            self.journal.for_each(Range { first, ..whole }, |record, _| recent.push(record))?;
        }
        Ok(recent)
    }
}
