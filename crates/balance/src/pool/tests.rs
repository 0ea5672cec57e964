//! The rules of the pool around a choice: probation, breakers, panic, exclusion, reports.

use super::*;
use std::collections::BTreeSet;

const UP: State = State::Connected { since: Moment::ZERO };
const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

/// Past every probation that began at the start.
fn later() -> Moment {
    at(60_000)
}

fn pool(policy: Policy, count: usize) -> Pool {
    let mut pool = Pool::with(policy);
    for key in 0..count {
        let index = pool.add(Spec { key: key as u64, weight: NonZeroU32::MIN });
        pool.set_state(index, UP);
    }
    pool
}

/// Choices and counts by themselves: what is chosen is not sent, what is in flight never ends.
impl Pool {
    fn choose(
        &mut self,
        now: Moment,
        rng: &mut Rng,
        excluded: Option<usize>,
    ) -> Result<usize, NoneUp> {
        self.pick(now, rng, Ask { excluded, hash: 0 }).map(|choice| choice.endpoint)
    }

    fn started(&mut self, index: usize) {
        self.endpoints[index].in_flight += 1;
    }

    fn finished(&mut self, index: usize) {
        self.endpoints[index].in_flight -= 1;
    }
}

fn chosen(pool: &mut Pool, now: Moment, excluded: Option<usize>) -> BTreeSet<usize> {
    let mut rng = Rng::new(1);
    (0..256).filter_map(|_| pool.choose(now, &mut rng, excluded).ok()).collect()
}

fn report(in_flight: u32, ms: u32) -> Report {
    Report { in_flight, latency: ms * MS, limit_permille: 0, draining: false }
}

/// Sends `count` requests that all come to the same end after `latency`.
fn play(pool: &mut Pool, now: Moment, index: usize, count: u32, outcome: Outcome) -> bool {
    let mut rng = Rng::new(1);
    let mut tripped = false;
    for _ in 0..count {
        let others: Vec<usize> = (0..pool.len()).filter(|&it| it != index).collect();
        let states: Vec<State> = others.iter().map(|&it| pool.state(it)).collect();
        others.iter().for_each(|&it| pool.endpoints[it].state = State::Down);
        pool.count_up();
        let ticket = pool.send(now, &mut rng, Ask::default()).expect("it is up");
        others.iter().zip(states).for_each(|(&it, state)| pool.endpoints[it].state = state);
        pool.count_up();
        assert_eq!(ticket.choice.endpoint, index);
        tripped |= pool.ended(now + MS, &mut rng, ticket, outcome);
    }
    tripped
}

#[test]
fn equal_endpoints_share_equally() {
    for policy in [Policy::LeastLoad, Policy::LeastRequests, Policy::RoundRobin, Policy::Weighted] {
        let (mut pool, mut rng, mut counts) = (pool(policy, 4), Rng::new(3), [0_u32; 4]);
        for _ in 0..4_000 {
            counts[pool.choose(later(), &mut rng, None).unwrap()] += 1;
        }
        assert!(counts.iter().all(|&it| (800..1_200).contains(&it)), "{policy:?}: {counts:?}");
    }
}

#[test]
fn a_newcomer_starts_slowly() {
    let policies = [
        Policy::LeastLoad,
        Policy::LeastRequests,
        Policy::RoundRobin,
        Policy::Weighted,
        Policy::Hash,
    ];
    for policy in policies {
        let mut pool = pool(policy, 4);
        pool.set_state(3, State::Connected { since: later() });
        let share = |pool: &mut Pool, after_ms: u64| {
            let mut rng = Rng::new(1);
            let now = later() + MS * u32::try_from(after_ms).unwrap();
            let mut ask = |_: &u32| {
                let hash = rng.next();
                pool.pick(now, &mut rng, Ask { hash, excluded: None }).unwrap().endpoint == 3
            };
            (0..4_000).filter(&mut ask).count()
        };
        let [first, half, whole] = [0, 1_000, 2_000].map(|ms| share(&mut pool, ms));
        assert!((25..250).contains(&first), "{policy:?}: {first}");
        assert!((300..800).contains(&half), "{policy:?}: {half}");
        assert!((900..1_100).contains(&whole), "{policy:?}: {whole}");
    }
}

#[test]
fn one_that_has_not_answered_yet_gets_one_request_at_a_time() {
    let mut pool = pool(Policy::LeastRequests, 2);
    pool.set_state(1, State::Connected { since: later() });
    (0..50).for_each(|_| pool.started(0));
    pool.started(1);
    assert_eq!(chosen(&mut pool, later() + 1_999 * MS, None), [0].into());
    assert_eq!(chosen(&mut pool, later() + 2_000 * MS, None), [1].into());
}

