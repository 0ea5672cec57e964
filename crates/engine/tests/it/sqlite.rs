//! What the SQLite engine promises besides.

use crate::keys::{check_all_keys, credit, credits, eight_runs, project_keys, used};
use crate::support::{
    Branch, DAY, NOON, P0, P1, Rig, SqliteRig, Teller, commit, copy_folder, id, key, open, post,
    take,
};
use engine::{Engine, Kind, Place, Settings, sqlite::Sqlite};
use lease::Sign;
use rusqlite::params;
use stdx::Rng;
use wire::{Kind as PostKind, Seq};

crate::roll::suite!(Some(SqliteRig::new()));

#[test]
fn other_settings_are_refused() {
    let rig = SqliteRig::new();
    drop(rig.open("a-1").unwrap());
    let good = rig.settings("a-1");
    let others = [
        Settings { service: "b".to_string(), ..good.clone() },
        Settings { partitions: 8, ..good.clone() },
        Settings { place: Place::new(0, 2), ..good.clone() },
        Settings { place: Place::new(1, 2), ..good.clone() },
        Settings { partitions: 0, ..good.clone() },
    ];
    for settings in others {
        assert_eq!(Sqlite::open(&rig.folder, &settings).unwrap_err().kind, Kind::Mismatch);
    }
    drop(Sqlite::open(&rig.folder, &good).unwrap());
    rig.journal().execute("UPDATE meta SET format_version = 1", []).unwrap();
    assert_eq!(Sqlite::open(&rig.folder, &good).unwrap_err().kind, Kind::Mismatch);
}

#[test]
fn a_copied_folder_does_not_go_on() {
    let (rig, copy) = (SqliteRig::new(), SqliteRig::new());
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    drop(branch);
    copy_folder(&rig.folder, &copy.folder);
    let Err(refused) = copy.open("a-1") else { panic!("a copy goes on") };
    assert_eq!(refused.kind, Kind::Copied);
    assert!(refused.what.contains("tollgate restore"), "{refused}");
    rig.open("a-1").unwrap();
}

#[test]
fn views_of_another_journal_are_refused() {
    let (rig, other) = (SqliteRig::new(), SqliteRig::new());
    drop((rig.open("a-1").unwrap(), other.open("a-1").unwrap()));
    std::fs::copy(other.folder.join("views.db"), rig.folder.join("views.db")).unwrap();
    let Err(refused) = rig.open("a-1") else { panic!("views of another journal") };
    assert_eq!(refused.kind, Kind::Mismatch);
}

#[test]
fn lost_views_are_made_again() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.whatever(&mut Rng::new(1), 30);
    branch.project();
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    std::fs::remove_file(rig.folder.join("views.db")).unwrap();
    let engine = rig.open("a-1").unwrap();
    take(&*engine, &[P0]);
    let loaded = engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((loaded.watermark.seq, loaded.tail.len()), (Seq(0), 30));
    engine.projector().unwrap().project(&tellers[0].records).unwrap();
    assert_eq!(engine.reader().unwrap().load(P0, Seq(0)).unwrap().tail.len(), 0);
}

#[test]
fn a_writer_that_dies_before_its_commit_leaves_nothing() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let write = branch.tellers[0].minted(vec![post("alice", PostKind::Credit, 5)]);
    let dying = rig.journal();
    dying.execute_batch("BEGIN IMMEDIATE").unwrap();
    dying.execute("UPDATE part SET seq = 2, hash = ? WHERE part_id = 0", [write.hash.0]).unwrap();
    let row = params![write.hash.0, write.record];
    dying.execute("INSERT INTO journal VALUES (NULL, 0, 2, ?, ?)", row).unwrap();
    drop(dying);
    assert_eq!(branch.engine.reader().unwrap().record(P0, Seq(2)).unwrap(), None);
    commit(&mut *branch.committer, &[write]);
}

