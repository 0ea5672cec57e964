//! One state of the views, in a transaction that only reads.

use crate::{
    error::EngineError,
    sqlite::{
        files::{Files, sql},
        views,
    },
    views::{Balance, Before, BlockVisit, Views},
};
use ledger::{Chain, Object, ObjectKey};
use rusqlite::{Connection, Transaction, params};
use std::{collections::BTreeSet, path::Path};
use wire::{AccountId, AccountState, Contra, Currency, PartitionId, Timestamp};

/// The views as they were when it began, until it is dropped.
pub(crate) struct SqliteViews<'a> {
    files: &'a Files,
    path: &'a Path,
    snapshot: Transaction<'a>,
}

impl<'a> SqliteViews<'a> {
    pub(crate) fn begin(
        files: &'a Files,
        path: &'a Path,
        connection: &'a Connection,
    ) -> Result<SqliteViews<'a>, EngineError> {
        let snapshot = connection.unchecked_transaction().map_err(|error| sql(path, &error))?;
        Ok(SqliteViews { files, path, snapshot })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.snapshot
    }

    fn failed(&self, error: &rusqlite::Error) -> EngineError {
        sql(self.path, error)
    }
}

impl Views for SqliteViews<'_> {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn mark(&self, partition: PartitionId) -> Result<Chain, EngineError> {
        views::mark(self.files, &self.snapshot, partition)
    }

    fn external(&self, partition: PartitionId) -> Result<Vec<(Contra, i128)>, EngineError> {
        views::external(self.files, &self.snapshot, partition)
    }

    fn objects(
        &self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError> {
        let find = |(partition, key): &(PartitionId, ObjectKey)| {
            views::object(self.files, &self.snapshot, *partition, *key)
        };
        keys.iter().map(find).collect()
    }

    fn open_objects(&self, partition: PartitionId) -> Result<Vec<Object>, EngineError> {
        views::open_objects(self.files, &self.snapshot, partition)
    }

    fn accounts(
        &self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        let find = |(partition, id): &(PartitionId, AccountId)| {
            let found = views::find_account(self.files, &self.snapshot, *partition, id)?;
            Ok(found.map(|(_, state)| state))
        };
        ids.iter().map(find).collect()
    }

    fn blocks(
        &self,
        (partition, account): (PartitionId, &AccountId),
        before: Before,
        each: BlockVisit<'_>,
    ) -> Result<(), EngineError> {
        let found = views::find_account(self.files, &self.snapshot, partition, account)?;
        let Some((number, _)) = found else { return Ok(()) };
        let failed = |error| self.failed(&error);
        // The times come before the postings in the row, so a block that is out of them is skipped
        // without a look at its postings.
        let mut statement = self
            .snapshot
            .prepare_cached(
                "SELECT last_time, postings FROM blocks
                 WHERE account = ? AND first_version < ? AND first_time < ?
                 ORDER BY first_version DESC",
            )
            .map_err(failed)?;
        let row = params![number, before.version, before.time.0];
        let mut rows = statement.query(row).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let last_time = Timestamp(row.get(0).map_err(failed)?);
            let data = row.get_ref(1).map_err(failed)?;
            let data = data.as_blob().map_err(|error| failed(error.into()))?;
            if !each(last_time, data)? {
                break;
            }
        }
        Ok(())
    }

    fn accounts_before(
        &self,
        partitions: &[PartitionId],
        (at, id): (Timestamp, &str),
        wanted: usize,
    ) -> Result<Vec<(PartitionId, AccountState)>, EngineError> {
        let failed = |error| self.failed(&error);
        let partitions: BTreeSet<_> = partitions.iter().copied().collect();
        let columns = views::ACCOUNT_COLUMNS;
        // The index holds the partition, so accounts of others are passed over without their rows.
        let select = format!(
            "SELECT partition, {columns} FROM accounts INDEXED BY accounts_by_age
             WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC"
        );
        let mut statement = self.snapshot.prepare_cached(&select).map_err(failed)?;
        let mut rows = statement.query(params![at.0, id]).map_err(failed)?;
        let mut found = Vec::new();
        while found.len() < wanted
            && let Some(row) = rows.next().map_err(failed)?
        {
            let partition = PartitionId(row.get(0).map_err(failed)?);
            if !partitions.contains(&partition) {
                continue;
            }
            let state = views::account(row, 1).map_err(failed)?;
            let state = state.ok_or_else(|| self.corrupt("an account makes no sense".into()))?;
            found.push((partition, state));
        }
        Ok(found)
    }

    /// In the order in which they lie there.
    fn each_balance(
        &self,
        partitions: &[PartitionId],
        each: &mut dyn FnMut(Balance<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let failed = |error| self.failed(&error);
        let partitions: BTreeSet<_> = partitions.iter().copied().collect();
        let select = "SELECT partition, id, currency, posted FROM accounts ORDER BY number";
        let mut statement = self.snapshot.prepare_cached(select).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let text = |at| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            let read = || Ok((PartitionId(row.get(0)?), text(1)?, text(2)?, row.get(3)?));
            let (partition, id, currency, posted) = read().map_err(failed)?;
            if !partitions.contains(&partition) {
                continue;
            }
            let currency = Currency::parse(currency)
                .ok_or_else(|| self.corrupt(format!("account {id} has no currency")))?;
            each(Balance { partition, id, currency, posted })?;
        }
        Ok(())
    }
}
