//! What a projection changes of clients' keys: a run of those that are new, and a step of a merge.

use crate::{
    change::Used,
    ends::Ends,
    key_days::{ByDay, by_day},
    merges::{self, Step},
    postgres::{
        failure::Failure,
        keys::{corrupt, create, days, forget, read_block, runs_of, table},
        link::{Link, Param, param},
        reading::partition,
        schema::Schema,
    },
    runs::{self, Entry, key_bytes},
};
use std::collections::BTreeMap;
use wire::{KeyHash, PartitionId};

/// What a projection changes, to be sent in one transaction with the marks.
///
/// What another has projected before is no failure of these statements but a mark that has moved,
/// which is looked at when all is sent.
pub(crate) struct Writes {
    days: Vec<OfDay>,
    remove_runs: String,
    begin_runs: String,
    add_runs: String,
    removed: RunRows,
    begun: RunRows,
    targets: Vec<i64>,
    added: RunRows,
    keys: Vec<i64>,
    merged: Vec<Option<Vec<u8>>>,
}

/// The blocks of one day.
struct OfDay {
    remove: String,
    shorten: String,
    add: String,
    removed: RunColumns,
    shortened: Slices,
    blocks: Blocks,
}

/// Columns of runs of a day.
#[derive(Default)]
struct RunColumns {
    partitions: Vec<i32>,
    numbers: Vec<i64>,
}

/// Columns of slices of runs of a day.
#[derive(Default)]
struct Slices {
    runs: RunColumns,
    firsts: Vec<Vec<u8>>,
    lasts: Vec<Vec<u8>>,
}

/// Columns of runs.
#[derive(Default)]
struct RunRows {
    days: Vec<i64>,
    runs: RunColumns,
}

/// Columns of blocks.
#[derive(Default)]
struct Blocks {
    runs: RunColumns,
    firsts: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
}

/// What becomes of a partition's runs.
struct Planned {
    partition: PartitionId,
    fresh: Vec<Entry>,
    step: Option<Step>,
}

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
    let steps = merges::plan(&runs.collect::<Vec<_>>());
    let mut planned: BTreeMap<i64, Vec<Planned>> = BTreeMap::new();
    for (((day, partition), fresh), step) in groups.into_iter().zip(steps) {
        planned.entry(day).or_default().push(Planned { partition, fresh, step });
    }
    for (day, partitions) in planned {
        if !existing.contains(&day) {
            create(link, schema, day)?;
        }
        let mut of_day = OfDay::of(schema, day);
        let mut moved = read_slices(link, schema, day, &partitions)?;
        for Planned { partition, mut fresh, step } in partitions {
            let number = ends.run_number(partition).map_err(flawed)?;
            runs::settle(&mut fresh);
            writes.put(&mut of_day, (day, partition, number), &fresh, None);
            if let Some(step) = step {
                let mut entries = moved.remove(&partition).unwrap_or_default();
                entries.retain(|it| (step.first..=step.last).contains(&it.key));
                runs::settle(&mut entries);
                writes.merge(&mut of_day, (day, partition, -number), &step, &entries);
            }
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
            begin_runs: schema.sql(
                "UPDATE @key_run r SET target = w.target
                 FROM unnest($1::int8[], $2::int4[], $3::int8[], $4::int8[])
                    AS w(day, partition, number, target)
                 WHERE r.day = w.day AND r.partition = w.partition AND r.number = w.number",
            ),
            add_runs: schema.sql(
                "INSERT INTO @key_run AS r (day, partition, number, keys, merged)
                 SELECT * FROM unnest($1::int8[], $2::int4[], $3::int8[], $4::int8[], $5::bytea[])
                 ON CONFLICT (partition, day, number)
                 DO UPDATE SET keys = r.keys + excluded.keys, merged = excluded.merged",
            ),
            removed: RunRows::default(),
            begun: RunRows::default(),
            targets: Vec::new(),
            added: RunRows::default(),
            keys: Vec::new(),
            merged: Vec::new(),
        }
    }

    /// Settled keys: all of a run, or the next ones of a run that is the target of a merge.
    fn put(
        &mut self,
        of_day: &mut OfDay,
        (day, partition, number): (i64, PartitionId, i64),
        entries: &[Entry],
        merged: Option<KeyHash>,
    ) {
        for (first, block) in runs::blocks(entries) {
            of_day.blocks.runs.push(partition, number);
            of_day.blocks.firsts.push(first.to_vec());
            of_day.blocks.keys.push(block);
        }
        self.added.push(day, partition, number);
        self.keys.push(i64::try_from(entries.len()).expect("a count fits 63 bits"));
        self.merged.push(merged.map(|key| key_bytes(key).to_vec()));
    }

    /// `entries`: what the step moves, settled. `begins`: the number of the target, where the merge
    /// begins here.
    fn merge(
        &mut self,
        of_day: &mut OfDay,
        (day, partition, begins): (i64, PartitionId, i64),
        step: &Step,
        entries: &[Entry],
    ) {
        let target = step.target.unwrap_or(begins);
        self.put(of_day, (day, partition, target), entries, step.merged());
        for input in &step.inputs {
            if step.is_last() {
                of_day.removed.push(partition, *input);
                self.removed.push(day, partition, *input);
                continue;
            }
            of_day.shortened.push(partition, *input, step);
            if step.target.is_none() {
                self.begun.push(day, partition, *input);
                self.targets.push(target);
            }
        }
    }

    /// The statements. The first of them takes [`Writes::removed_count`] rows away, if that is any.
    pub(crate) fn statements(&self) -> Vec<(&str, Vec<Param<'_>>)> {
        let of_runs = [
            (&self.remove_runs, &self.removed, Vec::new()),
            (&self.begin_runs, &self.begun, vec![param(&self.targets)]),
            (&self.add_runs, &self.added, vec![param(&self.keys), param(&self.merged)]),
        ];
        let of_runs = of_runs
            .into_iter()
            .filter(|(_, runs, _)| !runs.days.is_empty())
            .map(|(sql, runs, more)| (&**sql, [runs.params(), more].concat()));
        of_runs.chain(self.days.iter().flat_map(OfDay::statements)).collect()
    }

    /// How many runs are taken away.
    pub(crate) fn removed_count(&self) -> usize {
        self.removed.days.len()
    }
}

