//! Clients' keys in `views.db`: a table of blocks for each day, emptied when it is over, and the runs
//! that they are in.

use crate::{
    change::Used,
    ends::Ends,
    engine::{KeyMark, KeyPlace},
    error::EngineError,
    key_days::{ByDay, by_day},
    key_scan::{self, Part, Slice},
    runs::{self, Entry, Run, key_bytes},
    sqlite::{
        files::{corrupt, sql},
        meta::record_place,
    },
};
use rusqlite::{Connection, params};
use std::{collections::BTreeMap, path::Path};
use wire::{Flaw, KeyHash, PartitionId};

/// Blocks of a day that is over which one projection removes: 40,000 keys, some 2 ms.
const FORGOTTEN_MAX: usize = 500;

/// The runs of all days.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS key_run (
        day INTEGER NOT NULL, partition INTEGER NOT NULL, number INTEGER NOT NULL,
        keys INTEGER NOT NULL, PRIMARY KEY (day, partition, number)
    ) STRICT, WITHOUT ROWID;
";

/// Why keys were not written or read.
#[derive(Debug)]
pub(crate) enum Failure {
    Sql(rusqlite::Error),
    Flaw(Flaw),
}

impl Failure {
    /// `path`: of the views.
    pub(crate) fn told(self, path: &Path) -> EngineError {
        match self {
            Failure::Sql(error) => sql(path, &error),
            Failure::Flaw(Flaw(what)) => corrupt(path, what),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Failure {
        Failure::Flaw(flaw)
    }
}

/// The table of a day's blocks.
fn table(day: i64) -> String {
    format!("key_block_{day}")
}

/// The days that have a table, newest first.
pub(crate) fn days(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    days_of(connection, "key_block_")
}

fn days_of(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<i64>> {
    let select = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ? || '*'";
    let mut statement = connection.prepare_cached(select)?;
    let names = statement.query_map([prefix], |row| row.get(0))?;
    let names: Vec<String> = names.collect::<rusqlite::Result<_>>()?;
    let mut days: Vec<i64> =
        names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect();
    days.sort_unstable_by(|a, b| b.cmp(a));
    Ok(days)
}

/// Within the transaction that moves the marks to `ends`.
pub(crate) fn write(
    connection: &Connection,
    ends: &Ends,
    used: &[Used],
    keys_from: i64,
) -> Result<(), Failure> {
    let existing = days(connection)?;
    let ByDay { groups, over } = by_day(used, &existing, keys_from)?;
    for day in over {
        forget(connection, day)?;
    }
    let runs = groups.iter().map(|((day, partition), entries)| {
        Ok((runs_of(connection, *day, *partition)?, entries.len()))
    });
    let inputs = runs::plan(runs.collect::<rusqlite::Result<_>>()?);
    for (((day, partition), mut entries), inputs) in groups.into_iter().zip(inputs) {
        if !existing.contains(&day) {
            create(connection, day)?;
        }
        for run in inputs {
            take(connection, day, partition, run, &mut entries)?;
        }
        runs::settle(&mut entries);
        put(connection, (day, partition, ends.run_number(partition)?), &entries)?;
    }
    Ok(())
}

/// The runs of a day that is over are gone at once, their blocks bit by bit: to drop a table is to
/// look at each of its pages, and nothing is projected meanwhile.
fn forget(connection: &Connection, day: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM key_run WHERE day = ?")?.execute([day])?;
    let table = table(day);
    let delete = format!(
        "DELETE FROM {table} WHERE rowid IN (
            SELECT rowid FROM {table} ORDER BY rowid LIMIT {FORGOTTEN_MAX}
         )"
    );
    if connection.prepare_cached(&delete)?.execute([])? < FORGOTTEN_MAX {
        connection.execute_batch(&format!("DROP TABLE {table}"))?;
    }
    Ok(())
}

fn create(connection: &Connection, day: i64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {} (
            partition INTEGER NOT NULL, run INTEGER NOT NULL, first BLOB NOT NULL,
            keys BLOB NOT NULL, UNIQUE (partition, run, first)
         ) STRICT",
        table(day)
    ))
}

fn runs_of(
    connection: &Connection,
    day: i64,
    partition: PartitionId,
) -> rusqlite::Result<Vec<Run>> {
    let select = "SELECT number, keys FROM key_run WHERE day = ? AND partition = ?";
    let mut statement = connection.prepare_cached(select)?;
    let run = |row: &rusqlite::Row<'_>| {
        Ok(Run { number: row.get(0)?, keys: row.get::<_, i64>(1)?.unsigned_abs() })
    };
    statement.query_map(params![day, partition.0], run)?.collect()
}

/// Takes a run away, and adds what it had to `entries`.
fn take(
    connection: &Connection,
    day: i64,
    partition: PartitionId,
    run: Run,
    entries: &mut Vec<Entry>,
) -> Result<(), Failure> {
    let (table, of_run) = (table(day), params![partition.0, run.number]);
    let select =
        format!("SELECT first, keys FROM {table} WHERE partition = ? AND run = ? ORDER BY first");
    let mut statement = connection.prepare_cached(&select)?;
    let mut rows = statement.query(of_run)?;
    while let Some(row) = rows.next()? {
        read_block(row, entries)?;
    }
    let delete = format!("DELETE FROM {table} WHERE partition = ? AND run = ?");
    connection.prepare_cached(&delete)?.execute(of_run)?;
    let delete = "DELETE FROM key_run WHERE day = ? AND partition = ? AND number = ?";
    connection.prepare_cached(delete)?.execute(params![day, partition.0, run.number])?;
    Ok(())
}

