//! The detector on virtual time, one rule a test.

use super::*;
use crate::core::{contract::Contract, severity::Severity};

const ID: CheckId = CheckId(1);

/// A detector and its clock, in milliseconds.
struct World {
    detector: Detector,
    ms: u64,
    out: Vec<Noticed>,
}

fn now(ms: u64) -> Now {
    let wall = Timestamp(1_700_000_000_000_000 + i64::try_from(ms).unwrap() * 1_000);
    Now { moment: Moment::ZERO + Duration::from_millis(ms), wall }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl World {
    fn node() -> World {
        World::of(Terms {
            contract: Contract::every(seconds(2), seconds(3)),
            fails_min: 2,
            is_statistical: true,
            is_probed: true,
            run_min: Duration::ZERO,
            run_max: None,
        })
    }

    fn job() -> World {
        World::of(Terms {
            contract: Contract::every(seconds(60), seconds(30)),
            fails_min: 1,
            is_statistical: false,
            is_probed: false,
            run_min: Duration::ZERO,
            run_max: None,
        })
    }

    fn of(terms: Terms) -> World {
        let mut detector = Detector::new(now(0).moment);
        detector.add(now(0), ID, terms, Kept::new(now(0).wall), Duration::ZERO);
        World { detector, ms: 0, out: Vec::new() }
    }

    /// Ticks up to `ms`.
    fn until(&mut self, ms: u64) -> &mut World {
        while self.ms < ms {
            self.ms = (self.ms + 50).min(ms);
            self.detector.tick(now(self.ms), &mut self.out);
        }
        self
    }

    fn hear(&mut self, beat: &Beat) -> &mut World {
        self.detector.hear(now(self.ms), ID, beat, &mut self.out);
        self
    }

    fn says(&mut self, signal: Signal) -> &mut World {
        self.hear(&Beat::of(signal))
    }

    /// The changes since the last call: milliseconds, state, reason.
    #[track_caller]
    fn changed(&mut self, want: &[(u64, State, &str)]) -> &mut World {
        let told = self.out.drain(..).filter_map(|it| match it {
            Noticed::Changed(it) => {
                let ms = u64::try_from((it.at.0 - now(0).wall.0) / 1_000).unwrap();
                Some((ms, it.to, it.why.text()))
            }
            Noticed::Doubted(_) | Noticed::Restarted(_) | Noticed::Blind { .. } => None,
        });
        let told: Vec<_> = told.collect();
        let told: Vec<_> = told.iter().map(|(ms, to, why)| (*ms, *to, why.as_str())).collect();
        assert_eq!(told, want);
        self
    }
}

#[test]
fn down_at_the_deadline_and_not_before() {
    let mut world = World::node();
    world.until(1_000).says(Signal::Success).changed(&[(1_000, State::Up, "heard")]);
    world.until(5_950).changed(&[(4_500, State::Late, "no beat")]);
    world.until(6_000).changed(&[(6_000, State::Down, "no beat")]);
    world.until(60_000).says(Signal::Success).changed(&[(60_000, State::Up, "heard")]);
}

#[test]
fn the_outage_began_when_the_beat_was_expected() {
    let mut world = World::node();
    world.says(Signal::Success).until(5_000);
    let since = world.out.iter().find_map(|it| match it {
        Noticed::Changed(it) if it.to == State::Down => Some(it.since),
        Noticed::Changed(_)
        | Noticed::Doubted(_)
        | Noticed::Restarted(_)
        | Noticed::Blind { .. } => None,
    });
    // Not before it was late, for until then it counted as up.
    assert_eq!(since, Some(now(3_500).wall));
}

#[test]
fn what_was_never_heard_of_is_not_missing() {
    World::node().until(3_600_000).changed(&[]);
}

#[test]
fn a_pause_of_the_monitor_moves_the_deadline() {
    let mut world = World::node();
    world.says(Signal::Success).until(1_500).changed(&[(0, State::Up, "heard")]);
    world.ms = 6_500; // Stopped for 5 s; a beat was expected in that time.
    world.detector.tick(now(6_500), &mut world.out);
    assert!(world.out.iter().any(|it| matches!(it, Noticed::Blind { .. })));
    // A whole period and grace from here on.
    world.until(11_450).changed(&[(8_500, State::Late, "no beat")]);
    world.until(11_500).changed(&[(11_500, State::Down, "no beat")]);
}

#[test]
fn a_node_that_answers_when_asked_gets_one_more_chance() {
    let mut world = World::node();
    world.says(Signal::Success).until(3_600);
    assert!(world.out.contains(&Noticed::Doubted(ID)));
    world.detector.opinion(ID, Opinion::Alive);
    world.until(9_900).changed(&[(0, State::Up, "heard"), (3_500, State::Late, "no beat")]);
    world.until(11_000);
    world.changed(&[(10_000, State::Down, "no beat, though it answers when asked")]);
    // One that does not answer gets none.
    let mut world = World::node();
    world.says(Signal::Success).until(3_600);
    world.detector.opinion(ID, Opinion::Dead);
    world.until(5_000);
    assert_eq!(world.detector.state(ID), Some(State::Down));
}

#[test]
fn what_announced_its_end_is_not_missed() {
    let mut world = World::node();
    world.says(Signal::Success).until(1_000).says(Signal::Draining).until(2_000);
    world.says(Signal::Stopped).until(60_000);
    world.changed(&[
        (0, State::Up, "heard"),
        (1_000, State::Draining, "announced"),
        (2_000, State::Stopped, "announced"),
    ]);
    // Its last word may get lost.
    let mut world = World::node();
    world.says(Signal::Draining).until(60_000);
    world.changed(&[(0, State::Draining, "announced"), (5_000, State::Stopped, "no beat")]);
}

#[test]
fn one_bad_verdict_of_a_node_is_a_hiccup_and_one_good_one_ends_it() {
    let sick = || Signal::Sick("commits hang".to_owned());
    let mut world = World::node();
    world.says(Signal::Success).says(sick()).says(Signal::Success).says(sick());
    world.changed(&[(0, State::Up, "heard")]);
    world.says(sick()).changed(&[(0, State::Sick, "commits hang")]);
    world.until(2_000).says(Signal::Success).changed(&[(2_000, State::Up, "heard")]);
    // A sick node can die as well.
    world.says(sick()).says(sick()).until(7_000);
    world.changed(&[(2_000, State::Sick, "commits hang"), (7_000, State::Down, "no beat")]);
}

#[test]
fn restarted_reordered_and_repeated_are_told_apart() {
    let from =
        |boot, seq| Beat { signal: Signal::Success, run: None, origin: Some(Origin { boot, seq }) };
    let mut world = World::node();
    world.hear(&from(1, 5)).changed(&[(0, State::Up, "heard")]);
    world.until(1_000);
    assert!(!world.detector.hear(now(1_000), ID, &from(1, 4), &mut world.out), "older");
    assert!(!world.detector.hear(now(1_000), ID, &from(1, 5), &mut world.out), "the same");
    world.until(5_000);
    assert_eq!(world.detector.state(ID), Some(State::Down), "old beats prove nothing");
    world.out.clear();
    world.hear(&from(2, 0));
    assert_eq!(world.out[0], Noticed::Restarted(ID));
    world.changed(&[(5_000, State::Up, "started again")]);
}

#[test]
fn a_node_that_never_gets_ready_is_sick() {
    let mut world = World::node();
    for turn in 0..32 {
        world.until(turn * 2_000).says(Signal::Starting);
    }
    let words = "does not get ready in 60 s";
    world.changed(&[(0, State::Starting, "announced"), (62_000, State::Sick, words)]);
}

#[test]
fn a_run_that_does_not_end_in_time_is_down() {
    let mut world = World::job();
    world.says(Signal::Success).until(10_000).says(Signal::Start).until(39_950);
    world.changed(&[(0, State::Up, "heard")]);
    world.until(40_000).changed(&[(40_000, State::Down, "began and did not end in time")]);
    // One that ends does so for its own run only.
    let run = |signal, run| Beat { signal, run: Some(run), origin: None };
    let mut world = World::job();
    world.hear(&run(Signal::Start, 1)).hear(&run(Signal::Start, 2));
    world.until(5_000).hear(&run(Signal::Success, 1)).until(30_000);
    world.changed(&[
        (0, State::Up, "heard"),
        (30_000, State::Down, "began and did not end in time"),
    ]);
}

#[test]
fn a_reported_failure_needs_no_deadline() {
    let mut world = World::job();
    world.says(Signal::Fail("exit status 3".to_owned()));
    world.changed(&[(0, State::Down, "exit status 3")]);
    world.until(600_000).changed(&[]);
    world.says(Signal::Log).changed(&[]);
    world.says(Signal::Success).changed(&[(600_000, State::Up, "heard")]);
}

#[test]
fn a_job_is_late_when_it_was_expected() {
    let mut world = World::job();
    world.says(Signal::Success).until(90_000);
    world.changed(&[
        (0, State::Up, "heard"),
        (60_000, State::Late, "no beat"),
        (90_000, State::Down, "no beat"),
    ]);
}

#[test]
fn paused_checks_are_left_alone() {
    let mut world = World::job();
    world.says(Signal::Success);
    world.detector.set_paused(now(0), ID, true, &mut world.out);
    world.until(600_000).says(Signal::Fail("x".to_owned()));
    world.changed(&[(0, State::Up, "heard"), (0, State::Paused, "ordered")]);
    world.detector.set_paused(now(600_000), ID, false, &mut world.out);
    world.until(1_200_000).changed(&[(600_000, State::New, "ordered")]);
}

/// What is left of a period and grace is what was left when the last process ended.
#[test]
fn a_restart_of_the_monitor_costs_nobody_time() {
    let terms = Terms {
        contract: Contract::every(seconds(60), seconds(30)),
        fails_min: 1,
        is_statistical: false,
        is_probed: false,
        run_min: Duration::ZERO,
        run_max: None,
    };
    for (age, blind, want) in [
        (10, 20, 80_000), // Nothing was expected in between.
        (70, 20, 20_000), // Was late before.
        (50, 20, 90_000), // Was expected in between, and may have been there.
    ] {
        let mut kept = Kept::new(now(0).wall);
        kept.state = State::Up;
        // As a store gives it back: relative to the end of the last process.
        let start = now(1_000_000);
        kept.heard = Some(start.wall_before(seconds(age + blind)));
        let mut detector = Detector::new(start.moment);
        detector.add(start, ID, terms.clone(), kept, seconds(blind));
        let mut world = World { detector, ms: 1_000_000, out: Vec::new() };
        world.until(1_000_000 + want - 50);
        assert_ne!(world.detector.state(ID), Some(State::Down), "{age} {blind}");
        world.until(1_000_000 + want);
        assert_eq!(world.detector.state(ID), Some(State::Down), "{age} {blind}");
    }
}

fn ruled(severity: Severity, rule: &str) -> Option<Ruled> {
    Some(Ruled {
        severity,
        words: format!("{rule}: too much"),
        rules: vec![rule.to_owned()],
        consequence: false,
        looks_back: Duration::ZERO,
    })
}

#[test]
fn a_node_that_breaks_a_rule_is_strained_or_sick_until_it_does_not() {
    let mut world = World::node();
    world.says(Signal::Success);
    let set = |world: &mut World, it: Option<Ruled>| {
        world.detector.set_ruled(now(world.ms), ID, it, &mut world.out);
    };
    set(&mut world, ruled(Severity::Warning, "disk"));
    world.says(Signal::Success);
    world.changed(&[(0, State::Up, "heard"), (0, State::Strained, "disk: too much")]);
    // Another rule is news, the same one is not.
    set(&mut world, ruled(Severity::Warning, "disk"));
    world.changed(&[]);
    set(&mut world, ruled(Severity::Critical, "errors"));
    world.says(Signal::Success).changed(&[(0, State::Sick, "errors: too much")]);
    // Its own checks are worse, and end as they do.
    world.says(Signal::Sick("x".to_owned())).says(Signal::Sick("x".to_owned()));
    world.changed(&[(0, State::Sick, "x")]);
    set(&mut world, None);
    world.changed(&[]);
    world.says(Signal::Success).changed(&[(0, State::Up, "heard")]);
    // Silent, it is down; heard again, the rule counts again.
    set(&mut world, ruled(Severity::Warning, "disk"));
    world.until(5_000);
    world.changed(&[(0, State::Strained, "disk: too much"), (5_000, State::Down, "no beat")]);
    world.says(Signal::Success);
    world.changed(&[(5_000, State::Strained, "disk: too much")]);
    set(&mut world, None);
    world.changed(&[(5_000, State::Up, "heard")]);
}

#[test]
fn an_outage_begins_with_the_first_bad_beat() {
    let mut world = World::node();
    world.says(Signal::Success).until(2_000).says(Signal::Sick("x".to_owned()));
    world.until(4_000).says(Signal::Sick("x".to_owned()));
    let since = world.out.iter().find_map(|it| match it {
        Noticed::Changed(it) if it.to == State::Sick => Some((it.at, it.since)),
        Noticed::Changed(_)
        | Noticed::Doubted(_)
        | Noticed::Restarted(_)
        | Noticed::Blind { .. } => None,
    });
    assert_eq!(since, Some((now(4_000).wall, now(2_000).wall)));
    // And ends with the first good one.
    world.until(6_000).says(Signal::Success);
    assert_eq!(world.detector.since(ID), Some(now(6_000).wall));
}

fn timed() -> World {
    World::of(Terms {
        contract: Contract::every(seconds(3_600), seconds(600)),
        fails_min: 1,
        is_statistical: false,
        is_probed: false,
        run_min: seconds(10),
        run_max: Some(seconds(60)),
    })
}

#[test]
fn a_run_that_is_too_short_has_failed() {
    let mut world = timed();
    world.says(Signal::Start).until(9_000).says(Signal::Success);
    let words = "took 9.0 s, and never takes less than 10 s";
    world.changed(&[(0, State::Up, "heard"), (9_000, State::Down, words)]);
    world.says(Signal::Start).until(19_000).says(Signal::Success);
    world.changed(&[(19_000, State::Up, "heard")]);
    // A success without a beginning cannot be timed.
    world.says(Signal::Success).changed(&[]);
}

#[test]
fn overlapping_runs_are_each_timed_by_their_id() {
    let run = |signal, run| Beat { signal, run: Some(run), origin: None };
    let mut world = timed();
    world.hear(&run(Signal::Start, 1)).until(30_000).hear(&run(Signal::Start, 2));
    world.until(45_000).hear(&run(Signal::Success, 2));
    // The first one goes on, and takes too long, whatever the second did.
    world.until(59_950).changed(&[(0, State::Up, "heard")]);
    world.until(60_000).changed(&[(60_000, State::Down, "began and did not end in time")]);
    world.hear(&run(Signal::Success, 1)).changed(&[(60_000, State::Up, "heard")]);
    // What began is kept for the next process, each with its id.
    world.hear(&run(Signal::Start, 3)).until(61_000).hear(&run(Signal::Start, 4));
    let kept = world.detector.kept(now(61_000), ID).unwrap();
    assert_eq!(kept.runs.iter().map(|it| it.1).collect::<Vec<_>>(), [Some(3), Some(4)]);
}

#[test]
fn of_too_many_runs_the_oldest_are_forgotten() {
    let mut world = timed();
    for id in 0..40 {
        world.hear(&Beat { signal: Signal::Start, run: Some(id), origin: None });
    }
    let kept = world.detector.kept(now(0), ID).unwrap();
    assert_eq!(kept.runs.len(), crate::core::check::RUNS_MAX);
    assert_eq!(kept.runs.last().unwrap().1, Some(39));
}
