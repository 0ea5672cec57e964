//! The only reader of clocks.
//!
//! Wall time is the wall clock at the process's start plus the time since on the monotonic clock:
//! somebody who sets the clock while the node runs changes nothing in it.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use stdx::{Moment, fault};
use wire::Timestamp;

struct Start {
    instant: Instant,
    /// Microseconds since 1970.
    wall: i64,
}

#[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
static START: LazyLock<Start> = LazyLock::new(|| {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Start { instant: Instant::now(), wall: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX) }
});

/// The time since the clock was first read, which `main` does first.
pub fn now() -> Moment {
    let start = START.instant;
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    let elapsed = Instant::now().saturating_duration_since(start);
    Moment::ZERO + elapsed
}

/// Wall time; never jumps and never goes back while the process lives.
pub fn wall() -> Timestamp {
    wall_at(now())
}

/// Wall time at a moment of this process.
pub fn wall_at(moment: Moment) -> Timestamp {
    let elapsed = i64::try_from(moment.as_nanos() / 1_000).unwrap_or(i64::MAX);
    Timestamp(START.wall.saturating_add(elapsed).saturating_add(fault::wall_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_wall_time_with_it() {
        let (wall, moment) = (wall(), now());
        assert!(wall <= super::wall());
        assert!(moment <= now());
        assert!(Timestamp::parse("2024-01-01T00:00:00Z").unwrap() < wall);
        assert_eq!(wall_at(moment + Duration::from_secs(1)).0 - wall_at(moment).0, 1_000_000);
    }
}
