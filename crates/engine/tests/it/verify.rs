//! `verify` finds whatever was changed, and nothing where nothing was.

use crate::support::{Branch, DAY, NOON, Rig, SERVICE, SqliteRig, command, commit, open, post};
use engine::{
    EngineUrl,
    verify::{Report, verify},
};
use stdx::Rng;
use wire::{Kind, Seq, command::KeyOrigin};

fn branch(rig: &SqliteRig) -> Branch {
    let mut branch = Branch::new(rig);
    branch.whatever(&mut Rng::new(5), 20);
    branch.project();
    branch.whatever(&mut Rng::new(6), 10);
    branch
}

fn url(rig: &SqliteRig) -> EngineUrl {
    EngineUrl::Sqlite(rig.folder.clone())
}

fn report(rig: &SqliteRig) -> Report {
    verify(&url(rig), SERVICE, |_| ()).unwrap()
}

/// Changes something with `sql`, and expects a problem of partition 0 that contains `expected`.
#[track_caller]
fn check(database: &str, sql: &str, expected: &str) {
    let rig = SqliteRig::new();
    drop(branch(&rig));
    let connection = match database {
        "journal" => rig.journal(),
        _ => rig.views(),
    };
    assert!(0 < connection.execute(sql, []).unwrap(), "{sql}");
    let report = report(&rig);
    assert!(!report.is_sound(), "{sql}");
    let problems = &report.partitions[0].problems;
    assert!(problems.iter().any(|it| it.contains(expected)), "{sql}: {problems:?}");
    assert!(report.partitions[1].problems.is_empty(), "{:?}", report.partitions[1].problems);
}

#[test]
fn honest_books_are_sound_while_the_node_runs_and_after() {
    let rig = SqliteRig::new();
    let mut branch = branch(&rig);
    let mut seen = Vec::new();
    let found = verify(&url(&rig), SERVICE, |progress| seen.push(progress)).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.partitions.len(), 4);
    for (found, teller) in found.partitions.iter().zip(&branch.tellers) {
        assert_eq!((found.head, found.watermark), (teller.partition.chain(), Seq(20)));
        assert_eq!(found.transactions_count, teller.postings.len() as u64);
        assert_eq!(found.accounts_count, teller.partition.accounts().count() as u64);
        let items = teller.records.iter().map(|(record, _)| record.items.len() as u64);
        assert_eq!(found.commands_count, items.sum::<u64>());
        assert_eq!(found.epoch.0, 1);
    }
    assert_eq!(seen.last().map(|it| (it.records_done, it.records_count)), Some((30, 30)));
    branch.project();
    drop(branch);
    assert!(report(&rig).is_sound());
    std::fs::remove_file(rig.folder.join("views.db")).unwrap();
    assert!(report(&rig).is_sound());
}

/// As a program of the version before has left it: without the table of objects.
#[test]
fn older_views_are_sound_and_brought_up_to_date() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice"), post("alice", Kind::Credit, 7)]);
    branch.project();
    drop(branch);
    rig.views().execute_batch("DROP TABLE objects").unwrap();
    assert!(report(&rig).is_sound());
    let engine = rig.open("a-1").unwrap();
    let loaded = engine.reader().unwrap().load(crate::support::P0, Seq(0)).unwrap();
    assert_eq!((loaded.watermark.seq, loaded.open.len()), (Seq(1), 0));
}

#[test]
fn it_verifies_beside_a_running_node() {
    let rig = SqliteRig::new();
    let mut branch = branch(&rig);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut rng = Rng::new(8);
            for _ in 0..40 {
                branch.whatever(&mut rng, 3);
                branch.project();
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds == 0 {
            let report = report(&rig);
            assert!(report.is_sound(), "{report:?}");
            rounds += 1;
        }
    });
}

