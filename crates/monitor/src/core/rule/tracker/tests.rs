//! One rule and one check, beat by beat.

use super::*;
use crate::core::rule::{Bound, Scope, Side};

const PERIOD: u64 = 2;
const GAP_MAX: Duration = Duration::from_secs(5);

/// A rule, what it knows, and the time.
struct World {
    rule: Rule,
    tracker: Tracker,
    seconds: u64,
    boot: u64,
    requests: f64,
    errors: f64,
}

fn bound(enter: f64, leave: f64) -> Bound {
    Bound { side: Side::Above, enter, leave }
}

impl World {
    fn of(measure: Measure, hold: u64, recover: u64, (hits, of): (u32, u32)) -> World {
        let rule = Rule {
            name: "x".to_owned(),
            scope: Scope::default(),
            measure,
            severity: Severity::Critical,
            hold: Duration::from_secs(hold),
            recover: Duration::from_secs(recover),
            hits,
            of,
            consequence: false,
        };
        let tracker = Tracker::default();
        World { rule, tracker, seconds: 0, boot: 1, requests: 0.0, errors: 0.0 }
    }

    fn value(hold: u64, recover: u64, votes: (u32, u32)) -> World {
        let metric = vec!["x".to_owned()];
        World::of(Measure::Value { metric, bound: bound(85.0, 75.0) }, hold, recover, votes)
    }

    fn share() -> World {
        let measure = Measure::Share {
            part: vec!["errors".to_owned()],
            whole: vec!["requests".to_owned()],
            over: Duration::from_secs(20),
            least: 20.0,
            bound: bound(0.05, 0.02),
        };
        World::of(measure, 0, 0, (1, 1))
    }

    fn hears(&mut self, reading: &Reading) -> bool {
        let at = Moment::ZERO + Duration::from_secs(self.seconds);
        self.tracker.observe(&self.rule, at, GAP_MAX, reading);
        self.seconds += PERIOD;
        self.tracker.verdict().is_some()
    }

    /// One beat with this value.
    fn x(&mut self, value: f64) -> bool {
        let mut reading = Reading::new(self.boot);
        reading.set("x", value);
        self.hears(&reading)
    }

    /// One beat after this many requests and errors.
    fn served(&mut self, requests: f64, errors: f64) -> bool {
        self.requests += requests;
        self.errors += errors;
        let mut reading = Reading::new(self.boot);
        reading.set("requests", self.requests);
        reading.set("errors", self.errors);
        self.hears(&reading)
    }
}

#[test]
fn two_thresholds_keep_it_from_flapping() {
    let mut world = World::value(0, 0, (1, 1));
    let said: Vec<bool> =
        [80.0, 86.0, 84.0, 76.0, 86.0, 75.0, 84.0].iter().map(|it| world.x(*it)).collect();
    assert_eq!(said, [false, true, true, true, true, false, false]);
}

#[test]
fn it_has_to_last_and_to_be_over_for_a_while() {
    let mut world = World::value(6, 4, (1, 1));
    let told = |world: &mut World, values: &[f64]| -> Vec<bool> {
        values.iter().map(|it| world.x(*it)).collect()
    };
    // A hiccup of four seconds is none.
    assert_eq!(told(&mut world, &[90.0, 90.0, 90.0, 80.0]), [false; 4]);
    assert_eq!(told(&mut world, &[90.0, 90.0, 90.0, 90.0]), [false, false, false, true]);
    // Good for two seconds is not over.
    assert_eq!(told(&mut world, &[70.0, 70.0, 80.0, 70.0, 70.0]), [true; 5]);
    assert_eq!(told(&mut world, &[70.0]), [false]);
}

#[test]
fn what_keeps_coming_back_has_to_be_over_for_longer() {
    let mut world = World::value(0, 10, (1, 1));
    let mut lengths = Vec::new();
    for _ in 0..6 {
        assert!(world.x(90.0));
        let mut seconds = 0;
        while world.x(10.0) {
            seconds += PERIOD;
        }
        lengths.push(seconds);
    }
    assert_eq!(lengths, [10, 20, 40, 80, 80, 80]);
    // An hour of calm, and it is trusted again.
    (0..CALM.as_secs()).for_each(|_| _ = world.x(10.0));
    assert!(world.x(90.0));
    (0..5).for_each(|_| assert!(world.x(10.0)));
    assert!(!world.x(10.0));
}

#[test]
fn so_many_of_the_last() {
    let mut world = World::value(0, 0, (3, 5));
    let said: Vec<bool> = [90.0, 10.0, 90.0, 10.0, 90.0, 10.0, 10.0, 10.0, 10.0, 10.0]
        .iter()
        .map(|it| world.x(*it))
        .collect();
    // Over when none of the five is beyond the threshold.
    let want = [false, false, false, false, true, true, true, true, true, false];
    assert_eq!(said, want);
}

