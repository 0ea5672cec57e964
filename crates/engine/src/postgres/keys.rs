//! Clients' keys: a table for each day of journal time, dropped whole when it is over.

use crate::{
    engine::KeyPlace,
    postgres::{
        failure::Failure,
        link::{Link, param},
        reading::partition,
        schema::Schema,
    },
};
use std::collections::BTreeMap;
use wire::{KeyHash, PartitionId, Seq, Timestamp};

/// Days of keys kept: today's and yesterday's, so each key for a day at least.
const KEY_DAYS: i64 = 2;
const DAY_MICROS: i64 = 86_400_000_000;

/// A key of a client, where it was used, and when.
pub(crate) type Used = (KeyHash, PartitionId, Seq, u16, Timestamp);

/// The day of a time, counted from 1970.
pub(crate) fn day(time: Timestamp) -> i64 {
    time.0.div_euclid(DAY_MICROS)
}

/// The first day whose keys still count when it is `end`.
pub(crate) fn first_day(end: Timestamp) -> i64 {
    day(end).saturating_sub(KEY_DAYS - 1)
}

/// Rows for the table of one day, in the order of its index.
pub(crate) struct Rows {
    pub(crate) insert: String,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) partitions: Vec<i32>,
    pub(crate) seqs: Vec<i64>,
    pub(crate) places: Vec<i32>,
}

/// Sees to it that there are tables for these keys and drops those that are over; says what goes
/// where.
///
/// Each key goes to the table of its day, or to the newest one when that of its day is over: the
/// clocks of the processes that write here may differ by days, when somebody has set the clock
/// between their starts, and no key may be missing for that.
pub(crate) fn prepare(
    link: &Link,
    schema: &Schema,
    mut used: Vec<Used>,
) -> Result<Vec<Rows>, Failure> {
    let Some(newest) = used.iter().map(|(.., time)| day(*time)).max() else {
        return Ok(Vec::new());
    };
    let mut existing = days(link, schema)?;
    let newest = existing.first().map_or(newest, |day| newest.max(*day));
    let oldest = newest.saturating_sub(KEY_DAYS - 1);
    let table_day = |time: Timestamp| Some(day(time)).filter(|day| oldest <= *day);
    let table_day = |time| table_day(time).unwrap_or(newest);
    // Of equal keys the last one counts: no key is decided again while it is kept, so the earlier
    // use is over.
    used.sort_unstable_by_key(|(key, _, seq, index, time)| (table_day(*time), key.0, *seq, *index));
    let mut out = Vec::new();
    for of_day in used.chunk_by(|a, b| table_day(a.4) == table_day(b.4)) {
        let day = table_day(of_day[0].4);
        if !existing.contains(&day) {
            create(link, schema, day)?;
            existing.push(day);
        }
        out.push(rows(schema, day, of_day));
    }
    existing.sort_unstable_by(|a, b| b.cmp(a));
    // As many tables stay as days are kept, also when the days between them are missing: were the
    // clock wrong by days, all keys would be gone at once.
    for day in existing.iter().skip(usize::try_from(KEY_DAYS).expect("two days")) {
        if *day < oldest {
            forget(link, schema, *day);
        }
    }
    Ok(out)
}

fn rows(schema: &Schema, day: i64, used: &[Used]) -> Rows {
    let insert = schema.sql(&format!(
        "INSERT INTO @{} (key, partition, seq, place)
         SELECT * FROM unnest($1::bytea[], $2::int4[], $3::int8[], $4::int4[])
         ON CONFLICT (key) DO UPDATE SET partition = excluded.partition, seq = excluded.seq,
            place = excluded.place",
        table(day)
    ));
    let (keys, partitions, seqs, places) = Default::default();
    let mut rows = Rows { insert, keys, partitions, seqs, places };
    // One statement cannot change a row twice.
    for same in used.chunk_by(|a, b| a.0 == b.0) {
        let Some((key, partition, seq, index, _)) = same.last() else { continue };
        rows.keys.push(bytes(*key));
        rows.partitions.push(partition.0.into());
        rows.seqs.push(i64::try_from(seq.0).unwrap_or(i64::MAX));
        rows.places.push((*index).into());
    }
    rows
}

