//! The store on this machine: one file of SQLite's, written ahead and synced at each commit.

use super::{
    schema,
    sql::{Cell, Database, Fields, StoreError, Value},
};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, ToSql, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a connection waits for another's lock: only ever a stranger's tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that are written ahead before they are brought into the file: 16 MB, so that one that many
/// transactions have changed is written once.
const CHECKPOINT_PAGES: u32 = 4_096;
/// Statements kept ready; there are no more.
const STATEMENTS_MAX: usize = 96;

/// A connection to `monitor.db`.
#[derive(Debug)]
pub(super) struct Sqlite {
    db: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Opens `monitor.db` in a folder, both made if need be, with its tables.
    pub(super) fn create(folder: &Path) -> Result<Sqlite, StoreError> {
        fs::create_dir_all(folder).map_err(|err| StoreError::new(folder.display(), err))?;
        let it = Sqlite::open(folder)?;
        let made = it.db.execute_batch(schema::TABLES);
        made.and_then(|()| it.bring_up()).map_err(|err| it.told(err))?;
        Ok(it)
    }

    /// Another connection to the same file.
    pub(super) fn open(folder: &Path) -> Result<Sqlite, StoreError> {
        let path = folder.join("monitor.db");
        let opened = open(&path).map_err(|err| StoreError::new(path.display(), err));
        Ok(Sqlite { db: opened?, path })
    }

    /// What tables of an earlier version have not: the beats so far are in no roll-up, and not in the
    /// log.
    fn bring_up(&self) -> rusqlite::Result<()> {
        let has = "SELECT count(*) FROM pragma_table_info('checks') WHERE name = 'tallied'";
        if self.db.query_row(has, [], |row| row.get::<_, i64>(0))? == 0 {
            self.db.execute_batch(
                "ALTER TABLE checks ADD COLUMN tallied INTEGER NOT NULL DEFAULT 0; \
                 UPDATE checks SET tallied = beats;",
            )?;
        }
        let has = "SELECT count(*) FROM pragma_table_info('checks') WHERE name = 'tail'";
        if self.db.query_row(has, [], |row| row.get::<_, i64>(0))? == 0 {
            self.db.execute_batch(schema::LOG_OF_PINGS)?;
        }
        Ok(())
    }

    fn told(&self, err: rusqlite::Error) -> StoreError {
        let refusals = [ErrorCode::ConstraintViolation, ErrorCode::TypeMismatch, ErrorCode::TooBig];
        let is_refused = err.sqlite_error_code().is_some_and(|it| refusals.contains(&it));
        StoreError { is_refused, ..StoreError::new(self.path.display(), err) }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(db)
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Value::Int(Some(it)) => ValueRef::Integer(*it),
            Value::Text(Some(it)) => ValueRef::Text(it.as_bytes()),
            Value::Bytes(it) => ValueRef::Blob(it),
            Value::Int(None) | Value::Text(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null | ValueRef::Real(_) => Cell::Null, // No column of ours holds such a number.
        ValueRef::Integer(it) => Cell::Int(it),
        ValueRef::Text(it) => Cell::Text(String::from_utf8_lossy(it).into_owned()),
        ValueRef::Blob(it) => Cell::Bytes(it.to_vec()),
    }
}

impl Database for Sqlite {
    fn begin(&self) -> Result<(), StoreError> {
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|err| self.told(err))
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.db.execute_batch("COMMIT").map_err(|err| self.told(err))
    }

    fn undo(&self) {
        if !self.db.is_autocommit()
            && let Err(err) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%err, "a transaction cannot be undone");
        }
    }

    fn put(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        let put = || self.db.prepare_cached(sql)?.execute(params_from_iter(values));
        put().map(drop).map_err(|err| self.told(err))
    }

    fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fields>, StoreError> {
        let read = || {
            let mut statement = self.db.prepare_cached(sql)?;
            let count = statement.column_count();
            let mut rows = statement.query(params_from_iter(values))?;
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                let cells = (0..count).map(|at| row.get_ref(at).map(cell));
                out.push(Fields(cells.collect::<rusqlite::Result<_>>()?));
            }
            Ok(out)
        };
        read().map_err(|err| self.told(err))
    }
}
