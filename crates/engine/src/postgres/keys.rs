//! Clients' keys: a table of blocks for each day of journal time, dropped whole when it is over, and
//! the runs that they are in.

use crate::{
    change::Used,
    ends::Ends,
    key_days::{ByDay, by_day},
    postgres::{
        failure::Failure,
        link::{Link, Param, param},
        reading::partition,
        schema::Schema,
    },
    runs::{self, Entry, Run},
};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use wire::{Flaw, PartitionId};

/// What a projection changes, to be sent in one transaction with the marks.
///
/// What another has projected before is no failure of these statements but a mark that has moved,
/// which is looked at when all is sent.
pub(crate) struct Writes {
    days: Vec<OfDay>,
    remove_runs: String,
    add_runs: String,
    removed: RunRows,
    added: RunRows,
}

/// The blocks of one day.
struct OfDay {
    remove: String,
    add: String,
    removed: RunColumns,
    blocks: Blocks,
}

/// Columns of runs.
#[derive(Default)]
struct RunColumns {
    partitions: Vec<i32>,
    numbers: Vec<i64>,
}

/// Columns of the rows of runs.
#[derive(Default)]
struct RunRows {
    days: Vec<i64>,
    runs: RunColumns,
    keys: Vec<i64>,
}

/// Columns of blocks.
#[derive(Default)]
struct Blocks {
    runs: RunColumns,
    firsts: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
}

/// The run of a partition that is written: what of the others goes into it, and what is new.
struct Planned {
    partition: PartitionId,
    inputs: Vec<Run>,
    fresh: Vec<Entry>,
}

/// The runs of partitions, by day.
pub(crate) type RunsByDay = BTreeMap<(i64, PartitionId), Vec<Run>>;

/// Sees to it that there are tables for these keys, drops those that are over, and reads what is
/// to be merged.
///
/// It looks before the transaction that compares the marks with `ends`. Runs change where marks do,
/// and marks only grow: where they are as expected then, nothing has changed in between; and runs
/// that are taken away have to be there.
pub(crate) fn prepare(
    link: &Link,
    schema: &Schema,
    ends: &Ends,
    used: &[Used],
    keys_from: i64,
) -> Result<Writes, Failure> {
    let mut writes = Writes::of(schema);
    if used.is_empty() {
        return Ok(writes);
    }
    let existing = days(link, schema)?;
    let flawed = |flaw| corrupt(link, flaw);
    let ByDay { groups, over } = by_day(used, &existing, keys_from).map_err(flawed)?;
    for day in over {
        forget(link, schema, day);
    }
    let partitions: Vec<PartitionId> = groups.keys().map(|(_, partition)| *partition).collect();
    let mut present = runs_of(link, schema, &partitions)?;
    let runs = groups.iter().map(|(place, fresh)| {
        let runs = present.remove(place).unwrap_or_default();
        (runs, fresh.len())
    });
    let inputs = runs::plan(runs.collect());
    let mut planned: BTreeMap<i64, Vec<Planned>> = BTreeMap::new();
    for (((day, partition), fresh), inputs) in groups.into_iter().zip(inputs) {
        planned.entry(day).or_default().push(Planned { partition, inputs, fresh });
    }
    for (day, partitions) in planned {
        if !existing.contains(&day) {
            create(link, schema, day)?;
        }
        let mut of_day = OfDay::of(schema, day);
        for Planned { partition, inputs, .. } in &partitions {
            for run in inputs {
                of_day.removed.push(*partition, run.number);
                writes.removed.push(day, *partition, *run);
            }
        }
        let mut merged = read_runs(link, schema, day, &of_day.removed)?;
        for Planned { partition, fresh, .. } in partitions {
            let mut entries = merged.remove(&partition).unwrap_or_default();
            entries.extend(fresh);
            runs::settle(&mut entries);
            let number = ends.run_number(partition).map_err(flawed)?;
            for (first, block) in runs::blocks(&entries) {
                of_day.blocks.runs.push(partition, number);
                of_day.blocks.firsts.push(first.to_vec());
                of_day.blocks.keys.push(block);
            }
            let keys = u64::try_from(entries.len()).expect("a count fits 64 bits");
            writes.added.push(day, partition, Run { number, keys });
        }
        writes.days.push(of_day);
    }
    Ok(writes)
}

