//! Counts and latencies, window by window; windows add up to the whole.

use crate::limits::LATENCY_MAX;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use wire::Code;

/// How an operation ended, after all its repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpEnd {
    /// A success.
    Ok,
    /// A definite no of the ledger or of the API.
    Refused,
    /// Definitely not executed, for the moment: 503 and 429.
    Shed,
    /// A read without an answer, or a write that was never sent.
    Failed,
    /// A write that may or may not have been executed.
    Unknown,
}

/// How one sending of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Answered(u16, Option<Code>),
    Lost,
    Unsent,
    TimedOut,
    Garbled,
    Unconnected,
}

impl Label {
    /// For a table: `201`, `503 overloaded`, `lost`.
    pub(crate) fn text(self) -> String {
        match self {
            Label::Answered(status, Some(code)) => format!("{status} {}", code.text()),
            Label::Answered(status, None) => status.to_string(),
            Label::Lost => "connection lost".to_owned(),
            Label::Unsent => "lost before sending, or not begun".to_owned(),
            Label::TimedOut => "no answer in time".to_owned(),
            Label::Garbled => "no HTTP answer".to_owned(),
            Label::Unconnected => "no connection".to_owned(),
        }
    }
}

/// Operations by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub ok: u64,
    pub refused: u64,
    pub shed: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Sendings that were repeats.
    pub repeats: u64,
}

impl Counts {
    /// Operations that ended otherwise than with what the ledger said.
    pub fn errors(&self) -> u64 {
        self.shed + self.failed + self.unknown
    }

    /// Operations that the ledger has answered.
    pub fn answered(&self) -> u64 {
        self.ok + self.refused
    }

    /// Operations in all.
    pub fn operations(&self) -> u64 {
        self.answered() + self.errors()
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.ok += other.ok;
        self.refused += other.refused;
        self.shed += other.shed;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.repeats += other.repeats;
    }
}

/// Latencies to three digits, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u32>);

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let max = u64::try_from(LATENCY_MAX.as_micros()).expect("some minutes");
        Latencies(Histogram::new_with_bounds(1, max, 3).expect("sound bounds"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// Each latency there is, and how many of it.
    pub(crate) fn spread(&self) -> Vec<(u64, u64)> {
        let values = self.0.iter_recorded();
        values.map(|it| (it.value_iterated_to(), u64::from(it.count_at_value()))).collect()
    }

    /// The latencies of such a list.
    pub(crate) fn of(spread: &[(u64, u64)]) -> Latencies {
        let mut latencies = Latencies::new();
        for (value, count) in spread {
            latencies.0.saturating_record_n(*value, u32::try_from(*count).unwrap_or(u32::MAX));
        }
        latencies
    }

    pub(crate) fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    pub(crate) fn max(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.max() }
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.0.len(),
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() },
            p50: self.at(0.5),
            p90: self.at(0.9),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.max(),
        }
    }
}

/// Where latencies lie, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// What ended within one window, on one or all threads.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// 0 begins with the warm-up.
    pub(crate) index: u64,
    pub(crate) counts: Counts,
    pub(crate) labels: BTreeMap<Label, u64>,
    /// Of operations that the ledger answered, from when they were due.
    pub(crate) due: Latencies,
    /// The same, from when they were last sent.
    pub(crate) sent: Latencies,
    /// Of operations that ended otherwise, from when they were last sent.
    pub(crate) errors: Latencies,
}

impl Window {
    pub(crate) fn new(index: u64) -> Window {
        Window {
            index,
            counts: Counts::default(),
            labels: BTreeMap::new(),
            due: Latencies::new(),
            sent: Latencies::new(),
            errors: Latencies::new(),
        }
    }

    pub(crate) fn attempt(&mut self, label: Label) {
        *self.labels.entry(label).or_default() += 1;
    }

    pub(crate) fn operation(&mut self, end: OpEnd, since_due: Duration, since_sent: Duration) {
        let (count, is_answered) = match end {
            OpEnd::Ok => (&mut self.counts.ok, true),
            OpEnd::Refused => (&mut self.counts.refused, true),
            OpEnd::Shed => (&mut self.counts.shed, false),
            OpEnd::Failed => (&mut self.counts.failed, false),
            OpEnd::Unknown => (&mut self.counts.unknown, false),
        };
        *count += 1;
        match is_answered {
            true => {
                self.due.record(since_due);
                self.sent.record(since_sent);
            }
            false => self.errors.record(since_sent),
        }
    }

    pub(crate) fn add(&mut self, other: &Window) {
        self.counts.add(&other.counts);
        for (label, count) in &other.labels {
            *self.labels.entry(*label).or_default() += count;
        }
        self.due.add(&other.due);
        self.sent.add(&other.sent);
        self.errors.add(&other.errors);
    }
}

/// One window of the time series. Latencies in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When the window began: milliseconds since the first request was due.
    pub at_ms: u64,
    /// It belongs to the warm-up.
    pub is_warm_up: bool,
    #[serde(flatten)]
    pub counts: Counts,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
    /// Longest of those that were not answered by the ledger.
    pub errors_max: u64,
}

impl Point {
    /// Adds what another generator counted in the same window; of quantiles the worse one stays.
    pub(crate) fn add(&mut self, other: &Point) {
        self.counts.add(&other.counts);
        self.p50 = self.p50.max(other.p50);
        self.p99 = self.p99.max(other.p99);
        self.max = self.max.max(other.max);
        self.errors_max = self.errors_max.max(other.errors_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_add_up() {
        let (mut whole, ms) = (Window::new(0), Duration::from_millis);
        for part in 1..=2 {
            let mut window = Window::new(part);
            window.operation(OpEnd::Ok, ms(10 * part), ms(part));
            window.operation(OpEnd::Shed, ms(50), ms(3));
            window.attempt(Label::Answered(503, Some(Code::Overloaded)));
            whole.add(&window);
        }
        assert_eq!((whole.counts.ok, whole.counts.errors(), whole.counts.operations()), (2, 2, 4));
        assert_eq!(whole.labels.len(), 1);
        let due = whole.due.quantiles();
        assert_eq!(due.count, 2);
        assert!((19_900..=20_100).contains(&due.max), "{due:?}");
        assert!(whole.sent.max() < 2_100 && whole.errors.max() < 3_100);
    }

    #[test]
    fn no_latencies_have_no_quantiles() {
        assert_eq!(Latencies::new().quantiles(), Quantiles::default());
        let mut endless = Latencies::new();
        endless.record(Duration::MAX);
        assert!(LATENCY_MAX.as_micros() <= u128::from(endless.max()) + 500_000);
    }
}
