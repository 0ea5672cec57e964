//! What memory keeps, drops and takes in: admission, eviction, keys, and batches that never were.

use super::teller::{self, Teller, command, eur, memory, open, post, replayed};
use crate::{
    Answer, Chain, Hash, Known, Partition, Record, ReplayError, Unsound, Verdict,
    keys::{GENERATION_SECONDS, KEEP_SECONDS},
};
use std::sync::Arc;
use wire::{AccountState, Epoch, KeyHash, Kind, PartitionId, Seq, Status, Timestamp};

const SECOND: i64 = 1_000_000;

fn credit(key: u128, id: &str, amount: i64) -> wire::Command {
    command(key, post(id, Kind::Credit, amount, "EUR"))
}

fn opened_with(ids: &[&str]) -> Teller {
    let mut teller = Teller::new();
    let opens = ids.iter().enumerate().map(|(n, id)| command(n as u128, open(id, "EUR", 0)));
    teller.run(SECOND, opens.collect());
    teller
}

#[test]
fn a_batch_that_is_not_merged_leaves_no_trace() {
    let mut teller = opened_with(&["alice"]);
    let before = memory(&teller.partition);
    let staged = teller.stage(2 * SECOND, vec![credit(10, "alice", 5), credit(11, "bob", 5)]);
    assert_eq!(staged.answers, [Answer::Fresh(0), Answer::Fresh(1)]);
    drop(staged);
    assert_eq!(memory(&teller.partition), before);
    assert_eq!(teller.partition.key(KeyHash(10)), None);
    assert_eq!(teller.run(3 * SECOND, vec![credit(10, "alice", 5)]), [Answer::Fresh(0)]);
}

#[test]
fn an_empty_batch_and_one_of_repeats_journal_nothing() {
    let mut teller = opened_with(&["alice"]);
    let before = teller.partition.chain();
    for commands in [vec![], vec![command(0, open("alice", "EUR", 0))]] {
        let staged = teller.stage(9 * SECOND, commands);
        assert!(staged.record.is_none() && staged.bytes.is_empty());
        assert_eq!(staged.hash, before.hash);
        teller.commit(staged);
        assert_eq!(teller.partition.chain(), before);
    }
}

#[test]
#[should_panic(expected = "assertion `left == right` failed")]
fn a_batch_is_merged_where_it_was_staged() {
    let mut teller = opened_with(&["alice"]);
    let (one, two) = (credit(10, "alice", 5), credit(11, "alice", 5));
    let one = teller.stage(SECOND, vec![one]);
    let two = teller.stage(SECOND, vec![two]);
    teller.commit(one);
    teller.commit(two);
}

#[test]
#[should_panic(expected = "in memory before it is staged")]
fn an_unknown_account_is_not_staged() {
    let _staged = teller::empty(1).stage(Timestamp(1), vec![credit(1, "alice", 5)]);
}

#[test]
fn journal_time_never_goes_back() {
    let mut teller = opened_with(&["alice"]);
    for (now, time) in [(5, 5), (3, 5), (-7, 5), (i64::MAX, Timestamp::MAX.0 / SECOND)] {
        let key = 100 + teller.journal.len() as u128;
        teller.run(now.saturating_mul(SECOND), vec![credit(key, "alice", 1)]);
        assert_eq!(teller.partition.chain().time.0 / SECOND, time, "at {now}");
    }
}

#[test]
fn memory_is_newer_than_the_views() {
    let mut teller = opened_with(&["alice"]);
    teller.partition.admit(teller::account("alice"), None).unwrap();
    assert!(matches!(teller.partition.account(&teller::account("alice")), Known::Present(_)));
    assert_eq!(teller.partition.account(&teller::account("bob")), Known::Unknown);
    teller.partition.admit(teller::account("bob"), None).unwrap();
    assert_eq!(teller.partition.account(&teller::account("bob")), Known::Absent);
}

