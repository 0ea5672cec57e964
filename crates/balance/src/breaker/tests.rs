//! The whole matrix of the breaker, how long it rests, and that it never lets two probes out.

use super::*;

#[test]
fn every_phase_meets_every_cue() {
    let mut matrix = format!("{:9}", "");
    Cue::ALL.iter().for_each(|cue| matrix += &format!("{:10}", format!("{cue:?}")));
    for phase in Phase::ALL {
        matrix += &format!("\n{:9}", format!("{phase:?}"));
        for cue in Cue::ALL {
            let next = phase.next(cue).map_or(".".to_owned(), |next| format!("{next:?}"));
            matrix += &format!("{next:10}");
        }
    }
    let matrix: Vec<&str> = matrix.lines().map(str::trim_end).collect();
    let expected = "
         Answered  Failed    Worn      Lost      Rested    Abandoned
Passing  .         .         Tripped   Tripped   .         .
Tripped  Passing   .         .         .         Probing   .
Probing  Passing   Tripped   Tripped   Tripped   .         Tripped";
    assert_eq!(format!("\n{}", matrix.join("\n")), expected);
}

/// Plays a script on one breaker, a line per second that has passed at least.
///
/// `ok` and `bad`: a request is sent and answered or fails; `lost`: the connection breaks; `send`
/// and then `+` or `-` or `?`: the request that was sent is answered, fails, is abandoned.
#[track_caller]
fn check(script: &str) {
    let (mut rng, mut now, mut out) = (Rng::new(1), Moment::ZERO, None);
    let mut breaker = Breaker::new(now);
    for (number, line) in script.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (steps, expected) = line.split_once("->").unwrap();
        for step in steps.split_whitespace() {
            let (word, times) = step.split_once('*').unwrap_or((step, "1"));
            for _ in 0..times.parse::<u32>().unwrap() {
                match word {
                    "ok" | "bad" | "send" => {
                        let tenure = breaker.sent(now);
                        match word {
                            "ok" => assert!(!breaker.answered(now, tenure) || number != 0),
                            "bad" => drop(breaker.failed(now, &mut rng, tenure)),
                            _ => out = Some(tenure),
                        }
                    }
                    "+" => drop(breaker.answered(now, out.unwrap())),
                    "-" => drop(breaker.failed(now, &mut rng, out.unwrap())),
                    "?" => breaker.abandoned(now, out.unwrap()),
                    "lost" => drop(breaker.lost(now, &mut rng)),
                    wait => now = now + Duration::from_millis(wait.parse().unwrap()),
                }
            }
        }
        let rested = if breaker.is_rested(now) { " rested" } else { "" };
        assert_eq!(format!("{:?}{rested}", breaker.phase()), expected.trim(), "line {number}");
    }
}

#[test]
fn a_chain_of_failures_trips_it() {
    check(
        "
        bad*4 ok bad*4  -> Passing
        bad             -> Tripped
        499             -> Tripped
        200             -> Tripped rested
        send            -> Probing
        +               -> Passing
    ",
    );
}

#[test]
fn half_of_the_window_trips_it() {
    check("ok*3 bad*4 ok*3 bad*4 ok*2 bad*3 -> Passing\n bad -> Tripped");
    check("ok*11 bad*4 ok bad*4 ok bad*4 -> Passing\n ok bad -> Passing\n bad -> Tripped");
    check("ok*11 bad*4 ok bad*4 11000 ok bad*4 -> Passing");
}

#[test]
fn a_lost_connection_trips_it_at_once_and_each_trip_in_a_row_rests_longer() {
    check(
        "
        ok lost         -> Tripped
        700 send        -> Probing
        -               -> Tripped
        900             -> Tripped
        400 send        -> Probing
        -               -> Tripped
        1900            -> Tripped
        600 send        -> Probing
        +               -> Passing
        lost 3900       -> Tripped
        1100 ok         -> Passing
        10001 lost 499  -> Tripped
        200             -> Tripped rested
    ",
    );
}

#[test]
fn what_was_sent_before_a_trip_decides_nothing_after_it() {
    check(
        "
        send bad*5      -> Tripped
        +               -> Tripped
        700             -> Tripped rested
        +               -> Tripped rested
        send ?          -> Tripped rested
        -               -> Tripped rested
    ",
    );
}

#[test]
fn an_answer_that_the_panic_rule_asked_for_ends_a_trip() {
    check("bad*5 -> Tripped\n send + -> Passing");
}

#[test]
fn the_rest_is_bounded_and_never_in_step() {
    let (mut rng, mut now) = (Rng::new(3), Moment::ZERO);
    let mut breaker = Breaker::new(now);
    let mut rests = Vec::new();
    breaker.lost(now, &mut rng);
    for _ in 0..64 {
        rests.push(breaker.rested_at.since(now));
        now = breaker.rested_at;
        let tenure = breaker.sent(now);
        breaker.failed(now, &mut rng, tenure);
    }
    let most = REST_MAX * (100 + REST_JITTER_PERCENT) / 100;
    assert!(rests.iter().all(|rest| (REST_MIN..=most).contains(rest)), "{rests:?}");
    let late = &rests[16..];
    assert!(late.iter().all(|rest| REST_MAX <= *rest));
    assert!(late.windows(2).all(|two| two[0] != two[1]), "no jitter: {late:?}");
}

/// Any order of events: of the requests that the breaker itself lets through while it is not
/// passing, at most one is out.
#[test]
fn never_two_probes_are_out() {
    for seed in 0..64 {
        let mut rng = Rng::new(seed);
        let mut now = Moment::ZERO;
        let mut breaker = Breaker::new(now);
        let mut out: Vec<(Tenure, bool)> = Vec::new();
        for step in 0..2_000 {
            now = now + Duration::from_millis(u64::try_from(rng.below(200)).unwrap());
            match rng.below(8) {
                0..3 if breaker.phase() == Phase::Passing || breaker.is_rested(now) => {
                    let probe = breaker.is_rested(now);
                    out.push((breaker.sent(now), probe));
                }
                7 => drop(breaker.lost(now, &mut rng)),
                what if !out.is_empty() => {
                    let (tenure, _) = out.swap_remove(rng.below(out.len()));
                    match what {
                        0..5 => drop(breaker.answered(now, tenure)),
                        5 => drop(breaker.failed(now, &mut rng, tenure)),
                        _ => breaker.abandoned(now, tenure),
                    }
                }
                _ => (),
            }
            let current = |it: &&(Tenure, bool)| it.1 && it.0 == breaker.tenure;
            let probes = out.iter().filter(current).count();
            let probing = breaker.phase() == Phase::Probing;
            assert_eq!(probes, usize::from(probing), "SEED={seed}, step {step}");
        }
    }
}
