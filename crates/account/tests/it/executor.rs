//! What the executor promises, one case each.

use crate::world::{NOT_OWNER, PARTITIONS, World, keyed, minted, returned};
use account::executor::{Ended, Ending, QUESTIONS_MAX, WAITING_MAX};
use std::time::Duration;
use wire::{AccountId, Epoch, PartitionId};

/// A world where alice has 75.00 EUR and everything about her is in memory.
fn alice_with_7500() -> World {
    let mut world = World::new(1_000);
    world.arrive(1, minted(1, "open alice"));
    world.arrive(2, minted(2, "credit alice 7500"));
    world.settle();
    assert_eq!((world.answer(1), world.answer(2)), ("opened".into(), "7500".into()));
    world
}

#[test]
fn of_three_debits_at_once_one_succeeds() {
    let mut world = alice_with_7500();
    for caller in 11..14 {
        world.arrive(caller, minted(caller, "debit alice 4500"));
    }
    world.settle();
    let answers = [11, 12, 13].map(|caller| world.answer(caller));
    assert_eq!(answers, ["3000", "insufficient_funds", "insufficient_funds"]);
}

#[test]
fn what_nobody_waits_for_is_dropped_before_it_is_staged_and_never_after() {
    let mut world = alice_with_7500();
    world.executor.only_if(|caller| *caller != 11);
    world.arrive(11, keyed("k", "debit alice 4500"));
    world.arrive(12, minted(12, "debit alice 1000"));
    world.settle();
    assert_eq!((world.answer(11), world.answer(12)), ("Overloaded".into(), "6500".into()));
    // Its key is as new as before.
    world.arrive(13, keyed("k", "debit alice 4500"));
    world.settle();
    assert_eq!(world.answer(13), "2000");
    // Staged it is executed, though nobody hears of it, and known by its key.
    world.executor.only_if(|_| true);
    world.arrive(14, minted(14, "debit alice 500"));
    world.stage();
    world.executor.only_if(|_| false);
    world.end(Ending::Committed);
    world.executor.only_if(|_| true);
    world.read(15, "alice");
    assert_eq!(world.answer(15), "posted 1500");
}

#[test]
fn nothing_is_answered_or_read_before_it_is_durable() {
    let mut world = alice_with_7500();
    world.arrive(11, minted(11, "debit alice 4500"));
    world.arrive(12, minted(12, "debit alice 9999"));
    world.stage();
    assert_eq!((world.answer(11), world.answer(12)), ("-".into(), "-".into()));
    world.read(13, "alice");
    assert_eq!(world.answer(13), "posted 7500");
    world.end(Ending::Committed);
    assert_eq!((world.answer(11), world.answer(12)), ("3000".into(), "insufficient_funds".into()));
    world.read(14, "alice");
    assert_eq!(world.answer(14), "posted 3000");
}

#[test]
fn a_batch_that_the_engine_refused_leaves_no_trace() {
    let mut world = alice_with_7500();
    world.arrive(11, keyed("k", "debit alice 4500"));
    world.ask();
    world.find();
    world.stage();
    world.end(Ending::Refused);
    assert_eq!(world.answer(11), "EngineUnavailable");
    world.read(12, "alice");
    assert_eq!(world.answer(12), "posted 7500");
    // The same key may be tried again, and is executed once.
    world.arrive(13, keyed("k", "debit alice 4500"));
    world.arrive(14, keyed("k", "debit alice 4500"));
    world.settle();
    assert_eq!((world.answer(13), world.answer(14)), ("3000".into(), "3000".into()));
}

#[test]
fn a_fenced_partition_tells_everyone_who_waits_and_its_neighbour_goes_on() {
    let mut world = alice_with_7500();
    world.arrive(11, minted(11, "debit alice 4500"));
    world.stage();
    world.arrive(12, minted(12, "debit alice 1"));
    world.arrive(13, keyed("cold", "debit alice 1"));
    world.end(Ending::Fenced);
    for caller in 11..14 {
        assert_eq!(world.answers[&caller], NOT_OWNER, "{caller}");
    }
    world.arrive(14, minted(14, "debit alice 1"));
    assert_eq!(world.answers[&14], NOT_OWNER);
    let neighbour = ["bob", "carol", "dave", "erin"].into_iter().find(|name| {
        let id = |it: &str| AccountId::parse(it).unwrap();
        id(name).partition(PARTITIONS) != id("alice").partition(2)
    });
    world.arrive(15, minted(15, &format!("open {}", neighbour.unwrap())));
    world.settle();
    assert_eq!(world.answer(15), "opened");
}

