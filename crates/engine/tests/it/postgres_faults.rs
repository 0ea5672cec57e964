//! What goes wrong between a node and its database, on real connections.

use crate::{
    cluster::{Cluster, cluster},
    postgres::PostgresRig,
    support::{Branch, P0, P1, Teller, commit, open, post, take},
};
use engine::{CommitError, Engine, Fate, Kind as ErrorKind, Write};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Stdio},
    slice, thread,
    time::Duration,
};
use wire::{Epoch, Kind, PartitionId, Seq};

/// Long enough for anything that is not stuck.
const GENEROUS: Duration = Duration::from_secs(30);
/// Between two looks at whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Somebody's session at the database, kept open.
struct Session {
    psql: Child,
    said: BufReader<ChildStdout>,
}

impl Session {
    fn open(rig: &PostgresRig, application: &str) -> Session {
        let url = rig.cluster.url(&rig.database);
        let mut psql = Command::new(rig.cluster.program("psql"))
            .args(["-X", "-q", "-A", "-t", "-d", &url])
            .env("PGAPPNAME", application)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(psql.stdout.take().unwrap());
        let mut session = Session { psql, said };
        session.say("SET search_path = tollgate_a;");
        session
    }

    /// What the statements give; returns when they are done.
    fn say(&mut self, sql: &str) -> String {
        let input = self.psql.stdin.as_mut().unwrap();
        writeln!(input, "{sql}\n\\echo done").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let count = self.said.read_line(&mut line).unwrap();
            if count == 0 || line == "done\n" {
                return said.trim().to_owned();
            }
            said.push_str(&line);
        }
    }

    /// Lets a record in as its owner would, and does not commit.
    fn write(&mut self, write: &Write) {
        let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
        let header = &write.header;
        let (hash, record) = (hex(&write.hash.0), hex(&write.record));
        let (partition, seq, time) = (header.partition.0, header.seq.0, header.time.0);
        self.say(&format!(
            "BEGIN;
             UPDATE part SET seq = {seq}, hash = '\\x{hash}', time = {time}
             WHERE part_id = {partition};
             INSERT INTO journal VALUES
                ({partition}, {seq}, {}, {time}, '\\x{hash}', '\\x{record}');",
            header.epoch.0
        ));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        drop(self.psql.kill());
        drop(self.psql.wait());
    }
}

/// Waits until it is so.
#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let looks = GENEROUS.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if is_so() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("{what}: not in {GENEROUS:?}");
}

/// How a node's sessions are called.
fn application(engine: &dyn Engine) -> String {
    format!("tollgate {:016x}", engine.registry().unwrap().me().0)
}

/// Ends a node's sessions of this purpose, as a failing database does.
fn end_sessions(rig: &PostgresRig, engine: &dyn Engine, purpose: &str) {
    let name = format!("{} {purpose}", application(engine));
    rig.sql(&format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE application_name LIKE '{name}'"
    ));
}

/// How many sessions of a node of this purpose wait for something of this kind.
fn waiting(cluster: &Cluster, engine: &dyn Engine, purpose: &str, event: &str) -> String {
    let name = format!("{} {purpose}", application(engine));
    cluster.psql(
        "postgres",
        &format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = '{name}' AND wait_event_type || wait_event LIKE '{event}'"
        ),
    )
}

/// Pitfalls 1 and 3: the new owner starts from the batch that was under way.
#[test]
fn a_take_waits_for_the_batch_that_is_under_way() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let write = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let second = crate::support::Rig::open(&rig, "a-2").unwrap();
    let Branch { engine, committer, projector, .. } = branch;
    let mut zombie = Session::open(&rig, "psql");
    zombie.write(&write);
    drop((engine, committer, projector));
    thread::scope(|scope| {
        let taking = scope.spawn(|| take(&*second, &[P0]));
        wait_for("the take waits", || waiting(rig.cluster, &*second, "lease", "Lock%") == "1");
        zombie.say("COMMIT;");
        let tenure = taking.join().unwrap()[0];
        assert_eq!((tenure.epoch, tenure.chain.seq), (Epoch(2), Seq(2)));
        assert_eq!(tenure.chain.hash, write.hash);
    });
    let loaded = second.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!(loaded.tail.len(), 2);
}

