//! What a commit and a projected transaction cost. Small as a test; large, and telling, with
//!
//! ```text
//! BENCH=1 cargo test --release -p engine bench -- --nocapture --test-threads 1
//! ```
//!
//! Goals: CPU per projected transaction, commits a second of one process. No goal: the latency of
//! the disk.

use crate::{
    cluster::{Cluster, cluster},
    keys::scan_all,
    postgres::PostgresRig,
    support::{Rig, SqliteRig, command, commit, key, open, post, take},
};
use engine::{Engine, Write};
use ledger::{Hash, Partition, Record};
use std::{fs, sync::Arc, time::Instant};
use stdx::Rng;
use wire::{Action, Kind, PartitionId, ServiceTag, command::KeyOrigin};

/// The small size in a test, the large one in a benchmark.
#[expect(clippy::disallowed_methods, reason = "a benchmark is asked for from outside")]
fn size(small: usize, large: usize) -> usize {
    if std::env::var("BENCH").is_ok() { large } else { small }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn now() -> Instant {
    Instant::now()
}

/// Microseconds of CPU that this thread has used.
fn cpu_us() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1_000.0
}

/// Writes records of many transactions, and keeps none.
struct Press {
    partition: Partition,
    now: wire::Timestamp,
    numbers: u64,
    rng: Rng,
    accounts_count: usize,
}

impl Press {
    fn new(tenure: engine::Tenure, accounts_count: usize) -> Press {
        let service = ServiceTag::of(crate::support::SERVICE);
        let (id, epoch, chain) = (tenure.partition, tenure.epoch, tenure.chain);
        let partition = Partition::new(service, id, epoch, chain, Vec::new());
        let numbers = u64::from(id.0) << 40;
        let rng = Rng::new(u64::from(id.0));
        Press { partition, now: crate::support::NOON, numbers, rng, accounts_count }
    }

    fn record(&mut self, origin: KeyOrigin, actions: Vec<Action>) -> (Arc<Record>, Write) {
        self.now.0 += crate::support::SECOND;
        let mut commands = Vec::with_capacity(actions.len());
        for action in actions {
            self.partition.admit(action.account().clone(), None).unwrap();
            self.numbers += 1;
            commands.push(command(origin, self.numbers, action));
        }
        assert!(commands.len() <= self.partition.room(self.now));
        let staged = self.partition.stage(self.now, commands);
        let record = staged.record.clone().unwrap();
        let write =
            Write { header: record.header, hash: staged.hash, record: staged.bytes.clone() };
        self.partition.merge(staged);
        self.partition.projected(record.header.seq);
        (record, write)
    }

    fn opens(&mut self, first: usize, count: usize) -> (Arc<Record>, Write) {
        let actions = (first..first + count).map(|it| open(&name(it))).collect();
        self.record(KeyOrigin::Minted, actions)
    }

    fn credits(&mut self, origin: KeyOrigin, count: usize) -> (Arc<Record>, Write) {
        let accounts = (0..count).map(|_| self.rng.below(self.accounts_count));
        let actions = accounts.map(|it| post(&name(it), Kind::Credit, 100)).collect();
        self.record(origin, actions)
    }
}

fn name(number: usize) -> String {
    format!("account-{number:08}")
}

fn project(accounts_count: usize, origin: KeyOrigin, records_a_call: usize) {
    const ITEMS: usize = 100;
    let rig = SqliteRig::new();
    let engine = rig.open("a-1").unwrap();
    let mut press = Press::new(take(&*engine, &[PartitionId(0)])[0], accounts_count);
    let mut projector = engine.projector().unwrap();
    for first in (0..accounts_count).step_by(1_000) {
        let (record, write) = press.opens(first, 1_000.min(accounts_count - first));
        projector.project(&[(record, write.hash)]).unwrap();
    }
    let calls = size(1, 600_000 / (records_a_call * ITEMS));
    let (mut cpu, mut cpu_last) = (0.0, 0.0);
    let begun = now();
    for call in 0..calls {
        let records: Vec<(Arc<Record>, Hash)> = (0..records_a_call)
            .map(|_| press.credits(origin, ITEMS))
            .map(|(record, write)| (record, write.hash))
            .collect();
        let before = cpu_us();
        projector.project(&records).unwrap();
        let spent = cpu_us() - before;
        cpu += spent;
        if calls / 2 <= call {
            cpu_last += spent;
        }
    }
    let transactions = (calls * records_a_call * ITEMS) as f64;
    let views = fs::metadata(rig.folder.join("views.db")).unwrap().len();
    report(&format!(
        "project: {accounts_count} accounts, {origin:?}, {} a call: {:.2} us of CPU a \
         transaction ({:.2} in the second half), {:.1} s, views {} MB",
        records_a_call * ITEMS,
        cpu / transactions,
        cpu_last / (transactions / 2.0),
        begun.elapsed().as_secs_f64(),
        views / 1_000_000,
    ));
}

#[expect(clippy::print_stdout, reason = "a benchmark reports")]
fn report(line: &str) {
    println!("{line}");
}

#[test]
fn bench_project() {
    for accounts_count in [size(10, 1_000), size(20, 1_000_000)] {
        for origin in [KeyOrigin::Minted, KeyOrigin::Client] {
            for records_a_call in [size(1, 20), size(2, 200)] {
                project(accounts_count, origin, records_a_call);
            }
        }
    }
}

