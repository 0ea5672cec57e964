//! What an account node tells on its admin address.

use crate::{
    AccountConfig,
    executor::{Executor, PATIENCE, UNPROJECTED_MAX, WAITING_MAX},
    steward::{Word, Words},
};
use ledger::Partition;
use net::{
    admin::{Exposition, Source},
    agent::beat::SelfCheck,
    clock,
    counters::Counter,
};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};
use stdx::Moment;
use wire::{Epoch, PartitionId, Seq, Timestamp};

/// Age of the oldest unfinished commit at which the node says that it is slow, and not well.
const COMMIT_WARN_MS: u64 = 2_000;
const COMMIT_FAIL_MS: u64 = 5_000;
/// Percent of the calls that may wait.
const QUEUE_WARN: u64 = 50;
const QUEUE_FAIL: u64 = 90;
/// Percent of what the projector may be behind; at all of it batches wait, which shows elsewhere.
const VIEWS_WARN: u64 = 80;

/// Written by the executor's thread, read by the admin thread.
#[derive(Debug)]
pub(crate) struct Status {
    service: String,
    partitions: u16,
    ready: Counter,
    /// Calls that were not let in at all.
    not_let_in: Counter,
    /// Of each engine's executor.
    engines: Vec<Numbers>,
    /// Written when a partition comes or goes, and with each projection: never on a request's path.
    owned: Mutex<Vec<Row>>,
    moves: Mutex<VecDeque<Move>>,
    /// The way to each engine's lease thread, once there is one.
    words: OnceLock<Vec<Words>>,
}

/// What the executor over one engine has done, and how it is.
#[derive(Debug, Default)]
struct Numbers {
    commands: Counter,
    queries: Counter,
    shed: Counter,
    batches: Counter,
    records: Counter,
    waiting: Counter,
    unprojected: Counter,
    /// When the commit began that has not ended yet, in nanoseconds of the process's clock and at
    /// least 1; 0 between commits.
    commit_since: Counter,
    /// Since when the engine has been away, as `commit_since`; 0 while it is there.
    away_since: Counter,
}

/// Moves of partitions that are remembered.
const MOVES_MAX: usize = 32;

/// Longest name of a node in an order.
const NAME_BYTES_MAX: usize = 64;

/// A partition of this node.
#[derive(Clone, Copy, Debug)]
struct Row {
    partition: PartitionId,
    epoch: Epoch,
    since: Moment,
    /// The last record, when last looked at.
    head: Seq,
    /// The last record in the views.
    projected: Seq,
}

/// A partition that came or went.
#[derive(Clone, Debug)]
struct Move {
    at: Timestamp,
    partition: PartitionId,
    epoch: Epoch,
    what: &'static str,
    /// The other node, if there is one and it has a name.
    peer: Option<Box<str>>,
}

impl Status {
    pub(crate) fn new(config: &AccountConfig) -> Status {
        Status {
            service: config.service.clone(),
            partitions: config.partitions,
            ready: Counter::default(),
            not_let_in: Counter::default(),
            engines: config.engines.iter().map(|_| Numbers::default()).collect(),
            owned: Mutex::default(),
            moves: Mutex::default(),
            words: OnceLock::new(),
        }
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.set(u64::from(ready));
    }

    pub(crate) fn set_words(&self, words: Vec<Words>) {
        // Set once: a process has one lease thread for each engine.
        drop(self.words.set(words));
    }

