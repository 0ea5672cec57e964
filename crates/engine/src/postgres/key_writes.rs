//! What a projection changes of clients' keys: a run of those that are new, and a step of a merge.

use crate::{
    change::Used,
    ends::Ends,
    key_days::{ByDay, by_day},
    merges::{self, Step},
    postgres::{
        failure::Failure,
        key_reads::{RunColumns, Slices, read_slices},
        keys::{block_of, corrupt, create, days, forget, of_day, runs_of},
        link::{Link, Param, param},
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
        let steps = partitions.iter().filter_map(|it| Some((it.partition, it.step.as_ref()?)));
        let mut slices = Slices::default();
        for (partition, step) in steps {
            for input in &step.inputs {
                slices.push(partition, *input, (step.first, step.last));
            }
        }
        let mut moved = read_slices(link, schema, day, &slices)?;
        for Planned { partition, mut fresh, step } in partitions {
            let number = ends.run_number(partition).map_err(flawed)?;
            runs::settle(&mut fresh);
            writes.put(&mut of_day, (day, partition, number), &fresh, None);
            if let Some(step) = step {
                let inputs = step.inputs.iter().filter_map(|it| moved.remove(&(partition, *it)));
                let mut entries: Vec<Entry> = inputs.flatten().collect();
                step.settle(&mut entries);
                writes.merge(&mut of_day, (day, partition, number), &step, &entries);
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

    /// `entries`: what the step moves, settled. `number`: of the run that this projection writes.
    fn merge(
        &mut self,
        of_day: &mut OfDay,
        (day, partition, number): (i64, PartitionId, i64),
        step: &Step,
        entries: &[Entry],
    ) {
        let target = step.target_number(number);
        self.put(of_day, (day, partition, target), entries, step.merged());
        for input in &step.inputs {
            if step.is_last() {
                of_day.removed.push(partition, *input);
                self.removed.push(day, partition, *input);
                continue;
            }
            of_day.shortened.push(partition, *input, (step.first, step.last));
            if step.target.is_none() {
                self.begun.push(day, partition, *input);
                self.targets.push(target);
            }
        }
    }

    /// The statements. The first of them takes [`Writes::removed_count`] rows away, if that is any.
    pub(crate) fn statements(&self) -> Vec<(&str, Vec<Param<'_>>)> {
        let begun = [self.begun.params(), vec![param(&self.targets)]].concat();
        let added = [self.added.params(), vec![param(&self.keys), param(&self.merged)]].concat();
        let of_runs = with_rows([
            (&self.remove_runs, self.removed.is_empty(), self.removed.params()),
            (&self.begin_runs, self.begun.is_empty(), begun),
            (&self.add_runs, self.added.is_empty(), added),
        ]);
        of_runs.chain(self.days.iter().flat_map(OfDay::statements)).collect()
    }

    /// How many runs are taken away.
    pub(crate) fn removed_count(&self) -> usize {
        self.removed.days.len()
    }
}

impl OfDay {
    fn of(schema: &Schema, day: i64) -> OfDay {
        let of_day = |text: &str| of_day(schema, day, text);
        OfDay {
            remove: of_day(
                "DELETE FROM @blocks b USING unnest($1::int4[], $2::int8[]) AS w(partition, run)
                 WHERE b.partition = w.partition AND b.run = w.run",
            ),
            // Its last block that begins in the slice may have keys behind it. Blocks before the
            // slice are gone, but not yet from the index: they are not to be looked at again.
            shorten: of_day(&format!(
                "DELETE FROM @blocks b
                 USING unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[])
                    AS w(partition, run, first, last)
                 WHERE b.partition = w.partition AND b.run = w.run
                    AND b.first < {} AND b.first >= coalesce({}, '')",
                block_of("w.last"),
                block_of("w.first"),
            )),
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
        let Blocks { runs, firsts, keys } = &self.blocks;
        let added = [runs.params(), vec![param(firsts), param(keys)]].concat();
        with_rows([
            (&self.remove, self.removed.is_empty(), self.removed.params()),
            (&self.shorten, self.shortened.is_empty(), self.shortened.params()),
            (&self.add, runs.is_empty(), added),
        ])
    }
}

/// Of these statements, each with whether it has no rows to bring, those that have some.
fn with_rows<'a>(
    statements: [(&'a str, bool, Vec<Param<'a>>); 3],
) -> impl Iterator<Item = (&'a str, Vec<Param<'a>>)> {
    let with_rows = statements.into_iter().filter(|(_, is_empty, _)| !is_empty);
    with_rows.map(|(sql, _, params)| (sql, params))
}

impl RunRows {
    fn push(&mut self, day: i64, partition: PartitionId, number: i64) {
        self.days.push(day);
        self.runs.push(partition, number);
    }

    fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn params(&self) -> Vec<Param<'_>> {
        [vec![param(&self.days)], self.runs.params()].concat()
    }
}