#[test]
fn any_flipped_bit_of_a_record_is_found() {
    let rig = SqliteRig::new();
    drop(branch(&rig));
    let journal = rig.journal();
    for seq in [1, 10, 20, 21, 30] {
        let select = "SELECT record FROM journal WHERE partition = 0 AND seq = ?";
        let good: Vec<u8> = journal.query_row(select, [seq], |row| row.get(0)).unwrap();
        let update = "UPDATE journal SET record = ? WHERE partition = 0 AND seq = ?";
        for bit in (0..good.len() * 8).step_by(997) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            journal.execute(update, rusqlite::params![bad, seq]).unwrap();
            let report = report(&rig);
            let problem = &report.partitions[0].problems[0];
            assert!(problem.starts_with(&format!("record {seq}: ")), "bit {bit}: {problem}");
        }
        journal.execute(update, rusqlite::params![good, seq]).unwrap();
    }
    assert!(report(&rig).is_sound());
}

#[test]
fn a_record_forged_with_its_hash_is_found() {
    let rig = SqliteRig::new();
    let branch = branch(&rig);
    // The last record, so that no later one vouches for it: the fence row does.
    let mut forged = (*branch.tellers[0].records[29].0).clone();
    forged.items[0].fingerprint.0 ^= 1;
    drop(branch);
    let mut bytes = Vec::new();
    forged.encode(&mut bytes);
    let row = rusqlite::params![ledger::Hash::of(&bytes).0, bytes];
    let update = "UPDATE journal SET hash = ?, record = ? WHERE partition = 0 AND seq = 30";
    rig.journal().execute(update, row).unwrap();
    let report = report(&rig);
    assert!(report.partitions[0].problems[0].contains("fence row"), "{report:?}");
}

#[test]
fn missing_records_are_found() {
    check("journal", "DELETE FROM journal WHERE partition = 0 AND seq = 30", "ends with record 29");
    check(
        "journal",
        "DELETE FROM journal WHERE partition = 0 AND seq = 7",
        "number 7 was expected",
    );
    check(
        "journal",
        "DELETE FROM journal WHERE partition = 0 AND seq > 10",
        "they are at record 20",
    );
}

#[test]
fn a_changed_fence_row_is_found() {
    check("journal", "UPDATE part SET seq = 29 WHERE part_id = 0", "ends with record 30");
    check("journal", "UPDATE part SET hash = zeroblob(32) WHERE part_id = 0", "another hash");
    check("journal", "UPDATE part SET time = time + 1 WHERE part_id = 0", "another hash or time");
    check("journal", "UPDATE part SET epoch = 0 WHERE part_id = 0", "at epoch 0");
}

#[test]
fn changed_views_are_found() {
    let account = "WHERE number = (SELECT min(number) FROM accounts WHERE partition = 0)";
    let columns = [
        "posted = posted + 1",
        "held = held + 1",
        "overdraft_limit = overdraft_limit + 1",
        "version = version + 1",
        "created_at = created_at + 1",
        "updated_at = updated_at + 1",
        "status = 3",
        "currency = 'USD'",
        "metadata = 'x'",
    ];
    for column in columns {
        check("views", &format!("UPDATE accounts SET {column} {account}"), "views: ");
    }
    check("views", &format!("UPDATE accounts SET status = 9 {account}"), "makes no sense");
    check("views", &format!("UPDATE accounts SET id = 'nobody' {account}"), "never opened");
    check("views", &format!("DELETE FROM accounts {account}"), "is missing");
    check("views", "UPDATE external SET balance = '1' WHERE partition = 0", "contra");
    check("views", "DELETE FROM external WHERE partition = 0", "contra");
    check("views", "UPDATE marks SET hash = zeroblob(32) WHERE partition = 0", "another hash");
    check("views", "UPDATE marks SET seq = 1000 WHERE partition = 0", "the journal ends with 30");
    check("views", "UPDATE marks SET seq = 19 WHERE partition = 0", "views: ");
    check("views", "INSERT INTO blocks VALUES (NULL, 9999, 1, 1, 0, 0, 0, x'')", "no account's");
}

#[test]
fn changed_objects_are_found() {
    check("views", "DELETE FROM objects WHERE partition = 0", "an object is None");
    check("views", "UPDATE objects SET open = 1 - open WHERE partition = 0", "than its row says");
    check("views", "UPDATE objects SET data = x'01' WHERE partition = 0", "makes no sense");
    let other = "INSERT OR IGNORE INTO objects SELECT 0, key, open, data FROM objects
                 WHERE partition = 1";
    check("views", other, "nothing in the journal made");
    let swap = "UPDATE objects SET data = (SELECT max(data) FROM objects o
                 WHERE o.partition = 0 AND substr(o.key, 1, 1) = substr(objects.key, 1, 1))
                WHERE partition = 0 AND open = 0";
    check("views", swap, "an object is");
}