#[test]
fn damaged_views_are_not_taken_in() {
    let sound = AccountState {
        id: teller::account("alice"),
        currency: eur(),
        status: Status::Open,
        posted: 0,
        held: 0,
        overdraft_limit: 0,
        version: 0,
        metadata: "{}".into(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    let damaged = [
        AccountState { id: teller::account("bob"), ..sound.clone() },
        AccountState { posted: -1, ..sound.clone() },
        AccountState { held: 1, ..sound.clone() },
        AccountState { held: -1, ..sound.clone() },
        AccountState { overdraft_limit: -1, posted: 5, ..sound.clone() },
        AccountState { posted: i64::MAX, overdraft_limit: 1, ..sound.clone() },
        AccountState { status: Status::Closed, posted: 1, ..sound.clone() },
        AccountState { version: u64::MAX, ..sound.clone() },
    ];
    let mut partition = teller::empty(1);
    for state in damaged {
        let result = partition.admit(teller::account("alice"), Some(state.clone()));
        assert!(matches!(result, Err(Unsound(_))), "{state:?}");
    }
    assert_eq!(partition.account(&teller::account("alice")), Known::Unknown);
    partition.admit(sound.id.clone(), Some(sound)).unwrap();
}

#[test]
fn eviction_spares_what_the_views_do_not_have_and_what_was_just_used() {
    let ids: Vec<String> = (0..100).map(|n| format!("account-{n}")).collect();
    let mut teller = opened_with(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(teller.partition.evict(10), 90); // Nothing is projected yet.
    assert_eq!(teller.partition.accounts_count(), 100);

    teller.partition.projected(Seq(1));
    teller.run(2 * SECOND, vec![credit(1_000, "account-7", 5)]);
    assert_eq!(teller.partition.evict(10), 0);
    assert_eq!(teller.partition.accounts_count(), 10);
    assert!(matches!(teller.partition.account(&teller::account("account-7")), Known::Present(_)));

    assert_eq!(teller.partition.evict(0), 1); // Record 2 is not projected.
    teller.partition.projected(Seq(2));
    assert_eq!(teller.partition.evict(0), 0);
    assert_eq!(teller.partition.accounts_count(), 0);
    teller.partition.admit(teller::account("account-7"), None).unwrap(); // Slots are used again.
    assert_eq!(teller.partition.accounts_count(), 1);
}

#[test]
fn an_account_evicted_while_its_batch_commits_comes_back_with_it() {
    let mut teller = opened_with(&["alice", "bob"]);
    teller.partition.projected(Seq(1));
    let staged = teller.stage(2 * SECOND, vec![credit(10, "alice", 5), credit(11, "bob", 6)]);
    assert_eq!(teller.partition.evict(0), 0);
    teller.partition.admit(teller::account("bob"), None).unwrap(); // In the slot that alice had.
    teller.commit(staged);
    let posted = |id| match teller.partition.account(&teller::account(id)) {
        Known::Present(state) => state.posted,
        Known::Absent | Known::Unknown => panic!("not there"),
    };
    assert_eq!((posted("alice"), posted("bob")), (5, 6));
    assert_eq!(teller.partition.accounts_count(), 2);
}

#[test]
fn keys_stay_their_time_and_until_they_are_projected() {
    let mut teller = opened_with(&["alice"]);
    let start = teller.partition.chain().time.0;
    let (keep, generation) = (i64::from(KEEP_SECONDS), i64::from(GENERATION_SECONDS));
    let key = KeyHash(0);
    let at = |partition: &mut Partition, seconds: i64| {
        let _room = partition.room(Timestamp(start + seconds * SECOND));
        partition.key(key).is_some()
    };
    assert!(at(&mut teller.partition, 10 * keep)); // Old, but not projected.
    teller.partition.projected(Seq(1));
    assert!(at(&mut teller.partition, keep - 1)); // Projected, but not old.
    let mut late = teller.clone();
    assert!(!at(&mut late.partition, keep));
    assert_eq!(late.partition.keys_count(), 0);

    // At a steady rate a key goes with its generation.
    for second in 1..=(keep + generation) {
        let number = 1_000 + u128::try_from(second).unwrap();
        teller.run(start + second * SECOND, vec![credit(number, "alice", 1)]);
        teller.partition.projected(teller.partition.chain().seq);
        let known = teller.partition.key(key).is_some();
        assert!(known || keep <= second, "second {second}");
    }
    assert!(!at(&mut teller.partition, keep + generation));
    assert!(teller.partition.keys_count() <= usize::try_from(keep + generation).unwrap());
}

#[test]
fn a_new_owner_remembers_keys_without_balances() {
    let mut teller = opened_with(&["alice"]);
    teller.run(2 * SECOND, vec![credit(10, "alice", 5)]);
    let chain = teller.partition.chain();
    let external = teller.partition.external().collect();
    let mut heir = Partition::new(teller::tag(), teller::PARTITION, Epoch(2), chain, external);
    for row in &teller.journal {
        heir.remember(&row.record);
    }
    assert_eq!(heir.key(KeyHash(10)), teller.partition.key(KeyHash(10)));
    assert_eq!((heir.accounts_count(), heir.keys_count()), (0, 2));
    let staged = heir.stage(Timestamp(3 * SECOND), vec![credit(10, "alice", 5)]); // No account.
    assert_eq!(staged.answers, [Answer::Repeat { seq: Seq(2), index: 0 }]);
    assert!(staged.record.is_none());
}

#[test]
fn only_the_next_record_is_replayed() {
    let mut teller = opened_with(&["alice"]);
    teller.run(2 * SECOND, vec![credit(10, "alice", 5)]);
    let [one, two] = teller.journal.as_slice() else { panic!("two records") };
    let check = |expected: ReplayError, damage: &dyn Fn(&mut Record)| {
        let mut partition = replayed(std::slice::from_ref(one), 1);
        let before = memory(&partition);
        let mut record = Record::clone(&two.record);
        damage(&mut record);
        assert_eq!(partition.replay(&record, two.hash), Err(expected));
        assert_eq!(memory(&partition), before);
        partition.replay(&two.record, two.hash).unwrap();
    };
    let (expected, found) = (Seq(2), Seq(3));
    check(ReplayError::Seq { expected, found }, &|it| it.header.seq = Seq(3));
    check(ReplayError::Partition(PartitionId(4)), &|it| it.header.partition = PartitionId(4));
    check(ReplayError::Previous, &|it| it.header.previous = Hash::NONE);
    check(ReplayError::Time, &|it| it.header.time = Timestamp(0));
    check(ReplayError::Epoch(Epoch(2)), &|it| it.header.epoch = Epoch(2)); // Above our own.
    check(ReplayError::Epoch(Epoch(0)), &|it| it.header.epoch = Epoch(0)); // Below the last.
    check(ReplayError::External, &|it| it.external[0].1 = 5);
    check(ReplayError::External, &|it| it.external.clear());
    check(ReplayError::Unknown(teller::account("bob")), &|it| {
        it.items[0].action = post("bob", Kind::Credit, 5, "EUR");
    });
    for action in [
        post("alice", Kind::Credit, 6, "EUR"),
        post("alice", Kind::Debit, 5, "EUR"),
        post("alice", Kind::Credit, 5, "USD"),
        open("alice", "EUR", 0),
    ] {
        let mut partition = replayed(std::slice::from_ref(one), 1);
        let mut record = Record::clone(&two.record);
        record.items[0].action = action;
        let result = partition.replay(&record, two.hash);
        assert!(matches!(result, Err(ReplayError::Item { index: 0, .. })), "{result:?}");
    }
}

#[test]
fn an_update_leaves_what_it_asked_for() {
    let mut teller = opened_with(&["alice"]);
    teller.run(2 * SECOND, vec![command(10, teller::update("alice", None, Some(5)))]);
    let [one, two] = teller.journal.as_slice() else { panic!("two records") };
    let damages: [fn(&mut AccountState); 5] = [
        |it| it.posted = 1,
        |it| it.version = 2,
        |it| it.status = Status::Closed,
        |it| it.overdraft_limit = 6,
        |it| it.updated_at = Timestamp(0),
    ];
    for damage in damages {
        let mut record = Record::clone(&two.record);
        let Verdict::Updated(state) = &mut record.items[0].verdict else { panic!("an update") };
        damage(state);
        let result = replayed(std::slice::from_ref(one), 1).replay(&record, two.hash);
        assert!(matches!(result, Err(ReplayError::Item { index: 0, .. })), "{result:?}");
    }
}

#[test]
fn the_next_owner_continues_the_chain() {
    let mut teller = opened_with(&["alice"]);
    let partition = replayed(&teller.journal, 5);
    teller.partition = partition;
    teller.run(2 * SECOND, vec![credit(10, "alice", 5)]);
    assert_eq!(teller.journal[1].record.header.epoch, Epoch(5));
    assert_eq!(teller.journal[1].record.header.previous, teller.journal[0].hash);
    teller::audited(&teller.journal).unwrap();
    assert_eq!(memory(&replayed(&teller.journal, 5)), memory(&teller.partition));
    assert_eq!(Arc::strong_count(&teller.journal[1].record), 1); // Memory keeps no record.
    assert_ne!(teller.partition.chain(), Chain::EMPTY);
}