#[test]
fn a_damaged_record_is_an_error_and_no_panic() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.whatever(&mut Rng::new(2), 4);
    let journal = rig.journal();
    let select = "SELECT record FROM journal WHERE partition = 0 AND seq = 3";
    let good: Vec<u8> = journal.query_row(select, [], |row| row.get(0)).unwrap();
    let mut reader = branch.engine.reader().unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        // With its hash made to fit, so that the bytes themselves are looked at.
        let row = params![ledger::Hash::of(&bad).0, bad];
        let update = "UPDATE journal SET hash = ?, record = ? WHERE partition = 0 AND seq = 3";
        journal.execute(update, row).unwrap();
        assert_eq!(reader.load(P0, Seq(0)).unwrap_err().kind, Kind::Corrupt, "byte {at}");
        drop(reader.record(P0, Seq(3)));
        drop(reader.books(&[P0]));
    }
}

#[test]
fn a_fence_row_that_names_another_end_does_not_load() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.whatever(&mut Rng::new(2), 4);
    rig.journal().execute("DELETE FROM journal WHERE partition = 0 AND seq = 4", []).unwrap();
    let mut reader = branch.engine.reader().unwrap();
    assert_eq!(reader.load(P0, Seq(0)).unwrap_err().kind, Kind::Corrupt);
    branch.engine.reader().unwrap().load(wire::PartitionId(1), Seq(0)).unwrap();
}

#[test]
fn nodes_that_are_gone_are_forgotten() {
    let rig = SqliteRig::new();
    for _ in 0..5 {
        drop(rig.open("a-1").unwrap());
    }
    let engine = rig.open("a-1").unwrap();
    take(&*engine, &[P0]);
    drop(engine);
    let _second = rig.open("a-2").unwrap(); // The last owner of partition 0 stays in the books.
    assert_eq!(std::fs::read_dir(rig.folder.join("nodes")).unwrap().count(), 2);
    let rows = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let count = rig.journal().query_row("SELECT count(*) FROM node", [], rows).unwrap();
    assert_eq!(count, 2);
}

#[test]
fn an_owner_without_its_lock_file_is_asked_of_the_kernel() {
    let rig = SqliteRig::new();
    let first = rig.open("a-1").unwrap();
    take(&*first, &[P0]);
    for entry in std::fs::read_dir(rig.folder.join("nodes")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let second = rig.open("a-2").unwrap();
    assert_eq!(take(&*second, &[P0]), []); // This process lives.
    rig.journal().execute("UPDATE node SET started = started - 1 WHERE name = 'a-1'", []).unwrap();
    assert_eq!(take(&*second, &[P0]).len(), 1);
}

#[test]
fn accounts_that_are_not_there_are_none() {
    let rig = SqliteRig::new();
    let engine: Box<dyn Engine> = rig.open("a-1").unwrap();
    let mut reader = engine.reader().unwrap();
    assert_eq!(reader.accounts(&[(P0, id("nobody"))]).unwrap(), [None]);
    assert_eq!(reader.record(P0, Seq(u64::MAX)).unwrap(), None);
    let books = reader.books(&[P0]).unwrap();
    assert_eq!((books[0].head, books[0].currencies.len()), (Seq(0), 0));
}

#[test]
fn a_bell_and_a_give_end_the_wait() {
    use std::time::Duration;
    let rig = SqliteRig::new();
    let (first, second) = (rig.open("a-1").unwrap(), rig.open("a-2").unwrap());
    take(&*first, &[P0]);
    let (mut giver, mut heir) = (first.registry().unwrap(), second.registry().unwrap());
    let (bell, hour) = (heir.bell(), Duration::from_secs(3_600));
    bell(); // Heard though nobody waits yet.
    heir.wait(hour);
    std::thread::scope(|scope| {
        scope.spawn(|| heir.wait(hour));
        bell();
    });
    assert!(giver.give(P0, wire::Epoch(1), heir.me()).unwrap());
    heir.wait(hour);
    heir.wait(Duration::from_millis(1)); // Nothing was left over.
}

/// What the child of the next test does: it is stopped within its turn to write, in the middle of
/// a transaction.
#[test]
#[ignore = "only as a child of the test after it"]
fn a_child_that_is_stopped_within_its_turn() {
    let rig = SqliteRig::at(&turn_folder(std::os::unix::process::parent_id()));
    let engine = rig.open("a-1").unwrap();
    take(&*engine, &[P0]);
    let mut committer = engine.committer().unwrap();
    committer.wait_turn().unwrap();
    let journal = rig.journal();
    journal.execute_batch("BEGIN IMMEDIATE; UPDATE part SET seq = 7 WHERE part_id = 0").unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
        .unwrap();
}

fn turn_folder(parent: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("tollgate-turn-{parent}"))
}