/// Pitfall 4: a zombie holds the fence row.
#[test]
fn a_dead_owner_that_keeps_its_lock_is_ended() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let write = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let name = format!("{} commit", application(&*branch.engine));
    let second = crate::support::Rig::open(&rig, "a-2").unwrap();
    drop(branch);
    let mut zombie = Session::open(&rig, &name);
    zombie.write(&write);
    let tenure = take(&*second, &[P0])[0];
    // What it had not committed is not there, and it cannot commit any more.
    assert_eq!((tenure.epoch, tenure.chain.seq), (Epoch(2), Seq(1)));
    zombie.say("COMMIT;");
    assert_eq!(rig.sql("SELECT max(seq) FROM journal WHERE partition = 0"), "1");
}

/// A neighbour's locked row holds up nobody, and is not taken for another's.
#[test]
fn a_locked_row_is_passed_over() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    let mut other = Session::open(&rig, "psql");
    other.say("BEGIN; SELECT 1 FROM part WHERE part_id = 0 FOR UPDATE;");
    let writes: Vec<Write> =
        branch.tellers.iter_mut().map(|it| it.minted(vec![open("alice")])).collect();
    let fates = branch.committer.commit(&writes).unwrap();
    assert_eq!(fates, [Fate::NotExecuted, Fate::Committed]);
    other.say("ROLLBACK;");
    commit(&mut *branch.committer, &writes[..1]);
}

/// Pitfall 8: the old backend is still committing while the new connection looks.
#[test]
fn a_commit_in_doubt_is_resolved_for_good() {
    let Some(rig) = PostgresRig::new() else { return };
    for is_committed in [true, false] {
        let partition = if is_committed { P0 } else { P1 };
        let engine = crate::support::Rig::open(&rig, "a-1").unwrap();
        let mut teller = Teller::new(take(&*engine, &[partition])[0]);
        let (mut committer, mut late) = (engine.committer().unwrap(), engine.committer().unwrap());
        let write = teller.minted(vec![open("alice")]);
        let mut backend = Session::open(&rig, "psql");
        backend.write(&write);
        // Nobody can tell yet, and so nobody is told.
        assert_eq!(
            committer.resolve(slice::from_ref(&write)).unwrap_err().kind,
            ErrorKind::Unavailable
        );
        backend.say(if is_committed { "COMMIT;" } else { "ROLLBACK;" });
        let fates = committer.resolve(slice::from_ref(&write)).unwrap();
        if is_committed {
            assert_eq!(fates, [Fate::Committed]);
            continue;
        }
        assert_eq!(fates, [Fate::NotExecuted]);
        // The statement in doubt comes only now, out of some buffer: it is too late.
        assert_eq!(late.commit(slice::from_ref(&write)).unwrap(), [Fate::Fenced]);
        commit(&mut *committer, &[write]);
    }
}

/// A connection that breaks while a batch is under way leaves it in doubt; and a batch that was
/// let in before its partition was taken is no less committed for that.
#[test]
fn a_connection_that_breaks_leaves_a_doubt() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let write = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let mut other = Session::open(&rig, "psql");
    other.say("BEGIN; LOCK TABLE journal IN SHARE MODE;");
    thread::scope(|scope| {
        let engine = &*branch.engine;
        let committing = scope.spawn(|| branch.committer.commit(slice::from_ref(&write)));
        wait_for("the commit waits", || waiting(rig.cluster, engine, "commit", "Lock%") == "1");
        end_sessions(&rig, engine, "commit");
        let Err(CommitError::Unknown(error)) = committing.join().unwrap() else { panic!() };
        assert_eq!(error.kind, ErrorKind::Unavailable);
    });
    other.say("ROLLBACK;");
    assert_eq!(branch.committer.resolve(slice::from_ref(&write)).unwrap(), [Fate::NotExecuted]);
    commit(&mut *branch.committer, slice::from_ref(&write));
    take(&*branch.engine, &[P0]);
    assert_eq!(branch.committer.resolve(&[write]).unwrap(), [Fate::Committed]);
    let fenced = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 6)]);
    assert_eq!(branch.committer.resolve(&[fenced]).unwrap(), [Fate::Fenced]);
}

