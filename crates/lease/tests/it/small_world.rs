//! Every order of events of a small world, and long walks at random through larger ones.

use crate::{
    limits::{Limits, Mutant},
    world::World,
};
use std::collections::VecDeque;
use stdx::{Map, Rng};

const TINY: Limits = Limits {
    nodes: 2,
    writers: 1,
    readers: 1,
    attempts: 2,
    crashes: 1,
    give_ups: 0,
    epochs: 3,
    proof: true,
    mutant: Mutant::None,
};

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    states: usize,
    happy: usize,
    moved: usize,
}

/// Looks at every state that can be reached; the shortest way to one that breaks an invariant.
fn search(limits: &Limits) -> Result<Found, (&'static str, usize)> {
    let mut seen = Map::default();
    seen.insert(World::new(limits), ());
    let mut queue = VecDeque::from([(World::new(limits), 0)]);
    let mut found = Found { states: 0, happy: 0, moved: 0 };
    while let Some((world, depth)) = queue.pop_front() {
        found.states += 1;
        found.happy += usize::from(world.is_happy());
        found.moved += usize::from(world.has_moved());
        for step in world.steps(limits) {
            let mut next = world.clone();
            next.take(limits, &step).map_err(|broken| (broken, depth + 1))?;
            if seen.insert(next.clone(), ()).is_none() {
                queue.push_back((next, depth + 1));
            }
        }
    }
    Ok(found)
}

/// Walks at random; which invariant broke first, if one did.
fn walk(limits: &Limits, seeds: std::ops::Range<u64>) -> Option<(&'static str, u64)> {
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let mut world = World::new(limits);
        for _ in 0..200 {
            let steps = world.steps(limits);
            if steps.is_empty() {
                break;
            }
            let step = steps[rng.below(steps.len())].clone();
            if let Err(broken) = world.take(limits, &step) {
                return Some((broken, seed));
            }
        }
    }
    None
}

#[test]
fn nothing_breaks_in_any_order_of_events() {
    let two = Limits { writers: 2, readers: 0, attempts: 1, ..TINY };
    let worlds = [
        Limits { attempts: 1, ..TINY },
        Limits { readers: 0, ..TINY },
        two,
        Limits { readers: 1, crashes: 0, ..two },
        Limits { give_ups: 1, crashes: 0, ..two },
    ];
    for world in worlds {
        for proof in [true, false] {
            let limits = Limits { proof, epochs: if proof { 3 } else { 2 }, ..world };
            let found = search(&limits).unwrap();
            println!("{limits:?}: {found:?}");
            // A search that gets nowhere finds nothing.
            assert!(0 < found.happy && 1_000 < found.states, "{limits:?}: {found:?}");
            assert!(0 < found.moved || limits.writers < 2, "{limits:?}: {found:?}");
        }
    }
}

#[test]
fn nothing_breaks_on_long_ways_through_larger_worlds() {
    for proof in [true, false] {
        let larger = Limits {
            nodes: 3,
            writers: 3,
            readers: 2,
            attempts: 3,
            crashes: 3,
            give_ups: 3,
            epochs: 12,
            proof,
            mutant: Mutant::None,
        };
        assert_eq!(walk(&larger, 0..3_000), None, "proof: {proof}");
    }
}

/// Each rule left out breaks the invariant that it is there for.
#[test]
fn every_rule_left_out_is_missed() {
    let two = Limits { writers: 2, readers: 0, attempts: 1, ..TINY };
    let open = Limits { proof: false, readers: 0, ..TINY };
    let cases = [
        (Mutant::FenceWithoutEpoch, open, &["I2"][..]),
        (Mutant::LookThenWrite, open, &["I2"]),
        (Mutant::AnswerBeforeCommit, TINY, &["I4"]),
        (Mutant::LoadBeforeBump, two, &["I3"]),
        (Mutant::FailedForUnknown, TINY, &["I5"]),
        (Mutant::RetryWithoutKey, TINY, &["I6"]),
        (Mutant::ReadWithoutProof, Limits { proof: false, ..TINY }, &["I3"]),
        (Mutant::CloseOverCommit, TINY, &["I5"]),
        (Mutant::ForgetKeys, TINY, &["I6", "I3"]),
    ];
    for (mutant, limits, expected) in cases {
        match search(&Limits { mutant, ..limits }) {
            Err((broken, _)) => assert!(expected.contains(&broken), "{mutant:?}: {broken}"),
            Ok(found) => panic!("{mutant:?} is not missed: {found:?}"),
        }
    }
}
