//! Worlds by seed: every promise is kept, and no rule can be left out unnoticed.

use sim::{Lived, Rule, run};
use std::thread;

const SEEDS: u64 = 120;
/// Worlds in which a rule that is left out must be noticed at least once.
const SEEDS_WITHOUT: u64 = 200;

fn wrong(seed: u64, lived: &Lived) -> Option<String> {
    (!lived.wrong.is_empty()).then(|| format!("seed {seed}: {:#?}", lived.wrong))
}

/// So many seeds from this one on, on two threads: what went wrong, decisions, changes of owner.
fn worlds(seeds: u64) -> (Vec<String>, usize, u64) {
    let half = move |from: u64| {
        let mut sum = (Vec::new(), 0, 0);
        for seed in (from..seeds).step_by(2) {
            let lived = run(seed, None);
            sum.0.extend(wrong(seed, &lived));
            sum.1 += lived.decided;
            sum.2 += lived.takes;
        }
        sum
    };
    let other = thread::spawn(move || half(1));
    let (mut found, decided, takes) = half(0);
    let (more, decided_there, takes_there) = other.join().expect("it ends");
    found.extend(more);
    (found, decided + decided_there, takes + takes_there)
}

#[test]
fn whatever_goes_wrong_every_promise_is_kept() {
    let (found, decided, takes) = worlds(SEEDS);
    assert!(found.is_empty(), "{} of {SEEDS}: {}", found.len(), found[0]);
    let per_world = u64::try_from(decided).unwrap() / SEEDS;
    assert!(200 < per_world && SEEDS * 3 < takes, "{per_world} decisions, {takes} in all");
}

#[test]
fn each_rule_left_out_is_noticed() {
    for rule in Rule::ALL {
        let noticed = (0..SEEDS_WITHOUT).find(|seed| !run(*seed, Some(rule)).wrong.is_empty());
        assert!(noticed.is_some(), "{rule:?} goes unnoticed");
    }
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..3 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}