/// What a database refuses for certain is not in doubt.
#[test]
fn a_refused_statement_is_no_execution() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    let write = branch.tellers[0].minted(vec![open("alice")]);
    let mut other = Session::open(&rig, "psql");
    other.say("BEGIN; LOCK TABLE journal IN SHARE MODE;");
    let refused = branch.committer.commit(slice::from_ref(&write));
    assert!(matches!(refused, Err(CommitError::NotExecuted(_))), "{refused:?}"); // Its lock time.
    other.say("ROLLBACK;");
    commit(&mut *branch.committer, &[write]);
}

/// Pitfall 10: each start of a process has a number of its own.
#[test]
fn an_old_connection_of_a_node_that_started_anew_is_fenced() {
    let Some(rig) = PostgresRig::new() else { return };
    let settings = rig.settings("a-1");
    let old = rig.join(&settings).unwrap();
    let mut teller = Teller::new(take(&old, &[P0])[0]);
    let mut committer = old.committer().unwrap();
    let write = teller.minted(vec![open("alice")]);
    // The same name at the same address: its predecessor must be gone, and is not waited for.
    let new = rig.join(&engine::Settings { node_id: !settings.node_id, ..settings }).unwrap();
    take(&new, &[P0]);
    assert_eq!(committer.commit(&[write]).unwrap(), [Fate::Fenced]);
    let error = old.registry().unwrap().survey().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Deposed);
}

/// A node that was declared gone hears of it, and takes nothing any more.
#[test]
fn a_node_that_was_declared_gone_is_deposed() {
    let Some(rig) = PostgresRig::new() else { return };
    let engine = crate::support::Rig::open(&rig, "a-1").unwrap();
    take(&*engine, &[P0]);
    let held = [(P0, Epoch(1)), (P1, Epoch(1)), (P0, Epoch(2)), (P0, Epoch(u64::MAX))];
    let mut confirmer = engine.confirmer().unwrap().unwrap();
    assert_eq!(confirmer.confirm(&held).unwrap(), [true, false, false, false]);
    rig.sql("UPDATE node SET state = 'gone'");
    let mut registry = engine.registry().unwrap();
    assert_eq!(registry.survey().unwrap_err().kind, ErrorKind::Deposed);
    let claim = engine::Claim { partition: P1, seen: Epoch(0) };
    assert_eq!(registry.take(&[claim]).unwrap_err().kind, ErrorKind::Deposed);
    let second = crate::support::Rig::open(&rig, "a-2").unwrap();
    take(&*second, &[P0]);
    assert_eq!(confirmer.confirm(&held[..1]).unwrap(), [false]);
}

/// Whatever connection the database ends, the next call has another.
#[test]
fn broken_connections_are_opened_anew() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    let (mut reader, mut registry) =
        (branch.engine.reader().unwrap(), branch.engine.registry().unwrap());
    let mut confirmer = branch.engine.confirmer().unwrap().unwrap();
    for round in 0..3 {
        branch.act(vec![open(&format!("alice-{round}"))]);
        branch.project();
        assert_eq!(reader.list(&[P0], &all()).unwrap().0.len(), round + 1);
        assert_eq!(registry.survey().unwrap().holdings.len(), 4);
        assert_eq!(confirmer.confirm(&[(P0, Epoch(1))]).unwrap(), [true]);
        end_sessions(&rig, &*branch.engine, "%");
    }
}

fn all() -> wire::query::Listing {
    wire::query::Listing { before: None, limit: 1_000 }
}

/// Pitfall 20: a fence row's updates stay on its page.
#[test]
fn the_fence_rows_stay_on_their_page() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    for round in 0..300 {
        branch.act(vec![open(&format!("account-{round}"))]);
    }
    let size: u32 = rig.sql("SELECT pg_relation_size('part')").parse().unwrap();
    assert!(size <= 2 * 8_192, "{size}");
}

