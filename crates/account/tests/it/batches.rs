//! Batches: many commands in one call, alone or together.

use crate::world::{World, keyed, minted};
use account::executor::{Ending, WAITING_MAX};
use std::{collections::BTreeMap, time::Duration};
use stdx::Rng;
use wire::{Command, Done, Outcome, PartitionId, Reply, command::KeyOrigin};

/// Accounts of partition 1, the first with 100.
fn world() -> (World, Vec<String>) {
    let mut world = World::new(1_000);
    let ids: Vec<String> =
        (0..).map(|n| format!("acc-{n}")).filter(|id| is_at_one(id)).take(3).collect();
    for (n, id) in ids.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        world.arrive(n, minted(n, &format!("open {id}")));
    }
    world.arrive(9, minted(9, &format!("credit {} 100", ids[0])));
    world.settle();
    (world, ids)
}

fn is_at_one(id: &str) -> bool {
    wire::AccountId::parse(id).unwrap().partition(crate::world::PARTITIONS) == PartitionId(1)
}

#[test]
fn each_item_has_its_own_outcome_in_order() {
    let (mut world, ids) = world();
    let [a, b] = [&ids[0], &ids[1]];
    let commands = || {
        vec![
            keyed("1", &format!("debit {a} 60")),
            keyed("2", &format!("debit {a} 60")),
            keyed("3", &format!("credit {b} 5")),
            keyed("1", &format!("debit {a} 60")),
            keyed("3", &format!("credit {b} 6")),
        ]
    };
    world.arrive_batch(11, false, commands());
    world.settle();
    assert_eq!(world.answer(11), "40 insufficient_funds 5 40 key_reused");
    world.project();
    world.arrive_batch(12, false, commands());
    world.settle();
    assert_eq!(world.answer(12), world.answer(11), "a repeat");
}

#[test]
fn an_atomic_batch_happens_whole_or_not_at_all() {
    let (mut world, ids) = world();
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    let split = |key: &str, amount: u32| {
        vec![
            keyed(key, &format!("debit {a} {amount}")),
            keyed(key, &format!("credit {b} {amount}")),
            keyed(key, &format!("credit {c} 1")),
        ]
    };
    world.arrive_batch(11, true, split("k", 70));
    world.arrive_batch(12, true, split("l", 70));
    world.settle();
    assert_eq!(world.answer(11), "30 70 1");
    assert_eq!(world.answer(12), ["insufficient_funds"; 3].join(" "));
    let Some(Reply::Batch(items)) = world.answers.get(&12) else { panic!() };
    let Ok(Outcome::Refused(other)) = &items[1] else { panic!() };
    assert!(other.refusal.to_string().contains("item 0 of the atomic batch"), "{other:?}");
    // Repeats, from memory and from the index.
    for caller in [21, 22] {
        world.arrive_batch(caller, true, split("k", 70));
        world.settle();
        assert_eq!(world.answer(caller), "30 70 1");
        world.project();
        world.now = world.now + Duration::from_secs(200);
        world.arrive(caller + 100, keyed(&caller.to_string(), &format!("credit {c} 1")));
        world.settle();
    }
    // One key of it in another batch is a reuse of all.
    let mixed = vec![keyed("k", &format!("debit {a} 70")), keyed("m", &format!("credit {b} 1"))];
    world.arrive_batch(23, true, mixed);
    world.settle();
    assert_eq!(world.answer(23), "key_reused key_reused");
    for (caller, id, posted) in [(31, a, "30"), (32, b, "70")] {
        world.read(caller, id);
        world.settle();
        assert_eq!(world.answer(caller), format!("posted {posted}"));
    }
}

#[test]
fn what_fails_fails_for_each_item() {
    let (mut world, ids) = world();
    let credit = |key: &str| keyed(key, &format!("credit {} 1", ids[0]));
    for (caller, atomic) in [(11, false), (12, true)] {
        world.arrive_batch(caller, atomic, vec![credit("1"), credit("2")]);
        world.settle_look_ups();
        world.stage();
        world.end(Ending::Refused);
        let Some(Reply::Batch(items)) = world.answers.get(&caller) else { panic!() };
        assert_eq!(*items, vec![Err(wire::call::Failure::EngineUnavailable); 2]);
    }
    let many = (0..=WAITING_MAX).map(|n| credit(&n.to_string())).collect();
    world.arrive_batch(13, false, many);
    world.settle();
    assert_eq!(world.answer(13), "Overloaded");
    assert_eq!(world.executor.waiting_count(), 0);
}

/// Random atomic transfers between three accounts, repeated and interleaved with everything else:
/// the sum never changes, and each key happens once.
#[test]
fn atomic_batches_neither_make_nor_lose_money() {
    for seed in 0..24 {
        let mut rng = Rng::new(seed);
        let (mut world, ids) = world();
        let mut sent: BTreeMap<u32, u32> = BTreeMap::new();
        let mut caller = 1_000;
        for _ in 0..600 {
            world.now = world.now + Duration::from_millis(rng.below(400) as u64);
            match rng.below(9) {
                0..=2 => {
                    let key = u32::try_from(rng.below(60)).unwrap();
                    let (n, from) = (key % 40 + 1, key as usize % 3);
                    let to = (from + 1 + key as usize / 3 % 2) % 3;
                    let half = |verb, id: &str| -> Command {
                        keyed(&format!("{key}"), &format!("{verb} {id} {n}"))
                    };
                    let both = vec![half("debit", &ids[from]), half("credit", &ids[to])];
                    world.arrive_batch(caller, true, both);
                    sent.insert(caller, key);
                    caller += 1;
                }
                3 => {
                    let minted_at = world.wall();
                    let one =
                        keyed(&format!("minted-{caller}"), &format!("credit {} 0001", ids[0]));
                    let one = Command { origin: KeyOrigin::Minted, minted_at, ..one };
                    let two = keyed(&format!("minted-{caller}"), &format!("debit {} 0001", ids[1]));
                    let two = Command { origin: KeyOrigin::Minted, minted_at, ..two };
                    world.arrive_batch(caller, true, vec![one, two]);
                    caller += 1;
                }
                4 => world.ask(),
                5 => world.find(),
                6 => world.stage(),
                7 => world.end(if rng.below(6) == 0 { Ending::Refused } else { Ending::Committed }),
                _ => world.project(),
            }
        }
        world.end(Ending::Committed);
        world.settle();
        let mut first: BTreeMap<u32, Reply> = BTreeMap::new();
        for (caller, key) in &sent {
            let reply = &world.answers[caller];
            let Reply::Batch(items) = reply else { panic!("{reply:?}") };
            if items.iter().all(Result::is_ok) {
                let known = first.entry(*key).or_insert_with(|| reply.clone());
                assert_eq!(known, reply, "one key, two answers: seed {seed}");
                let done =
                    |it: &&Result<Outcome, _>| matches!(it, Ok(Outcome::Done(Done::Posted(_))));
                assert!([0, 2].contains(&items.iter().filter(done).count()), "seed {seed}");
            } else {
                assert!(items.iter().all(Result::is_err), "seed {seed}: {items:?}");
            }
        }
        let mut sum = 0;
        for (n, id) in (0..).zip(&ids) {
            world.read(n + 900, id);
            world.settle();
            let Some(Reply::Account(state)) = world.answers.get(&(n + 900)) else { panic!() };
            sum += state.posted;
        }
        assert_eq!(sum, 100, "seed {seed}");
    }
}
