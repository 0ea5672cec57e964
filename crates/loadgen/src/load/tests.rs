//! One thread's load, driven by hand.

use super::*;
use crate::tests::plan;
use std::{borrow::Cow, sync::mpsc};

const ACCOUNT: &str = "bench-r-0";

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at(count: u64) -> Moment {
    Moment::ZERO + ms(count)
}

/// Runs `test` on one thread's load: 10 debits a second of one account for a second.
fn with_load(change: impl Fn(&mut Plan), test: impl FnOnce(&mut Load<'_>)) -> (Log, u64, Window) {
    let mut plan = plan("127.0.0.1:1");
    plan.pace = Pace::Open(10);
    plan.workload = Workload::Hot;
    (plan.duration, plan.warm_up) = (ms(1_000), ms(0));
    change(&mut plan);
    let letters = Letters::new(&plan);
    let (sender, receiver) = mpsc::sync_channel(1_024);
    let times = Times::of(&plan, Moment::ZERO);
    let chooser = Chooser::new(plan.workload, plan.accounts, 1);
    let mut load = Load::new(&plan, &letters, chooser, 0, times, (4, 1_000), &sender);
    test(&mut load);
    let (log, unsent) = load.finish(times.end);
    let mut whole = Window::new(0);
    receiver.try_iter().for_each(|it| whole.add(&it));
    (log, unsent, whole)
}

fn answer(status: u16, body: String) -> End<'static> {
    let body = Cow::Owned(body.into_bytes());
    End::Answer(Answer { status, body, key: Some("tgk_1"), closes: false })
}

fn refusal(status: u16, code: &str) -> End<'static> {
    answer(status, format!(r#"{{"code":"{code}"}}"#))
}

/// The acknowledgement of what was asked for in `out`.
fn success(out: &[u8], version: u64) -> End<'static> {
    let text = String::from_utf8_lossy(out);
    let amount = text.split("\"amount\":").nth(1).unwrap().split(',').next().unwrap();
    answer(
        201,
        format!(
            r#"{{"id":"tx_{version}","account":"{ACCOUNT}","kind":"debit","amount":{amount},"posted_after":1,"version":{version}}}"#
        ),
    )
}

/// The next request of this lane, which must be due.
fn sent(load: &mut Load<'_>, lane: usize, now: Moment) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(load.next(lane, now, &mut out), Next::Send);
    out
}

#[test]
fn latency_counts_from_when_an_operation_was_due() {
    let (log, unsent, window) = with_load(
        |_| (),
        |load| {
            let mut out = Vec::new();
            let first = sent(load, 0, at(0));
            assert_eq!(load.next(1, at(0), &mut out), Next::At(at(100)), "the next is not due");
            load.ended(0, at(5), success(&first, 2));
            // The tree stalls for half a second: five are late, whoever is to blame.
            for (turn, late) in (1..=5).zip([400, 300, 200, 100, 0]) {
                let out = sent(load, 0, at(500));
                load.ended(0, at(500), success(&out, 2 + turn));
                assert!(load.window.due.max() >= late);
            }
            // The next four were due while the tree stalled to the end of the run: one of them
            // can still go out a little later, the others too late.
            assert!(!load.is_done(at(1_400)));
            let out = sent(load, 0, at(1_400));
            load.ended(0, at(1_400), success(&out, 8));
            assert_eq!(load.next(0, at(1_500), &mut Vec::new()), Next::Wait);
            assert!(load.is_done(at(1_500)));
        },
    );
    assert_eq!((log.writes.len(), unsent), (7, 3), "those of the last 300 ms never went out");
    let due = window.due.quantiles();
    assert!((795_000..805_000).contains(&due.max), "{due:?}");
    assert!(window.sent.max() < 6_000, "none took longer once it was sent");
    assert_eq!(window.counts.ok, 7);
}

#[test]
fn what_was_not_executed_is_repeated_with_the_same_key_and_told_once() {
    let (log, _, window) = with_load(
        |_| (),
        |load| {
            let first = sent(load, 0, at(0));
            load.ended(0, at(1), refusal(503, "overloaded"));
            let mut out = Vec::new();
            assert_eq!(load.next(0, at(1), &mut out), Next::At(at(21)));
            let second = sent(load, 1, at(21));
            assert_eq!(first, second);
            load.ended(1, at(22), End::Lost);
            let third = sent(load, 2, at(70));
            assert_eq!(first, third);
            load.ended(2, at(71), success(&third, 2));
        },
    );
    let counts = window.counts;
    assert_eq!((counts.ok, counts.errors(), counts.repeats), (1, 0, 2));
    assert_eq!(window.labels[&Label::Answered(503, Some(Code::Overloaded))], 1);
    assert_eq!(log.writes.len(), 1);
    assert_eq!((log.writes[0].sent, log.writes[0].answered), (at(0), at(71)));
}

