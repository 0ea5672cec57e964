//! What a run is to do.

use crate::{
    limits::{
        ACCOUNTS_MAX, BATCH_MAX, CONNECTIONS_MAX, IN_FLIGHT_MAX, RATE_MAX, STREAMS_MAX,
        THREADS_MAX, WINDOW_MIN,
    },
    work::Workload,
};
use std::{net::SocketAddr, time::Duration};

/// Where the load goes, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    pub addr: SocketAddr,
    /// The `Host` of every request.
    pub host: String,
    pub api_key: String,
}

/// When an operation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many requests a second, whether or not those before have been answered. Latency counts from the
    /// moment an operation was due, so a stall of the tree is charged to all that it delayed.
    Open(u32),
    /// On every connection, or stream, as soon as the one before is answered: finds the peak, and
    /// hides stalls.
    Closed,
}

/// Who makes the idempotency keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// We do, a new one for every write.
    Client,
    /// The tree does. A write whose answer is lost can then not be asked about again.
    Minted,
}

/// A whole run. Fields are checked by [`Plan::complaint`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub pace: Pace,
    /// Kept-alive connections, over all threads.
    pub connections: usize,
    /// HTTP/2, with so many requests in flight on each connection; `None` is HTTP/1.1, one at a time.
    pub streams: Option<usize>,
    /// Each connection is closed and opened again after so many answers.
    pub connection_requests: Option<u64>,
    pub threads: usize,
    /// How long is measured, after the warm-up.
    pub duration: Duration,
    pub warm_up: Duration,
    /// Length of the windows of the time series.
    pub window: Duration,
    pub workload: Workload,
    /// Transactions of one request of [`Workload::Batch`]; each is an operation.
    pub batch: u32,
    pub services: Vec<String>,
    /// Accounts over all services.
    pub accounts: u32,
    pub keys: Keys,
    /// Repeat, with the same key, what was not executed or may not have been.
    pub repeats: bool,
    /// How long an answer may take.
    pub answer_time_max: Duration,
    /// Fetch the books at the end and audit them.
    pub audit: bool,
    /// Tells this run's accounts and keys from those of every other; letters and digits.
    pub run: String,
    pub seed: u64,
}

impl Plan {
    /// The same with a warm-up of whole windows: one that ends within a window takes the rest of it,
    /// for what is measured is counted by windows.
    pub(crate) fn in_whole_windows(&self) -> Plan {
        let window = self.window.as_nanos().max(1);
        let count = self.warm_up.as_nanos().div_ceil(window);
        let warm_up = self.window.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        Plan { warm_up, ..self.clone() }
    }

    /// What is wrong with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let is_name = |it: &str| {
            let is_clean = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
            !it.is_empty() && it.len() <= 64 && it.bytes().all(is_clean)
        };
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return Some(format!("threads: want 1 to {THREADS_MAX}"));
        }
        if !(self.threads..=CONNECTIONS_MAX).contains(&self.connections) {
            return Some(format!("connections: want one per thread to {CONNECTIONS_MAX}"));
        }
        if self.streams.is_some_and(|it| !(1..=STREAMS_MAX).contains(&it)) {
            return Some(format!("streams: want 1 to {STREAMS_MAX}"));
        }
        if IN_FLIGHT_MAX < self.streams.map_or(0, |it| self.connections * it) {
            return Some(format!("streams: want {IN_FLIGHT_MAX} at most over all connections"));
        }
        if !(1..=ACCOUNTS_MAX).contains(&self.accounts) {
            return Some(format!("accounts: want 1 to {ACCOUNTS_MAX}"));
        }
        if self.workload == Workload::Transfers && self.accounts < 2 {
            return Some("accounts: transfers want two or more".to_owned());
        }
        if !(1..=BATCH_MAX).contains(&self.batch) {
            return Some(format!("batch: want 1 to {BATCH_MAX}"));
        }
        if matches!(self.pace, Pace::Open(rate) if !(1..=RATE_MAX).contains(&rate)) {
            return Some(format!("rate: want 1 to {RATE_MAX} a second"));
        }
        if self.window < WINDOW_MIN {
            return Some(format!("window: want {WINDOW_MIN:?} or more"));
        }
        if self.duration < self.window {
            return Some("duration: want at least one window".to_owned());
        }
        if self.answer_time_max.is_zero() || self.connection_requests == Some(0) {
            return Some("a bound of zero lets nothing happen".to_owned());
        }
        if self.services.is_empty() || !self.services.iter().all(|it| is_name(it)) {
            return Some("service: want names of letters, digits and -".to_owned());
        }
        (!is_name(&self.run)).then(|| "run: want letters and digits".to_owned())
    }
}