#[test]
fn changed_blocks_are_found() {
    let block = "WHERE number = (SELECT max(blocks.number) FROM blocks JOIN accounts
                 ON blocks.account = accounts.number WHERE accounts.partition = 0)";
    check("views", &format!("DELETE FROM blocks {block}"), "transactions of account");
    for column in ["last_version", "first_time", "last_time", "count"] {
        check("views", &format!("UPDATE blocks SET {column} = {column} + 1 {block}"), "views: ");
    }
    // One byte of the postings: within the amount of the first one.
    let flip = "UPDATE blocks SET postings = CAST(substr(postings, 1, 20) || x'07' ||
                substr(postings, 22) AS BLOB)";
    check("views", &format!("{flip} {block}"), "views: ");
    check("views", &format!("UPDATE blocks SET postings = x'0102' {block}"), "makes no sense");
}

#[test]
fn changed_keys_are_found() {
    let blocks = format!("key_block_{}", NOON.0.div_euclid(DAY));
    let of_keys = "the journal gives";
    check("views", &format!("DELETE FROM {blocks} WHERE partition = 0"), of_keys);
    check("views", "DELETE FROM key_run WHERE partition = 0", of_keys);
    check("views", "UPDATE key_run SET number = 9 WHERE partition = 0", of_keys);
    let set = |keys: &str| format!("UPDATE {blocks} SET keys = {keys} WHERE partition = 0");
    // The last key, the record of one, and the place in it.
    check("views", &set("substr(keys, 1, length(keys) - 23)"), of_keys);
    for byte in [20, 22] {
        let changed =
            format!("CAST(substr(keys, 1, {byte}) || x'ee' || substr(keys, {byte} + 2) AS BLOB)");
        check("views", &set(&changed), of_keys);
    }
    check("views", &set("CAST(keys || substr(keys, 1, 23) AS BLOB)"), "not in order");
    check("views", &set("substr(keys, 2)"), "ends within");
    check("views", &set("substr(keys, 24)"), "not in order");
    check("views", &set("x''"), "not in order");
    check(
        "views",
        &format!("UPDATE {blocks} SET first = x'00' WHERE partition = 0"),
        "not in order",
    );
}

#[test]
fn keys_of_days_that_are_over_and_of_wrong_clocks_are_not_missed() {
    let rig = SqliteRig::new();
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice")]);
    let other = branch.tellers[1].minted(vec![open("bob")]);
    commit(&mut *branch.committer, &[other]);
    for (days, number) in [(0, 0), (1, 1), (2, 2), (7, 3), (1, 4), (0, 5), (1, 6)] {
        branch.tellers[0].now.0 += days * DAY;
        // The other one's clock is a week behind, and catches up.
        branch.tellers[1].now.0 = branch.tellers[0].now.0 - 7 * DAY * i64::from(number < 5);
        branch.command(vec![keyed(number, "alice")]);
        let credit = branch.tellers[1].decide(vec![keyed(100 + number, "bob")]);
        commit(&mut *branch.committer, &[credit]);
        branch.project();
        let report = report(&rig);
        assert!(report.is_sound(), "{number}: {report:?}");
    }
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    std::fs::remove_file(rig.folder.join("views.db")).unwrap();
    let engine = rig.open("a-1").unwrap();
    let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
    Branch { engine, committer, projector, tellers }.project();
    assert!(report(&rig).is_sound(), "made again");
}

fn keyed(number: u64, account: &str) -> wire::Command {
    command(KeyOrigin::Client, number, post(account, Kind::Credit, 1))
}

#[test]
fn another_service_or_none_is_no_report() {
    let rig = SqliteRig::new();
    verify(&url(&rig), SERVICE, |_| ()).unwrap_err();
    drop(rig.open("a-1").unwrap());
    verify(&url(&rig), "b", |_| ()).unwrap_err();
    assert!(report(&rig).is_sound());
}