#[test]
fn where_all_are_new_none_is() {
    let mut pool = pool(Policy::LeastRequests, 3);
    (0..3).for_each(|index| pool.started(index));
    assert_eq!(chosen(&mut pool, at(0), None).len(), 3);
    assert_eq!(chosen(&mut pool, at(0), Some(2)).len(), 2);
}

#[test]
fn a_tripped_endpoint_rests_and_then_gets_one_probe() {
    let mut pool = pool(Policy::LeastLoad, 3);
    let (now, mut rng) = (later(), Rng::new(1));
    assert!(play(&mut pool, now, 1, 5, Outcome::Failed));
    assert_eq!(pool.phase(1), Phase::Tripped);
    assert_eq!(chosen(&mut pool, now, None), [0, 2].into());
    let rested = now + 700 * MS;
    assert_eq!(chosen(&mut pool, rested, Some(0)), [2].into(), "a retry is no probe");
    let probe = pool.send(rested, &mut rng, Ask::default()).unwrap();
    assert_eq!((probe.choice.endpoint, probe.choice.probe), (1, true));
    assert_eq!(chosen(&mut pool, rested, None), [0, 2].into());
    assert!(!pool.ended(rested, &mut rng, probe, Outcome::Answered));
    assert_eq!(pool.phase(1), Phase::Passing);
    assert!(chosen(&mut pool, rested + 60_000 * MS, None).contains(&1));
}

#[test]
fn when_all_are_tripped_everyone_is_tried_and_the_choice_says_so() {
    for policy in [Policy::LeastLoad, Policy::Hash, Policy::RoundRobin] {
        let mut pool = pool(policy, 2);
        let (now, mut rng) = (later(), Rng::new(1));
        (0..2).for_each(|index| assert!(play(&mut pool, now, index, 5, Outcome::Failed)));
        assert_eq!(pool.up_count(), 2);
        let choice = pool.pick(now, &mut rng, Ask::default()).unwrap();
        assert!(choice.panic && !choice.probe, "{policy:?}");
        let ticket = pool.send(now, &mut rng, Ask::default()).unwrap();
        pool.ended(now, &mut rng, ticket, Outcome::Answered);
        assert_eq!(pool.phase(ticket.choice.endpoint), Phase::Passing, "it was proof of life");
        assert!(!pool.pick(now, &mut rng, Ask::default()).unwrap().panic);
    }
}

#[test]
fn a_lost_connection_trips_at_once() {
    let mut pool = pool(Policy::LeastLoad, 2);
    assert!(pool.lost(later(), &mut Rng::new(1), 0));
    assert_eq!((pool.state(0), pool.phase(0)), (State::Down, Phase::Tripped));
    pool.set_state(0, State::Connected { since: later() });
    assert_eq!(chosen(&mut pool, later(), None), [1].into());
}

#[test]
fn to_be_busy_is_no_illness_but_to_be_useless_is() {
    let busy = |others: Outcome, own_answers: u32| {
        let mut pool = pool(Policy::RoundRobin, 2);
        let now = later();
        play(&mut pool, now, 1, 100, others);
        play(&mut pool, now, 0, own_answers, Outcome::Answered);
        play(&mut pool, now, 0, 100, Outcome::Shed)
    };
    assert!(busy(Outcome::Answered, 0));
    assert!(!busy(Outcome::Answered, 10));
    assert!(!busy(Outcome::Shed, 0));
}

#[test]
fn what_a_hop_behind_is_blamed_for_leaves_no_trace() {
    let mut pool = pool(Policy::LeastLoad, 2);
    let before = pool.endpoints[0].load(later(), 0.0).latency;
    assert!(!play(&mut pool, later(), 0, 100, Outcome::Elsewhere));
    assert_eq!(pool.endpoints[0].load(later(), 0.0).latency, before);
    assert_eq!(pool.phase(0), Phase::Passing);
}

#[test]
fn a_failing_endpoint_is_shunned_by_its_latency_before_it_trips() {
    let mut pool = pool(Policy::LeastLoad, 2);
    pool.reported(later(), 1, report(0, 4));
    play(&mut pool, later(), 0, 2, Outcome::Failed);
    pool.reported(later(), 0, report(0, 1)); // Fast, as whoever fails at once.
    assert_eq!(pool.phase(0), Phase::Passing);
    play(&mut pool, later(), 1, 1, Outcome::Answered);
    assert_eq!(chosen(&mut pool, later() + MS, None), [1].into());
}

