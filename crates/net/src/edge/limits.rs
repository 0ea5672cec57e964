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
/// From a request's head to the end of its body, if the body keeps no client busy for longer at
/// [`BODY_RATE_MIN`].
pub const BODY_MAX: Duration = Duration::from_secs(10);
/// Bytes of a body per millisecond that earn it further time: 16 KB/s.
pub const BODY_RATE_MIN: usize = 16;

/// Requests that are in hand at a time on one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 100;
/// Names and values of a request's headers as HTTP/2 counts them, 32 bytes each included: more
/// than [`HEADERS_BYTES_MAX`] may come to, so that what is beyond that is told by us.
pub const HEADER_LIST_BYTES_MAX: u32 = 48 * 1024;
/// Payload of one HTTP/2 frame.
pub const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// What a client may send of one body before it is read.
pub const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// What a client may send of all bodies before they are read.
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What is held of the answers of a connection that the client does not take.
pub const SEND_BYTES_MAX: usize = 256 * 1024;
/// How long a client that was refused is heard out, so that it gets to read why.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of what it still sends is thrown away.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often idle connections are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How long a connection may be idle between two requests.
pub const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long the head of a request may take, the first one with all that comes before it.
pub const HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a client may take none of its answer, or send nothing of a streamed body.
pub const STALL_MAX: Duration = Duration::from_secs(30);
/// How long nothing may move on a connection that was upgraded, as to WebSocket, …
pub const UPGRADED_MAX: Duration = Duration::from_secs(600);
/// … and the longest that this, or any other time that a client is waited for, may be made.
pub const PATIENCE_LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// How long an HTTP/1 client that has closed its half is still answered: it may have nothing to
/// add, but most that do so have gone.
pub const LEFT_MAX: Duration = Duration::from_secs(1);
/// After which age a connection's next answer is its last, …
pub const AGE_MAX: Duration = Duration::from_secs(3_600);
/// … and after how many requests.
pub const REQUESTS_MAX: u64 = 1_000_000;

const _: () = {
    use wire::frame::limits as trunk;
    // What is taken here fits the trunk, with what our tiers add.
    assert!(HEADERS_MAX + 8 <= trunk::HEADERS_MAX);
    assert!(HEADERS_BYTES_MAX + 4 * 1024 <= trunk::HEADERS_BYTES_MAX);
    assert!(URI_BYTES_MAX <= trunk::PATH_BYTES_MAX);
};
