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
    /// Written when a partition comes or goes, and with each projection: never on a request's path.
    owned: Mutex<Vec<Row>>,
    moves: Mutex<VecDeque<Move>>,
    /// The way to the lease thread, once there is one.
    words: OnceLock<Words>,
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
            commands: Counter::default(),
            queries: Counter::default(),
            shed: Counter::default(),
            batches: Counter::default(),
            records: Counter::default(),
            waiting: Counter::default(),
            unprojected: Counter::default(),
            commit_since: Counter::default(),
            away_since: Counter::default(),
            owned: Mutex::default(),
            moves: Mutex::default(),
            words: OnceLock::new(),
        }
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.set(u64::from(ready));
    }

    pub(crate) fn set_words(&self, words: Words) {
        // Set once: a process has one lease thread.
        drop(self.words.set(words));
    }

    /// What is owned, and how far each journal and its views are.
    pub(crate) fn set_owned<'a>(&self, owned: impl Iterator<Item = &'a Partition>) {
        let mut rows = self.owned();
        let (before, now) = (std::mem::take(&mut *rows), clock::now());
        rows.extend(owned.map(|it| {
            let (partition, epoch) = (it.id(), it.epoch());
            let known = before.iter().find(|row| (row.partition, row.epoch) == (partition, epoch));
            let since = known.map_or(now, |row| row.since);
            Row { partition, epoch, since, head: it.chain().seq, projected: it.watermark() }
        }));
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

    pub(crate) fn update<T>(&self, executor: &Executor<T>, not_let_in: u64) {
        let counters = &executor.counters;
        self.commands.set(counters.commands);
        self.queries.set(counters.queries);
        self.shed.set(counters.shed + not_let_in);
        self.batches.set(counters.batches);
        self.records.set(counters.records);
        self.waiting.set(executor.waiting_count() as u64);
        self.unprojected.set(executor.unprojected_count() as u64);
        self.away_since.set(executor.away_since().map_or(0, |since| since.as_nanos().max(1)));
    }

    /// A batch waits for its turn at the engine, or is being written.
    pub(crate) fn commit_began(&self, now: Moment) {
        self.commit_since.set(now.as_nanos().max(1));
    }

    pub(crate) fn commit_ended(&self) {
        self.commit_since.set(0);
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
        let age = age_ms(&self.commit_since, now);
        out.push(SelfCheck::limit("commit", age, COMMIT_WARN_MS, COMMIT_FAIL_MS, "ms unfinished"));
        let away = age_ms(&self.away_since, now);
        let given_up = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        out.push(SelfCheck::limit("engine", away, 1, given_up, "ms out of reach"));
        let share = |count: u64, most: usize| count * 100 / (most as u64);
        let waiting = share(self.waiting.get(), WAITING_MAX);
        out.push(SelfCheck::limit("queue", waiting, QUEUE_WARN, QUEUE_FAIL, "% full"));
        let behind = share(self.unprojected.get(), UNPROJECTED_MAX);
        out.push(SelfCheck::limit("views", behind, VIEWS_WARN, u64::MAX, "% of the lag allowed"));
    }

    fn metrics(&self, out: &mut Exposition) {
        let owned = self.owned().len() as u64;
        out.counter("account_commands_total", "Commands received.", &[(&[], self.commands.get())]);
        out.counter("account_queries_total", "Queries received.", &[(&[], self.queries.get())]);
        out.counter(
            "account_shed_total",
            "Calls refused as overloaded.",
            &[(&[], self.shed.get())],
        );
        out.counter("account_batches_total", "Engine transactions.", &[(&[], self.batches.get())]);
        out.counter("account_records_total", "Journal records.", &[(&[], self.records.get())]);
        out.gauge("account_waiting", "Calls not answered yet.", &[(&[], self.waiting.get())]);
        out.gauge(
            "account_unprojected",
            "Commands not in the views yet.",
            &[(&[], self.unprojected.get())],
        );
        out.gauge(
            "account_engine_away_ms",
            "How long the engine has been out of reach; 0 while it is there.",
            &[(&[], age_ms(&self.away_since, clock::now()))],
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
            self.commands.get() + self.queries.get(),
            self.commands.get(),
            self.queries.get(),
            self.batches.get(),
            self.records.get(),
            self.shed.get(),
            self.waiting.get(),
            self.unprojected.get(),
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
        let Some(words) = self.words.get() else {
            return Some(Err("the node is not ready yet".to_owned()));
        };
        words.tell(Word::Pin(partition, node.map(Into::into)));
        Some(Ok(()))
    }
}