impl Writes {
    fn of(schema: &Schema) -> Writes {
        Writes {
            days: Vec::new(),
            remove_runs: schema.sql(
                "DELETE FROM @key_run r USING unnest($1::int8[], $2::int4[], $3::int8[])
                    AS w(day, partition, number)
                 WHERE r.day = w.day AND r.partition = w.partition AND r.number = w.number",
            ),
            add_runs: schema.sql(
                "INSERT INTO @key_run (day, partition, number, keys)
                 SELECT * FROM unnest($1::int8[], $2::int4[], $3::int8[], $4::int8[])
                 ON CONFLICT (partition, day, number) DO NOTHING",
            ),
            removed: RunRows::default(),
            added: RunRows::default(),
        }
    }

    /// The statements. The first of them takes [`Writes::removed_count`] rows away, if that is any.
    pub(crate) fn statements(&self) -> Vec<(&str, Vec<Param<'_>>)> {
        let mut out = Vec::new();
        if 0 < self.removed_count() {
            let RunRows { days, runs, .. } = &self.removed;
            let params = vec![param(days), param(&runs.partitions), param(&runs.numbers)];
            out.push((&*self.remove_runs, params));
        }
        if !self.added.days.is_empty() {
            let RunRows { days, runs, keys } = &self.added;
            let params =
                vec![param(days), param(&runs.partitions), param(&runs.numbers), param(keys)];
            out.push((&*self.add_runs, params));
        }
        for OfDay { remove, add, removed, blocks } in &self.days {
            if !removed.numbers.is_empty() {
                out.push((remove, vec![param(&removed.partitions), param(&removed.numbers)]));
            }
            let Blocks { runs, firsts, keys } = blocks;
            let params =
                vec![param(&runs.partitions), param(&runs.numbers), param(firsts), param(keys)];
            out.push((add, params));
        }
        out
    }

    /// How many runs are taken away.
    pub(crate) fn removed_count(&self) -> usize {
        self.removed.days.len()
    }
}

impl OfDay {
    fn of(schema: &Schema, day: i64) -> OfDay {
        OfDay {
            remove: schema.sql(&format!(
                "DELETE FROM @{} b USING unnest($1::int4[], $2::int8[]) AS w(partition, run)
                 WHERE b.partition = w.partition AND b.run = w.run",
                table(day)
            )),
            add: schema.sql(&format!(
                "INSERT INTO @{} (partition, run, first, keys)
                 SELECT * FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
                 ON CONFLICT (partition, run, first) DO NOTHING",
                table(day)
            )),
            removed: RunColumns::default(),
            blocks: Blocks::default(),
        }
    }
}

impl RunColumns {
    fn push(&mut self, partition: PartitionId, number: i64) {
        self.partitions.push(partition.0.into());
        self.numbers.push(number);
    }
}

impl RunRows {
    fn push(&mut self, day: i64, partition: PartitionId, run: Run) {
        self.days.push(day);
        self.runs.push(partition, run.number);
        self.keys.push(i64::try_from(run.keys).expect("a count fits 63 bits"));
    }
}

/// The days that have a table, newest first.
pub(crate) fn days(link: &Link, schema: &Schema) -> Result<Vec<i64>, Failure> {
    let select = schema.sql("SELECT day FROM @key_day ORDER BY day DESC");
    link.query(&select, &[])?.iter().map(|row| link.get(row, 0)).collect()
}

/// The row of the day is the lock of those who would make its table at once.
fn create(link: &Link, schema: &Schema, day: i64) -> Result<(), Failure> {
    let open = link.begin("BEGIN")?;
    let insert = schema.sql("INSERT INTO @key_day VALUES ($1) ON CONFLICT DO NOTHING");
    link.execute(&insert, &[param(&day)])?;
    make_table(link, schema, day)?;
    open.commit()?;
    // A key is found by its index: no statistics are to be made of the table as it grows. Where
    // that is not known, or another is at it, it is left out.
    let tuned = link.run(&schema.sql(&format!(
        "ALTER TABLE @{} ALTER COLUMN partition SET STATISTICS 0,
            ALTER COLUMN run SET STATISTICS 0, ALTER COLUMN first SET STATISTICS 0,
            ALTER COLUMN keys SET STATISTICS 0",
        table(day)
    )));
    drop(tuned);
    Ok(())
}