#[test]
fn after_an_unknown_attempt_a_definite_no_proves_nothing() {
    for no in ["overloaded", "unauthenticated"] {
        let status = if no == "overloaded" { 503 } else { 401 };
        let (log, _, window) = with_load(
            |_| (),
            |load| {
                drop(sent(load, 0, at(0)));
                load.ended(0, at(1), End::TimedOut);
                drop(sent(load, 0, at(21)));
                load.ended(0, at(22), refusal(status, no));
            },
        );
        assert_eq!((window.counts.unknown, log.doubts.len()), (1, 1), "{no}");
    }
    let (log, _, window) = with_load(
        |_| (),
        |load| {
            drop(sent(load, 0, at(0)));
            load.ended(0, at(1), End::Lost);
            drop(sent(load, 0, at(21)));
            load.ended(0, at(22), refusal(409, "insufficient_funds"));
        },
    );
    assert_eq!((window.counts.refused, log.doubts.len()), (1, 0), "the ledger's word counts");
}

#[test]
fn a_minted_key_is_repeated_once_it_was_told_and_never_before() {
    let minted = |plan: &mut Plan| plan.keys = crate::plan::Keys::Minted;
    let (_, _, window) = with_load(minted, |load| {
        let first = sent(load, 0, at(0));
        assert!(!String::from_utf8_lossy(&first).contains("Idempotency-Key"));
        load.ended(0, at(1), refusal(504, "outcome_unknown"));
        let second = sent(load, 0, at(21));
        assert!(String::from_utf8_lossy(&second).contains("Idempotency-Key: tgk_1\r\n"));
        load.ended(0, at(22), success(&second, 2));
    });
    assert_eq!((window.counts.ok, window.counts.repeats), (1, 1));
    let (log, _, window) = with_load(minted, |load| {
        drop(sent(load, 0, at(0)));
        load.ended(0, at(1), End::Lost);
    });
    assert_eq!((window.counts.unknown, window.counts.repeats), (1, 0));
    assert_eq!(log.doubts.len(), 1);
}

#[test]
fn without_repeats_every_answer_is_the_last() {
    let (_, _, window) = with_load(
        |plan| plan.repeats = false,
        |load| {
            drop(sent(load, 0, at(0)));
            load.ended(0, at(1), refusal(503, "overloaded"));
            drop(sent(load, 0, at(100)));
            load.ended(0, at(101), End::Unsent);
            drop(sent(load, 0, at(200)));
            load.ended(0, at(201), refusal(504, "outcome_unknown"));
        },
    );
    let counts = window.counts;
    assert_eq!((counts.shed, counts.unknown, counts.repeats), (2, 1, 0));
}

#[test]
fn an_acknowledgement_of_something_else_is_none() {
    let (log, _, window) = with_load(
        |plan| plan.repeats = false,
        |load| {
            let out = sent(load, 0, at(0));
            let End::Answer(mut right) = success(&out, 2) else { panic!() };
            let text = String::from_utf8_lossy(&right.body).replace("debit", "credit");
            right.body = Cow::Owned(text.into_bytes());
            load.ended(0, at(1), End::Answer(right));
        },
    );
    assert_eq!((window.counts.ok, window.counts.unknown, log.writes.len()), (0, 1, 0));
    assert_eq!(window.labels[&Label::Garbled], 1);
}

#[test]
fn windows_are_handed_over_even_when_nothing_happens() {
    let (sender, receiver) = mpsc::sync_channel(1_024);
    let mut plan = plan("127.0.0.1:1");
    plan.window = ms(100);
    let letters = Letters::new(&plan);
    let times = Times::of(&plan, Moment::ZERO);
    let chooser = Chooser::new(plan.workload, plan.accounts, 1);
    let mut load = Load::new(&plan, &letters, chooser, 0, times, (1, 10), &sender);
    load.tick(at(350));
    let indexes: Vec<u64> = receiver.try_iter().map(|it| it.index).collect();
    assert_eq!(indexes, [0, 1, 2]);
}

#[test]
fn the_codes_of_the_api_mean_what_they_say() {
    for (status, code, judged) in [
        (409, Code::InsufficientFunds, Judged::Refused),
        (409, Code::KeyInUse, Judged::Unsure),
        (404, Code::NoSuchAccount, Judged::Refused),
        (503, Code::PartitionMoving, Judged::NotNow),
        (429, Code::RateLimited, Judged::NotNow),
        (504, Code::OutcomeUnknown, Judged::Unsure),
    ] {
        assert_eq!(judge(status, Some(code)), judged, "{status}");
    }
    assert_eq!((judge(502, None), judge(400, None)), (Judged::Unsure, Judged::Refused));
}
