//! Networks that are cut: between a gateway and the owner of half of its partitions.

use super::{
    apart::Apart,
    proxy::{Rule, Way},
    recorder::Watch,
    scene::{LONG, Verdict},
};
use std::{thread, time::Duration};
use stdx::Rng;

/// Answers between two blows.
const SOME: usize = 60;

/// F12: the gateway cannot reach the owner, whose engine is well. Nobody takes over; what concerns
/// the owner's partitions waits or is told the truth, and everything else goes on.
pub(crate) fn gateway_and_owner(name: &str, engine: &str, seed: u64) -> Verdict {
    let apart = Apart::start(name, "", [engine, engine]);
    let mut rng = Rng::new(seed);
    apart.judged(seed, |apart, watch| {
        watch.answers(SOME, LONG)?;
        // Silent, both ways and one way, for longer and shorter than a connection may be.
        for (way, time) in [(None, 4_000), (Some(Way::Back), 1_000), (Some(Way::There), 1_000)] {
            match way {
                None => apart.to_owner.set_both(Rule::Drop),
                Some(way) => apart.to_owner.set(way, Rule::Drop),
            }
            thread::sleep(Duration::from_millis(time));
            apart.to_owner.set_both(Rule::Pass);
            // Bytes are missing: whoever goes on would go on in the middle of a frame.
            apart.to_owner.reset();
            watch.answers(SOME, LONG)?;
        }
        for way in [Way::There, Way::Back, Way::There, Way::Back] {
            apart.to_owner.set(way, Rule::CutAfter(rng.below(20_000)));
            watch.answers(SOME, LONG)?;
            apart.to_owner.set_both(Rule::Pass);
            apart.to_owner.reset();
            watch.answers(SOME, LONG)?;
        }
        apart.to_owner.set_both(Rule::Delay(Duration::from_millis(50)));
        watch.answers(SOME, LONG)?;
        apart.to_owner.set_both(Rule::Pass);
        apart.to_owner.set(Way::There, Rule::Stall);
        thread::sleep(Duration::from_millis(500));
        apart.to_owner.set_both(Rule::Pass);
        watch.answers(SOME, LONG).map(drop)
    })
}

/// F12 in short, with these orders for all nodes: replies are lost, and requests are repeated.
pub(crate) fn replies_are_lost(name: &str, orders: &str, seed: u64) -> Verdict {
    let apart = Apart::start(name, orders, ["sqlite:a", "sqlite:a"]);
    apart.judged(seed, |apart, watch| lose_replies(apart, watch, 4))
}

/// Cuts the way back while requests still get there.
pub(crate) fn lose_replies(apart: &Apart, watch: &Watch, times: usize) -> Result<(), String> {
    for _ in 0..times {
        watch.answers(SOME, LONG)?;
        apart.to_owner.set(Way::Back, Rule::Drop);
        thread::sleep(Duration::from_millis(150));
        apart.to_owner.set_both(Rule::Pass);
        apart.to_owner.reset();
    }
    watch.answers(SOME, LONG).map(drop)
}