fn make_table(link: &Link, schema: &Schema, day: i64) -> Result<(), Failure> {
    link.run(&schema.sql(&format!(
        "CREATE TABLE IF NOT EXISTS @{} (
            partition integer NOT NULL, run bigint NOT NULL, first bytea NOT NULL,
            keys bytea NOT NULL, PRIMARY KEY (partition, run, first)
         )",
        table(day)
    )))
}

/// What is left over is dropped the next time.
fn forget(link: &Link, schema: &Schema, day: i64) {
    let done = (|| {
        let open = link.begin("BEGIN")?;
        link.execute(&schema.sql("DELETE FROM @key_day WHERE day = $1"), &[param(&day)])?;
        link.run(&schema.sql(&format!("DROP TABLE IF EXISTS @{}", table(day))))?;
        link.execute(&schema.sql("DELETE FROM @key_run WHERE day = $1"), &[param(&day)])?;
        open.commit()
    })();
    if let Err(failure) = done {
        let error = link.told(failure);
        tracing::warn!(%error, day, "the keys of a day that is over are still there");
    }
}

pub(crate) fn runs_of(
    link: &Link,
    schema: &Schema,
    partitions: &[PartitionId],
) -> Result<RunsByDay, Failure> {
    let select =
        schema.sql("SELECT partition, day, number, keys FROM @key_run WHERE partition = ANY($1)");
    let wanted: Vec<i32> = partitions.iter().map(|it| it.0.into()).collect();
    let mut runs = RunsByDay::new();
    for row in &link.query(&select, &[param(&wanted)])? {
        let place = (link.get(row, 1)?, partition(link, row, 0)?);
        let (number, keys) = (link.get(row, 2)?, link.get::<i64>(row, 3)?.unsigned_abs());
        runs.entry(place).or_default().push(Run { number, keys });
    }
    Ok(runs)
}

/// What these runs of a day have.
fn read_runs(
    link: &Link,
    schema: &Schema,
    day: i64,
    runs: &RunColumns,
) -> Result<BTreeMap<PartitionId, Vec<Entry>>, Failure> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    if runs.numbers.is_empty() {
        return Ok(found);
    }
    let select = schema.sql(&format!(
        "SELECT b.first, b.keys, b.partition FROM unnest($1::int4[], $2::int8[]) AS w(partition, run)
         JOIN @{} b ON b.partition = w.partition AND b.run = w.run",
        table(day)
    ));
    for row in &link.query(&select, &[param(&runs.partitions), param(&runs.numbers)])? {
        read_block(link, row, found.entry(partition(link, row, 2)?).or_default())?;
    }
    Ok(found)
}

/// Adds a block to `entries`, of a row that begins with its first key and itself.
pub(crate) fn read_block(link: &Link, row: &Row, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    let read = runs::read(link.get(row, 0)?, link.get(row, 1)?, entries);
    read.map_err(|flaw| corrupt(link, flaw))
}

pub(crate) fn corrupt(link: &Link, flaw: Flaw) -> Failure {
    link.corrupt(flaw.0.to_owned()).into()
}

/// Tables of version 2 had single keys: those of a day become a run of their partition.
pub(crate) fn from_version_2(link: &Link, schema: &Schema) -> Result<(), Failure> {
    for day in days(link, schema)? {
        make_table(link, schema, day)?;
        let of_day = |text: &str| {
            let text = text.replace("@blocks", &format!("@{}", table(day)));
            schema.sql(&text.replace("@keys", &format!("@\"keys_{day}\"")))
        };
        link.run(&of_day(&format!(
            "INSERT INTO @blocks
             SELECT partition, 0, substring(keys FROM 1 FOR 16), keys FROM (
                SELECT partition, string_agg(key || substring(int8send(seq) FROM 4)
                    || substring(int4send(place) FROM 3), ''::bytea ORDER BY key) AS keys
                FROM (
                    SELECT key, partition, seq, place, (row_number()
                        OVER (PARTITION BY partition ORDER BY key) - 1) / {} AS block
                    FROM @keys
                ) AS single GROUP BY partition, block
             ) AS packed",
            runs::BLOCK_ENTRIES
        )))?;
        let insert = "INSERT INTO @key_run
             SELECT $1, partition, 0, count(*) FROM @keys GROUP BY partition";
        link.execute(&of_day(insert), &[param(&day)])?;
        link.run(&of_day("DROP TABLE @keys"))?;
    }
    Ok(())
}

pub(crate) fn table(day: i64) -> String {
    format!("\"key_block_{day}\"")
}
