//! The bounds of the generator, and what happens at each.

use std::time::Duration;

/// Connections over all threads. A plan that asks for more is refused.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Requests in flight on one connection of HTTP/2. A plan that asks for more is refused; a peer that
/// takes fewer has its way.
pub const STREAMS_MAX: usize = 250;
/// How many there are unless the plan says otherwise.
pub const STREAMS_DEFAULT: usize = 16;
/// Requests in flight over all connections of HTTP/2. A plan that asks for more is refused.
pub const IN_FLIGHT_MAX: usize = 100_000;
/// Threads of one generator. A plan that asks for more is refused.
pub const THREADS_MAX: usize = 64;
/// Accounts of one run. A plan that asks for more is refused.
pub const ACCOUNTS_MAX: u32 = 10_000_000;
/// Operations a second that a plan may ask for.
pub const RATE_MAX: u32 = 10_000_000;
/// Transactions of one batch: what the API takes.
pub const BATCH_MAX: u32 = 8_192;
/// Acknowledged operations that are kept for the audit, over all threads: some 72 bytes each.
/// Above it reads are forgotten first, then the histories of every second account, and so on; the
/// balances of all accounts are audited in any case.
pub const LOGGED_MAX: usize = 6_000_000;
/// Writes of unknown outcome that are kept to be asked about again. A run that has more of them
/// cannot be audited, and says so.
pub const UNKNOWN_MAX: usize = 1_000_000;
/// How long after the end of a run what was due before it may still be sent. What has not gone out by
/// then is unsent.
pub const LATE_MAX: Duration = Duration::from_millis(500);
/// Operations that wait to be repeated, per thread. Above it they are given up.
pub const REPEATS_WAITING_MAX: usize = 100_000;
/// How often one operation is sent in all.
pub const ATTEMPTS_MAX: u32 = 10;
/// The first pause before a repeat; each further one is twice as long, up to the next limit.
pub const REPEAT_PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
pub const REPEAT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often an errand of the set-up or of the audit is sent before the run is given up.
pub const ERRAND_ATTEMPTS_MAX: u32 = 60;
/// The pause before it is sent again.
pub const ERRAND_PAUSE: Duration = Duration::from_millis(250);
/// Longest answer that is read: a full page of the longest rows. A longer one breaks its connection.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Headers of one answer; one with more is garbled.
pub const ANSWER_HEADERS_MAX: usize = 64;
/// Requests that one turn sends before it looks for answers.
pub const BURST_MAX: usize = 64;
/// The same of HTTP/2, where many of them go out in one write.
pub const STREAMS_BURST_MAX: usize = 256;
/// Events that one turn takes.
pub const EVENTS_MAX: usize = 256;
/// How often time-outs are looked for and broken connections opened again.
pub const SWEEP_EVERY: Duration = Duration::from_millis(20);
/// The pause before a connection is tried again that was refused or ended without an answer.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may take to come about.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Windows that wait for whoever prints them; the generator waits when they are too many.
pub const WINDOWS_WAITING_MAX: usize = 1_024;
/// The shortest window of the series.
pub const WINDOW_MIN: Duration = Duration::from_millis(10);
/// Longest latency that is told apart; a longer one counts as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(300);
/// Faults that a report lists; the rest are counted.
pub const FAULTS_LISTED_MAX: usize = 100;
/// Rows of a page of history.
pub const PAGE_ROWS: usize = 1_000;
/// Connections for the set-up and the audit.
pub const ERRAND_LANES: usize = 32;
/// Longest report that is read back for a comparison.
pub const REPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Failed attempts to connect, without an answer in between, after which the tree is taken to be
/// gone: some seconds of them.
pub const UNCONNECTED_MAX: u32 = 1_000;
