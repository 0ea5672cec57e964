//! Random lives of a log, held against somebody who wrote everything down by hand.

use super::*;
use crate::{
    book::{Plan, make_uuid},
    core::rollup::Tally,
    store::{History, Loaded, Row, sqlite::Sqlite},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use stdx::Rng;

const JOBS: usize = 5;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("log-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&path));
    Folder(path)
}

fn id(at: usize) -> CheckId {
    CheckId(i64::try_from(at).unwrap() + 1)
}

fn check(at: usize) -> Row {
    let check = Check {
        id: id(at),
        uuid: make_uuid(at as u128),
        plan: Plan::job("a job", "", Timestamp(0)),
        last_at: None,
        beats: 0,
        last_duration: None,
        said: None,
        numbers: Vec::new(),
        tokens: (0, Timestamp(0)),
        tally: Tally::default(),
        ended: None,
    };
    Row::Check(Box::new(check), Kept::new(Timestamp(0)))
}

/// What is known of a job: its beats, and its state.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Job {
    beats: u64,
    since: i64,
}

impl Job {
    fn known(self, at: usize) -> Known {
        let last_at = (self.beats != 0).then_some(Timestamp(self.since));
        let kept = Kept { state: State::Up, ..Kept::new(Timestamp(self.since)) };
        Known { check: id(at), kept, last_at, beats: self.beats, duration: None }
    }
}

#[derive(Default)]
struct Oracle {
    jobs: [Job; JOBS],
    /// What a process that begins now has to know.
    durable: [Job; JOBS],
    bodies: [Vec<(u64, Vec<u8>)>; JOBS],
}

struct World {
    db: Sqlite,
    log: Log,
    folder: PathBuf,
}

/// It is no disk that is tested here.
fn open(folder: &Path) -> Sqlite {
    let db = Sqlite::create(folder).unwrap();
    db.rows("PRAGMA synchronous = OFF", &[]).unwrap();
    db
}

impl World {
    fn new(folder: &Folder) -> World {
        let db = open(&folder.0);
        let mut world = World { db, log: Log::default(), folder: folder.0.clone() };
        let made: Vec<Row> = (0..JOBS).map(check).collect();
        world.commit(&made.iter().collect::<Vec<_>>(), false);
        world
    }

    fn commit(&mut self, rows: &[&Row], folds: bool) {
        self.db.begin().unwrap();
        rows.iter().for_each(|row| row.write(&self.db, &mut self.log).unwrap());
        if folds {
            self.log.fold(&self.db).unwrap();
            self.log.sweep(&self.db).unwrap();
        }
        self.db.commit().unwrap();
        self.log.committed();
    }

    fn fail(&mut self, row: &Row) {
        self.db.begin().unwrap();
        row.write(&self.db, &mut self.log).unwrap();
        self.db.undo();
        self.log.undone();
    }

    fn die(&mut self) -> Loaded {
        self.db = open(&self.folder);
        let (loaded, log) = Loaded::read(&self.db).unwrap();
        self.log = log;
        loaded
    }

    fn rows(&self) -> i64 {
        self.db.row("SELECT COUNT(*) FROM beats", &[]).unwrap().unwrap().int(0).unwrap()
    }

    fn shows(&self, at: usize, oracle: &Oracle, seed: u64) {
        let history = History { db: Box::new(Sqlite::open(&self.folder).unwrap()) };
        let mut wanted: Vec<u64> = oracle.bodies[at].iter().map(|it| it.0).rev().collect();
        wanted.truncate(PINGS_MAX as usize);
        let shown = history.pings(id(at), PINGS_MAX).unwrap();
        let shown: Vec<u64> = shown.iter().map(|it| it["n"].as_u64().unwrap()).collect();
        // What is too old may be gone already, and what is not must be there.
        let recent = |it: &&u64| oracle.jobs[at].beats < **it + u64::from(PINGS_MAX);
        let must: Vec<u64> = wanted.iter().take_while(recent).copied().collect();
        assert!(wanted.starts_with(&shown) && shown.starts_with(&must), "seed {seed}: {shown:?}");
        if let Some((n, body)) = oracle.bodies[at].last() {
            let n = i64::try_from(*n).unwrap();
            assert_eq!(history.body(id(at), n).unwrap().as_ref(), Some(body), "seed {seed}");
        }
    }
}

