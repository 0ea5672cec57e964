//! Brings records into the views: one transaction of few statements, whatever their number.
//!
//! It begins by comparing each partition's mark with where its records would continue, so a
//! projector whose partition somebody else projects writes nothing at all. All of its statements
//! are sent at once. Its COMMIT is as durable as the journal's: an owner forgets what the views
//! have, and a database that comes back without it would have it answer from older balances.

use crate::{
    block,
    change::{Change, Changes, Posted},
    ends::Ends,
    engine::Projector,
    error::{EngineError, ProjectError},
    key_days,
    postgres::{
        Doors,
        failure::Failure,
        key_writes,
        limits::Purpose,
        link::{Link, param},
        reading::{Reading, Reads, hash, partition},
    },
    views::Views,
};
use ledger::{Chain, Hash, Object, ObjectKey, Record};
use std::{collections::BTreeMap, sync::Arc};
use tokio_postgres::error::SqlState;
use wire::{AccountId, AccountState, Contra, PartitionId, ServiceTag, Timestamp};

/// The projector thread's end of the engine.
pub(crate) struct PostgresProjector {
    doors: Doors,
    link: Link,
    reads: Reads,
    service: ServiceTag,
    /// Set while the views are made again: keys of days before this one are over.
    keys_from: i64,
    writes: Writes,
}

/// The statements of a projection.
struct Writes {
    marks: String,
    read_marks: String,
    external: String,
    posts: String,
    states: String,
    blocks: String,
    objects: String,
}

/// Columns of the marks.
#[derive(Default)]
struct Marks {
    partitions: Vec<i32>,
    seqs_before: Vec<i64>,
    hashes_before: Vec<Vec<u8>>,
    seqs: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    times: Vec<i64>,
}

/// Columns of the external balances.
#[derive(Default)]
struct External {
    partitions: Vec<i32>,
    currencies: Vec<String>,
    balances: Vec<String>,
}

/// Columns of accounts that were posted to.
#[derive(Default)]
struct Posts<'a> {
    partitions: Vec<i32>,
    ids: Vec<&'a str>,
    posted: Vec<i64>,
    versions: Vec<i64>,
    times: Vec<i64>,
    held: Vec<Option<i64>>,
}

/// Columns of accounts that were opened or changed.
#[derive(Default)]
struct States {
    partitions: Vec<i32>,
    ids: Vec<String>,
    currencies: Vec<String>,
    statuses: Vec<i32>,
    posted: Vec<i64>,
    held: Vec<i64>,
    overdraft_limits: Vec<i64>,
    versions: Vec<i64>,
    created: Vec<i64>,
    updated: Vec<i64>,
    metadata: Vec<String>,
}

/// Columns of objects.
#[derive(Default)]
struct Objects {
    partitions: Vec<i32>,
    keys: Vec<Vec<u8>>,
    open: Vec<bool>,
    data: Vec<Vec<u8>>,
}

/// Columns of blocks of postings.
#[derive(Default)]
struct Blocks<'a> {
    partitions: Vec<i32>,
    ids: Vec<&'a str>,
    first_versions: Vec<i64>,
    last_versions: Vec<i64>,
    first_times: Vec<i64>,
    last_times: Vec<i64>,
    counts: Vec<i32>,
    postings: Vec<Vec<u8>>,
}