/// What it costs to keep clients' keys of one partition, and to look for one of them.
fn keys(engine: &dyn Engine, what: &str) {
    const PARTITION: PartitionId = PartitionId(0);
    let (calls, keys_a_call) = (size(10, 8_000), size(300, 500));
    let mut press = Press::new(take(engine, &[PARTITION])[0], 100);
    let mut projector = engine.projector().unwrap();
    let (opened, write) = press.opens(0, 100);
    projector.project(&[(opened, write.hash)]).unwrap();
    let first = press.numbers;
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls {
        press.now.0 -= crate::support::SECOND; // All on one day.
        let (record, write) = press.credits(KeyOrigin::Client, keys_a_call);
        let begun = now();
        projector.project(&[(record, write.hash)]).unwrap();
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let keys_count = u64::try_from(calls * keys_a_call).unwrap();
    report(&format!(
        "keys: {what}, {keys_count} of a partition: a projection of {keys_a_call} {:.2} ms, p50 \
         {:.2}, p99 {:.2}, at most {:.2} ms",
        took.iter().sum::<f64>() / calls as f64,
        took[calls / 2],
        took[calls * 99 / 100],
        took[calls - 1],
    ));
    let mut reader = engine.reader().unwrap();
    let mut rng = Rng::new(3);
    for (is_there, which, from) in
        [(true, "used", first + 1), (false, "new", first + 1 + keys_count)]
    {
        for at_once in [1, 64] {
            let rounds = size(2, 2_000 / at_once);
            let begun = now();
            for _ in 0..rounds {
                let mut key = || key(from + rng.next() % keys_count);
                let asked: Vec<_> = (0..at_once).map(|_| (PARTITION, key())).collect();
                let found = reader.keys(&asked).unwrap();
                assert!(found.iter().all(|it| it.is_some() == is_there));
            }
            let us = begun.elapsed().as_secs_f64() * 1e6 / (rounds * at_once) as f64;
            report(&format!("keys: {what}, a key that is {which}, {at_once} at once: {us:.1} us"));
        }
    }
    let begun = now();
    let scanned = scan_all(&mut *reader, &[PARTITION], None, 10_000);
    assert_eq!(u64::try_from(scanned.len()), Ok(keys_count));
    report(&format!("keys: {what}, all of them read: {:.2} s", begun.elapsed().as_secs_f64()));
}

#[test]
fn bench_keys() {
    keys(&*SqliteRig::new().open("a-1").unwrap(), "SQLite");
}

#[test]
fn bench_keys_postgres() {
    let Some(cluster) = cluster() else { return };
    keys(&*PostgresRig::within(cluster).open("a-1").unwrap(), "PostgreSQL");
}

/// `besides` is asked while the engine is still open.
fn commits(engine: &dyn Engine, what: &str, partitions_count: u16, besides: impl Fn() -> String) {
    let partitions: Vec<_> = (0..partitions_count).map(PartitionId).collect();
    let tenures = take(engine, &partitions);
    let mut presses: Vec<_> = tenures.into_iter().map(|it| Press::new(it, 100)).collect();
    let mut committer = engine.committer().unwrap();
    let opens: Vec<Write> = presses.iter_mut().map(|it| it.opens(0, 100).1).collect();
    commit(&mut *committer, &opens);
    let rounds = size(3, 6_000);
    let (mut took, mut bytes) = (Vec::with_capacity(rounds), 0);
    let cpu = cpu_us();
    let mut cpu_press = 0.0;
    for _ in 0..rounds {
        let before = cpu_us();
        let writes: Vec<Write> =
            presses.iter_mut().map(|it| it.credits(KeyOrigin::Minted, 16).1).collect();
        cpu_press += cpu_us() - before;
        bytes = writes[0].record.len();
        let begun = now();
        commit(&mut *committer, &writes);
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = (cpu_us() - cpu - cpu_press) / rounds as f64;
    let total: f64 = took.iter().sum();
    took.sort_by(f64::total_cmp);
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1_000];
    report(&format!(
        "commit: {what}, {partitions_count} records of {bytes} bytes: {:.0}/s, p50 {:.0} us, \
         p99 {:.0}, p99.9 {:.0}, CPU {cpu:.0} us{}",
        rounds as f64 * 1e6 / total,
        at(500),
        at(990),
        at(999),
        besides(),
    ));
}

#[test]
fn bench_commit() {
    for partitions_count in [1, 8] {
        let mut rig = SqliteRig::new();
        rig.partitions = 8;
        let length = |name: &str| fs::metadata(rig.folder.join(name)).unwrap().len() / 1_000_000;
        let lengths = || {
            format!("; WAL {} MB, database {} MB", length("journal.db-wal"), length("journal.db"))
        };
        commits(&*rig.open("a-1").unwrap(), "SQLite", partitions_count, lengths);
    }
}

/// With its syncs on as a benchmark, over TCP on the same machine.
#[test]
fn bench_commit_postgres() {
    for partitions_count in [1, 8] {
        let own = || Cluster::start(&["fsync = on"], &[]);
        let cluster =
            if size(0, 1) == 0 { cluster() } else { own().map(|it| &*Box::leak(Box::new(it))) };
        let Some(cluster) = cluster else { return };
        let mut rig = PostgresRig::within(cluster);
        rig.partitions = 8;
        commits(&*rig.open("a-1").unwrap(), "PostgreSQL", partitions_count, String::new);
    }
}
