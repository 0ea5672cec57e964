//! Limits of a balancer beyond those of the edge and the trunk.

use balance::LimitSettings;
use std::time::Duration;

/// Requests of one worker that wait for any endpoint to be connected; one more is refused.
pub const WAITING_MAX: usize = 4_096;
/// How long a request that was not sent yet waits for that. One whose outcome is unknown waits
/// until its deadline.
pub const UNSENT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How late one that waits may be told that it was in vain.
pub const WAITING_TICK: Duration = Duration::from_millis(50);
/// Times that a request is sent at all, over all hops. One hop repeats it once.
pub const ATTEMPTS_MAX: u8 = 4;
/// Endpoints that may say "full" before the request is refused.
pub const FULL_MAX: usize = 2;
/// Repeats that a hop may make: this share of the requests of the last ten seconds, …
pub const RETRY_SHARE_PERMILLE: u32 = 200;
/// … and so many in any second, so that what was in flight to a killed endpoint is repeated also on
/// a quiet day.
pub const RETRY_FLOOR_PER_SECOND: u32 = 32;
/// Requests of clients that one worker has in flight. The floor is what batches further down still
/// turn into throughput and not into waiting: 1,024 are 25 ms at 40,000 a second.
pub const EDGE_LIMIT: LimitSettings = LimitSettings { min: 1_024, initial: 2_048, max: 16_384 };
/// Endpoints that a balancer may have, those included that went and are not finished yet.
pub const ENDPOINTS_MAX: usize = 4_096;
/// The panic rule is told in the log at most once in this time.
pub const PANIC_TOLD_EVERY: Duration = Duration::from_secs(10);
/// Memory for copies of relayed requests that is kept for the next: buffers, and bytes of each.
pub const SPARE_BUFFERS_MAX: usize = 1_024;
/// As [`SPARE_BUFFERS_MAX`].
pub const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;
