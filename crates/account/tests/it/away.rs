//! An engine that cannot be reached, and a batch of which nobody knows whether it is durable.

use crate::world::{PARTITIONS, World, minted, returned};
use account::executor::{Ended, Ending, PATIENCE, Way};
use std::time::Duration;
use wire::{AccountId, Epoch, PartitionId};

/// Alice and somebody in the other partition have 75.00 EUR, and reads are confirmed.
fn confirming() -> (World, &'static str) {
    let home = |name: &str| AccountId::parse(name).unwrap().partition(PARTITIONS);
    let names = ["bob", "carol", "dave", "erin"].into_iter();
    let neighbour = names.into_iter().find(|name| home(name) != home("alice")).unwrap();
    let mut world = World::new(1_000);
    for (caller, name) in [(1, "alice"), (2, neighbour)] {
        world.arrive(caller, minted(caller, &format!("open {name}")));
        world.arrive(10 + caller, minted(10 + caller, &format!("credit {name} 7500")));
    }
    world.settle();
    world.executor.confirm_reads();
    (world, neighbour)
}

fn alice() -> PartitionId {
    AccountId::parse("alice").unwrap().partition(PARTITIONS)
}

#[test]
fn nothing_is_told_of_a_batch_in_doubt_before_the_engine_says() {
    for (ending, told) in [
        (Ending::Committed, "3000"),
        (Ending::NotExecuted, "NotOwner"),
        (Ending::Fenced, "NotOwner"),
    ] {
        let (mut world, neighbour) = confirming();
        world.arrive(21, minted(21, "debit alice 4500"));
        world.stage();
        world.arrive(22, minted(21, "debit alice 4500")); // A repeat of what is in doubt.
        world.arrive(23, minted(23, "debit alice 1"));
        world.read(24, "alice");
        world.read(25, neighbour);
        assert_eq!(world.confirm().map(|it| it.len()), Some(2));
        world.doubt();
        world.confirmed(Some(&[true, true]));
        let answers = [21, 22, 23, 25].map(|caller| world.answer(caller));
        assert_eq!(answers, ["-", "OutcomeUnknown", "EngineUnavailable", "posted 7500"]);
        assert_eq!(world.answer(24), "-", "its partition is in doubt, whoever owns it");
        assert_eq!(world.confirm(), None);
        // Those who come now need not wait.
        world.arrive(31, minted(21, "debit alice 4500"));
        world.arrive(32, minted(32, "debit alice 1"));
        world.arrive(33, returned(50, "debit alice 1"));
        world.read(34, "alice");
        let answers = [31, 32, 33, 34].map(|caller| world.answer(caller));
        let away = "EngineUnavailable";
        assert_eq!(answers, ["OutcomeUnknown", away, away, away]);

        world.end(ending);
        assert_eq!(world.answer(21), told);
        if ending == Ending::Fenced {
            assert_eq!(world.answer(24), "NotOwner");
            continue;
        }
        world.arrive(41, minted(21, "debit alice 4500"));
        world.arrive(42, minted(42, "debit alice 1000"));
        world.settle_commands();
        assert_eq!([41, 42].map(|caller| world.answer(caller)), ["3000", "2000"]);
        assert_eq!(world.confirm().map(|it| it.len()), Some(1));
        world.confirmed(Some(&[true]));
        assert_eq!(world.answer(24), "posted 2000");
    }
}

#[test]
fn who_waits_for_an_engine_that_is_away_for_long_is_told_so_and_the_next_at_once() {
    let (mut world, _) = confirming();
    world.arrive(21, minted(21, "debit alice 100"));
    world.arrive(22, returned(50, "debit alice 100"));
    world.executor.engine_away(Way::Commit, world.now);
    world.read(23, "alice");
    world.pass(PATIENCE / 2);
    world.executor.engine_away(Way::Commit, world.now);
    world.arrive(24, minted(24, "debit alice 100"));
    let waiting = [21, 22, 23, 24];
    assert_eq!(waiting.map(|caller| world.answer(caller)), ["-"; 4]);
    world.pass(PATIENCE / 2);
    assert_eq!(waiting.map(|caller| world.answer(caller)), ["EngineUnavailable"; 4]);
    world.arrive(31, minted(31, "debit alice 100"));
    world.read(32, "alice");
    assert_eq!([31, 32].map(|caller| world.answer(caller)), ["EngineUnavailable"; 2]);
    // What is known under a key is told when it can be read, and is never said to have failed.
    world.arrive(33, minted(11, "credit alice 7500"));
    assert_eq!(world.answer(33), "-");
    world.ask();

    world.executor.engine_back(Way::Commit);
    world.find();
    assert_eq!(world.answer(33), "7500");
    world.arrive(41, minted(21, "debit alice 100"));
    world.settle();
    assert_eq!(world.answer(41), "7400");
}

