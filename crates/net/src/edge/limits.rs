//! Limits of what an HTTP client may send, and how long it may take.

use std::time::Duration;

/// Headers of one request.
pub const HEADERS_MAX: usize = 100;
/// Names and values of all headers, four bytes of punctuation each included.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// The method's name.
pub const METHOD_BYTES_MAX: usize = wire::frame::limits::METHOD_BYTES_MAX;
/// Path and query.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// From a request's head to the end of its body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a client that was refused is heard out, so that it gets to read why.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of what it still sends is thrown away.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often idle connections are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// Sweeps that a connection may be idle, or busy with the reading of an answer: 60 s.
pub const IDLE_SWEEPS_MAX: u64 = 120;
/// Sweeps that the head of a request may take: 10 s.
pub const HEAD_SWEEPS_MAX: u64 = 20;

const _: () = {
    use wire::frame::limits as trunk;
    // What is taken here fits the trunk, with what our tiers add.
    assert!(HEADERS_MAX + 8 <= trunk::HEADERS_MAX);
    assert!(HEADERS_BYTES_MAX + 4 * 1024 <= trunk::HEADERS_BYTES_MAX);
    assert!(URI_BYTES_MAX <= trunk::PATH_BYTES_MAX);
};