impl PostgresProjector {
    pub(crate) fn open(doors: &Doors) -> Result<PostgresProjector, EngineError> {
        let (doors, schema, service) = (doors.clone(), &doors.schema, doors.service);
        let writes = Writes {
            marks: schema.sql(
                "UPDATE @marks m SET seq = w.seq, hash = w.hash, time = w.time
                 FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::int8[], $5::bytea[],
                             $6::int8[])
                    AS w(partition, seq_before, hash_before, seq, hash, time)
                 WHERE m.partition = w.partition AND m.seq = w.seq_before
                   AND m.hash = w.hash_before",
            ),
            read_marks: schema
                .sql("SELECT partition, seq, hash FROM @marks WHERE partition = ANY($1)"),
            external: schema.sql(
                "INSERT INTO @external (partition, currency, balance)
                 SELECT partition, currency, balance::numeric
                 FROM unnest($1::int4[], $2::text[], $3::text[]) AS w(partition, currency, balance)
                 ON CONFLICT (partition, currency) DO UPDATE SET balance = excluded.balance",
            ),
            posts: schema.sql(
                "UPDATE @accounts a SET posted = w.posted, version = w.version,
                    updated_at = w.time, held = coalesce(w.held, a.held)
                 FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[])
                    AS w(partition, id, posted, version, time, held)
                 WHERE a.partition = w.partition AND a.id = w.id AND a.version < w.version",
            ),
            states: schema.sql(
                "INSERT INTO @accounts AS a (partition, id, currency, status, posted, held,
                    overdraft_limit, version, created_at, updated_at, metadata)
                 SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::int4[], $5::int8[],
                    $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::text[])
                 ON CONFLICT (partition, id) DO UPDATE SET
                    status = excluded.status, posted = excluded.posted, held = excluded.held,
                    overdraft_limit = excluded.overdraft_limit, version = excluded.version,
                    updated_at = excluded.updated_at, metadata = excluded.metadata
                 WHERE a.version < excluded.version",
            ),
            // What another has projected before is no failure but a mark that has moved, which is
            // looked at when all is sent.
            blocks: schema.sql(
                "INSERT INTO @blocks (account, first_version, last_version, first_time, last_time,
                    count, postings)
                 SELECT a.number, w.first_version, w.last_version, w.first_time, w.last_time,
                    w.count, w.postings
                 FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::int8[],
                             $6::int8[], $7::int4[], $8::bytea[])
                    AS w(partition, id, first_version, last_version, first_time, last_time, count,
                         postings)
                 JOIN @accounts a ON a.partition = w.partition AND a.id = w.id
                 ON CONFLICT (account, first_version) DO NOTHING",
            ),
            // What has ended stays so, whatever comes.
            objects: schema.sql(
                "INSERT INTO @objects AS o (partition, key, open, data)
                 SELECT * FROM unnest($1::int4[], $2::bytea[], $3::bool[], $4::bytea[])
                 ON CONFLICT (partition, key) DO UPDATE SET open = excluded.open,
                    data = excluded.data
                 WHERE o.open",
            ),
        };
        let (link, reads) = (doors.link(Purpose::Project)?, Reads::of(schema));
        Ok(PostgresProjector { link, doors, reads, service, keys_from: i64::MIN, writes })
    }

    /// For a journal that is brought into the views anew, and ends at this time: the keys that are
    /// too old by then are left out.
    pub(crate) fn leave_out_keys_before(&mut self, end: Timestamp) {
        self.keys_from = key_days::first_day(end);
    }

    fn write(&self, ends: &Ends, changes: Changes<'_>) -> Result<(), Stop> {
        let mut accounts: Vec<_> = changes.accounts.into_iter().collect();
        accounts.sort_unstable_by_key(|(key, _)| *key); // The order of the index of ids.
        let (mut posts, mut states, mut blocks) =
            (Posts::default(), States::default(), Blocks::default());
        for ((partition, id), change) in &accounts {
            self.add(*partition, id, change, (&mut posts, &mut states, &mut blocks))?;
        }
        let marks = Marks::of(ends);
        let external = External::of(&changes.external);
        let objects = Objects::of(&changes.objects);
        let (schema, used) = (&self.doors.schema, &changes.keys);
        let keys = key_writes::prepare(&self.link, schema, ends, used, self.keys_from)?;
        let open = self.link.begin("BEGIN")?;
        let ([continued, _, posted, _, stored, _], merged) =
            self.send((&marks, &external, &objects), &posts, &states, &blocks, &keys)?;
        if continued < count(&marks.partitions) {
            drop(open); // What is looked at is what others have left.
            return Err(Stop::Deposed(self.deposed(ends)?));
        }
        if posted != count(&posts.ids) || stored != count(&blocks.ids) {
            let what = "an account of the journal is missing in the views, or too new";
            return Err(Failure::from(self.link.corrupt(what.to_owned())).into());
        }
        if usize::try_from(merged) != Ok(keys.removed_count()) {
            let what = "runs of keys have changed without their partition's mark";
            return Err(Failure::from(self.link.corrupt(what.to_owned())).into());
        }
        Ok(open.commit()?)
    }

    /// What one account's change adds to the columns.
    fn add<'a>(
        &self,
        partition: PartitionId,
        id: &'a AccountId,
        change: &Change<'_>,
        (posts, states, blocks): (&mut Posts<'a>, &mut States, &mut Blocks<'a>),
    ) -> Result<(), Failure> {
        match (&change.patch.state, change.patch.last) {
            (None, None) => return Ok(()),
            // The usual case: postings alone.
            (None, Some(last)) => {
                posts.partitions.push(partition.0.into());
                posts.ids.push(id.as_str());
                posts.posted.push(last.posted);
                posts.versions.push(self.number(last.version)?);
                posts.times.push(last.time.0);
                posts.held.push(last.held);
            }
            (Some(_), _) => {
                let state = change.patch.apply(None);
                let state = state.ok_or_else(|| self.link.corrupt("no state".to_owned()))?;
                let version = self.number(state.version)?;
                states.push(partition, state, version);
            }
        }
        let mut rest = &change.postings[..];
        while !rest.is_empty() {
            let (taken, data) = block_of(rest);
            let (these, others) = rest.split_at(taken);
            rest = others;
            let (Some(first), Some(last)) = (these.first(), these.last()) else { break };
            blocks.partitions.push(partition.0.into());
            blocks.ids.push(id.as_str());
            blocks.first_versions.push(self.number(first.version)?);
            blocks.last_versions.push(self.number(last.version)?);
            blocks.first_times.push(first.time.0);
            blocks.last_times.push(last.time.0);
            blocks.counts.push(i32::try_from(taken).expect("at most BLOCK_POSTINGS_MAX"));
            blocks.postings.push(data);
        }
        Ok(())
    }

    /// How many rows each of the statements changed, and how many runs of keys were taken away. One
    /// that has none to bring is not sent: the database would parse and plan it for nothing.
    fn send(
        &self,
        (marks, external, objects): (&Marks, &External, &Objects),
        posts: &Posts<'_>,
        states: &States,
        blocks: &Blocks<'_>,
        keys: &key_writes::Writes,
    ) -> Result<([u64; 6], u64), Failure> {
        let rows = [
            marks.partitions.len(),
            external.partitions.len(),
            posts.partitions.len(),
            states.partitions.len(),
            blocks.partitions.len(),
            objects.partitions.len(),
        ];
        let marks = [
            param(&marks.partitions),
            param(&marks.seqs_before),
            param(&marks.hashes_before),
            param(&marks.seqs),
            param(&marks.hashes),
            param(&marks.times),
        ];
        let external =
            [param(&external.partitions), param(&external.currencies), param(&external.balances)];
        let posts = [
            param(&posts.partitions),
            param(&posts.ids),
            param(&posts.posted),
            param(&posts.versions),
            param(&posts.times),
            param(&posts.held),
        ];
        let states = [
            param(&states.partitions),
            param(&states.ids),
            param(&states.currencies),
            param(&states.statuses),
            param(&states.posted),
            param(&states.held),
            param(&states.overdraft_limits),
            param(&states.versions),
            param(&states.created),
            param(&states.updated),
            param(&states.metadata),
        ];
        let blocks = [
            param(&blocks.partitions),
            param(&blocks.ids),
            param(&blocks.first_versions),
            param(&blocks.last_versions),
            param(&blocks.first_times),
            param(&blocks.last_times),
            param(&blocks.counts),
            param(&blocks.postings),
        ];
        let objects = [
            param(&objects.partitions),
            param(&objects.keys),
            param(&objects.open),
            param(&objects.data),
        ];
        let of_keys = keys.statements();
        let views: [(&str, &[_]); 6] = [
            (&self.writes.marks, &marks),
            (&self.writes.external, &external),
            (&self.writes.posts, &posts),
            (&self.writes.states, &states),
            (&self.writes.blocks, &blocks),
            (&self.writes.objects, &objects),
        ];
        let some = rows.map(|count| 0 < count);
        let mut batch: Vec<_> =
            views.into_iter().zip(some).filter_map(|(it, is_some)| is_some.then_some(it)).collect();
        batch.extend(of_keys.iter().map(|(sql, params)| (*sql, &params[..])));
        let mut changed = self.link.pipeline(&batch)?.into_iter();
        let mut rows_of = |is_some| if is_some { changed.next().unwrap_or_default() } else { 0 };
        let of_views = some.map(&mut rows_of);
        Ok((of_views, rows_of(0 < keys.removed_count())))
    }

    /// The partitions whose marks are not where these records continue.
    fn deposed(&self, ends: &Ends) -> Result<Vec<PartitionId>, Failure> {
        let wanted: Vec<i32> = ends.partitions.keys().map(|it| it.0.into()).collect();
        let mut deposed: Vec<PartitionId> = ends.partitions.keys().copied().collect();
        for row in &self.link.query(&self.writes.read_marks, &[param(&wanted)])? {
            let (id, seq) = (partition(&self.link, row, 0)?, self.link.get::<i64>(row, 1)?);
            let hash = hash(&self.link, row, 2)?;
            let is_next = ends.partitions.get(&id).is_some_and(|(before, _)| {
                i64::try_from(before.seq.0) == Ok(seq) && before.hash == hash
            });
            deposed.retain(|it| *it != id || !is_next);
        }
        Ok(deposed)
    }

    /// A number of the journal as the database has numbers.
    fn number(&self, number: u64) -> Result<i64, Failure> {
        let what = || self.link.corrupt("a number is beyond 2^63".to_owned());
        i64::try_from(number).map_err(|_| what().into())
    }
}

