//! The arguments of `tollgate bench`.

use crate::topology::elements::duration;
use clap::Args;
use loadgen::{Workload, limits::STREAMS_DEFAULT};
use std::{path::PathBuf, str::FromStr, time::Duration};

/// What says how to measure, and so nothing of a comparison.
const MEASURING: [&str; 25] = [
    "rate",
    "closed",
    "connections",
    "http2",
    "streams",
    "connection_requests",
    "threads",
    "processes",
    "duration",
    "warm_up",
    "window",
    "workload",
    "batch",
    "accounts",
    "service",
    "keys",
    "no_retry",
    "timeout",
    "no_audit",
    "seed",
    "fail_on",
    "lines",
    "json",
    "url",
    "key_file",
];

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Operations a second, due evenly whether or not those before were answered
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "closed")]
    pub(crate) rate: u32,
    /// Instead of a rate: on every connection, or stream, as soon as the one before is answered
    #[arg(long)]
    pub(crate) closed: bool,
    /// Kept-alive connections; of HTTP/1.1, one request at a time on each
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connections: usize,
    /// HTTP/2 from the first byte on (no TLS), many requests at a time on each connection
    #[arg(long)]
    pub(crate) http2: bool,
    /// With --http2: requests in flight on each connection, 1 to 250, unless the tree takes fewer
    #[arg(long, value_name = "N", default_value_t = STREAMS_DEFAULT, requires = "http2")]
    pub(crate) streams: usize,
    /// A new connection after so many answers on it [default: kept]
    #[arg(long, value_name = "N")]
    pub(crate) connection_requests: Option<u64>,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// Generators side by side, each a process of its own with its part of all this
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "lines", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: u32,
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(crate) duration: Duration,
    /// How long the load runs before that; to the end of a window
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = warm_up)]
    pub(crate) warm_up: Duration,
    /// Length of the windows of the time series
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    pub(crate) window: Duration,
    /// debits, credits, hot (one account), reads, mixed (4 reads for a debit), zipf (skewed debits),
    /// batch (many debits in a request), transfers (from one account to another)
    #[arg(long, value_name = "NAME", default_value = "debits", value_parser = Workload::from_str)]
    pub(crate) workload: Workload,
    /// Debits in one request of the workload batch, each of them an operation
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) batch: u32,
    /// Accounts over all services; each run opens its own
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) accounts: u32,
    /// Services that the accounts are spread over [default: a; of transfers a,b]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) service: Vec<String>,
    /// Who makes the idempotency keys
    #[arg(long, value_name = "WHO", default_value = "client")]
    pub(crate) keys: Keys,
    /// Take the first answer, or its absence, for the last
    #[arg(long)]
    pub(crate) no_retry: bool,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// Do not read the books at the end
    #[arg(long)]
    pub(crate) no_audit: bool,
    /// Makes the same sequence of operations again [default: another each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Exit 1 on any error, on a latency (p99=20ms) or on a throughput (rate=16000); repeatable
    #[arg(long, value_name = "WHAT")]
    pub(crate) fail_on: Vec<Goal>,
    /// Print each window as a line of JSON while it runs, and the report as the last line
    #[arg(long, conflicts_with = "json")]
    pub(crate) lines: bool,
    /// Write the report as JSON; - is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as a page that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Measure nothing: show two written reports side by side, with --html as a page
    #[arg(long, value_name = "FILE", num_args = 2, value_names = ["A", "B"], conflicts_with_all = MEASURING)]
    pub(crate) compare: Vec<PathBuf>,
    /// Address of the tree [default: that of the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// File with the API key alone on one line [default: that of the data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

impl Bench {
    /// The services that the accounts are spread over.
    pub(crate) fn services(&self) -> Vec<String> {
        if !self.service.is_empty() {
            return self.service.clone();
        }
        let usual: &[&str] = match self.workload {
            Workload::Transfers => &["a", "b"],
            Workload::Debits
            | Workload::Credits
            | Workload::Hot
            | Workload::Reads
            | Workload::Mixed
            | Workload::Zipf
            | Workload::Batch => &["a"],
        };
        usual.iter().map(|it| (*it).to_owned()).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keys {
    /// The bench sends one with every write
    Client,
    /// The tree mints them
    Minted,
}

/// What makes a run a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Any operation that the ledger did not answer.
    Errors,
    /// A quantile above this.
    Latency(Quantile, Duration),
    /// Fewer operations a second than this.
    Rate(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Goal, String> {
        if text == "errors" {
            return Ok(Goal::Errors);
        }
        let want =
            || "want errors, rate=N, or p50, p90, p99, p99.9 or max with a time, as in p99=20ms";
        let (name, value) = text.split_once('=').ok_or_else(want)?;
        let quantile = match name {
            "rate" => return value.parse().map(Goal::Rate).map_err(|_| want().to_owned()),
            "p50" => Quantile::P50,
            "p90" => Quantile::P90,
            "p99" => Quantile::P99,
            "p99.9" => Quantile::P999,
            "max" => Quantile::Max,
            _ => return Err(want().to_owned()),
        };
        Ok(Goal::Latency(quantile, duration::parse(value)?))
    }
}

/// As other times, and `0s` for none.
fn warm_up(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { duration::parse(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read() {
        for (text, goal) in [
            ("errors", Goal::Errors),
            ("rate=16000", Goal::Rate(16_000)),
            ("p99=20ms", Goal::Latency(Quantile::P99, Duration::from_millis(20))),
            ("p99.9=1s", Goal::Latency(Quantile::P999, Duration::from_secs(1))),
        ] {
            assert_eq!(text.parse(), Ok(goal));
        }
        for bad in ["", "p99", "p99=20", "p98=1s", "rate=fast", "=1s"] {
            assert!(bad.parse::<Goal>().is_err(), "{bad}");
        }
    }
}
