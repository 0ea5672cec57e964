//! Limits of what is kept for HTTP services that are not ours, per worker and endpoint.

use crate::coming;
use std::time::Duration;

/// HTTP/1.1 connections, busy and idle. Upgraded ones count until they end.
pub const CONNECTIONS_MAX: usize = 256;
/// HTTP/2 connections.
pub const H2_CONNECTIONS_MAX: usize = 4;
/// Requests at a time on one HTTP/2 connection: more and one slow reader holds up too many.
pub const H2_STREAMS_MAX: usize = 100;
/// Requests that wait for a connection to be free; one more is refused.
pub const WAITING_MAX: usize = 1_024;
/// How long a request waits for that.
pub const WAIT_MAX: Duration = Duration::from_secs(1);
/// From the first packet until a connection can be used, all addresses together.
pub const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A connection that was idle for so long is closed. Many servers keep one for a minute.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// A request that cannot be repeated is not put at risk of an idle connection that its server is
/// about to close: one that was idle for longer is not used for it.
pub const IDLE_RISKY_MAX: Duration = Duration::from_secs(1);
/// What a server grants in `Keep-Alive: timeout` is used up to this long before it ends.
pub const IDLE_MARGIN: Duration = Duration::from_secs(1);
/// A connection is not used for new requests after this and up to a quarter more, at random, so
/// that a change of addresses is followed and new connections do not come all at once.
pub const AGE_MAX: Duration = Duration::from_secs(600);
/// How often connections past these limits are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After an answer its connection has this long to become free: a server may answer early and leave
/// the rest of a request unread.
pub const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Addresses of a name are looked up again for a connection after this long.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// Longest look-up.
pub const RESOLVE_MAX: Duration = Duration::from_secs(2);
/// Addresses of one name that are used.
pub const ADDRESSES_MAX: usize = 8;
/// Addresses that one connection tries.
pub const ADDRESSES_TRIED_MAX: usize = 3;

/// Headers of an answer, and bytes of its head.
pub const RESPONSE_HEADERS_MAX: usize = 100;
/// As [`RESPONSE_HEADERS_MAX`].
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// An answer over the trunk goes whole up to this length, so that one that breaks off can be told as
/// a failure; a longer one, or one of unknown length, goes as it comes.
pub const WHOLE_ANSWER_BYTES_MAX: usize = 32 * 1024;
/// Bodies of requests up to this long are taken whole, so that they can be sent again.
pub const WHOLE_BODY_BYTES_MAX: usize = 64 * 1024;
/// A body that stands still for so long is given up.
pub const BODY_QUIET_MAX: Duration = Duration::from_secs(60);
/// The same of an upgraded connection over the trunk. It is the edge that knows how long its clients
/// may be quiet; this is the longest that it may be told to wait.
pub const TUNNEL_QUIET_MAX: Duration = net::edge::limits::PATIENCE_LIMIT;
/// Bytes under way in one direction of an upgraded connection.
pub const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;

/// Endpoints that one request is sent to, or is tried to be.
pub const ATTEMPTS_MAX: usize = 3;
/// Thousandths of the requests that may be repeated, and repeats in a second that always may.
pub const REPEATS_PERMILLE: u32 = 200;
/// As [`REPEATS_PERMILLE`].
pub const REPEATS_FLOOR: u32 = 10;

const _: () = {
    assert!(IDLE_RISKY_MAX.as_nanos() < IDLE_MAX.as_nanos());
    assert!(IDLE_MAX.as_nanos() < AGE_MAX.as_nanos());
    assert!(ADDRESSES_TRIED_MAX <= ADDRESSES_MAX);
    assert!(BODY_QUIET_MAX.as_nanos() < coming::QUIET_MAX.as_nanos());
};
