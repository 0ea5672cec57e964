//! Looks for clients' keys in their runs, and reads all of them.

use crate::{
    engine::{KeyMark, KeyPlace},
    key_scan::{self, Part, Slice},
    merges,
    postgres::{
        failure::Failure,
        keys::{RunsByDay, corrupt, days, read_block, runs_of, table},
        link::{Link, param},
        schema::Schema,
    },
    runs::{self, Entry, key_bytes},
};
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
        let select = self.schema.sql(&format!(
            "SELECT b.first, b.keys, b.run FROM @key_run r JOIN @{0} b
                ON b.partition = r.partition AND b.run = r.number
             WHERE r.day = $1 AND r.partition = $2 AND b.first <= $4
                AND b.first >= coalesce((
                    SELECT c.first FROM @{0} c
                    WHERE c.partition = r.partition AND c.run = r.number AND c.first <= $3
                    ORDER BY c.first DESC LIMIT 1
                ), '')",
            table(slice.day)
        ));
        let (first, last) = (key_bytes(slice.first).to_vec(), key_bytes(slice.last).to_vec());
        let of = i32::from(slice.partition.0);
        let params = [param(&slice.day), param(&of), param(&first), param(&last)];
        let runs = self.runs.get(&(slice.day, slice.partition)).map_or(&[][..], Vec::as_slice);
        for row in &self.link.query(&select, &params)? {
            let from = entries.len();
            read_block(self.link, row, entries)?;
            let number: i64 = self.link.get(row, 2)?;
            let run = runs.iter().find(|it| it.number == number);
            run.into_iter().for_each(|run| merges::drop_moved(runs, run, from, entries));
        }
        Ok(())
    }
}
