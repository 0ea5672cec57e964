//! Runs against a service of a few lines that keeps accounts in memory, and lies when it is told
//! to: the run must see what is right, and convict what is not.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod service;

use crate::service::{Manner, Service};
use loadgen::{Keys, News, Pace, Plan, Report, Target, Workload, run};
use std::{thread, time::Duration};

/// HTTP/1.1, and HTTP/2 with more streams than the service takes.
const PROTOCOLS: [Option<usize>; 2] = [None, Some(4)];

/// 300 operations, as fast as they are answered or at a pace that is soon over.
fn plan(service: &Service) -> Plan {
    Plan {
        target: Target {
            addr: service.addr,
            host: "service".to_owned(),
            api_key: "secret".to_owned(),
        },
        pace: Pace::Open(1_000),
        connections: 8,
        streams: None,
        connection_requests: None,
        threads: 2,
        duration: Duration::from_millis(300),
        warm_up: Duration::ZERO,
        window: Duration::from_millis(100),
        workload: Workload::Mixed,
        batch: 1,
        services: vec!["a".to_owned(), "b".to_owned()],
        accounts: 5,
        keys: Keys::Client,
        repeats: true,
        answer_time_max: Duration::from_secs(20),
        audit: true,
        run: "it".to_owned(),
        seed: 7,
    }
}

#[track_caller]
fn report(manner: Manner, change: impl Fn(&mut Plan)) -> (Report, usize) {
    let service = Service::start(manner);
    let mut plan = plan(&service);
    change(&mut plan);
    let mut windows = 0;
    let report =
        run(&plan, &mut |news| windows += usize::from(matches!(news, News::Window { .. })));
    (report.unwrap(), windows)
}

#[test]
fn an_honest_service_is_acquitted() {
    for streams in PROTOCOLS {
        is_acquitted(streams);
    }
}

fn is_acquitted(streams: Option<usize>) {
    let (report, windows) = report(Manner::Honest, |plan| plan.streams = streams);
    assert_eq!(report.asked.streams, streams.unwrap_or(1));
    let audit = report.audit.clone().unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.balances, audit.histories, audit.trials), (5, 5, 2));
    assert_eq!(report.counts.errors() + report.counts.refused, 0, "{report:?}");
    // On a machine so slow that some never went out, those are told.
    assert_eq!(report.counts.ok + report.unsent, 300);
    assert_eq!(audit.writes + audit.reads, report.counts.ok);
    assert!(3 <= windows && windows == report.series.len(), "{windows}");
    assert_eq!(report.latency.count, report.counts.ok);
}

#[test]
fn connections_come_and_go_when_they_are_told_to() {
    for streams in PROTOCOLS {
        let (report, _) = report(Manner::Honest, |plan| {
            plan.connection_requests = Some(3);
            (plan.pace, plan.workload, plan.streams) = (Pace::Closed, Workload::Reads, streams);
        });
        assert_eq!(report.counts.errors() + report.counts.repeats, 0, "{report:?}");
        assert!(report.audit.unwrap().is_clean());
    }
}

#[test]
fn lost_answers_are_asked_for_again_and_booked_once() {
    for streams in PROTOCOLS {
        let (report, _) = report(Manner::HangsUpAfterExecuting, |plan| {
            (plan.workload, plan.streams) = (Workload::Debits, streams);
        });
        let audit = report.audit.clone().unwrap();
        assert!(0 < report.counts.repeats, "{report:?}");
        assert!(audit.is_clean() && report.counts.unknown == 0, "{audit:?}");
    }
}

#[test]
fn what_stays_unknown_is_settled_at_the_end() {
    for streams in PROTOCOLS {
        let (report, _) = report(Manner::HangsUpAfterExecuting, |plan| {
            (plan.workload, plan.repeats, plan.streams) = (Workload::Debits, false, streams);
        });
        let audit = report.audit.clone().unwrap();
        assert!(0 < report.counts.unknown, "{report:?}");
        assert_eq!(audit.settled_executed, report.counts.unknown);
        assert!(audit.is_clean() && audit.unknown == 0, "{audit:?}");
    }
}