/// Adds a block to `entries`, of a row of its first key and itself.
fn read_block(row: &rusqlite::Row<'_>, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    let bytes = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
    Ok(runs::read(bytes(0)?, bytes(1)?, entries)?)
}

/// Writes a settled run.
fn put(
    connection: &Connection,
    (day, partition, number): (i64, PartitionId, i64),
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let insert = format!("INSERT INTO {} VALUES (?, ?, ?, ?)", table(day));
    let mut insert = connection.prepare_cached(&insert)?;
    for (first, block) in runs::blocks(entries) {
        insert.execute(params![partition.0, number, first, block])?;
    }
    let count = i64::try_from(entries.len()).expect("a count fits 63 bits");
    let insert = "INSERT INTO key_run VALUES (?, ?, ?, ?)";
    connection.prepare_cached(insert)?.execute(params![day, partition.0, number, count])?;
    Ok(())
}

/// Where these keys were last used, as far as the views of this snapshot know.
pub(crate) fn find(
    snapshot: &Connection,
    keys: &[(PartitionId, KeyHash)],
) -> Result<Vec<Option<KeyPlace>>, Failure> {
    let days = days(snapshot)?;
    let find = |(partition, key): &(PartitionId, KeyHash)| {
        for day in &days {
            let found = find_of_day(snapshot, *day, *partition, *key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    };
    keys.iter().map(find).collect()
}

fn find_of_day(
    snapshot: &Connection,
    day: i64,
    partition: PartitionId,
    key: KeyHash,
) -> Result<Option<KeyPlace>, Failure> {
    let select = format!(
        "SELECT (SELECT keys FROM {} AS b
                 WHERE b.partition = r.partition AND b.run = r.number AND b.first <= ?3
                 ORDER BY b.first DESC LIMIT 1)
         FROM key_run AS r WHERE r.day = ?1 AND r.partition = ?2",
        table(day)
    );
    let mut statement = snapshot.prepare_cached(&select)?;
    let mut rows = statement.query(params![day, partition.0, key_bytes(key)])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        // In a run that begins behind the key there is none.
        let block = row.get_ref(0)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        found = found.max(runs::find(block.unwrap_or_default(), key)?);
    }
    Ok(found)
}

/// A part of all keys of these partitions.
pub(crate) fn part(
    snapshot: &Connection,
    partitions: &[PartitionId],
    from: Option<KeyMark>,
    wanted: usize,
) -> Result<Part, Failure> {
    key_scan::part(&Snapshot(snapshot), &days(snapshot)?, partitions, from, wanted)
}

struct Snapshot<'a>(&'a Connection);

impl key_scan::Runs for Snapshot<'_> {
    type Error = Failure;

    fn keys_count(&self, day: i64, partition: PartitionId) -> Result<u64, Failure> {
        Ok(runs_of(self.0, day, partition)?.iter().map(|it| it.keys).sum())
    }

    fn read(&self, slice: Slice, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let select = format!(
            "SELECT b.first, b.keys FROM key_run AS r CROSS JOIN {0} AS b
             WHERE r.day = ?1 AND r.partition = ?2 AND b.partition = r.partition
                AND b.run = r.number AND b.first <= ?4
                AND b.first >= coalesce((
                    SELECT max(c.first) FROM {0} AS c
                    WHERE c.partition = r.partition AND c.run = r.number AND c.first <= ?3
                ), x'')",
            table(slice.day)
        );
        let mut statement = self.0.prepare_cached(&select)?;
        let (first, last) = (key_bytes(slice.first), key_bytes(slice.last));
        let mut rows = statement.query(params![slice.day, slice.partition.0, first, last])?;
        while let Some(row) = rows.next()? {
            read_block(row, entries)?;
        }
        Ok(())
    }
}

/// Views of version 1 had a table of single keys for each day: each becomes a run of its partition.
pub(crate) fn from_version_1(connection: &Connection) -> Result<(), Failure> {
    for day in days_of(connection, "keys_")? {
        create(connection, day)?;
        let mut partitions = BTreeMap::<PartitionId, Vec<Entry>>::new();
        let select = format!("SELECT key, record, place FROM keys_{day}");
        let mut statement = connection.prepare(&select)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let place = record_place(row.get(1)?).ok_or(Flaw("a key's record is none"))?;
            let key = KeyHash(u128::from_be_bytes(row.get(0)?));
            let entry = Entry { key, seq: place.1, index: row.get(2)? };
            partitions.entry(place.0).or_default().push(entry);
        }
        drop(rows);
        drop(statement);
        for (partition, mut entries) in partitions {
            runs::settle(&mut entries);
            put(connection, (day, partition, 0), &entries)?;
        }
        connection.execute_batch(&format!("DROP TABLE keys_{day}"))?;
    }
    Ok(())
}