#[test]
fn a_repeat_gets_the_first_answer_wherever_the_first_is() {
    let mut world = alice_with_7500();
    world.arrive(11, keyed("k", "debit alice 4500"));
    world.arrive(12, keyed("k", "debit alice 4500")); // While the first waits for its look-up.
    world.ask();
    world.find();
    world.ask();
    world.find();
    world.stage();
    world.arrive(13, keyed("k", "debit alice 4500")); // While the first is committed.
    world.end(Ending::Committed);
    world.arrive(14, keyed("k", "debit alice 4500")); // From memory.
    world.settle();
    world.project();
    world.arrive(15, keyed("k", "debit alice 4500")); // When the views have it.
    world.settle();
    for caller in 11..16 {
        assert_eq!(world.answers[&caller], world.answers[&11], "{caller}");
        assert_eq!(world.answer(caller), "3000");
    }
    assert_eq!(world.records().flat_map(|it| &it.items).count(), 3);
}

#[test]
fn a_key_for_another_request_is_refused_and_not_journaled() {
    let mut world = alice_with_7500();
    world.arrive(11, keyed("k", "debit alice 4500"));
    world.arrive(12, keyed("k", "debit alice 4501"));
    world.settle();
    world.arrive(13, keyed("k", "debit alice 4502"));
    world.settle();
    let answers = [11, 12, 13].map(|caller| world.answer(caller));
    assert_eq!(answers, ["3000", "key_reused", "key_reused"]);
    assert_eq!(world.records().flat_map(|it| &it.items).count(), 3);
}

#[test]
fn a_cold_account_holds_up_nobody_else_and_keeps_its_order() {
    let mut world = World::new(0);
    world.arrive(1, minted(1, "open alice"));
    world.arrive(2, minted(2, "credit alice 100"));
    world.arrive(3, minted(3, "open bob"));
    world.settle();
    world.project(); // Memory may keep no account, so all of them leave it.

    world.arrive(11, keyed("cold", "debit alice 60"));
    world.arrive(12, minted(12, "debit alice 60")); // Nothing to look up but behind the first.
    world.arrive(13, minted(13, "open carol"));
    world.ask();
    world.arrive(14, minted(14, "credit alice 1"));
    world.find();
    world.stage();
    world.end(Ending::Committed);
    let answers = [11, 12, 13, 14].map(|caller| world.answer(caller));
    assert_eq!(answers, ["40", "insufficient_funds", "opened", "41"]);
}

