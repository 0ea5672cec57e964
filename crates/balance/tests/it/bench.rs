//! What a choice costs. Small as a test; `BENCH=1 cargo test -p balance --release --test it bench --
//! --nocapture` prints nanoseconds per request (a choice and its end).
//!
//! Goal: a choice costs little beside the 2 µs a layer may add. Not a goal: pools of thousands.

use balance::{Ask, Outcome, Policy, Pool, Report, Spec, State};
use std::{num::NonZeroU32, time::Duration};
use stdx::{Moment, Rng};

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it is a benchmark")]
fn bench(policy: Policy, count: usize) {
    let large = std::env::var("BENCH").is_ok();
    let requests = if large { 1_000_000 } else { 1_000 };
    let (mut pool, mut rng) = (Pool::with(policy), Rng::new(1));
    let mut now = Moment::from_nanos(60_000_000_000);
    for key in 0..count {
        let index = pool.add(Spec { key: key as u64, weight: NonZeroU32::MIN });
        pool.set_state(index, State::Connected { since: Moment::ZERO });
    }
    let started = std::time::Instant::now();
    let mut out = Vec::new();
    for number in 0..requests {
        now = now + Duration::from_micros(10);
        let ask = Ask { excluded: None, hash: number };
        out.push(pool.send(now, &mut rng, ask).expect("all are up"));
        if 64 <= out.len() {
            let ticket = out.swap_remove(rng.below(out.len()));
            pool.ended(now, &mut rng, ticket, Outcome::Answered);
            let in_flight =
                u32::try_from(pool.in_flight(ticket.choice.endpoint)).expect("64 at most");
            let latency = Duration::from_millis(1);
            let report = Report { in_flight, latency, limit_permille: 100, draining: false };
            pool.reported(now, ticket.choice.endpoint, report);
        }
    }
    if large {
        let each = started.elapsed().as_nanos() / u128::from(requests);
        println!("{policy:?}, {count} endpoints: {each} ns");
    }
}

#[test]
fn bench_choice() {
    for count in [2, 5, 20, 100] {
        for policy in [
            Policy::LeastLoad,
            Policy::LeastRequests,
            Policy::RoundRobin,
            Policy::Weighted,
            Policy::Hash,
        ] {
            bench(policy, count);
        }
    }
}