/// The days that have a table, newest first.
fn days(link: &Link, schema: &Schema) -> Result<Vec<i64>, Failure> {
    let select = schema.sql("SELECT day FROM @key_day ORDER BY day DESC");
    link.query(&select, &[])?.iter().map(|row| link.get(row, 0)).collect()
}

/// The row of the day is the lock of those who would make its table at once.
fn create(link: &Link, schema: &Schema, day: i64) -> Result<(), Failure> {
    let open = link.begin("BEGIN")?;
    let insert = schema.sql("INSERT INTO @key_day VALUES ($1) ON CONFLICT DO NOTHING");
    link.execute(&insert, &[param(&day)])?;
    link.run(&schema.sql(&format!(
        "CREATE TABLE IF NOT EXISTS @{} (
            key bytea PRIMARY KEY, partition integer NOT NULL, seq bigint NOT NULL,
            place integer NOT NULL
         )",
        table(day)
    )))?;
    open.commit()?;
    // A key is found by its index: no statistics are to be made of the table as it grows. Where
    // that is not known, or another is at it, it is left out.
    let tuned = link.run(&schema.sql(&format!(
        "ALTER TABLE @{} ALTER COLUMN key SET STATISTICS 0, ALTER COLUMN partition SET STATISTICS 0,
            ALTER COLUMN seq SET STATISTICS 0, ALTER COLUMN place SET STATISTICS 0",
        table(day)
    )));
    drop(tuned);
    Ok(())
}

/// What is left over is dropped the next time.
fn forget(link: &Link, schema: &Schema, day: i64) {
    let done = (|| {
        let open = link.begin("BEGIN")?;
        link.execute(&schema.sql("DELETE FROM @key_day WHERE day = $1"), &[param(&day)])?;
        link.run(&schema.sql(&format!("DROP TABLE IF EXISTS @{}", table(day))))?;
        open.commit()
    })();
    if let Err(failure) = done {
        let error = link.told(failure);
        tracing::warn!(%error, day, "the keys of a day that is over are still there");
    }
}

/// Where these keys were first used, newest day first.
pub(crate) fn find(
    link: &Link,
    schema: &Schema,
    keys: &[(PartitionId, KeyHash)],
) -> Result<Vec<Option<KeyPlace>>, Failure> {
    let mut found = vec![None; keys.len()];
    let mut wanted: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (at, (_, key)) in keys.iter().enumerate() {
        wanted.entry(bytes(*key)).or_default().push(at);
    }
    let asked: Vec<&[u8]> = wanted.keys().map(|it| &it[..]).collect();
    let mut places: BTreeMap<Vec<u8>, (PartitionId, KeyPlace)> = BTreeMap::new();
    let _open = link.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    for day in days(link, schema)? {
        let select = schema.sql(&format!(
            "SELECT key, partition, seq, place FROM @{} WHERE key = ANY($1)",
            table(day)
        ));
        for row in &link.query(&select, &[param(&asked)])? {
            let number = |at| link.get::<i64>(row, at);
            let seq = u64::try_from(number(2)?);
            let index = u16::try_from(link.get::<i32>(row, 3)?);
            let (Ok(seq), Ok(index)) = (seq, index) else {
                return Err(link.corrupt("a key's place makes no sense".to_owned()).into());
            };
            let place = KeyPlace { seq: Seq(seq), index };
            places.entry(link.get(row, 0)?).or_insert((partition(link, row, 1)?, place));
        }
    }
    for (key, (of, place)) in places {
        for at in wanted.get(&key).into_iter().flatten() {
            if keys[*at].0 != of {
                let what = "a key is in a partition that is not its account's";
                return Err(link.corrupt(what.to_owned()).into());
            }
            found[*at] = Some(place);
        }
    }
    Ok(found)
}

fn table(day: i64) -> String {
    format!("\"keys_{day}\"")
}

/// Bytes that sort like the number.
fn bytes(key: KeyHash) -> Vec<u8> {
    key.0.to_be_bytes().to_vec()
}
