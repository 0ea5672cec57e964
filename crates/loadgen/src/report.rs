//! What a run came to: as a value that is written and read back, as text, as a page.

mod compare;
mod page;
mod text;
mod together;

pub use self::{
    compare::compare,
    page::{comparison, page},
    text::text,
    together::together,
};

use crate::{
    books::AuditReport,
    plan::{Keys, Plan},
    run::offered,
    tally::{Counts, Latencies, Point, Quantiles, Window},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use stdx::grouped;
use wire::Timestamp;

/// Version of the form of a written report.
pub const FORMAT: u32 = 2;
/// Where the distribution of latencies is written down, in percent.
const CURVE: [f64; 17] = [
    0.0, 10.0, 25.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.99,
    100.0,
];

/// What the threads measured, before it is a report.
pub(crate) struct Measured {
    pub(crate) whole: Window,
    /// Of the operations that ended before the time was over.
    pub(crate) in_time: Counts,
    pub(crate) in_time_ms: u64,
    pub(crate) series: Vec<Point>,
    pub(crate) unsent: u64,
    pub(crate) cpu: Duration,
    pub(crate) audit: Option<AuditReport>,
}

impl Measured {
    pub(crate) fn new() -> Measured {
        Measured {
            whole: Window::new(0),
            in_time: Counts::default(),
            in_time_ms: 0,
            series: Vec::new(),
            unsent: 0,
            cpu: Duration::ZERO,
            audit: None,
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub workload: String,
    /// Operations a second; `None` of a closed loop.
    pub rate: Option<u32>,
    pub connections: usize,
    /// `HTTP/1.1` or `HTTP/2`.
    #[serde(default = "http1")]
    pub protocol: String,
    /// Requests in flight on each connection, at most.
    #[serde(default = "one")]
    pub streams: usize,
    pub connection_requests: Option<u64>,
    pub threads: usize,
    pub seconds: f64,
    pub warm_up_seconds: f64,
    pub services: Vec<String>,
    pub accounts: u32,
    /// `client` or `minted`.
    pub keys: String,
    pub repeats: bool,
}

/// What reports did not say when there was nothing else.
fn http1() -> String {
    "HTTP/1.1".to_owned()
}

/// Likewise.
fn one() -> usize {
    1
}

impl Asked {
    /// `64 connections of HTTP/1.1`, `16 connections of HTTP/2 with 64 streams each`.
    fn connections(&self) -> String {
        let Asked { connections, protocol, streams, .. } = self;
        match streams {
            1 => format!("{connections} connections of {protocol}"),
            _ => format!("{connections} connections of {protocol} with {streams} streams each"),
        }
    }
}

/// How often a request ended in this way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// `201`, `503 overloaded`, `connection lost`.
    pub what: String,
    pub count: u64,
}

/// Every latency to three digits and how many there were of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// As [`Report::latency`].
    pub due: Vec<(u64, u64)>,
    /// As [`Report::latency_sent`].
    pub sent: Vec<(u64, u64)>,
    /// As [`Report::latency_errors`].
    pub errors: Vec<(u64, u64)>,
}

/// A whole run. Latencies are in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub started: String,
    pub asked: Asked,
    /// Operations a second that the ledger answered within the time.
    pub achieved: f64,
    pub counts: Counts,
    /// Were due and never went out.
    pub unsent: u64,
    pub answers: Vec<Answers>,
    /// Of operations that the ledger answered, from when they were due.
    pub latency: Quantiles,
    /// The same, from when they were last sent.
    pub latency_sent: Quantiles,
    /// Of all others, from when they were last sent.
    pub latency_errors: Quantiles,
    /// Percent and the latency that so many did not exceed.
    pub curve: Vec<(f64, u64)>,
    /// What those are made of: reports of several generators are put together from it. Empty in
    /// reports of format 1.
    #[serde(default)]
    pub spread: Spread,
    pub series: Vec<Point>,
    /// Processor time of the generator per request that it sent.
    pub generator_cpu: f64,
    pub audit: Option<AuditReport>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, started: Timestamp, measured: Measured) -> Report {
        let Measured { whole, in_time, in_time_ms, series, unsent, cpu, audit } = measured;
        let seconds = Duration::from_millis(in_time_ms).as_secs_f64();
        let answered = in_time.ok + in_time.refused;
        let answers = whole.labels.iter();
        Report {
            format: FORMAT,
            started: started.to_string(),
            asked: asked(plan),
            achieved: if seconds == 0.0 { 0.0 } else { answered as f64 / seconds },
            counts: whole.counts,
            unsent,
            answers: answers
                .map(|(it, count)| Answers { what: it.text(), count: *count })
                .collect(),
            latency: whole.due.quantiles(),
            latency_sent: whole.sent.quantiles(),
            latency_errors: whole.errors.quantiles(),
            curve: curve(&whole.due),
            spread: Spread {
                due: whole.due.spread(),
                sent: whole.sent.spread(),
                errors: whole.errors.spread(),
            },
            generator_cpu: cpu.as_secs_f64() * 1e6 / sent(&series).max(1) as f64,
            series,
            audit,
        }
    }

    /// What did not end as it was asked for, what never went out included.
    pub fn errors(&self) -> u64 {
        self.counts.errors() + self.unsent
    }

    fn sent(&self) -> u64 {
        sent(&self.series)
    }
}

