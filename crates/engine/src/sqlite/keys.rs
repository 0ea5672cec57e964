//! Clients' keys in `views.db`: a table of blocks for each day, emptied when it is over, and the runs
//! that they are in.

use crate::{
    change::Used,
    ends::Ends,
    engine::{KeyMark, KeyPlace},
    error::EngineError,
    key_days::{ByDay, by_day},
    key_scan::{self, Part, Slice},
    merges::{self, Run, Step},
    runs::{self, Entry, key_bytes},
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

/// The runs of all days, as [`Run`] says.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS key_run (
        day INTEGER NOT NULL, partition INTEGER NOT NULL, number INTEGER NOT NULL,
        keys INTEGER NOT NULL, target INTEGER, merged BLOB,
        PRIMARY KEY (day, partition, number)
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
    let steps = merges::plan(&runs.collect::<rusqlite::Result<Vec<_>>>()?);
    for (((day, partition), mut entries), step) in groups.into_iter().zip(steps) {
        if !existing.contains(&day) {
            create(connection, day)?;
        }
        let number = ends.run_number(partition)?;
        runs::settle(&mut entries);
        put(connection, (day, partition, number), &entries, None)?;
        if let Some(step) = step {
            merge(connection, (day, partition, number), &step)?;
        }
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
    let select = "SELECT number, keys, target, merged FROM key_run WHERE day = ? AND partition = ?";
    let mut statement = connection.prepare_cached(select)?;
    let run = |row: &rusqlite::Row<'_>| {
        let merged: Option<[u8; runs::KEY_BYTES]> = row.get(3)?;
        Ok(Run {
            number: row.get(0)?,
            keys: row.get::<_, i64>(1)?.unsigned_abs(),
            target: row.get(2)?,
            merged: merged.map(runs::key_of),
        })
    };
    statement.query_map(params![day, partition.0], run)?.collect()
}

/// `number`: of the run that this projection writes.
fn merge(
    connection: &Connection,
    (day, partition, number): (i64, PartitionId, i64),
    step: &Step,
) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let slice = Slice { day, partition, first: step.first, last: step.last };
    for input in &step.inputs {
        read_slice(connection, slice, *input, &mut entries)?;
    }
    step.settle(&mut entries);
    let target = step.target_number(number);
    put(connection, (day, partition, target), &entries, step.merged())?;
    for input in &step.inputs {
        if step.is_last() {
            remove(connection, (day, partition, *input))?;
        } else {
            shorten(connection, (day, partition, *input), step.last)?;
        }
    }
    if step.target.is_none() {
        let update = "UPDATE key_run SET target = ? WHERE day = ? AND partition = ? AND number = ?";
        let mut update = connection.prepare_cached(update)?;
        for input in &step.inputs {
            update.execute(params![target, day, partition.0, input])?;
        }
    }
    Ok(())
}

/// Takes a run away.
fn remove(
    connection: &Connection,
    (day, partition, number): (i64, PartitionId, i64),
) -> rusqlite::Result<()> {
    let delete = format!("DELETE FROM {} WHERE partition = ? AND run = ?", table(day));
    connection.prepare_cached(&delete)?.execute(params![partition.0, number])?;
    let delete = "DELETE FROM key_run WHERE day = ? AND partition = ? AND number = ?";
    connection.prepare_cached(delete)?.execute(params![day, partition.0, number])?;
    Ok(())
}

/// Takes the blocks of a run away that have no key behind this one.
fn shorten(
    connection: &Connection,
    (day, partition, number): (i64, PartitionId, i64),
    last: KeyHash,
) -> rusqlite::Result<()> {
    let delete = format!(
        "DELETE FROM {0} WHERE partition = ?1 AND run = ?2 AND first < (
            SELECT max(first) FROM {0} WHERE partition = ?1 AND run = ?2 AND first <= ?3
         )",
        table(day)
    );
    let row = params![partition.0, number, key_bytes(last)];
    connection.prepare_cached(&delete)?.execute(row)?;
    Ok(())
}

/// Adds what a run has of a slice to `entries`, and what its blocks have beside it.
fn read_slice(
    connection: &Connection,
    Slice { day, partition, first, last }: Slice,
    number: i64,
    entries: &mut Vec<Entry>,
) -> Result<(), Failure> {
    let select = format!(
        "SELECT first, keys FROM {0} WHERE partition = ?1 AND run = ?2 AND first <= ?4
            AND first >= coalesce((
                SELECT max(first) FROM {0} WHERE partition = ?1 AND run = ?2 AND first <= ?3
            ), x'')",
        table(day)
    );
    let mut statement = connection.prepare_cached(&select)?;
    let row = params![partition.0, number, key_bytes(first), key_bytes(last)];
    let mut rows = statement.query(row)?;
    while let Some(row) = rows.next()? {
        let bytes = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
        runs::read(bytes(0)?, bytes(1)?, entries)?;
    }
    Ok(())
}

/// Writes settled keys: all of a run, or the next ones of a run that is the target of a merge.
fn put(
    connection: &Connection,
    (day, partition, number): (i64, PartitionId, i64),
    entries: &[Entry],
    merged: Option<KeyHash>,
) -> rusqlite::Result<()> {
    let insert = format!("INSERT INTO {} VALUES (?, ?, ?, ?)", table(day));
    let mut insert = connection.prepare_cached(&insert)?;
    for (first, block) in runs::blocks(entries) {
        insert.execute(params![partition.0, number, first, block])?;
    }
    let insert = "INSERT INTO key_run (day, partition, number, keys, merged) VALUES (?, ?, ?, ?, ?)
                  ON CONFLICT (day, partition, number)
                  DO UPDATE SET keys = keys + excluded.keys, merged = excluded.merged";
    let count = i64::try_from(entries.len()).expect("a count fits 63 bits");
    let row = params![day, partition.0, number, count, merged.map(key_bytes)];
    connection.prepare_cached(insert)?.execute(row)?;
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
        let runs = runs_of(self.0, slice.day, slice.partition)?;
        for run in &runs {
            let mut of_run = Vec::new();
            read_slice(self.0, slice, run.number, &mut of_run)?;
            merges::drop_moved(&runs, run, &mut of_run);
            entries.append(&mut of_run);
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
            put(connection, (day, partition, 0), &entries, None)?;
        }
        connection.execute_batch(&format!("DROP TABLE keys_{day}"))?;
    }
    Ok(())
}

/// Runs of version 2 were merged at once.
pub(crate) fn from_version_2(connection: &Connection) -> Result<(), Failure> {
    let add = "ALTER TABLE key_run ADD COLUMN target INTEGER;
               ALTER TABLE key_run ADD COLUMN merged BLOB";
    Ok(connection.execute_batch(add)?)
}