#[test]
fn who_is_stopped_within_its_turn_holds_nobody_up_for_long() {
    let rig = SqliteRig::at(&turn_folder(std::process::id()));
    let engine = rig.open("a-2").unwrap();
    take(&*engine, &[P1]);
    let name = "sqlite::a_child_that_is_stopped_within_its_turn";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut registry = engine.registry().unwrap();
    let other = registry.me();
    let mut sign = || {
        let members = registry.survey().unwrap().members;
        members.iter().find(|it| it.id != other).map(|it| it.sign)
    };
    let hundred = std::time::Duration::from_millis(100);
    let mut wait_for = |wanted: &[Sign]| {
        while !sign().is_some_and(|it| wanted.contains(&it)) {
            assert_eq!(child.try_wait().unwrap(), None, "the child ended by itself");
            std::thread::sleep(hundred);
        }
    };
    wait_for(&[Sign::Quiet, Sign::Late]);
    // The file's only turn is with a process that does not move: this waits until it is ended.
    let mut teller = Teller::of(P1, wire::Epoch(1), ledger::Chain::EMPTY);
    let write = teller.minted(vec![open("alice")]);
    commit(&mut *engine.committer().unwrap(), &[write]);
    assert!(!child.wait().unwrap().success(), "it was ended");
    let tenure = take(&*engine, &[P0])[0];
    assert_eq!((tenure.epoch, tenure.chain), (wire::Epoch(2), ledger::Chain::EMPTY));
}

/// Commits `count` records of partition 0, and one of partition 1 for every fortieth.
fn commit_many(branch: &mut Branch, count: u32) {
    for number in 0..count {
        let mut writes = vec![branch.tellers[0].minted(vec![post("alice", PostKind::Credit, 1)])];
        if number % 40 == 0 {
            writes.push(branch.tellers[1].minted(vec![post("bob", PostKind::Credit, 1)]));
        }
        commit(&mut *branch.committer, &writes);
    }
}

/// Every record of the tellers is found by its number, by a range, and at the end.
fn check_records(branch: &Branch) {
    let mut reader = branch.engine.reader().unwrap();
    for teller in &branch.tellers {
        let id = teller.partition.id();
        for (record, _) in &teller.records {
            assert_eq!(reader.record(id, record.header.seq).unwrap().unwrap(), **record);
        }
        let end = teller.partition.chain().seq;
        assert_eq!(reader.record(id, end.next()).unwrap(), None);
        let tail = reader.load(id, Seq(0)).unwrap().tail;
        assert!(tail.iter().map(|(it, _)| it).eq(teller.records.iter().map(|(it, _)| &**it)));
    }
}

#[test]
fn records_are_found_between_their_places() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    let opened = branch.tellers.iter_mut().map(|it| it.minted(vec![open("alice"), open("bob")]));
    let opened: Vec<_> = opened.collect();
    commit(&mut *branch.committer, &opened);
    // A committer that knows no place makes one at once: near the last one, too.
    for count in [200, 50, 1, 150] {
        branch.committer = branch.engine.committer().unwrap();
        commit_many(&mut branch, count);
        check_records(&branch);
    }
    let count = |of: &str| -> i64 {
        let select = format!("SELECT count(*) FROM {of} WHERE partition = 0");
        rig.journal().query_row(&select, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("journal"), 402);
    assert!(count("place") < 10, "{} places", count("place"));
}

#[test]
fn a_journal_without_places_gets_them() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice"), open("bob")]);
    let other = branch.tellers[1].minted(vec![open("alice"), open("bob")]);
    commit(&mut *branch.committer, &[other]);
    commit_many(&mut branch, 100);
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    let journal = rig.journal();
    journal.execute_batch("DROP TABLE place; UPDATE meta SET format_version = 2").unwrap();
    drop(journal);
    let engine = rig.open("a-1").unwrap();
    let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
    check_records(&Branch { engine, committer, projector, tellers });
}