#[test]
fn a_share_is_of_what_was_done_within_the_window() {
    let mut world = World::share();
    (0..20).for_each(|_| assert!(!world.served(100.0, 1.0)));
    // 10 of 100 for 20 seconds; beyond 5 % once they are half of the window.
    let said: Vec<bool> = (0..10).map(|_| world.served(100.0, 10.0)).collect();
    assert_eq!(said.iter().position(|it| *it), Some(4), "{said:?}");
    // 2 % once two of the ten beats within it are bad.
    let said: Vec<bool> = (0..12).map(|_| world.served(100.0, 0.0)).collect();
    assert_eq!(said.iter().position(|it| !*it), Some(7), "{said:?}");
    // Next to no traffic says nothing.
    let mut world = World::share();
    (0..40).for_each(|_| assert!(!world.served(1.0, 1.0)));
}

#[test]
fn a_new_process_counts_from_nothing() {
    let mut world = World::share();
    (0..20).for_each(|_| assert!(!world.served(100.0, 0.0)));
    (world.boot, world.requests, world.errors) = (2, 0.0, 0.0);
    assert!(!world.served(100.0, 1.0));
    assert!(world.served(100.0, 90.0));
}

#[test]
fn a_rate_needs_its_whole_window() {
    let rate = Measure::Rate {
        metric: vec!["errors".to_owned()],
        over: Duration::from_secs(10),
        bound: bound(5.0, 1.0),
    };
    let mut world = World::of(rate, 0, 0, (1, 1));
    // Whatever the first beats say, there have to be enough of them.
    let said: Vec<bool> = (0..8).map(|_| world.served(100.0, 50.0)).collect();
    assert_eq!(said.iter().position(|it| *it), Some(4), "{said:?}");
    assert!((world.tracker.value() - 25.0).abs() < 0.1, "{}", world.tracker.value());
    let said: Vec<bool> = (0..8).map(|_| world.served(100.0, 0.0)).collect();
    assert!(!said[7], "{said:?}");
}

#[test]
fn an_absent_number_is_told_of_and_ends_no_other_rule_at_once() {
    let absent = Measure::Absent { metric: vec!["x".to_owned()] };
    let mut world = World::of(absent, 4, 0, (1, 1));
    assert!(!world.x(1.0));
    let empty = Reading::new(1);
    let said: Vec<bool> = (0..4).map(|_| world.hears(&empty)).collect();
    assert_eq!(said, [false, false, true, true]);
    assert!(!world.x(1.0));
    // A rule about its value stays as it was, for a while.
    let mut world = World::value(0, 0, (1, 1));
    assert!(world.x(90.0));
    let beats = STALE_AFTER.as_secs() / PERIOD;
    (1..beats).for_each(|_| assert!(world.hears(&empty)));
    assert!(!world.hears(&empty));
}

#[test]
fn time_that_nobody_saw_counts_for_nothing() {
    let mut world = World::value(60, 60, (1, 1));
    assert!(!world.x(90.0));
    world.seconds += 3_600; // The node was silent, or the monitor stopped.
    assert!(!world.x(90.0));
    (0..27).for_each(|_| assert!(!world.x(90.0)));
    assert!(world.x(90.0));
    // What was counted meanwhile says nothing of the window.
    let mut world = World::share();
    (0..10).for_each(|_| assert!(!world.served(100.0, 0.0)));
    world.seconds += 3_600;
    assert!(!world.served(1e6, 1e6));
}

#[test]
fn a_burning_budget_only_gets_worse_while_it_lasts() {
    let measure = Measure::Burn {
        part: vec!["errors".to_owned()],
        whole: vec!["requests".to_owned()],
        least: 0.0,
        allowed: 0.001,
    };
    let mut world = World::of(measure, 0, 60, (1, 1));
    (0..1_800).for_each(|_| assert!(!world.served(200.0, 0.0)));
    let found = (1..).find(|_| world.served(200.0, 40.0)).unwrap();
    // A fifth of all requests: 14.4 ‰ of an hour is 259 seconds.
    assert!((128..=132).contains(&found), "{found}");
    assert_eq!(world.tracker.verdict(), Some(Severity::Critical));
    let over = (1..).find(|_| !world.served(200.0, 0.0)).unwrap();
    assert!((150..=220).contains(&over), "over {over} beats after the last error");
}

#[test]
fn time_that_a_check_was_down_uses_its_budget_up() {
    let mut world = World::of(Measure::BurnTime { allowed: 0.01 }, 0, 0, (1, 1));
    let pass = |world: &mut World, mark: Mark, seconds: u64| {
        for _ in 0..seconds {
            world.seconds += 1;
            let at = Moment::ZERO + Duration::from_secs(world.seconds);
            world.tracker.pass(&world.rule, at, GAP_MAX, mark);
        }
        world.tracker.verdict().is_some()
    };
    assert!(!pass(&mut world, Mark::Up, 3_600));
    // 14.4 % of an hour, and of the last five minutes, is 518 seconds.
    assert!(!pass(&mut world, Mark::Down, 500));
    assert!(!pass(&mut world, Mark::Away, 100), "what is away on purpose is neither");
    assert!(pass(&mut world, Mark::Down, 60));
}
