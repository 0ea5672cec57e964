//! Clients' keys: a table of blocks for each day of journal time, dropped whole when it is over, and
//! the runs that they are in.

use crate::{
    merges::Run,
    postgres::{
        failure::Failure,
        link::{Link, param},
        reading::partition,
        schema::Schema,
    },
    runs::{self, Entry, KEY_BYTES, key_of},
};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use wire::{Flaw, PartitionId};

/// The runs of partitions, by day.
pub(crate) type RunsByDay = BTreeMap<(i64, PartitionId), Vec<Run>>;

/// The days that have a table, newest first.
pub(crate) fn days(link: &Link, schema: &Schema) -> Result<Vec<i64>, Failure> {
    let select = schema.sql("SELECT day FROM @key_day ORDER BY day DESC");
    link.query(&select, &[])?.iter().map(|row| link.get(row, 0)).collect()
}

/// The row of the day is the lock of those who would make its table at once.
pub(crate) fn create(link: &Link, schema: &Schema, day: i64) -> Result<(), Failure> {
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
pub(crate) fn forget(link: &Link, schema: &Schema, day: i64) {
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
    let select = schema.sql(
        "SELECT partition, day, number, keys, target, merged FROM @key_run
         WHERE partition = ANY($1)",
    );
    let wanted: Vec<i32> = partitions.iter().map(|it| it.0.into()).collect();
    let mut runs = RunsByDay::new();
    for row in &link.query(&select, &[param(&wanted)])? {
        let place = (link.get(row, 1)?, partition(link, row, 0)?);
        let merged = match link.get::<Option<&[u8]>>(row, 5)?.map(<[u8; KEY_BYTES]>::try_from) {
            Some(Err(_)) => return Err(corrupt(link, Flaw("a key is not of its length"))),
            Some(Ok(bytes)) => Some(key_of(bytes)),
            None => None,
        };
        runs.entry(place).or_default().push(Run {
            number: link.get(row, 2)?,
            keys: link.get::<i64>(row, 3)?.unsigned_abs(),
            target: link.get(row, 4)?,
            merged,
        });
    }
    Ok(runs)
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
        let of_day =
            |text: &str| of_day(schema, day, &text.replace("@keys", &format!("@\"keys_{day}\"")));
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

/// A statement about the blocks of a day, `@blocks`.
pub(crate) fn of_day(schema: &Schema, day: i64, text: &str) -> String {
    schema.sql(&text.replace("@blocks", &format!("@{}", table(day))))
}

/// The first key of the block of a run of `w` which has a key, if the run has it: the last block that
/// begins no later.
pub(crate) fn block_of(key: &str) -> String {
    format!(
        "(SELECT c.first FROM @blocks c
          WHERE c.partition = w.partition AND c.run = w.run AND c.first <= {key}
          ORDER BY c.first DESC LIMIT 1)"
    )
}

pub(crate) fn table(day: i64) -> String {
    format!("\"key_block_{day}\"")
}
