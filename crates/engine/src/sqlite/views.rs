//! The tables of `views.db`: what people query, all of it derived from the journal.
//!
//! ```text
//! accounts      one row per account, as its version left it
//! blocks        an account's postings of one projection in one row (see `block`)
//! external      the contra accounts' balances, in decimal: they may be beyond 64 bits
//! objects       what is kept under ids beside accounts (see `ledger::Object`)
//! marks         how far the views of a partition are
//! key_run       the sorted runs of clients' keys, by day of journal time, in days since 1970
//! key_block_<day>  the keys of a day's runs, in blocks (see `runs`)
//! ```

use crate::{
    error::{EngineError, Kind},
    sqlite::{
        files::{Files, corrupt, sql},
        keys,
    },
    views::{self, AccountRow},
};
use ledger::{Chain, Hash, Object, ObjectKey};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use wire::{AccountId, AccountState, Contra, PartitionId, Seq, Timestamp};

/// Version 1 had a table of single keys for each day, version 2 no merges that go on.
const FORMAT_VERSION: i64 = 3;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (
        format_version INTEGER NOT NULL, incarnation TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS marks (
        partition INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL,
        time INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS external (
        partition INTEGER NOT NULL, currency TEXT NOT NULL, balance TEXT NOT NULL,
        PRIMARY KEY (partition, currency)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS objects (
        partition INTEGER NOT NULL, key BLOB NOT NULL, open INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (partition, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS objects_open ON objects (partition, key) WHERE open = 1;
    CREATE TABLE IF NOT EXISTS accounts (
        number INTEGER PRIMARY KEY, partition INTEGER NOT NULL, id TEXT NOT NULL,
        currency TEXT NOT NULL, status INTEGER NOT NULL, posted INTEGER NOT NULL,
        held INTEGER NOT NULL, overdraft_limit INTEGER NOT NULL, version INTEGER NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, metadata TEXT NOT NULL,
        UNIQUE (partition, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS accounts_by_age ON accounts (created_at, id, partition);
    CREATE TABLE IF NOT EXISTS blocks (
        number INTEGER PRIMARY KEY, account INTEGER NOT NULL, first_version INTEGER NOT NULL,
        last_version INTEGER NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
        count INTEGER NOT NULL, postings BLOB NOT NULL,
        UNIQUE (account, first_version)
    ) STRICT;
";

/// What [`account`] reads, in its order.
pub(crate) const ACCOUNT_COLUMNS: &str = "id, currency, status, posted, held, overdraft_limit, \
                                          version, created_at, updated_at, metadata";

/// Makes the tables where they are missing, and checks that the views are this journal's. To be
/// called at the views' turnstile.
pub(crate) fn create_or_check(
    files: &Files,
    connection: &mut Connection,
    incarnation: &str,
) -> Result<(), EngineError> {
    let path = files.views();
    let mut create = || -> Result<(i64, String), keys::Failure> {
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        begun.execute_batch(SCHEMA)?;
        begun.execute_batch(keys::SCHEMA)?;
        let select = "SELECT format_version, incarnation FROM meta";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let mut stored = begun.query_row(select, [], read).optional()?;
        match &mut stored {
            None => {
                let fresh = params![FORMAT_VERSION, incarnation];
                begun.execute("INSERT INTO meta VALUES (?, ?)", fresh)?;
            }
            Some((version @ (1 | 2), _)) => {
                match version {
                    1 => keys::from_version_1(&begun)?,
                    _ => keys::from_version_2(&begun)?,
                }
                begun.execute("UPDATE meta SET format_version = ?", [FORMAT_VERSION])?;
                *version = FORMAT_VERSION;
            }
            Some(_) => (),
        }
        begun.commit()?;
        Ok(stored.unwrap_or((FORMAT_VERSION, incarnation.to_string())))
    };
    let (format_version, stored) = create().map_err(|failure| failure.told(&path))?;
    if format_version != FORMAT_VERSION || stored != incarnation {
        let what = "are of another journal or another version of this program; they hold nothing \
                    of their own: delete the file, and they are made again";
        return Err(EngineError::new(Kind::Mismatch, path.display(), what));
    }
    Ok(())
}

/// How far the views of a partition are.
pub(crate) fn mark(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
) -> Result<Chain, EngineError> {
    let path = files.views();
    let select = "SELECT seq, hash, time FROM marks WHERE partition = ?";
    let read = || -> rusqlite::Result<Option<(i64, [u8; 32], i64)>> {
        let mut statement = connection.prepare_cached(select)?;
        let row =
            statement.query_row([partition.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        row.optional()
    };
    match read().map_err(|error| sql(&path, &error))? {
        None => Ok(Chain::EMPTY),
        Some((seq, hash, time)) => {
            let seq = u64::try_from(seq).map_err(|_| corrupt(&path, "a mark is negative"))?;
            Ok(Chain { seq: Seq(seq), hash: Hash(hash), time: Timestamp(time) })
        }
    }
}

/// The balances of a partition's contra accounts, in their order.
pub(crate) fn external(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
) -> Result<Vec<(Contra, i128)>, EngineError> {
    let path = files.views();
    let read = || -> rusqlite::Result<Vec<(String, String)>> {
        let select = "SELECT currency, balance FROM external WHERE partition = ? ORDER BY 1";
        let mut statement = connection.prepare_cached(select)?;
        statement.query_map([partition.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let rows = read().map_err(|error| sql(&path, &error))?;
    let parse = |(name, balance): (String, String)| {
        let parsed = views::contra(&name, &balance);
        parsed.ok_or_else(|| corrupt(&path, format!("contra account {name} {balance:?}")))
    };
    rows.into_iter().map(parse).collect()
}

/// An object.
pub(crate) fn object(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
    key: ObjectKey,
) -> Result<Option<Object>, EngineError> {
    let path = files.views();
    let read = || -> rusqlite::Result<Option<Vec<u8>>> {
        let select = "SELECT data FROM objects WHERE partition = ? AND key = ?";
        let mut statement = connection.prepare_cached(select)?;
        statement.query_row(params![partition.0, key.bytes()], |row| row.get(0)).optional()
    };
    let found = read().map_err(|error| sql(&path, &error))?;
    found.map(|data| decoded(files, &data)).transpose()
}

/// Every object of a partition that is open.
pub(crate) fn open_objects(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
) -> Result<Vec<Object>, EngineError> {
    let path = files.views();
    let read = || -> rusqlite::Result<Vec<Vec<u8>>> {
        let select = "SELECT data FROM objects WHERE partition = ? AND open = 1";
        let mut statement = connection.prepare_cached(select)?;
        statement.query_map([partition.0], |row| row.get(0))?.collect()
    };
    let rows = read().map_err(|error| sql(&path, &error))?;
    rows.iter().map(|data| decoded(files, data)).collect()
}

fn decoded(files: &Files, data: &[u8]) -> Result<Object, EngineError> {
    let read = Object::decode(data);
    read.map_err(|flaw| corrupt(&files.views(), format!("an object makes no sense: {flaw}")))
}

/// Reads a row of [`ACCOUNT_COLUMNS`], from the `first`-th column of the row on. The outer error
/// is SQLite's; the inner `None` is a row that makes no sense.
pub(crate) fn account(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<AccountState>> {
    let text = |at: usize| row.get_ref(first + at)?.as_str().map_err(rusqlite::Error::from);
    let number = |at: usize| row.get::<_, i64>(first + at);
    let row = AccountRow {
        id: text(0)?,
        currency: text(1)?,
        status: number(2)?,
        posted: number(3)?,
        held: number(4)?,
        overdraft_limit: number(5)?,
        version: number(6)?,
        created_at: number(7)?,
        updated_at: number(8)?,
        metadata: text(9)?,
    };
    Ok(row.state())
}

/// The row of an account, with its number.
pub(crate) fn find_account(
    files: &Files,
    connection: &Connection,
    partition: PartitionId,
    id: &AccountId,
) -> Result<Option<(i64, AccountState)>, EngineError> {
    let path = files.views();
    let select = "SELECT id, currency, status, posted, held, overdraft_limit, version, created_at,
                         updated_at, metadata, number
                  FROM accounts WHERE partition = ? AND id = ?";
    let read = || {
        let mut statement = connection.prepare_cached(select)?;
        let row = statement.query_row(params![partition.0, id.as_str()], |row| {
            Ok((row.get(10)?, account(row, 0)?))
        });
        row.optional()
    };
    match read().map_err(|error| sql(&path, &error))? {
        None => Ok(None),
        Some((number, Some(state))) => Ok(Some((number, state))),
        Some((_, None)) => Err(corrupt(&path, format!("the row of account {id} makes no sense"))),
    }
}