    /// What is owned in the engine at this place, and how far each journal and its views are.
    pub(crate) fn set_owned<'a>(&self, place: usize, owned: impl Iterator<Item = &'a Partition>) {
        let mut rows = self.owned();
        let now = clock::now();
        let is_its = |row: &mut Row| usize::from(row.partition.0) % self.engines.len() == place;
        let before: Vec<Row> = rows.extract_if(.., is_its).collect();
        rows.extend(owned.map(|it| {
            let (partition, epoch) = (it.id(), it.epoch());
            let known = before.iter().find(|row| (row.partition, row.epoch) == (partition, epoch));
            let since = known.map_or(now, |row| row.since);
            Row { partition, epoch, since, head: it.chain().seq, projected: it.watermark() }
        }));
        rows.sort_unstable_by_key(|row| row.partition);
    }

    /// Remembers that a partition was `taken`, or `given` to `peer`.
    pub(crate) fn moved(
        &self,
        partition: PartitionId,
        epoch: Epoch,
        what: &'static str,
        peer: Option<&str>,
    ) {
        let mut moves = self.moves();
        moves.truncate(MOVES_MAX - 1);
        let (at, peer) = (clock::wall(), peer.map(Into::into));
        moves.push_front(Move { at, partition, epoch, what, peer });
    }

    pub(crate) fn update<T>(&self, place: usize, executor: &Executor<T>, not_let_in: u64) {
        let (counters, it) = (&executor.counters, &self.engines[place]);
        it.commands.set(counters.commands);
        it.queries.set(counters.queries);
        it.shed.set(counters.shed);
        it.batches.set(counters.batches);
        it.records.set(counters.records);
        it.waiting.set(executor.waiting_count() as u64);
        it.unprojected.set(executor.unprojected_count() as u64);
        it.away_since.set(executor.away_since().map_or(0, |since| since.as_nanos().max(1)));
        self.not_let_in.set(not_let_in);
    }

    /// Over all engines.
    fn sum(&self, of: impl Fn(&Numbers) -> &Counter) -> u64 {
        self.engines.iter().map(|it| of(it).get()).sum()
    }

    /// Of the engine where it is the most.
    fn most(&self, of: impl Fn(&Numbers) -> u64) -> u64 {
        self.engines.iter().map(of).max().unwrap_or(0)
    }

    fn shed(&self) -> u64 {
        self.sum(|it| &it.shed) + self.not_let_in.get()
    }

    /// A batch waits for its turn at the engine, or is being written.
    pub(crate) fn commit_began(&self, place: usize, now: Moment) {
        self.engines[place].commit_since.set(now.as_nanos().max(1));
    }

    pub(crate) fn commit_ended(&self, place: usize) {
        self.engines[place].commit_since.set(0);
    }

    fn owned(&self) -> MutexGuard<'_, Vec<Row>> {
        // A list that is replaced whole is sound whoever panicked.
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moves(&self) -> MutexGuard<'_, VecDeque<Move>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long something has lasted that began at a counter's moment; 0 when it has not.
fn age_ms(since: &Counter, now: Moment) -> u64 {
    let age = match since.get() {
        0 => 0,
        since => now.since(Moment::from_nanos(since)).as_millis(),
    };
    u64::try_from(age).unwrap_or(u64::MAX)
}

impl Source for Status {
    fn readiness(&self) -> Result<(), String> {
        if self.ready.get() == 1 {
            Ok(())
        } else {
            Err("it loads its partitions, or drains".to_owned())
        }
    }

    /// A node whose commits hang is not well, however lively the rest of it is.
    fn checks(&self, now: Moment, out: &mut Vec<SelfCheck>) {
        let age = self.most(|it| age_ms(&it.commit_since, now));
        out.push(SelfCheck::limit("commit", age, COMMIT_WARN_MS, COMMIT_FAIL_MS, "ms unfinished"));
        let away = self.most(|it| age_ms(&it.away_since, now));
        let given_up = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        out.push(SelfCheck::limit("engine", away, 1, given_up, "ms out of reach"));
        let share = |count: u64, most: usize| count * 100 / (most as u64);
        let waiting = share(self.most(|it| it.waiting.get()), WAITING_MAX);
        out.push(SelfCheck::limit("queue", waiting, QUEUE_WARN, QUEUE_FAIL, "% full"));
        let behind = share(self.most(|it| it.unprojected.get()), UNPROJECTED_MAX);
        out.push(SelfCheck::limit("views", behind, VIEWS_WARN, u64::MAX, "% of the lag allowed"));
    }