#[test]
fn a_write_without_a_key_may_stay_unknown_and_is_excused_once() {
    let (report, _) = report(Manner::HangsUpAfterExecuting, |plan| {
        (plan.workload, plan.keys) = (Workload::Debits, Keys::Minted);
    });
    let audit = report.audit.clone().unwrap();
    assert!(0 < report.counts.unknown && audit.unknown == report.counts.unknown, "{report:?}");
    assert!(audit.is_clean(), "{audit:?}");
}

/// Writes that the audit must see through, whatever the mixture.
const WRITES: [Workload; 6] = [
    Workload::Debits,
    Workload::Credits,
    Workload::Hot,
    Workload::Zipf,
    Workload::Batch,
    Workload::Transfers,
];

/// That many operations of this workload, in requests that are soon done.
fn some_of(plan: &mut Plan, workload: Workload) {
    plan.workload = workload;
    if workload == Workload::Batch {
        (plan.batch, plan.pace) = (5, Pace::Open(200));
    }
}

#[test]
fn an_honest_service_is_acquitted_of_every_workload() {
    side_by_side(&Workload::ALL, |workload| {
        let manners = [Manner::Honest, Manner::HangsUpAfterExecuting, Manner::EndsTransfersLater];
        for (manner, streams) in
            manners.iter().flat_map(|it| PROTOCOLS.map(|streams| (*it, streams)))
        {
            let (report, _) = report(manner, |plan| {
                some_of(plan, workload);
                plan.streams = streams;
            });
            let audit = report.audit.clone().unwrap();
            assert!(audit.is_clean(), "{workload:?}, {manner:?}: {audit:?}");
            assert_eq!(report.counts.errors() + report.counts.refused, 0, "{report:?}");
            let is_later = workload == Workload::Transfers && manner == Manner::EndsTransfersLater;
            assert_eq!(is_later, 0 < audit.ended_later, "{workload:?}, {manner:?}");
            let transfers = if workload == Workload::Transfers { report.counts.ok } else { 0 };
            assert_eq!(audit.transfers, transfers);
        }
    });
}

/// A run mostly waits until operations are due.
fn side_by_side(workloads: &[Workload], test: impl Fn(Workload) + Sync) {
    thread::scope(|scope| {
        for &workload in workloads {
            let test = &test;
            scope.spawn(move || test(workload));
        }
    });
}

#[track_caller]
fn convicts(manner: Manner, workload: Workload, word: &str) {
    let (report, _) = report(manner, |plan| some_of(plan, workload));
    let faults = report.audit.unwrap().faults;
    let is_found = faults.iter().any(|it| it.contains(word));
    assert!(is_found, "{workload:?}, {manner:?}: {word} is not in {faults:?}");
}

#[test]
fn liars_are_convicted_whatever_is_asked_of_them() {
    side_by_side(&WRITES, |workload| {
        convicts(Manner::AcknowledgesWithoutBooking, workload, "lost");
        convicts(Manner::BooksWhatItRefuses, workload, "nobody may have asked for");
        convicts(Manner::ForgetsKeys, workload, "nobody may have asked for");
        convicts(Manner::TrialIsOdd, workload, "trial balance of a");
        if workload != Workload::Transfers {
            convicts(Manner::BooksTwice, workload, "nobody may have asked for");
        }
    });
    side_by_side(&Workload::ALL, |workload| {
        convicts(Manner::ShowsAnotherBalance, workload, "the balance is");
    });
    convicts(Manner::ShowsAnotherBalance, Workload::Reads, "a read showed");
}

#[test]
fn transfers_that_are_not_what_was_acknowledged_are_found() {
    let convicts = |manner, word| convicts(manner, Workload::Transfers, word);
    convicts(Manner::TakesWithoutGiving, "the credit of a transfer");
    convicts(Manner::TakesWithoutGiving, "all accounts together");
    convicts(Manner::GivesTwice, "a transfer in 3 entries");
    convicts(Manner::GivesBack, "nobody may have asked for");
}

#[test]
fn a_service_that_refuses_the_set_up_is_told() {
    let service = Service::start(Manner::KnowsNobody);
    let error = run(&plan(&service), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("401 unauthenticated"), "{error}");
}
