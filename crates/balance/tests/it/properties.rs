//! What the policies promise: exact shares, keys that stay, bounds that hold.

use crate::below;
use balance::{Ask, Outcome, Policy, Pool, Spec, State, Ticket};
use std::num::NonZeroU32;
use stdx::{Moment, Rng};

const UP: State = State::Connected { since: Moment::ZERO };
const NOW: Moment = Moment::from_nanos(60_000_000_000);

/// Connected endpoints with these weights, whose keys are their indices.
fn pool(policy: Policy, weights: &[u32]) -> Pool {
    let mut pool = Pool::with(policy);
    for (key, &weight) in weights.iter().enumerate() {
        let weight = NonZeroU32::new(weight).expect("not zero");
        let index = pool.add(Spec { key: key as u64, weight });
        pool.set_state(index, UP);
    }
    pool
}

fn send(pool: &mut Pool, rng: &mut Rng, hash: u64) -> Ticket {
    pool.send(NOW, rng, Ask { excluded: None, hash }).expect("one is up")
}

/// Who is chosen, one digit each.
#[track_caller]
fn check(policy: Policy, weights: &[u32], expected: &str) {
    let (mut pool, mut rng) = (pool(policy, weights), Rng::new(1));
    let chosen = |_| send(&mut pool, &mut rng, 0).choice.endpoint.to_string();
    assert_eq!((0..expected.len()).map(chosen).collect::<String>(), expected, "{weights:?}");
}

#[test]
fn round_robin_takes_turns() {
    check(Policy::RoundRobin, &[1], "000");
    check(Policy::RoundRobin, &[1, 1, 1], "0120120");
    check(Policy::RoundRobin, &[9, 1], "0101"); // Weights are for `weighted`.
}

#[test]
fn weighted_turns_are_smooth() {
    check(Policy::Weighted, &[5, 1, 1], "00102000010200");
    check(Policy::Weighted, &[1, 1], "0101");
    check(Policy::Weighted, &[2, 1], "010010");
}

#[test]
fn weighted_is_exact_over_every_cycle() {
    for number in 0..6_u32.pow(4) {
        let weights: Vec<u32> = (0..4).map(|place| 1 + number / 6_u32.pow(place) % 6).collect();
        let (mut pool, mut rng) = (pool(Policy::Weighted, &weights), Rng::new(1));
        let total: u32 = weights.iter().sum();
        for _ in 0..2 {
            let mut counts = vec![0; 4];
            for _ in 0..total {
                counts[send(&mut pool, &mut rng, 0).choice.endpoint] += 1;
            }
            assert_eq!(counts, weights);
        }
    }
}

#[test]
fn an_endpoint_that_goes_takes_only_its_own_keys_along() {
    let mut rng = Rng::new(1);
    let weights = [1, 1, 2, 3, 1, 1];
    // Every subset of six endpoints, every key below 64, every removal.
    for subset in 1_u32..64 {
        let mut whole = pool(Policy::Hash, &weights);
        let is_in = |index: usize| subset & (1 << index) != 0;
        (0..6).filter(|&it| !is_in(it)).for_each(|index| whole.set_state(index, State::Down));
        let home = |pool: &Pool, rng: &mut Rng, key| {
            let ask = Ask { excluded: None, hash: key };
            pool.clone().send(NOW, rng, ask).ok().map(|ticket| ticket.choice.endpoint)
        };
        for gone in (0..6).filter(|&it| is_in(it)) {
            let mut rest = whole.clone();
            rest.set_state(gone, State::Down);
            for key in 0..64 {
                let before = home(&whole, &mut rng, key);
                if before != Some(gone) {
                    assert_eq!(home(&rest, &mut rng, key), before, "{subset:b} without {gone}");
                }
            }
        }
    }
}

#[test]
fn keys_are_spread_by_weight() {
    let (pool, mut rng, mut counts) = (pool(Policy::Hash, &[1, 2, 4]), Rng::new(1), [0; 3]);
    for _ in 0..7_000 {
        let hash = rng.next();
        counts[send(&mut pool.clone(), &mut rng, hash).choice.endpoint] += 1;
    }
    let wanted = [1_000..1_100, 1_900..2_100, 3_800..4_200];
    let fits = |(count, wanted): (&i32, std::ops::Range<i32>)| {
        (wanted.start - 100..wanted.end).contains(count)
    };
    assert!(counts.iter().zip(wanted).all(fits), "{counts:?}");
}

#[test]
fn nobody_holds_more_than_its_bound() {
    let seeds = crate::seed().map_or(0..64, |seed| seed..seed + 1);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let weights: Vec<u32> =
            (0..1 + rng.below(6)).map(|_| 1 + below::<u32>(&mut rng, 9)).collect();
        let total_weight = u64::from(weights.iter().sum::<u32>());
        let mut pool = pool(Policy::Hash, &weights);
        let keys = 1 + rng.below(8);
        let mut out = Vec::new();
        for step in 0..500 {
            if rng.below(3) != 0 || out.is_empty() {
                let hash = below(&mut rng, keys); // Few keys: hot ones.
                let ticket = send(&mut pool, &mut rng, hash);
                let chosen = ticket.choice.endpoint;
                out.push(ticket);
                let bound = 5 * out.len() as u64 * u64::from(weights[chosen]);
                let bound = bound.div_ceil(4 * total_weight);
                assert!(pool.in_flight(chosen) <= bound, "SEED={seed}, step {step}");
            } else {
                let ticket = out.swap_remove(rng.below(out.len()));
                pool.ended(NOW, &mut rng, ticket, Outcome::Answered);
            }
        }
    }
}

#[test]
fn a_key_stays_home_while_there_is_room() {
    let (mut pool, mut rng) = (pool(Policy::Hash, &[1, 1, 1, 1]), Rng::new(1));
    let home = send(&mut pool, &mut rng, 42);
    pool.ended(NOW, &mut rng, home, Outcome::Answered);
    for _ in 0..100 {
        let ticket = send(&mut pool, &mut rng, 42);
        assert_eq!(ticket.choice.endpoint, home.choice.endpoint);
        pool.ended(NOW, &mut rng, ticket, Outcome::Answered);
    }
}

#[test]
fn least_requests_goes_by_in_flight_for_the_weight() {
    let (mut pool, mut rng) = (pool(Policy::LeastRequests, &[1, 3]), Rng::new(1));
    let mut counts = [0; 2];
    for _ in 0..400 {
        counts[send(&mut pool, &mut rng, 0).choice.endpoint] += 1;
    }
    assert!((98..=102).contains(&counts[0]), "{counts:?}");
}
