//! A copy of one partition's views, for `verify`: taken in short reads, while others write.
//!
//! Accounts, external balances and mark come out of one snapshot. Blocks are never changed and only
//! ever added, so those up to an account's version in that snapshot are read after it, account by
//! account.

use crate::{
    block,
    copy::{Copied, Digest, ViewsCopy, of_postings},
    engine::KeyMark,
    error::EngineError,
    key_scan::Part,
    sqlite::{
        files::{Files, Mode, disk, sql},
        keys, views,
    },
    verify::KEYS_WANTED,
};
use rusqlite::{Connection, params};
use std::{collections::BTreeMap, fs, io, path::PathBuf};
use wire::{AccountId, PartitionId, Posting, ServiceTag};

/// Blocks that one read looks at for their account.
const ORPHANS_CHUNK: i64 = 100_000;

/// A reading connection to the views.
#[derive(Debug)]
pub(crate) struct ViewsReader {
    files: Files,
    path: PathBuf,
    connection: Connection,
    service: ServiceTag,
}

impl ViewsReader {
    /// `None` where there are no views: they are made again when the service runs.
    pub(crate) fn open(
        files: &Files,
        service: ServiceTag,
    ) -> Result<Option<ViewsReader>, EngineError> {
        let path = files.views();
        match fs::metadata(&path) {
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(&path, &error)),
        }
        let connection = files.open_views(Mode::Read)?;
        Ok(Some(ViewsReader { files: files.clone(), path, connection, service }))
    }

    /// Copies the views of one partition.
    pub(crate) fn copy(&self, partition: PartitionId) -> Result<ViewsCopy, EngineError> {
        let mut copy = self.snapshot(partition)?;
        for (id, copied) in &mut copy.accounts {
            let read = self.postings(partition, id, copied);
            if let Err(what) = read? {
                copy.problems.push(format!("views: a block of account {id} {what}"));
            }
        }
        Ok(copy)
    }

    /// A part of the keys of a partition.
    pub(crate) fn keys(
        &self,
        partition: PartitionId,
        from: Option<KeyMark>,
    ) -> Result<Part, EngineError> {
        let snapshot = self.connection.unchecked_transaction();
        let snapshot = snapshot.map_err(|error| sql(&self.path, &error))?;
        let part = keys::part(&snapshot, &[partition], from, KEYS_WANTED);
        part.map_err(|failure| failure.told(&self.path))
    }

    /// The days that have keys.
    pub(crate) fn key_days(&self) -> Result<Vec<i64>, EngineError> {
        keys::days(&self.connection).map_err(|error| sql(&self.path, &error))
    }

    /// Blocks that belong to no account, or reach beyond its version.
    pub(crate) fn orphans(&self) -> Result<u64, EngineError> {
        let count = || -> rusqlite::Result<u64> {
            let select = "SELECT coalesce(max(number), 0) FROM blocks";
            let last: i64 = self.connection.query_row(select, [], |row| row.get(0))?;
            let select = "SELECT count(*) FROM blocks WHERE number BETWEEN ? AND ?
                          AND NOT EXISTS (SELECT 1 FROM accounts
                                      WHERE number = blocks.account AND last_version <= version)";
            let mut statement = self.connection.prepare(select)?;
            let (mut first, mut orphans) = (0, 0_i64);
            while first <= last {
                let end = first.saturating_add(ORPHANS_CHUNK);
                orphans += statement.query_row([first, end - 1], |row| row.get::<_, i64>(0))?;
                first = end;
            }
            Ok(orphans.unsigned_abs())
        };
        count().map_err(|error| sql(&self.path, &error))
    }

    fn snapshot(&self, partition: PartitionId) -> Result<ViewsCopy, EngineError> {
        let failed = |error| sql(&self.path, &error);
        let snapshot = self.connection.unchecked_transaction().map_err(failed)?;
        let mark = views::mark(&self.files, &snapshot, partition)?;
        let external = views::external(&self.files, &snapshot, partition)?;
        let columns = views::ACCOUNT_COLUMNS;
        let select = format!("SELECT number, {columns} FROM accounts WHERE partition = ?");
        let mut statement = snapshot.prepare_cached(&select).map_err(failed)?;
        let mut rows = statement.query([partition.0]).map_err(failed)?;
        let (mut accounts, mut problems) = (BTreeMap::new(), Vec::new());
        while let Some(row) = rows.next().map_err(failed)? {
            let number: i64 = row.get(0).map_err(failed)?;
            match views::account(row, 1).map_err(failed)? {
                Some(state) => {
                    let postings = Digest::default();
                    let copied = Copied { number, state, postings };
                    let _none = accounts.insert(copied.state.id.clone(), copied);
                }
                None => problems.push(format!("views: account number {number} makes no sense")),
            }
        }
        let mut copy = ViewsCopy { mark, external, objects: BTreeMap::new(), accounts, problems };
        // Views that no node of this version has opened yet have none.
        let has_objects = "SELECT 1 FROM sqlite_schema WHERE name = 'objects'";
        let has_objects = snapshot.prepare_cached(has_objects).and_then(|mut it| it.exists([]));
        if !has_objects.map_err(failed)? {
            return Ok(copy);
        }
        let select = "SELECT data, open FROM objects WHERE partition = ?";
        let mut statement = snapshot.prepare_cached(select).map_err(failed)?;
        let mut rows = statement.query([partition.0]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let data = row.get_ref(0).map_err(failed)?;
            let data = data.as_blob().map_err(|error| failed(error.into()))?;
            copy.add_object(data, row.get(1).map_err(failed)?);
        }
        Ok(copy)
    }

    /// Reads an account's blocks. The inner error is what is wrong with one.
    fn postings(
        &self,
        partition: PartitionId,
        id: &AccountId,
        copied: &mut Copied,
    ) -> Result<Result<(), String>, EngineError> {
        let failed = |error| sql(&self.path, &error);
        let select = "SELECT first_version, last_version, first_time, last_time, count, postings
                      FROM blocks WHERE account = ? AND first_version <= ? ORDER BY first_version";
        let version = i64::try_from(copied.state.version).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(select).map_err(failed)?;
        let mut rows = statement.query(params![copied.number, version]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let header = || -> rusqlite::Result<[i64; 5]> {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
            };
            let header = header().map_err(failed)?;
            let data = row.get_ref(5).map_err(failed)?;
            let data = data.as_blob().map_err(|error| failed(error.into()))?;
            let mut found: Vec<Posting> = Vec::new();
            let read = block::each(data, self.service, partition, id, |posting, bytes| {
                copied.postings.add(bytes);
                found.push(posting);
            });
            if let Err(flaw) = read {
                return Ok(Err(format!("makes no sense: {}", flaw.0)));
            }
            if of_postings(&found) != Some(header) {
                return Ok(Err("says other things of its postings than they do".to_string()));
            }
        }
        Ok(Ok(()))
    }
}