impl OfDay {
    fn of(schema: &Schema, day: i64) -> OfDay {
        let of_day = |text: &str| schema.sql(&text.replace("@blocks", &format!("@{}", table(day))));
        OfDay {
            remove: of_day(
                "DELETE FROM @blocks b USING unnest($1::int4[], $2::int8[]) AS w(partition, run)
                 WHERE b.partition = w.partition AND b.run = w.run",
            ),
            // Its last block that begins in the slice may have keys behind it. Blocks before the
            // slice are gone, but not yet from the index: they are not to be looked at again.
            shorten: of_day(
                "DELETE FROM @blocks b
                 USING unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
                    AS w(partition, run, first, last)
                 WHERE b.partition = w.partition AND b.run = w.run AND b.first < (
                    SELECT c.first FROM @blocks c
                    WHERE c.partition = w.partition AND c.run = w.run AND c.first <= w.last
                    ORDER BY c.first DESC LIMIT 1
                 ) AND b.first >= coalesce((
                    SELECT c.first FROM @blocks c
                    WHERE c.partition = w.partition AND c.run = w.run AND c.first <= w.first
                    ORDER BY c.first DESC LIMIT 1
                 ), '')",
            ),
            add: of_day(
                "INSERT INTO @blocks (partition, run, first, keys)
                 SELECT * FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
                 ON CONFLICT (partition, run, first) DO NOTHING",
            ),
            removed: RunColumns::default(),
            shortened: Slices::default(),
            blocks: Blocks::default(),
        }
    }

    fn statements(&self) -> impl Iterator<Item = (&str, Vec<Param<'_>>)> {
        let (gone, Blocks { runs, firsts, keys }) = (&self.shortened, &self.blocks);
        let of_blocks = [
            (&self.remove, &self.removed, Vec::new()),
            (&self.shorten, &gone.runs, vec![param(&gone.firsts), param(&gone.lasts)]),
            (&self.add, runs, vec![param(firsts), param(keys)]),
        ];
        of_blocks
            .into_iter()
            .filter(|(_, runs, _)| !runs.numbers.is_empty())
            .map(|(sql, runs, more)| (&**sql, [runs.params(), more].concat()))
    }
}

impl RunColumns {
    fn push(&mut self, partition: PartitionId, number: i64) {
        self.partitions.push(partition.0.into());
        self.numbers.push(number);
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![param(&self.partitions), param(&self.numbers)]
    }
}

impl Slices {
    fn push(&mut self, partition: PartitionId, number: i64, step: &Step) {
        self.runs.push(partition, number);
        self.firsts.push(key_bytes(step.first).to_vec());
        self.lasts.push(key_bytes(step.last).to_vec());
    }
}

impl RunRows {
    fn push(&mut self, day: i64, partition: PartitionId, number: i64) {
        self.days.push(day);
        self.runs.push(partition, number);
    }

    fn params(&self) -> Vec<Param<'_>> {
        [vec![param(&self.days)], self.runs.params()].concat()
    }
}

/// What the inputs of merges have of their slices, and what their blocks have beside it.
fn read_slices(
    link: &Link,
    schema: &Schema,
    day: i64,
    partitions: &[Planned],
) -> Result<BTreeMap<PartitionId, Vec<Entry>>, Failure> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    let mut slices = Slices::default();
    for Planned { partition, step, .. } in partitions {
        for (step, input) in step.iter().flat_map(|it| it.inputs.iter().map(move |run| (it, run))) {
            slices.push(*partition, *input, step);
        }
    }
    let Slices { runs, firsts, lasts } = slices;
    if runs.numbers.is_empty() {
        return Ok(found);
    }
    let select = schema.sql(&format!(
        "SELECT b.first, b.keys, b.partition
         FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
            AS w(partition, run, first, last)
         JOIN @{0} b ON b.partition = w.partition AND b.run = w.run AND b.first <= w.last
            AND b.first >= coalesce((
                SELECT c.first FROM @{0} c
                WHERE c.partition = w.partition AND c.run = w.run AND c.first <= w.first
                ORDER BY c.first DESC LIMIT 1
            ), '')",
        table(day)
    ));
    let params = [runs.params(), vec![param(&firsts), param(&lasts)]].concat();
    for row in &link.query(&select, &params)? {
        read_block(link, row, found.entry(partition(link, row, 2)?).or_default())?;
    }
    Ok(found)
}