#[test]
fn a_short_absence_is_not_told_at_all() {
    let (mut world, _) = confirming();
    world.executor.engine_away(Way::LookUp, world.now);
    world.arrive(21, returned(50, "debit alice 100"));
    world.ask();
    world.pass(PATIENCE / 2);
    world.find();
    assert_eq!(world.executor.away_since(), None);
    world.pass(PATIENCE);
    world.settle();
    assert_eq!(world.answer(21), "7400");
}

#[test]
fn what_another_holds_for_a_moment_is_asked_again_and_not_executed_twice() {
    let (mut world, _) = confirming();
    world.arrive(21, minted(21, "debit alice 100"));
    world.stage();
    world.end(Ending::NotExecuted);
    assert_eq!(world.answer(21), "NotOwner", "gateways ask once more");
    world.arrive(22, minted(21, "debit alice 100"));
    world.settle();
    assert_eq!(world.answer(22), "7400");
}

#[test]
fn a_read_is_answered_from_what_memory_holds_after_it_is_confirmed() {
    let (mut world, _) = confirming();
    world.read(21, "alice");
    assert_eq!(world.confirm(), Some(vec![(alice(), Epoch(1))]));
    world.read(22, "alice");
    assert_eq!((world.confirm(), world.answer(21)), (None, "-".into()));
    world.arrive(23, minted(23, "debit alice 500"));
    world.settle_commands();
    world.confirmed(Some(&[true]));
    assert_eq!((world.answer(21), world.answer(22)), ("posted 7000".into(), "-".into()));
    assert_eq!(world.confirm().map(|it| it.len()), Some(1));
    world.confirmed(Some(&[true]));
    assert_eq!(world.answer(22), "posted 7000");
}

#[test]
fn a_tenure_that_is_not_confirmed_has_ended() {
    let (mut world, neighbour) = confirming();
    world.read(21, "alice");
    world.read(22, neighbour);
    let held = world.confirm().unwrap();
    world.arrive(23, minted(23, "debit alice 500"));
    let ours: Vec<bool> = held.iter().map(|(partition, _)| *partition != alice()).collect();
    world.confirmed(Some(&ours));
    let answers = [21, 22, 23].map(|caller| world.answer(caller));
    assert_eq!(answers, ["NotOwner", "posted 7500", "NotOwner"]);
    let ended = Ended { partition: alice(), epoch: Epoch(1), was_here: true };
    assert_eq!(world.executor.take_ended(), [ended]);
    // Another was told the same, later: the next tenure is not ended by it.
    world.read(24, "alice");
    assert_eq!((world.answer(24), world.confirm()), ("NotOwner".into(), None));
}

#[test]
fn reads_that_nobody_can_confirm_are_not_answered() {
    let (mut world, _) = confirming();
    world.read(21, "alice");
    world.confirm().unwrap();
    world.confirmed(None);
    assert_eq!(world.answer(21), "EngineUnavailable");
    assert!(world.executor.take_ended().is_empty());
    world.read(22, "alice");
    world.pass(Duration::from_secs(60));
    assert_eq!((world.confirm(), world.answer(22)), (None, "Overloaded".into()));
}

#[test]
fn a_history_is_asked_for_after_the_tenure_is_confirmed() {
    let (mut world, _) = confirming();
    world.history(21, "alice");
    world.history(22, "nobody");
    assert!(world.executor.take_questions().is_empty());
    let held = world.confirm().unwrap();
    world.confirmed(Some(&vec![true; held.len()]));
    assert_eq!(world.executor.take_questions().len(), 2);
    world.history(23, "alice");
    world.confirm().unwrap();
    world.confirmed(Some(&[false]));
    assert_eq!(world.answer(23), "NotOwner");
}
