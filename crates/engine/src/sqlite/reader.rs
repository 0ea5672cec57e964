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
use ledger::{Object, ObjectKey, Record};
use rusqlite::{Connection, OptionalExtension, params};
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

    fn scan_keys(
        &mut self,
        from: Option<KeyMark>,
        count_max: usize,
    ) -> Result<Option<KeyScan>, EngineError> {
        let snapshot = self.snapshot()?;
        let snapshot = snapshot.connection();
        let days = views::key_days(snapshot).map_err(|error| self.failed(&error))?;
        // Newest first: a day that begins meanwhile has keys of this pass's time only.
        let days = days.into_iter().filter(|day| from.is_none_or(|mark| *day <= mark.day));
        let mut scan = KeyScan { keys: Vec::new(), next: None };
        for day in days {
            let after = from.filter(|mark| mark.day == day).map(|mark| mark.key);
            let room = count_max - scan.keys.len();
            self.keys_of_day(snapshot, day, after, room, &mut scan.keys)?;
            if scan.keys.len() == count_max {
                scan.next = scan.keys.last().map(|(_, key, _)| KeyMark { day, key: *key });
                break;
            }
        }
        Ok(Some(scan))
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

    /// Adds at most `count_max` keys of a day to `keys`, in their order.
    fn keys_of_day(
        &self,
        snapshot: &Connection,
        day: i64,
        after: Option<KeyHash>,
        count_max: usize,
        keys: &mut Vec<(PartitionId, KeyHash, Timestamp)>,
    ) -> Result<(), EngineError> {
        let (table, time) = (views::keys_table(day), views::day_start(day));
        let select = format!("SELECT key, record FROM {table} WHERE key > ? ORDER BY key LIMIT ?");
        let after = after.map(|key| views::key_bytes(key).to_vec()).unwrap_or_default();
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let mut read = || -> rusqlite::Result<bool> {
            let mut statement = snapshot.prepare_cached(&select)?;
            let mut rows = statement.query(params![after, count_max])?;
            while let Some(row) = rows.next()? {
                let key = views::key_of(row.get_ref(0)?.as_blob()?);
                let Some((key, (partition, _))) = key.zip(record_place(row.get(1)?)) else {
                    return Ok(false);
                };
                keys.push((partition, key, time));
            }
            Ok(true)
        };
        match read().map_err(|error| self.failed(&error))? {
            true => Ok(()),
            false => Err(corrupt(&self.path, "a key or its place is none")),
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