#[test]
fn a_silent_endpoint_looks_slower_by_the_moment() {
    let mut pool = pool(Policy::LeastLoad, 2);
    for index in 0..2 {
        play(&mut pool, later(), index, 1, Outcome::Answered);
    }
    let mut rng = Rng::new(1);
    let silent = pool.send(later(), &mut rng, Ask::default()).unwrap().choice.endpoint;
    pool.started(1 - silent);
    assert_eq!(chosen(&mut pool, later() + 500 * MS, None), [1 - silent].into());
}

#[test]
fn reports_age_out_and_belong_to_a_connection() {
    let mut pool = pool(Policy::LeastLoad, 2);
    pool.reported(later(), 0, report(50, 10));
    assert_eq!(chosen(&mut pool, later(), None), [1].into());
    assert_eq!(chosen(&mut pool, later() + 999 * MS, None), [1].into());
    assert_eq!(chosen(&mut pool, later() + 1_000 * MS, None), [0, 1].into());
    pool.set_state(0, State::Down);
    pool.set_state(0, UP);
    assert_eq!(pool.last_report(later(), 0), None);
}

#[test]
fn who_says_that_it_drains_gets_nothing_until_it_says_otherwise() {
    let mut pool = pool(Policy::LeastLoad, 2);
    pool.reported(later(), 0, Report { draining: true, ..report(0, 1) });
    assert_eq!((pool.up_count(), chosen(&mut pool, later(), None)), (1, [1].into()));
    pool.reported(later(), 1, Report { draining: true, ..report(0, 1) });
    assert_eq!(pool.choose(later(), &mut Rng::new(1), None), Err(NoneUp));
    assert!(pool.report(later()).draining);
    pool.reported(later(), 0, report(0, 1));
    assert_eq!(chosen(&mut pool, later(), None), [0].into());
}

#[test]
fn one_that_would_shed_is_hot() {
    let mut pool = pool(Policy::LeastLoad, 2);
    pool.reported(later(), 0, Report { limit_permille: 1_000, ..report(2, 1) });
    pool.reported(later(), 1, report(90, 50));
    assert_eq!(chosen(&mut pool, later(), None), [0].into(), "both hot: the fewest in flight");
    pool.reported(later(), 1, report(2, 50));
    assert_eq!(chosen(&mut pool, later(), None), [1].into());
}

#[test]
fn what_we_sent_since_a_report_counts_on_top_of_it() {
    let mut pool = pool(Policy::LeastLoad, 2);
    pool.reported(later(), 0, report(4, 10));
    pool.reported(later(), 1, report(4, 12));
    assert_eq!(chosen(&mut pool, later(), None), [0].into());
    pool.started(0);
    assert_eq!(chosen(&mut pool, later(), None), [1].into());
    pool.finished(0);
    assert_eq!(chosen(&mut pool, later(), None), [0].into());
}

#[test]
fn a_report_speaks_for_the_whole_subtree() {
    let mut pool = pool(Policy::LeastLoad, 3);
    assert_eq!(pool.report(later()), report(0, 0));
    pool.reported(later(), 0, Report { limit_permille: 500, ..report(9, 10) });
    pool.reported(later(), 1, Report { limit_permille: 1_000, ..report(9, 40) });
    pool.started(1);
    pool.set_state(2, State::Down);
    let found = pool.report(later());
    assert_eq!((found.in_flight, found.limit_permille), (19, 704));
    // Nine at 10 ms and ten at 44 ms, each and the next: 21 in flight at 1.25 a millisecond.
    assert_eq!(found.latency.as_millis(), 16);
}

#[test]
fn weights_may_be_set_at_any_time() {
    let mut pool = pool(Policy::Weighted, 2);
    pool.set_weight(1, NonZeroU32::new(3).unwrap());
    let mut rng = Rng::new(1);
    let order: Vec<usize> = (0..8).map(|_| pool.choose(later(), &mut rng, None).unwrap()).collect();
    assert_eq!(order.iter().filter(|&&it| it == 1).count(), 6, "{order:?}");
}

#[test]
fn the_place_of_one_that_went_is_given_away_once_nothing_is_in_flight_there() {
    let (mut pool, mut rng) = (pool(Policy::LeastLoad, 1), Rng::new(1));
    let ticket = pool.send(later(), &mut rng, Ask::default()).unwrap();
    pool.lost(later(), &mut rng, 0);
    let other = Spec { key: 9, weight: NonZeroU32::MIN };
    assert!(!pool.replace(0, other));
    pool.ended(later(), &mut rng, ticket, Outcome::Lost);
    assert!(pool.replace(0, other));
    assert_eq!((pool.len(), pool.up_count(), pool.phase(0)), (1, 0, Phase::Passing));
    pool.set_state(0, UP);
    assert_eq!(pool.choose(later(), &mut rng, None), Ok(0));
}