/// Nodes that start at once on an empty database make its tables once.
#[test]
fn many_nodes_open_at_once() {
    let Some(rig) = PostgresRig::new() else { return };
    thread::scope(|scope| {
        let rig = &rig;
        let opening: Vec<_> = (0..6)
            .map(|number| scope.spawn(move || rig.join(&rig.settings(&format!("a-{number}")))))
            .collect();
        let engines: Vec<_> = opening.into_iter().map(|it| it.join().unwrap().unwrap()).collect();
        let members = engines[0].registry().unwrap().survey().unwrap().members;
        assert_eq!(members.len(), 6);
    });
    assert_eq!(rig.sql("SELECT count(*) FROM part"), "4");
}

#[test]
fn other_settings_are_refused() {
    let Some(rig) = PostgresRig::new() else { return };
    let good = rig.settings("a-1");
    drop(rig.join(&good).unwrap());
    let others = [
        engine::Settings { partitions: 8, ..good.clone() },
        engine::Settings { place: engine::Place::new(1, 2), ..good.clone() },
        engine::Settings { partitions: 0, ..good.clone() },
    ];
    for settings in others {
        assert_eq!(rig.join(&settings).unwrap_err().kind, ErrorKind::Mismatch);
    }
    // Another service of the same database is its neighbour.
    drop(rig.join(&engine::Settings { service: "b".to_owned(), ..good.clone() }).unwrap());
    rig.sql("UPDATE meta SET format_version = 99; INSERT INTO migration VALUES (99, now())");
    assert_eq!(rig.join(&good).unwrap_err().kind, ErrorKind::Mismatch);
}

#[test]
fn hosts_are_tried_until_one_is_there_and_no_password_is_told() {
    let Some(rig) = PostgresRig::new() else { return };
    let (port, database) = (rig.cluster.port, &rig.database);
    let join = |url: &str| match engine::EngineUrl::parse(url) {
        Ok(engine::EngineUrl::Postgres(url)) => {
            engine::postgres::Postgres::open(&url, &rig.settings("a-1"))
        }
        other => panic!("{other:?}"),
    };
    let url = format!("postgres://postgres:secret@127.0.0.1:1,127.0.0.1:{port}/{database}");
    drop(join(&url).unwrap());
    // Of hosts that take connections and say nothing nobody waits for the end.
    let silent: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let hosts: Vec<String> = silent.iter().map(|it| it.local_addr().unwrap().to_string()).collect();
    let hosts = hosts.join(",");
    drop(join(&format!("postgres://postgres@{hosts},127.0.0.1:{port}/{database}")).unwrap());
    let error = join(&format!("postgres://postgres@{hosts}/{database}")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    drop(join(&rig.cluster.socket_url(database)).unwrap());
    for bad in [
        "postgres://postgres:secret@127.0.0.1:1/x".to_owned(),
        format!("postgres://postgres:secret@127.0.0.1:{port}/nowhere"),
        format!("postgres://postgres:secret@127.0.0.1:{port}/{database}?sslmode=require"),
    ] {
        let error = join(&bad).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

/// Pitfall 9, and what a database that goes away does: a cluster of its own, for it suffers.
#[test]
fn a_standby_that_is_not_there_is_waited_for() {
    if cluster().is_none() {
        return;
    }
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(&[], &[]).unwrap()));
    let rig = PostgresRig::within(cluster);
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let mut confirmer = branch.engine.confirmer().unwrap().unwrap();
    let standby = |name: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        rig.cluster.psql("postgres", &set);
        rig.cluster.psql("postgres", "SELECT pg_reload_conf()");
        let shown = || rig.cluster.psql("postgres", "SHOW synchronous_standby_names");
        wait_for("the setting is known", || shown() == name);
    };
    for end in ["pg_terminate_backend(pid, 5000)", "pg_cancel_backend(pid)"] {
        standby("nobody");
        let write = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
        thread::scope(|scope| {
            let engine = &*branch.engine;
            let committing = scope.spawn(|| branch.committer.commit(slice::from_ref(&write)));
            wait_for("the commit waits", || waiting(cluster, engine, "commit", "%SyncRep") == "1");
            let name = format!("{} commit", application(engine));
            rig.sql(&format!(
                "SELECT {end} FROM pg_stat_activity WHERE application_name = '{name}'"
            ));
            let committed = committing.join().unwrap();
            assert!(matches!(committed, Err(CommitError::Unknown(_))), "{committed:?}");
        });
        // It is there for all to see, and yet may be lost: nobody is told before it cannot be.
        assert_eq!(
            rig.sql("SELECT count(*) FROM journal WHERE seq = (SELECT max(seq) FROM journal)"),
            "1"
        );
        confirmer.confirm(&[(P0, Epoch(1))]).unwrap_err();
        thread::scope(|scope| {
            let engine = &*branch.engine;
            let resolving = scope.spawn(|| branch.committer.resolve(&[write]));
            wait_for("the look waits", || waiting(cluster, engine, "commit", "%SyncRep") == "1");
            standby("");
            assert_eq!(resolving.join().unwrap().unwrap(), [Fate::Committed]);
        });
        assert_eq!(confirmer.confirm(&[(P0, Epoch(1))]).unwrap(), [true]);
    }
    cluster.stop();
    let write = branch.tellers[0].minted(vec![post("alice", Kind::Credit, 5)]);
    let refused = branch.committer.commit(slice::from_ref(&write));
    assert!(matches!(refused, Err(CommitError::NotExecuted(_))), "{refused:?}");
    assert_eq!(branch.committer.wait_turn().unwrap_err().kind, ErrorKind::Unavailable);
    cluster.restart();
    wait_for("it is back", || branch.committer.wait_turn().is_ok());
    commit(&mut *branch.committer, &[write]);
    let mut reader = branch.engine.reader().unwrap();
    assert_eq!(reader.books(&[P0]).unwrap()[0].head, Seq(4));
    assert_eq!(reader.record(PartitionId(0), Seq(5)).unwrap(), None);
}