    fn metrics(&self, out: &mut Exposition) {
        let owned = self.owned().len() as u64;
        out.counter(
            "account_commands_total",
            "Commands received.",
            &[(&[], self.sum(|it| &it.commands))],
        );
        out.counter(
            "account_queries_total",
            "Queries received.",
            &[(&[], self.sum(|it| &it.queries))],
        );
        out.counter("account_shed_total", "Calls refused as overloaded.", &[(&[], self.shed())]);
        out.counter(
            "account_batches_total",
            "Engine transactions.",
            &[(&[], self.sum(|it| &it.batches))],
        );
        out.counter(
            "account_records_total",
            "Journal records.",
            &[(&[], self.sum(|it| &it.records))],
        );
        out.gauge(
            "account_waiting",
            "Calls not answered yet.",
            &[(&[], self.sum(|it| &it.waiting))],
        );
        out.gauge(
            "account_unprojected",
            "Commands not in the views yet.",
            &[(&[], self.sum(|it| &it.unprojected))],
        );
        out.gauge(
            "account_engine_away_ms",
            "How long the engine has been out of reach; 0 while it is there.",
            &[(&[], self.most(|it| age_ms(&it.away_since, clock::now())))],
        );
        out.gauge("account_partitions", "Partitions owned.", &[(&[], owned)]);
    }

    fn status(&self) -> String {
        let now = clock::now();
        let row = |row: &Row| {
            let age = now.since(row.since).as_millis();
            format!(
                r#"{{"partition":{},"epoch":{},"age_ms":{age},"head":{},"projected":{}}}"#,
                row.partition.0, row.epoch.0, row.head.0, row.projected.0
            )
        };
        let partitions: Vec<String> = self.owned().iter().map(row).collect();
        let one = |it: &Move| {
            // Names are letters, digits and hyphens.
            let peer = it.peer.as_ref().map(|peer| format!(r#","peer":"{peer}""#));
            format!(
                r#"{{"at":"{}","partition":{},"epoch":{},"what":"{}"{}}}"#,
                it.at,
                it.partition.0,
                it.epoch.0,
                it.what,
                peer.unwrap_or_default()
            )
        };
        let moves: Vec<String> = self.moves().iter().map(one).collect();
        format!(
            concat!(
                r#"{{"role":"account","service":"{}","partitions_count":{},"ready":{},"requests":{},"commands":{},"queries":{},"#,
                r#""batches":{},"records":{},"shed":{},"waiting":{},"unprojected":{},"#,
                r#""partitions":[{}],"moves":[{}]}}"#
            ),
            self.service,
            self.partitions,
            self.ready.get() == 1,
            self.sum(|it| &it.commands) + self.sum(|it| &it.queries),
            self.sum(|it| &it.commands),
            self.sum(|it| &it.queries),
            self.sum(|it| &it.batches),
            self.sum(|it| &it.records),
            self.shed(),
            self.sum(|it| &it.waiting),
            self.sum(|it| &it.unprojected),
            partitions.join(","),
            moves.join(","),
        )
    }
    /// `/admin/partitions/N/NODE` keeps a partition at a node, `/admin/partitions/N` where it
    /// belongs.
    fn order(&self, path: &str) -> Option<Result<(), String>> {
        let rest = path.strip_prefix("/admin/partitions/")?;
        let (number, node) =
            rest.split_once('/').map_or((rest, None), |(number, node)| (number, Some(node)));
        let partition = number.parse().ok().map(PartitionId)?;
        if self.partitions <= partition.0 {
            return Some(Err(format!("there are {} partitions, from 0", self.partitions)));
        }
        // A name that no node has is kept, and does nothing until one has it.
        let is_name = |it: &str| {
            (1..=NAME_BYTES_MAX).contains(&it.len())
                && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if let Some(node) = node.filter(|node| !is_name(node)) {
            return Some(Err(format!("no node is called {node:?}")));
        }
        let all = self.words.get();
        let words = all.and_then(|all| all.get(usize::from(partition.0) % all.len().max(1)));
        let Some(words) = words else {
            return Some(Err("the node is not ready yet".to_owned()));
        };
        words.tell(Word::Pin(partition, node.map(Into::into)));
        Some(Ok(()))
    }
}
