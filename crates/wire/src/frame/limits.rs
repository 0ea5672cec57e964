//! Every limit of the trunk, and how they hang together.

use crate::limits::{KEY_BYTES_MAX, NAME_BYTES_MAX, PARTITIONS_MAX};

/// Version of the frames. Peers of different versions refuse each other.
pub const VERSION: u16 = 3;
/// One frame: its kind and its body.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// One request or response, all parts together.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Everything of a message but its body: it must fit the first frame.
pub const HEAD_BYTES_MAX: usize = 60 * 1024;
/// Bytes of a message that one data frame carries: its kind, the id and the mark come on top.
pub const DATA_BYTES_MAX: usize = FRAME_BYTES_MAX - 6;
/// Messages of more than one frame that may be incomplete at a time on one connection, in one
/// direction.
pub const STREAMS_MAX: usize = 1_024;
/// Bytes of data frames that may be under way in one direction of one exchange, at its start and,
/// since only what was consumed is granted again, ever.
pub const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The widest window that a peer may open.
pub const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Requests without an answer on one connection.
pub const IN_FLIGHT_MAX: u32 = 16_384;
/// The low bits of a request's id say its slot: of two requests in flight on one connection they
/// differ, so that both sides find a request without a search.
pub const SLOT_BITS: u32 = IN_FLIGHT_MAX.ilog2();
/// Headers of one message: what a client may send and what our tiers add.
pub const HEADERS_MAX: usize = 112;
/// Names and values of the headers of one message, and their lengths.
pub const HEADERS_BYTES_MAX: usize = 48 * 1024;
/// Method of an HTTP request.
pub const METHOD_BYTES_MAX: usize = 32;
/// Path and query of an HTTP request.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Trace context, the text of a `traceparent`.
pub const TRACE_BYTES_MAX: usize = 128;
/// Why somebody goes away.
pub const REASON_BYTES_MAX: usize = 255;

const _: () = {
    let lengths_and_numbers = 64;
    let head = HEADERS_BYTES_MAX
        + METHOD_BYTES_MAX
        + PATH_BYTES_MAX
        + TRACE_BYTES_MAX
        + KEY_BYTES_MAX
        + NAME_BYTES_MAX
        + lengths_and_numbers;
    assert!(head <= HEAD_BYTES_MAX);
    assert!(HEAD_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(HEADERS_BYTES_MAX <= u16::MAX as usize);
    // An owner map is never split.
    assert!((PARTITIONS_MAX as usize) * 10 + 16 < FRAME_BYTES_MAX);
    assert!(IN_FLIGHT_MAX.is_power_of_two());
    assert!((STREAM_WINDOW_BYTES as usize) <= WINDOW_BYTES_MAX);
};