#[test]
fn views_of_single_keys_get_runs() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let mut rng = Rng::new(3);
    credit(&mut branch, &mut rng);
    branch.project();
    let projected = used(&branch);
    credit(&mut branch, &mut rng);
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    let views = rig.views();
    let day: i64 = views.query_row("SELECT day FROM key_run", [], |row| row.get(0)).unwrap();
    let before = format!(
        "DROP TABLE key_run; DROP TABLE key_block_{day}; UPDATE meta SET format_version = 1;
         CREATE TABLE keys_{day} (
            key BLOB PRIMARY KEY, record INTEGER NOT NULL, place INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID"
    );
    views.execute_batch(&before).unwrap();
    for (key, place) in projected {
        // Partition 0: a record's number is all there is.
        let row = params![key.0.to_be_bytes(), i64::try_from(place.seq.0).unwrap(), place.index];
        views.execute(&format!("INSERT INTO keys_{day} VALUES (?, ?, ?)"), row).unwrap();
    }
    drop(views);
    let engine = rig.open("a-1").unwrap();
    let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
    let mut branch = Branch { engine, committer, projector, tellers };
    branch.project();
    check_all_keys(&branch);
    let names = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'keys_*'";
    assert_eq!(rig.views().query_row(names, [], |row| row.get::<_, i64>(0)), Ok(0));
}

#[test]
fn a_merge_goes_on_from_projection_to_projection() {
    let rig = SqliteRig::new();
    let mut branch = eight_runs(&rig);
    // How many runs are being merged, and how many of their blocks are left.
    let left = || {
        let count = format!(
            "SELECT count(DISTINCT run), count(*) FROM key_block_{} JOIN key_run ON number = run
             WHERE target IS NOT NULL",
            NOON.0.div_euclid(DAY)
        );
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        rig.views().query_row(&count, [], pair).unwrap()
    };
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(left());
        project_keys(&mut branch, 1);
    }
    let runs: Vec<_> = steps.iter().map(|it| it.0).collect();
    assert_eq!(runs, [0, 8, 8, 0], "{steps:?}");
    assert!(steps[2].1 < steps[1].1 && steps[1].1 < 8 * 8, "{steps:?}");
}

#[test]
fn views_whose_runs_were_merged_at_once_go_on() {
    let rig = SqliteRig::new();
    let mut branch = eight_runs(&rig);
    credit(&mut branch, &mut Rng::new(3));
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    let before = "ALTER TABLE key_run DROP COLUMN target; ALTER TABLE key_run DROP COLUMN merged;
                  UPDATE meta SET format_version = 2";
    rig.views().execute_batch(before).unwrap();
    let engine = rig.open("a-1").unwrap();
    let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
    let mut branch = Branch { engine, committer, projector, tellers };
    branch.project();
    check_all_keys(&branch);
}

#[test]
fn the_keys_of_a_day_that_is_over_go_at_once_and_their_room_bit_by_bit() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let mut used = Vec::new();
    for batch in 0..6_u64 {
        let first = 1_000 + batch * 10_000;
        credits(&mut branch, first, 8_000);
        branch.project();
        used.extend((first..first + 8_000).map(|number| (P0, key(number))));
    }
    let blocks = || {
        let day = NOON.0.div_euclid(DAY);
        let count = format!("SELECT count(*) FROM key_block_{day}");
        rig.views().query_row(&count, [], |row| row.get::<_, i64>(0)).ok()
    };
    let all = blocks().unwrap();
    assert!((600..620).contains(&all), "{all}");
    let mut reader = branch.engine.reader().unwrap();
    assert!(reader.keys(&used).unwrap().iter().all(Option::is_some));
    let mut left = Vec::new();
    for number in 0..4 {
        branch.tellers[0].now.0 += DAY * i64::from(number < 2);
        credits(&mut branch, 100_000 + number, 1);
        branch.project();
        left.push(blocks());
        let is_known = reader.keys(&used).unwrap().iter().any(Option::is_some);
        assert_eq!(is_known, number == 0, "{number}");
    }
    assert_eq!(left, [Some(all), Some(all - 500), None, None]);
}
