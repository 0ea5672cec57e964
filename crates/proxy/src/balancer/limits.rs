//! Limits of a balancer beyond those of the edge and the trunk.

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
/// Memory for copies of relayed requests that is kept for the next: buffers, and bytes of each.
pub const SPARE_BUFFERS_MAX: usize = 1_024;
/// As [`SPARE_BUFFERS_MAX`].
pub const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;