/// What the child of the next test does: it is stopped while it owns a partition.
#[test]
#[ignore = "only as a child of the test after it"]
fn a_child_that_is_stopped() {
    let url = std::fs::read_to_string(child_file(std::os::unix::process::parent_id())).unwrap();
    let Ok(engine::EngineUrl::Postgres(url)) = engine::EngineUrl::parse(&url) else { panic!() };
    let settings = crate::postgres::settings("a-1", 4);
    let engine = engine::postgres::Postgres::open(&url, &settings).unwrap();
    take(&engine, &[P0]);
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::STOP).unwrap();
    // It is let go on when all is over.
    wait_for("it is deposed", || {
        engine.registry().unwrap().survey().is_err_and(|error| error.kind == ErrorKind::Deposed)
    });
}

fn child_file(parent: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("tollgate-pg-child-{parent}.url"))
}

#[test]
fn an_owner_that_is_stopped_is_taken_over() {
    // When its time is over; or sooner, when somebody has evidence that it is dead.
    for has_evidence in [false, true] {
        let Some(rig) = PostgresRig::new() else { return };
        let engine = crate::support::Rig::open(&rig, "a-2").unwrap();
        let file = child_file(std::process::id());
        std::fs::write(&file, rig.cluster.url(&rig.database)).unwrap();
        let name = "postgres_faults::a_child_that_is_stopped";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = engine.registry().unwrap();
        let mut owner = None;
        wait_for("the child owns it", || {
            owner = registry.survey().unwrap().holdings[0].owner;
            owner.is_some()
        });
        let owner = owner.unwrap();
        assert_eq!(take(&*engine, &[P0]), []);
        assert!(!registry.declare_gone(owner).unwrap(), "nobody suspects it yet");
        if has_evidence {
            wait_for("it is suspected", || {
                registry.survey().unwrap();
                registry.suspects().iter().any(|(id, _)| *id == owner)
            });
            assert!(registry.declare_gone(owner).unwrap());
            assert!(!registry.declare_gone(owner).unwrap(), "twice");
            assert_eq!(take(&*engine, &[P0]).len(), 1);
        } else {
            wait_for("it is to be had", || !take(&*engine, &[P0]).is_empty());
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        assert!(child.wait().unwrap().success());
        std::fs::remove_file(file).unwrap();
    }
}