#[test]
fn reads_of_what_is_not_in_memory_are_answered_from_the_views() {
    let mut world = World::new(0);
    world.arrive(1, minted(1, "open alice"));
    world.settle();
    world.project();
    world.read(2, "alice");
    world.read(3, "nobody");
    assert_eq!(world.answer(2), "-");
    world.settle();
    assert_eq!((world.answer(2), world.answer(3)), ("posted 0".into(), "NoSuchAccount".into()));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_executed() {
    let mut world = alice_with_7500();
    world.arrive(11, minted(11, "debit alice 4500"));
    world.now = world.now + Duration::from_secs(10);
    world.stage();
    assert_eq!(world.answer(11), "Overloaded");
    world.read(12, "alice");
    assert_eq!(world.answer(12), "posted 7500");
}

#[test]
fn a_full_node_refuses_what_comes_and_finishes_what_it_has() {
    let mut world = alice_with_7500();
    let waiting = u32::try_from(WAITING_MAX).unwrap();
    for number in 0..waiting {
        world.arrive(100 + number, minted(100 + number, "credit alice 1"));
    }
    world.arrive(99, minted(99, "credit alice 1"));
    assert_eq!(world.answer(99), "Overloaded");
    world.settle();
    assert_eq!(world.answer(100 + waiting - 1), (7_500 + waiting).to_string());
}

#[test]
fn a_caller_who_splits_accounts_otherwise_is_told() {
    use wire::{Call, query::Query};
    let mut world = World::new(10);
    let id = AccountId::parse("alice").unwrap();
    let call = || Call::Query(Query::Account(id.clone()));
    let left = Duration::from_secs(1);
    world.executor.arrive(1, world.now, left, (PartitionId(0), 16), call());
    let right = id.partition(2).0;
    let command = Call::Execute(minted(2, "open alice"));
    world.executor.arrive(2, world.now, left, (PartitionId(1 - right), 2), command);
    let mut answers = Vec::new();
    world.executor.take_answers(&mut answers);
    let failed = wire::Reply::Failed(wire::call::Failure::Malformed);
    assert_eq!(answers, [(1, failed.clone()), (2, failed)]);
}

#[test]
fn a_look_up_that_was_overtaken_does_not_bring_an_old_balance_back() {
    let mut world = World::new(0); // Memory lets go of whatever it can.
    world.arrive(1, minted(1, "open alice"));
    world.arrive(2, minted(2, "credit alice 100"));
    world.settle();
    world.arrive(11, minted(11, "debit alice 60"));
    world.settle_look_ups();
    world.stage();
    world.project(); // Alice may go, as far as the views know.
    world.read(12, "alice");
    world.ask(); // Should it look her up now, it sees 100.
    world.end(Ending::Committed);
    world.project();
    world.find();
    world.arrive(13, minted(13, "debit alice 60"));
    world.settle();
    let answers = [11, 12, 13].map(|caller| world.answer(caller));
    assert_eq!(answers, ["40", "posted 100", "insufficient_funds"]);
}

#[test]
fn a_key_is_looked_up_again_when_memory_has_forgotten_in_between() {
    let mut world = alice_with_7500();
    world.arrive(11, keyed("k", "debit alice 100"));
    world.settle_look_ups();
    world.stage();
    // The commit takes a minute, and the client repeats. The index has nothing yet.
    world.now = world.now + Duration::from_secs(55);
    world.arrive(12, keyed("k", "debit alice 100"));
    world.ask();
    world.end(Ending::Committed);
    world.project();
    world.now = world.now + Duration::from_secs(9);
    world.find();
    world.settle();
    assert_eq!((world.answer(11), world.answer(12)), ("7400".into(), "7400".into()));
}

#[test]
fn a_minted_key_that_was_held_up_on_its_way_is_looked_up() {
    let mut world = alice_with_7500();
    world.arrive(11, minted(11, "debit alice 100"));
    world.settle();
    world.project();
    // Two minutes later somebody who was stopped goes on, and sends what he had.
    world.now = world.now + Duration::from_secs(120);
    world.arrive(12, minted(11, "debit alice 100"));
    world.arrive(13, minted(13, "debit alice 100"));
    world.settle();
    world.project();
    // What was executed out of its time is found when the client repeats it.
    world.now = world.now + Duration::from_secs(120);
    world.arrive(14, returned(13, "debit alice 100"));
    world.arrive(15, returned(11, "debit alice 100"));
    world.settle();
    let answers = [11, 12, 13, 14, 15].map(|caller| world.answer(caller));
    assert_eq!(answers, ["7400", "7400", "7300", "7300", "7400"]);
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_journals_time() {
    let mut world = World::new(1_000);
    world.now = world.now + Duration::from_secs(3_600);
    world.arrive(1, minted(1, "open alice"));
    world.settle();
    world.restart_an_hour_earlier();
    let mut times = Vec::new();
    for caller in 10..14 {
        world.arrive(caller, minted(caller, "credit alice 1"));
        world.settle();
        times.push(world.records().last().unwrap().header.time.0 / 1_000_000);
        world.now = world.now + Duration::from_secs(3_000);
    }
    // At half the clock's pace until the clock has caught up.
    assert_eq!(times, [3_600, 5_100, 6_600, 9_000]);
}

#[test]
fn reads_alone_do_not_fill_the_memory() {
    let mut world = World::new(10);
    for caller in 0..500 {
        world.read(caller, &format!("nobody-{caller}"));
        world.settle();
        assert_eq!(world.answer(caller), "NoSuchAccount");
    }
    let count = world.executor.accounts_count();
    assert!(count <= 2 * 11, "{count} accounts in memory");
}

#[test]
fn questions_wait_in_a_line_of_bounded_length() {
    let mut world = World::new(10);
    let ask = |world: &mut World, caller| {
        let place = (PartitionId(0), PARTITIONS);
        let time_left = Duration::from_secs(3_600);
        let call = wire::Call::Query(wire::query::Query::Trial);
        world.executor.arrive(caller, world.now, time_left, place, call);
    };
    let max = u32::try_from(QUESTIONS_MAX).unwrap();
    (0..max).for_each(|caller| ask(&mut world, caller));
    // The reader has them all and has answered none.
    let taken = world.executor.take_questions();
    assert_eq!(taken.len(), QUESTIONS_MAX);
    assert!(taken.iter().all(|(_, deadline, _)| *deadline == world.now + Duration::from_secs(30)));
    ask(&mut world, max);
    let mut answers = Vec::new();
    world.executor.take_answers(&mut answers);
    assert_eq!(answers, [(max, wire::Reply::Failed(wire::call::Failure::Overloaded))]);
    world.executor.question_answered();
    ask(&mut world, max + 1);
    assert_eq!(world.executor.take_questions().len(), 1);
}

#[test]
fn a_closed_tenure_lets_nothing_in_and_waits_for_its_batch() {
    let mut world = World::new(1_000);
    world.arrive(1, minted(1, "open alice"));
    world.settle_look_ups();
    let partition = AccountId::parse("alice").unwrap().partition(PARTITIONS);
    let other = PartitionId(1 - partition.0);
    world.stage();
    world.arrive(2, minted(2, "credit alice 5")); // Waits for the next batch.
    world.arrive(3, keyed("k", "credit alice 7")); // Waits for a look-up.
    world.executor.close(partition, Epoch(1));
    world.read(4, "alice");
    world.arrive(5, minted(5, "credit alice 5"));
    for caller in 2..6 {
        assert_eq!(world.answer(caller), "NotOwner", "caller {caller}");
    }
    assert_eq!(world.answer(1), "-", "nobody knows yet");
    assert_eq!(world.executor.take_ended(), []);
    assert_eq!(world.executor.owned(), [(other, Epoch(1))]);
    world.end(Ending::Committed);
    assert_eq!(world.answer(1), "opened");
    let ended = Ended { partition, epoch: Epoch(1), was_here: true };
    assert_eq!(world.executor.take_ended(), [ended]);
    // Twice is once.
    world.executor.close(partition, Epoch(1));
    let ended = Ended { was_here: false, ..ended };
    assert_eq!(world.executor.take_ended(), [ended]);
    assert!(world.executor.take_changed());
    assert!(!world.executor.take_changed());
}

/// A look-up that is under way when a partition goes and comes back saw the views of an earlier
/// tenure.
#[test]
fn what_was_asked_for_in_one_tenure_never_reaches_the_next() {
    let mut world = World::new(1_000);
    world.arrive(1, keyed("k1", "open alice"));
    world.ask(); // It sees that there is no alice, and no k1.
    let partition = AccountId::parse("alice").unwrap().partition(PARTITIONS);
    world.executor.close(partition, Epoch(1));
    // Another owner opens the account meanwhile, under the same key, and gives the partition back.
    let mut elsewhere = World::new(1_000);
    elsewhere.arrive(1, keyed("k1", "open alice"));
    elsewhere.settle();
    elsewhere.project();
    world.adopt(&elsewhere, Epoch(3));
    assert!(world.executor.owned().iter().all(|it| it.0 != partition), "a look-up is under way");
    world.arrive(2, keyed("k1", "open alice"));
    assert_eq!(world.answer(2), "NotOwner");
    world.find();
    assert!(world.executor.owned().contains(&(partition, Epoch(3))));
    world.arrive(3, keyed("k1", "open alice"));
    world.read(4, "alice");
    world.settle();
    assert_eq!((world.answer(3).as_str(), world.answer(4).as_str()), ("opened", "posted 0"));
    assert_eq!(world.records().count(), 1, "it was opened once");
}

#[test]
fn a_fenced_tenure_ends_and_its_neighbour_goes_on() {
    let mut world = World::new(1_000);
    world.arrive(1, minted(1, "open alice"));
    world.settle_look_ups();
    world.stage();
    let partition = AccountId::parse("alice").unwrap().partition(PARTITIONS);
    world.end(Ending::Fenced);
    assert_eq!(world.answer(1), "NotOwner");
    let ended = Ended { partition, epoch: Epoch(1), was_here: true };
    assert_eq!(world.executor.take_ended(), [ended]);
    assert_eq!(world.executor.owned(), [(PartitionId(1 - partition.0), Epoch(1))]);
}

#[test]
fn a_clients_new_key_is_not_looked_up_once_all_keys_are_known() {
    let mut world = alice_with_7500();
    world.arrive(11, keyed("k", "debit alice 100"));
    world.stage(); // Of a partition that begins here all keys are known.
    world.end(Ending::Committed);
    assert_eq!(world.answer(11), "7400");
    world.project();
    // Of one that was taken over they have to be brought; until then each is looked up.
    world.take_over();
    world.read(12, "alice");
    world.settle();
    world.arrive(13, keyed("l", "debit alice 100"));
    world.stage();
    assert_eq!(world.answer(13), "-");
    world.settle();
    assert_eq!(world.answer(13), "7300");
    world.project();
    while world.scan(1) {}
    world.arrive(14, keyed("m", "debit alice 100"));
    world.stage();
    world.end(Ending::Committed);
    assert_eq!(world.answer(14), "7200");
    // What was used before is found as ever.
    world.arrive(15, keyed("k", "debit alice 100"));
    world.arrive(16, keyed("l", "debit alice 101"));
    world.settle();
    assert_eq!((world.answer(15), world.answer(16)), ("7400".into(), "key_reused".into()));
}