/// Why nothing was projected.
enum Stop {
    Deposed(Vec<PartitionId>),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl Projector for PostgresProjector {
    fn project(&mut self, records: &[(Arc<Record>, Hash)]) -> Result<(), ProjectError> {
        let ends = Ends::of(records, || self.link.place().to_owned())?;
        let write = || self.write(&ends, Changes::of(records, self.service));
        let done = match write() {
            // The table of a day was dropped by whoever is a day ahead.
            Err(Stop::Failed(failure)) if failure.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                write()
            }
            done => done,
        };
        done.map_err(|stop| match stop {
            Stop::Deposed(partitions) => ProjectError::Deposed(partitions),
            Stop::Failed(failure) => self.link.told(failure).into(),
        })
    }

    fn watermark(&mut self, partition: PartitionId) -> Result<Chain, EngineError> {
        Reading::plain(&self.link, &self.reads).mark(partition)
    }
}

impl Marks {
    fn of(ends: &Ends) -> Marks {
        let mut marks = Marks::default();
        let number = |it: u64| i64::try_from(it).unwrap_or(-1); // No mark is there.
        for (partition, (before, after)) in &ends.partitions {
            marks.partitions.push(partition.0.into());
            marks.seqs_before.push(number(before.seq.0));
            marks.hashes_before.push(before.hash.0.to_vec());
            marks.seqs.push(number(after.seq.0));
            marks.hashes.push(after.hash.0.to_vec());
            marks.times.push(after.time.0);
        }
        marks
    }
}

