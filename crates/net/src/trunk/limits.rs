//! Limits of a trunk connection beyond those of its frames, and its periods.

use std::time::Duration;
use wire::frame::limits::{DATA_BYTES_MAX, FRAME_BYTES_MAX, HEAD_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Bytes that may wait in a client's buffer; above it a request is refused as unsent.
pub const CLIENT_OUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that may wait in a server's buffer; above it the peer, which does not read, is cut off.
pub const SERVER_OUT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of long messages that one end of a connection keeps until they are sent, or gathers until
/// they are whole. Above it a client refuses requests as unsent; a server answers bodyless, with
/// 503 to a request and with [`super::STATUS_DROPPED`] in place of an answer.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A request whose body is longer than this may not fit one frame, whatever its head.
pub const SHORT_BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 1 - HEAD_BYTES_MAX;
/// What all streams of a connection together may add to one write, so that a short answer never
/// waits behind more; they share it evenly.
pub const STREAMS_TURN_BYTES: usize = 256 * 1024;
/// What one stream may add to one write.
pub const STREAM_TURN_BYTES_MAX: usize = 32 * 1024;
/// As [`STREAM_TURN_BYTES_MAX`], however many share the write.
pub const STREAM_TURN_BYTES_MIN: usize = 1024;
/// How long a writer waits for its peer to read on before it gives the stream up.
pub const STREAM_STALL_MAX: Duration = Duration::from_secs(60);
/// Above this many bytes to be written a server reads no further requests.
pub const SERVER_OUT_BYTES_PAUSE: usize = 1024 * 1024;
/// A buffer larger than this is given back once it is empty.
pub const KEPT_BUFFER_BYTES_MAX: usize = 1024 * 1024;

/// From the start of a connection until both sides have proved themselves.
pub const GREETING_MAX: Duration = Duration::from_secs(2);
/// How often a client looks for requests past their deadline.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks without a byte after which a client pings, and again: from the second time on the ping
/// before was not answered.
pub const PING_TICKS: u64 = 10;
/// Ticks after which a client pings whatever it hears: a server that tells its load all the time
/// would otherwise hear nothing of an idle client, and cut it off.
pub const KEEPALIVE_TICKS: u64 = 40;
/// Ticks without a byte after which a client takes the connection for lost.
pub const QUIET_TICKS_MAX: u64 = 60;
/// Silence after which a server cuts off a client, which would have pinged long before.
pub const CLIENT_QUIET_MAX: Duration = Duration::from_secs(10);

/// How often a server looks whether a load report is due.
pub const REPORT_TICK: Duration = TICK;
/// Ticks after which a report goes out although nothing was answered.
pub const REPORT_IDLE_TICKS: u32 = 5;

/// First and longest pause between two attempts to connect.
pub const RECONNECT_MIN: Duration = Duration::from_millis(50);
/// As [`RECONNECT_MIN`].
pub const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A connection that lasted as long as this was a good one: the next attempt follows at once.
pub const GOOD_CONNECTION_MIN: Duration = Duration::from_secs(1);
/// After the going-away a server takes requests for this long, since they may have crossed it.
pub const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Age at which a link replaces its connection by a fresh one; up to a quarter less, so that what
/// connected together is not replaced together.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// Shortest and longest that this may be made.
pub const CONNECTION_AGE_MIN: Duration = Duration::from_secs(60);
/// As [`CONNECTION_AGE_MIN`].
pub const CONNECTION_AGE_LIMIT: Duration = Duration::from_secs(3_600);
/// Age at which a server asks a client for that which has not done it by itself.
pub const SERVED_AGE_MAX: Duration = Duration::from_secs(900);
/// How long a connection that was replaced may take for the answers that are still to come, …
pub const LEAVING_MAX: Duration = Duration::from_secs(600);
/// … and how long while something streams on it: then it is cut off.
pub const STREAM_AGE_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Longest that this may be made.
pub const STREAM_AGE_LIMIT: Duration = Duration::from_secs(12 * 3_600);
/// Connections of one link that are being left; of more the oldest is cut off. As many as are
/// replaced within [`STREAM_AGE_LIMIT`], should a stream live on each.
pub const LEAVING_CONNS_MAX: usize = 96;
/// How often a server looks whether something still streams on a connection that was left.
pub const STREAMS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Frames that are no part of a request which a peer may send in a second: pings, reports, maps,
/// farewells, and what is meant for exchanges that are over.
pub const RARE_FRAMES_MAX: u32 = 1_000;
/// How long a peer may take to hear why it is cut off.
pub const FAREWELL_MAX: Duration = Duration::from_secs(1);

const _: () = {
    assert!(MESSAGE_BYTES_MAX < CLIENT_OUT_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX < HELD_BYTES_MAX);
    assert!(STREAM_TURN_BYTES_MAX <= DATA_BYTES_MAX);
    assert!(STREAM_TURN_BYTES_MAX <= STREAMS_TURN_BYTES);
    assert!(SERVER_OUT_BYTES_PAUSE < SERVER_OUT_BYTES_MAX);
    assert!(PING_TICKS * 2 < QUIET_TICKS_MAX);
    assert!(KEEPALIVE_TICKS as u128 * TICK.as_millis() * 3 < CLIENT_QUIET_MAX.as_millis());
    assert!(STREAM_AGE_MAX.as_secs() <= STREAM_AGE_LIMIT.as_secs());
    let renewed_after = CONNECTION_AGE_MAX.as_secs() * 3 / 4;
    assert!(STREAM_AGE_LIMIT.as_secs() <= LEAVING_CONNS_MAX as u64 * renewed_after);
    // An idle peer that reports is never pinged.
    assert!((REPORT_IDLE_TICKS as u64) < PING_TICKS);
};
