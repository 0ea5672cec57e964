//! The simulated tree as the example plays it, on one seed: `least-load` must have the best tail.
//!
//! The scale is the example's. On a ramp of 30 s with twice the service time much of the overload is over
//! before the servers' limits have settled, and which policy has the lowest p99.9 of the whole ramp
//! changes with the seed.

use crate::sim::{CONTENDERS, LOOSE, Results, Scale, World};
use std::time::Duration;

const SCALE: Scale =
    Scale { ramp: Duration::from_secs(60), work_mean: Duration::from_millis(20), limits: LOOSE };
const SEED: u64 = 101;

fn play(name: &str) -> Vec<Results> {
    let contender = CONTENDERS.into_iter().find(|it| it.name == name).expect("it contends");
    World::play(contender, SCALE, crate::seed().unwrap_or(SEED))
}

fn whole(bands: &[Results]) -> Results {
    bands.iter().fold(Results::default(), |sum, it| sum.plus(it))
}

#[test]
fn least_load_has_the_lowest_p999_of_the_ramp() {
    let names = ["least-load", "round-robin", "weighted", "least-requests"];
    let played = std::thread::scope(|scope| {
        let plays = names.map(|name| scope.spawn(move || play(name)));
        plays.map(|it| it.join().expect("it plays to the end"))
    });
    let [ours, rivals @ ..] = played;
    for (rival, theirs) in names[1..].iter().zip(rivals) {
        let p999 = [&ours, &theirs].map(|it| whole(it).quantile_ms(999));
        assert!(p999[0] < p999[1], "whole ramp, {rival}: {p999:?}");
        // Below capacity, where nothing needs to fail, errors count as the deadline.
        let below = [&ours, &theirs].map(|it| it[0].quantile_with_errors_ms(SCALE, 999));
        assert!(2.0 * below[0] < below[1], "below capacity, {rival}: {below:?}");
        let errors = [&ours, &theirs].map(|it| it[0].errors_percent());
        assert!(errors[0] < errors[1], "below capacity, {rival}: {errors:?}");
    }
}

#[test]
fn the_same_seed_plays_the_same() {
    let scale = Scale { ramp: Duration::from_secs(1), ..SCALE };
    let [first, second] = [(); 2].map(|()| whole(&World::play(CONTENDERS[0], scale, 5)));
    assert!(first.latencies == second.latencies && first.errors() == second.errors());
    assert!(500 < first.total(), "hardly anything was asked");
}
