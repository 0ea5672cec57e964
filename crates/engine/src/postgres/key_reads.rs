//! Looks for clients' keys in their runs, and reads all of them.

use crate::{
    engine::{KeyMark, KeyPlace},
    key_scan::{self, Part, Slice},
    merges,
    postgres::{
        failure::Failure,
        keys::{RunsByDay, block_of, corrupt, days, of_day, read_block, runs_of, table},
        link::{Link, Param, param},
        reading::partition,
        schema::Schema,
    },
    runs::{self, Entry, key_bytes},
};
use std::collections::BTreeMap;
use tokio_postgres::error::SqlState;
use wire::{KeyHash, PartitionId};

/// Looks a second time where the oldest day was dropped between two looks.
pub(crate) fn again_without_a_day<T>(look: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    match look() {
        Err(Failure::Refused(it)) if it.code == SqlState::UNDEFINED_TABLE => look(),
        found => found,
    }
}

/// Where these keys were last used.
pub(crate) fn find(
    link: &Link,
    schema: &Schema,
    keys: &[(PartitionId, KeyHash)],
) -> Result<Vec<Option<KeyPlace>>, Failure> {
    let mut found: Vec<Option<KeyPlace>> = vec![None; keys.len()];
    let partitions: Vec<i32> = keys.iter().map(|(partition, _)| partition.0.into()).collect();
    let asked: Vec<Vec<u8>> = keys.iter().map(|(_, key)| key_bytes(*key).to_vec()).collect();
    let _open = link.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    for day in days(link, schema)? {
        // In a run that begins behind the key there is none.
        let select = schema.sql(&format!(
            "SELECT w.at, coalesce((SELECT b.keys FROM @{} b
                WHERE b.partition = r.partition AND b.run = r.number AND b.first <= w.key
                ORDER BY b.first DESC LIMIT 1), '')
             FROM unnest($1::int4[], $2::bytea[]) WITH ORDINALITY AS w(partition, key, at)
             JOIN @key_run r ON r.day = $3 AND r.partition = w.partition",
            table(day)
        ));
        let mut of_day = vec![None; keys.len()];
        for row in &link.query(&select, &[param(&partitions), param(&asked), param(&day)])? {
            let at = usize::try_from(link.get::<i64>(row, 0)? - 1).ok();
            let Some((at, (_, key))) = at.and_then(|at| Some((at, keys.get(at)?))) else {
                continue;
            };
            let place = runs::find(link.get(row, 1)?, *key).map_err(|flaw| corrupt(link, flaw))?;
            of_day[at] = of_day[at].max(place);
        }
        for (found, place) in found.iter_mut().zip(of_day) {
            *found = found.or(place); // Newest day first.
        }
    }
    Ok(found)
}

/// A part of all keys of these partitions.
pub(crate) fn part(
    link: &Link,
    schema: &Schema,
    partitions: &[PartitionId],
    from: Option<KeyMark>,
    wanted: usize,
) -> Result<Part, Failure> {
    let _open = link.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let days = days(link, schema)?;
    let runs = runs_of(link, schema, partitions)?;
    key_scan::part(&State { link, schema, runs }, &days, partitions, from, wanted)
}

struct State<'a> {
    link: &'a Link,
    schema: &'a Schema,
    runs: RunsByDay,
}

impl key_scan::Runs for State<'_> {
    type Error = Failure;

    fn keys_count(&self, day: i64, partition: PartitionId) -> Result<u64, Failure> {
        let runs = self.runs.get(&(day, partition)).into_iter().flatten();
        Ok(runs.map(|it| it.keys).sum())
    }

    fn read(&self, slice: Slice, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let runs = self.runs.get(&(slice.day, slice.partition)).map_or(&[][..], Vec::as_slice);
        let mut slices = Slices::default();
        for run in runs {
            slices.push(slice.partition, run.number, (slice.first, slice.last));
        }
        let mut found = read_slices(self.link, self.schema, slice.day, &slices)?;
        for run in runs {
            if let Some(of_run) = found.get_mut(&(slice.partition, run.number)) {
                merges::drop_moved(runs, run, of_run);
                entries.append(of_run);
            }
        }
        Ok(())
    }
}

/// Columns of runs of a day.
#[derive(Default)]
pub(crate) struct RunColumns {
    partitions: Vec<i32>,
    numbers: Vec<i64>,
}

impl RunColumns {
    pub(crate) fn push(&mut self, partition: PartitionId, number: i64) {
        self.partitions.push(partition.0.into());
        self.numbers.push(number);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![param(&self.partitions), param(&self.numbers)]
    }
}

/// Columns of slices of runs of a day.
#[derive(Default)]
pub(crate) struct Slices {
    runs: RunColumns,
    firsts: Vec<Vec<u8>>,
    lasts: Vec<Vec<u8>>,
}

impl Slices {
    /// The keys of a run from the first to the last of these, both included.
    pub(crate) fn push(
        &mut self,
        partition: PartitionId,
        number: i64,
        (first, last): (KeyHash, KeyHash),
    ) {
        self.runs.push(partition, number);
        self.firsts.push(key_bytes(first).to_vec());
        self.lasts.push(key_bytes(last).to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        [self.runs.params(), vec![param(&self.firsts), param(&self.lasts)]].concat()
    }
}

/// What these slices have, run by run, and what their blocks have beside it.
pub(crate) fn read_slices(
    link: &Link,
    schema: &Schema,
    day: i64,
    slices: &Slices,
) -> Result<BTreeMap<(PartitionId, i64), Vec<Entry>>, Failure> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    if slices.is_empty() {
        return Ok(found);
    }
    let select = of_day(
        schema,
        day,
        &format!(
            "SELECT b.first, b.keys, b.partition, b.run
             FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
                AS w(partition, run, first, last)
             JOIN @blocks b ON b.partition = w.partition AND b.run = w.run
                AND b.first <= w.last AND b.first >= coalesce({}, '')",
            block_of("w.first")
        ),
    );
    for row in &link.query(&select, &slices.params())? {
        let run = (partition(link, row, 2)?, link.get(row, 3)?);
        read_block(link, row, found.entry(run).or_default())?;
    }
    Ok(found)
}
