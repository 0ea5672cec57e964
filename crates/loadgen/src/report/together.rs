//! The reports of generators that worked side by side, as one.

use super::{Answers, Report, curve};
use crate::{
    books::AuditReport,
    limits::FAULTS_LISTED_MAX,
    tally::{Latencies, Point},
};
use std::collections::BTreeMap;

/// One report of several, of the same time and workload; `None` of none. Counts and rates add up
/// and latencies are those of all operations; but the quantiles of a window in the time series are
/// the worst of any part's, for a window's own distribution is not written down.
pub fn together(parts: Vec<Report>) -> Option<Report> {
    parts.into_iter().reduce(|mut whole, part| {
        whole.generator_cpu = weighed(&whole, &part);
        whole.started = whole.started.min(part.started);
        whole.asked.rate = whole.asked.rate.zip(part.asked.rate).map(|(a, b)| a.saturating_add(b));
        whole.asked.connections += part.asked.connections;
        whole.asked.threads += part.asked.threads;
        whole.asked.accounts = whole.asked.accounts.saturating_add(part.asked.accounts);
        whole.achieved += part.achieved;
        whole.counts.add(&part.counts);
        whole.unsent += part.unsent;
        whole.answers = answers(whole.answers, part.answers);
        let due = join(&mut whole.spread.due, &part.spread.due);
        (whole.latency, whole.curve) = (due.quantiles(), curve(&due));
        whole.latency_sent = join(&mut whole.spread.sent, &part.spread.sent).quantiles();
        whole.latency_errors = join(&mut whole.spread.errors, &part.spread.errors).quantiles();
        whole.series = series(whole.series, part.series);
        whole.audit = whole.audit.zip(part.audit).map(|(a, b)| audits(a, b));
        whole
    })
}

/// Adds latencies to others: all of them, each once with its count.
fn join(all: &mut Vec<(u64, u64)>, its: &[(u64, u64)]) -> Latencies {
    let mut latencies = Latencies::of(all);
    latencies.add(&Latencies::of(its));
    *all = latencies.spread();
    latencies
}

/// Processor time per request of both.
fn weighed(one: &Report, other: &Report) -> f64 {
    let (a, b) = (one.sent() as f64, other.sent() as f64);
    (one.generator_cpu * a + other.generator_cpu * b) / (a + b).max(1.0)
}

fn answers(one: Vec<Answers>, other: Vec<Answers>) -> Vec<Answers> {
    let mut counts = BTreeMap::<String, u64>::new();
    for Answers { what, count } in one.into_iter().chain(other) {
        *counts.entry(what).or_default() += count;
    }
    counts.into_iter().map(|(what, count)| Answers { what, count }).collect()
}

fn series(one: Vec<Point>, other: Vec<Point>) -> Vec<Point> {
    let mut points = BTreeMap::<u64, Point>::new();
    for point in one.into_iter().chain(other) {
        match points.get_mut(&point.at_ms) {
            None => _ = points.insert(point.at_ms, point),
            Some(whole) => whole.add(&point),
        }
    }
    points.into_values().collect()
}

fn audits(one: AuditReport, other: AuditReport) -> AuditReport {
    let join = |mut one: Vec<String>, other: Vec<String>| {
        one.extend(other);
        one.truncate(FAULTS_LISTED_MAX);
        one
    };
    AuditReport {
        balances: one.balances + other.balances,
        histories: one.histories + other.histories,
        entries: one.entries + other.entries,
        writes: one.writes + other.writes,
        reads: one.reads + other.reads,
        settled_executed: one.settled_executed + other.settled_executed,
        settled_refused: one.settled_refused + other.settled_refused,
        ended_later: one.ended_later + other.ended_later,
        transfers: one.transfers + other.transfers,
        unknown: one.unknown + other.unknown,
        trials: one.trials + other.trials,
        faults: join(one.faults, other.faults),
        faults_count: one.faults_count + other.faults_count,
        gaps: join(one.gaps, other.gaps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn nothing_of_a_part_is_lost() {
        let one = samples::report();
        let mut faulty = samples::report();
        faulty.audit.as_mut().unwrap().fault("one is lost".to_owned());
        faulty.series[2].p99 = 70_000;
        let whole = together(vec![one.clone(), one.clone(), faulty]).unwrap();
        assert_eq!(whole.counts.ok, 3 * one.counts.ok);
        assert_eq!(whole.unsent, 21);
        assert!((whole.achieved - 3.0 * one.achieved).abs() < 0.01);
        assert_eq!(whole.asked.connections, 3 * one.asked.connections);
        assert_eq!(whole.latency.count, 3 * one.latency.count);
        assert_eq!(whole.latency.p50, one.latency.p50);
        assert_eq!(whole.latency.max, one.latency.max);
        assert_eq!(whole.curve, one.curve);
        let threefold = one.spread.due.iter().map(|(value, count)| (*value, 3 * count));
        assert_eq!(whole.spread.due, threefold.collect::<Vec<_>>());
        assert_eq!(whole.series.len(), one.series.len());
        assert_eq!(whole.series[1].counts.ok, 3 * one.series[1].counts.ok);
        assert_eq!(whole.series[2].p99, 70_000);
        assert_eq!(whole.answers.iter().map(|it| it.count).sum::<u64>(), 6);
        let audit = whole.audit.unwrap();
        assert_eq!((audit.balances, audit.faults_count), (12, 1));
        assert_eq!(audit.faults, ["one is lost"]);
        assert!(together(Vec::new()).is_none());
    }

    #[test]
    fn what_one_did_not_audit_is_not_audited() {
        let mut blind = samples::report();
        blind.audit = None;
        assert_eq!(together(vec![samples::report(), blind]).unwrap().audit, None);
    }
}
