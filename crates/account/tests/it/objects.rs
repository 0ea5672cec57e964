//! Holds, reversals and transfers: what they name may be cold, and memory may forget it.

use crate::world::{PARTITIONS, World, keyed, minted, service};
use account::executor::Ending;
use std::time::Duration;
use wire::{
    AccountId, Action, Amount, Call, Caller, Command, Currency, Delivery, Done, Hold, HoldId,
    KeyHash, Outcome, PartitionId, Reply, TransactionId, Transfer,
    command::KeyOrigin,
    hold::{EndHold, HoldEnd, PlaceHold},
    query::Query,
    reversal::Reversal,
    transfer::{Party, Send},
};

fn id(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

/// A world where alice has 100, and callers from 10 on have not asked anything.
fn alice_with_100() -> World {
    let mut world = World::new(1_000);
    world.arrive(1, minted(1, "open alice"));
    world.arrive(2, minted(2, "credit alice 100"));
    world.settle();
    world
}

/// This, under a minted key.
fn of(number: u32, action: Action) -> Command {
    let fingerprint = wire::Fingerprint::new("POST", "/", format!("{action:?}").as_bytes());
    Command { action, fingerprint, ..minted(number, "open alice") }
}

fn hold(account: &str, amount: i64, seconds: u32) -> Action {
    let amount = Amount::new(amount).unwrap();
    Action::Hold(PlaceHold { account: id(account), amount, currency: eur(), seconds })
}

fn end(hold: &Hold, how: HoldEnd) -> Action {
    Action::EndHold(EndHold { account: hold.account.clone(), hold: hold.id, how })
}

/// What was done for this caller, if it was of the sort that is wanted.
#[track_caller]
fn done<T>(world: &World, caller: u32, wanted: impl Fn(&Done) -> Option<T>) -> T {
    let answer = &world.answers[&caller];
    let Reply::Outcome(Outcome::Done(done)) = answer else { panic!("{answer:?}") };
    wanted(done).unwrap_or_else(|| panic!("{done:?}"))
}

fn held(world: &World, caller: u32) -> Hold {
    done(world, caller, |done| if let Done::Held(hold) = done { Some(hold.clone()) } else { None })
}

fn posted(world: &World, caller: u32) -> TransactionId {
    done(
        world,
        caller,
        |done| if let Done::Posted(posting) = done { Some(posting.id) } else { None },
    )
}

fn ask(world: &mut World, caller: u32, partition: PartitionId, query: Query) {
    world.call(caller, partition, Call::Query(query));
    world.settle_look_ups();
}

/// Everything is in the views, and memory forgets all that it may.
fn forget(world: &mut World) {
    world.project();
    world.take_over();
}

#[test]
fn a_hold_is_placed_read_and_captured_across_a_take_over() {
    let mut world = alice_with_100();
    world.arrive(11, of(11, hold("alice", 60, 60)));
    world.settle();
    let placed = held(&world, 11);
    forget(&mut world);
    ask(&mut world, 12, placed.id.partition(), Query::Hold(placed.id));
    assert_eq!(world.answer(12), "active");
    world.arrive(13, minted(13, "debit alice 41"));
    world.arrive(14, of(14, end(&placed, HoldEnd::Capture(Amount::new(50)))));
    world.arrive(15, of(15, end(&placed, HoldEnd::Release)));
    world.settle();
    let answers = [13, 14, 15].map(|caller| world.answer(caller));
    assert_eq!(answers, ["insufficient_funds", "captured", "hold_not_active"]);
    // Ended, it is cold.
    forget(&mut world);
    world.arrive(16, of(16, end(&placed, HoldEnd::Release)));
    ask(&mut world, 17, placed.id.partition(), Query::Hold(placed.id));
    world.arrive(18, minted(18, "debit alice 50"));
    world.settle();
    let answers = [16, 17, 18].map(|caller| world.answer(caller));
    assert_eq!(answers, ["hold_not_active", "captured", "0"]);
    let nobody = HoldId::from_bits(placed.id.bits() + 1);
    ask(&mut world, 19, nobody.partition(), Query::Hold(nobody));
    ask(&mut world, 20, PartitionId(0), Query::Hold(HoldId::from_bits(7)));
    assert_eq!((world.answer(19), world.answer(20)), ("NoSuchHold".into(), "NoSuchHold".into()));
}

#[test]
fn commands_about_a_cold_object_wait_in_order_and_hold_up_nobody_else() {
    let mut world = alice_with_100();
    world.arrive(11, of(11, hold("alice", 60, 60)));
    world.arrive(3, minted(3, "open bob"));
    world.settle();
    let placed = held(&world, 11);
    world.arrive(12, of(12, end(&placed, HoldEnd::Release)));
    world.settle();
    forget(&mut world);
    world.read(13, "alice");
    world.read(14, "bob");
    world.settle_look_ups();
    // Both accounts are warm now; the hold is not.
    world.arrive(15, of(15, end(&placed, HoldEnd::Capture(None))));
    world.arrive(16, minted(16, "debit alice 100"));
    world.arrive(17, minted(17, "credit bob 5"));
    world.stage();
    world.end(Ending::Committed);
    let answers = [15, 16, 17].map(|caller| world.answer(caller));
    assert_eq!(answers, ["-", "-", "5"]);
    world.settle();
    assert_eq!((world.answer(15), world.answer(16)), ("hold_not_active".into(), "0".into()));
}

#[test]
fn a_hold_whose_time_is_up_is_let_go_by_a_record_of_the_nodes_own() {
    let mut world = alice_with_100();
    world.arrive(11, of(11, hold("alice", 60, 5)));
    world.settle();
    let placed = held(&world, 11);
    let look = |world: &mut World| {
        let wall = world.wall();
        world.executor.look_for_due(wall)
    };
    world.pass(Duration::from_secs(4));
    assert!(!look(&mut world));
    forget(&mut world); // Alice is cold: she is looked up first.
    world.pass(Duration::from_secs(2));
    ask(&mut world, 12, placed.id.partition(), Query::Hold(placed.id));
    assert_eq!(world.answer(12), "active", "a read lets nothing go");
    for _ in 0..2 {
        assert!(look(&mut world));
        world.stage();
        world.end(Ending::NotExecuted); // As good as nothing.
        world.settle_look_ups();
    }
    assert!(look(&mut world));
    world.stage();
    world.end(Ending::Committed);
    assert!(!look(&mut world) && !world.executor.has_ready());
    ask(&mut world, 13, placed.id.partition(), Query::Hold(placed.id));
    world.arrive(14, minted(14, "debit alice 100"));
    world.settle();
    assert_eq!((world.answer(13), world.answer(14)), ("expired".into(), "0".into()));
    // Nobody else may say so.
    world.arrive(15, of(15, end(&placed, HoldEnd::Expire)));
    assert_eq!(world.answer(15), "Malformed");
}

/// A request to reverse this under a key of the client's.
fn reversal(key: &str, transaction: TransactionId) -> Call {
    let scope = id(&transaction.to_string());
    let text = format!("reverse {transaction}");
    Call::Reverse(Reversal {
        transaction,
        key: KeyHash::new(Caller(1), &scope, key.as_bytes()),
        origin: KeyOrigin::Client,
        minted_at: wire::Timestamp(0),
        fingerprint: wire::Fingerprint::new("POST", "/", text.as_bytes()),
        request_id: "req_1".into(),
    })
}

#[test]
fn a_transaction_is_reversed_once_however_cold_it_is() {
    let mut world = alice_with_100();
    world.arrive(11, keyed("d", "debit alice 30"));
    world.settle();
    let debit = posted(&world, 11);
    let partition = debit.partition();
    forget(&mut world);
    world.call(12, partition, reversal("k", debit));
    world.call(13, partition, reversal("l", debit));
    world.settle();
    assert_eq!((world.answer(12), world.answer(13)), ("100".into(), "already_reversed".into()));
    let reverses = posted(&world, 12);
    forget(&mut world);
    world.call(14, partition, reversal("k", debit));
    world.call(15, partition, reversal("m", debit));
    world.call(16, partition, reversal("n", reverses));
    let nothing = TransactionId::from_bits(debit.bits() + 1);
    world.call(17, partition, reversal("o", nothing));
    world.call(18, partition, reversal("p", TransactionId::from_bits(7)));
    world.settle();
    let answers = [14, 15, 16, 17, 18].map(|caller| world.answer(caller));
    let expected =
        ["100", "already_reversed", "NotReversible", "NoSuchTransaction", "NoSuchTransaction"];
    assert_eq!(answers, expected);
    assert_eq!(posted(&world, 14), reverses);
}

#[test]
fn a_reversal_does_not_outlive_the_tenure_it_was_asked_in() {
    let mut world = alice_with_100();
    world.arrive(11, minted(11, "debit alice 30"));
    world.settle();
    let debit = posted(&world, 11);
    world.call(12, debit.partition(), reversal("k", debit));
    world.ask();
    world.executor.close(debit.partition(), wire::Epoch(1));
    world.find();
    assert_eq!(world.answer(12), "NotOwner");
    world.call(13, debit.partition(), reversal("k", debit));
    assert_eq!(world.answer(13), "NotOwner");
}

fn send(from: &str, to: (&str, &str), amount: i64) -> Action {
    let party =
        |service: &str, account: &str| Party { service: service.into(), account: id(account) };
    let (from, to) = (party("a", from), party(to.0, to.1));
    let amount = Amount::new(amount).unwrap();
    Action::Send(Box::new(Send { from, to, amount, currency: eur() }))
}

fn sent(world: &World, caller: u32) -> Transfer {
    done(world, caller, |done| {
        if let Done::Transferred(transfer) = done { Some(transfer.clone()) } else { None }
    })
}

fn delivered(world: &World, caller: u32) -> Delivery {
    done(
        world,
        caller,
        |done| if let Done::Delivered(delivery) = done { Some(*delivery) } else { None },
    )
}

/// An account of alice's partition, and one of another.
fn neighbours() -> (String, String) {
    let find = |is_here| {
        let is = |name: &String| {
            (id(name).partition(PARTITIONS) == id("alice").partition(PARTITIONS)) == is_here
        };
        (0..).map(|number| format!("bob{number}")).find(is).unwrap()
    };
    (find(true), find(false))
}

#[test]
fn a_transfer_within_a_partition_is_done_at_once_though_its_target_is_cold() {
    let mut world = alice_with_100();
    let (near, _) = neighbours();
    world.arrive(3, minted(3, &format!("open {near}")));
    world.settle();
    forget(&mut world);
    let records = world.records().count();
    world.read(10, "alice");
    world.settle_look_ups();
    world.arrive(11, of(11, send("alice", ("a", &near), 60)));
    world.arrive(12, minted(12, "debit alice 41"));
    world.stage();
    assert_eq!(world.answer(11), "-", "the target is looked up first");
    world.settle();
    assert_eq!(
        (world.answer(11), world.answer(12)),
        ("completed".into(), "insufficient_funds".into())
    );
    assert_eq!(world.records().count(), records + 1);
    world.arrive(13, of(11, send("alice", ("a", &near), 60)));
    world.settle();
    assert_eq!(sent(&world, 13), sent(&world, 11));
    world.read(14, &near);
    world.settle();
    assert_eq!(world.answer(14), "posted 60");
    let end = sent(&world, 11).end;
    let Some((Delivery::Credited(credit), _)) = end else { panic!("{end:?}") };
    world.call(15, credit.partition(), reversal("k", credit));
    world.settle();
    assert_eq!(world.answer(15), "NotReversible");
}

#[test]
fn a_transfer_between_partitions_outlives_its_owners() {
    let mut world = alice_with_100();
    let (_, far) = neighbours();
    world.arrive(3, minted(3, &format!("open {far}")));
    world.arrive(11, of(11, send("alice", ("a", &far), 60)));
    world.settle();
    let transfer = sent(&world, 11);
    assert_eq!(transfer.status(), "pending");
    forget(&mut world);
    ask(&mut world, 12, PartitionId(0), Query::Pending);
    assert_eq!(world.answers[&12], Reply::Pending(vec![transfer.clone()]));
    ask(&mut world, 13, transfer.id.partition(), Query::Transfer(transfer.id));
    assert_eq!(world.answer(13), "pending");
    world.arrive(14, of(14, Action::Receive(transfer.receive())));
    world.arrive(15, of(15, Action::Receive(transfer.receive())));
    world.settle();
    let delivery = delivered(&world, 14);
    assert_eq!(delivered(&world, 15), delivery);
    forget(&mut world);
    world.arrive(16, of(16, Action::Receive(transfer.receive())));
    world.settle();
    assert_eq!(delivered(&world, 16), delivery, "though memory has forgotten it");
    for caller in [17, 18] {
        world.arrive(caller, of(caller, Action::Settle(transfer.settle(delivery))));
        world.settle();
        assert_eq!(world.answer(caller), "completed");
        forget(&mut world);
    }
    ask(&mut world, 19, transfer.id.partition(), Query::Transfer(transfer.id));
    ask(&mut world, 20, PartitionId(0), Query::Pending);
    world.read(21, &far);
    world.settle();
    assert_eq!(world.answer(19), "completed");
    assert_eq!(world.answers[&20], Reply::Pending(Vec::new()));
    assert_eq!(world.answer(21), "posted 60");
    // A node of another service is not its source.
    world.arrive(
        22,
        of(
            22,
            Action::Send(Box::new(Send {
                from: Party { service: "b".into(), account: id("alice") },
                to: Party { service: "a".into(), account: id(&far) },
                amount: Amount::new(1).unwrap(),
                currency: eur(),
            })),
        ),
    );
    assert_eq!(world.answer(22), "Malformed");
    assert_eq!(transfer.id.service(), service());
}

#[test]
fn none_of_these_is_a_part_of_an_atomic_batch() {
    let mut world = alice_with_100();
    world.arrive_batch(
        11,
        true,
        vec![minted(11, "credit alice 5"), of(12, send("alice", ("b", "x"), 1))],
    );
    assert_eq!(world.answer(11), "Malformed");
    world.arrive_batch(13, false, vec![minted(13, "credit alice 5"), of(14, hold("alice", 5, 9))]);
    world.settle();
    let Reply::Batch(items) = &world.answers[&13] else { panic!() };
    assert!(items.iter().all(Result::is_ok), "{items:?}");
}