impl External {
    fn of(balances: &BTreeMap<(PartitionId, Contra), i128>) -> External {
        let mut external = External::default();
        for ((partition, contra), balance) in balances {
            external.partitions.push(partition.0.into());
            external.currencies.push(contra.to_string());
            external.balances.push(balance.to_string());
        }
        external
    }
}

impl Objects {
    fn of(changed: &BTreeMap<(PartitionId, ObjectKey), Object>) -> Objects {
        let mut objects = Objects::default();
        for ((partition, key), object) in changed {
            let mut data = Vec::new();
            object.encode(&mut data);
            objects.partitions.push(partition.0.into());
            objects.keys.push(key.bytes().to_vec());
            objects.open.push(object.is_open());
            objects.data.push(data);
        }
        objects
    }
}

impl States {
    fn push(&mut self, partition: PartitionId, state: AccountState, version: i64) {
        self.partitions.push(partition.0.into());
        self.ids.push(state.id.as_str().to_owned());
        self.currencies.push(state.currency.code().to_string());
        self.statuses.push((state.status as u8).into());
        self.posted.push(state.posted);
        self.held.push(state.held);
        self.overdraft_limits.push(state.overdraft_limit);
        self.versions.push(version);
        self.created.push(state.created_at.0);
        self.updated.push(state.updated_at.0);
        self.metadata.push(state.metadata.into());
    }
}

/// The first postings as one block, and how many they are.
fn block_of(postings: &[Posted<'_>]) -> (usize, Vec<u8>) {
    let mut data = Vec::new();
    let mut taken = 0;
    for posted in postings.iter().take(block::BLOCK_POSTINGS_MAX) {
        block::encode(posted, &mut data);
        taken += 1;
        if block::BLOCK_BYTES_MAX <= data.len() {
            break;
        }
    }
    (taken, data)
}

fn count<T>(rows: &[T]) -> u64 {
    u64::try_from(rows.len()).expect("a count fits 64 bits")
}