/// Requests in all: the warm-up's cost processor time, too.
fn sent(series: &[Point]) -> u64 {
    series.iter().map(|it| it.counts.operations() + it.counts.repeats).sum()
}

fn curve(latencies: &Latencies) -> Vec<(f64, u64)> {
    CURVE.iter().map(|it| (*it, latencies.at(it / 100.0))).collect()
}

fn asked(plan: &Plan) -> Asked {
    Asked {
        workload: plan.workload.text().to_owned(),
        rate: offered(plan),
        connections: plan.connections,
        protocol: plan.streams.map_or_else(http1, |_| "HTTP/2".to_owned()),
        streams: plan.streams.unwrap_or_else(one),
        connection_requests: plan.connection_requests,
        threads: plan.threads,
        seconds: plan.duration.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        services: plan.services.clone(),
        accounts: plan.accounts,
        keys: match plan.keys {
            Keys::Client => "client",
            Keys::Minted => "minted",
        }
        .to_owned(),
        repeats: plan.repeats,
    }
}

/// A latency as people read it: `870 µs`, `4.21 ms`, `1.5 s`.
fn latency(micros: u64) -> String {
    let value = micros as f64;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.2} ms", value / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", value / 1e3),
        1_000_000.. => format!("{:.2} s", value / 1e6),
    }
}

/// A latency of a calculation likewise, rounded to microseconds.
fn rounded(micros: f64) -> String {
    let whole = format!("{micros:.0}");
    whole.parse().map_or(whole, latency)
}

/// A rate likewise, rounded.
fn rate(per_second: f64) -> String {
    let whole = format!("{per_second:.0}");
    whole.parse().map_or(whole, grouped)
}

#[cfg(test)]
pub(crate) mod samples {
    //! A report to show.

    use super::*;

    pub(crate) fn report() -> Report {
        let plan = crate::tests::plan("127.0.0.1:1");
        let mut measured = Measured::new();
        for index in 0..3 {
            let counts = Counts { ok: 1_000 + index, shed: index, ..Counts::default() };
            measured.series.push(Point {
                at_ms: index * 1_000,
                is_warm_up: index == 0,
                counts,
                p50: 900,
                p99: 4_000,
                max: 20_000 * (index + 1),
                errors_max: 0,
            });
            measured.whole.counts.add(&counts);
        }
        for ms in [1, 2, 3, 4, 60] {
            measured.whole.due.record(Duration::from_millis(ms));
        }
        measured.whole.attempt(crate::tally::Label::Answered(201, None));
        measured.whole.attempt(crate::tally::Label::Answered(503, Some(wire::Code::Overloaded)));
        measured.in_time = measured.whole.counts;
        (measured.in_time_ms, measured.unsent) = (2_000, 7);
        measured.audit = Some(AuditReport { balances: 4, histories: 4, ..AuditReport::default() });
        Report::new(&plan, Timestamp(0), measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        for (micros, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (4_210, "4.21 ms"),
            (70_000, "70.0 ms"),
            (1_500_000, "1.50 s"),
        ] {
            assert_eq!(latency(micros), text);
        }
        assert_eq!(rate(16_666.6), "16,667");
    }

    #[test]
    fn a_written_report_is_read_back() {
        let report = samples::report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!((report.achieved - 1_501.5).abs() < 0.01, "{}", report.achieved);
    }

    #[test]
    fn a_report_from_before_there_was_http2_is_one_of_http1() {
        let mut report = serde_json::to_value(samples::report()).unwrap();
        let asked = report["asked"].as_object_mut().unwrap();
        assert!(asked.remove("protocol").is_some() && asked.remove("streams").is_some());
        let report: Report = serde_json::from_value(report).unwrap();
        assert_eq!(report, samples::report());
        assert_eq!(report.asked.connections(), "4 connections of HTTP/1.1");
        let asked = Asked { protocol: "HTTP/2".to_owned(), streams: 16, ..report.asked };
        assert_eq!(asked.connections(), "4 connections of HTTP/2 with 16 streams each");
    }
}