#[test]
fn what_was_heard_is_known_to_the_next_process() {
    for seed in 0..10 {
        let folder = folder("lives");
        let (mut world, mut oracle) = (World::new(&folder), Oracle::default());
        let mut rng = Rng::new(seed);
        for step in 1..600 {
            let at = rng.below(JOBS);
            let mut next = Job { since: step, ..oracle.jobs[at] };
            match rng.below(20) {
                0..12 => {
                    next.beats += 1;
                    let body = step.to_string().into_bytes();
                    let ping = Ping { kind: "log", body: body.clone(), ..Ping::default() };
                    // A node's beat says nothing that is kept.
                    let ping = (at != 0).then(|| Box::new(ping));
                    let row = Row::Beat(Box::new(next.known(at)), ping);
                    oracle.jobs[at] = next;
                    if rng.below(10) == 0 {
                        world.fail(&row);
                        continue;
                    }
                    world.commit(&[&row], false);
                    oracle.durable[at] = next;
                    if at != 0 {
                        oracle.bodies[at].push((next.beats, body));
                    }
                }
                12..14 => {
                    world.commit(&[&Row::Heard(Box::new(next.known(at)))], false);
                    (oracle.jobs[at], oracle.durable[at]) = (next, next);
                }
                14..17 => {
                    world.commit(&[], true);
                    oracle.durable = oracle.jobs;
                }
                17 => {
                    world.commit(&[&Row::Forget(id(at)), &check(at)], false);
                    (oracle.jobs[at], oracle.durable[at]) = (Job::default(), Job::default());
                    oracle.bodies[at].clear();
                }
                18 => {
                    let loaded = world.die();
                    oracle.jobs = oracle.durable;
                    for (at, (check, kept)) in loaded.checks.iter().enumerate() {
                        let want = oracle.jobs[at].known(at);
                        assert_eq!(check.beats, want.beats, "seed {seed}, step {step}");
                        assert_eq!(check.last_at, want.last_at, "seed {seed}, step {step}");
                        assert_eq!(kept.since, want.kept.since, "seed {seed}, step {step}");
                        assert_eq!(check.tally.count.beats, want.beats, "none is in a roll-up");
                    }
                }
                _ => world.shows(at, &oracle, seed),
            }
        }
    }
}

#[test]
fn the_log_does_not_grow_beyond_what_is_kept() {
    let folder = folder("sweep");
    let mut world = World::new(&folder);
    let mut jobs = [Job::default(); JOBS];
    for step in 0..4_000_usize {
        let at = step % JOBS;
        jobs[at].beats += 1;
        let ping = Ping { kind: "success", ..Ping::default() };
        let row = Row::Beat(Box::new(jobs[at].known(at)), Some(Box::new(ping)));
        world.commit(&[&row], step % 50 == 0);
    }
    let kept = i64::try_from(JOBS).unwrap() * i64::from(PINGS_MAX);
    assert!(world.rows() < 3 * kept, "{} rows", world.rows());
    // And what is too old goes without any beat.
    world.commit(&[&Row::BeatsFrom(Timestamp(i64::MAX))], true);
    for _ in 0..100 {
        world.commit(&[], true);
    }
    assert_eq!(world.rows(), 0);
}

#[test]
fn beats_of_an_earlier_version_are_taken_over() {
    let folder = folder("earlier");
    fs::create_dir_all(&folder.0).unwrap();
    let old = rusqlite::Connection::open(folder.0.join("monitor.db")).unwrap();
    old.execute_batch(
        "CREATE TABLE checks (
             id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, plan TEXT NOT NULL,
             state TEXT NOT NULL, since INTEGER NOT NULL, heard INTEGER, started INTEGER, run TEXT,
             boot INTEGER, seq INTEGER, last_at INTEGER, beats INTEGER NOT NULL, duration INTEGER,
             tallied INTEGER NOT NULL DEFAULT 0);
         CREATE TABLE pings (
             check_id INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
             remote TEXT NOT NULL, method TEXT NOT NULL, agent TEXT NOT NULL, run TEXT,
             duration INTEGER, body BLOB NOT NULL, PRIMARY KEY (check_id, n)) WITHOUT ROWID;",
    )
    .unwrap();
    let plan = json(&Plan::job("a job", "", Timestamp(0))).unwrap();
    for at in [1, 2] {
        let uuid = uuid_text(make_uuid(at));
        let sql = "INSERT INTO checks (id, uuid, plan, state, since, beats) \
                   VALUES (?1, ?2, ?3, 'up', 0, 3)";
        old.execute(sql, (i64::try_from(at).unwrap(), uuid, &plan)).unwrap();
    }
    let ping = "INSERT INTO pings VALUES (?1, ?2, 5, 'log', '', '', '', NULL, NULL, ?3)";
    for (check, n) in [(2, 1), (1, 2), (2, 3), (1, 3)] {
        old.execute(ping, (check, n, format!("{check}.{n}").into_bytes())).unwrap();
    }
    drop(old);
    let db = Sqlite::create(&folder.0).unwrap();
    let (loaded, log) = Loaded::read(&db).unwrap();
    assert_eq!(loaded.checks.iter().map(|it| it.0.beats).collect::<Vec<_>>(), [3, 3]);
    assert!(!log.is_behind());
    let history = History { db: Box::new(db) };
    for (check, wanted) in [(1, [3, 2]), (2, [3, 1])] {
        let shown = history.pings(CheckId(check), 9).unwrap();
        let shown: Vec<i64> = shown.iter().map(|it| it["n"].as_i64().unwrap()).collect();
        assert_eq!(shown, wanted);
        let body = history.body(CheckId(check), wanted[1]).unwrap();
        assert_eq!(body, Some(format!("{check}.{}", wanted[1]).into_bytes()));
    }
}
