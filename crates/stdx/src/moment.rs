//! A point on the process's own clock, as a value.

use std::{ops::Add, time::Duration};

/// Nanoseconds since the process started. Only `net::clock` makes these from a real clock, so a
/// decision that takes one can be tested and replayed without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    ns: u64,
}

impl Moment {
    /// When the process started.
    pub const ZERO: Moment = Moment { ns: 0 };

    /// The moment `ns` nanoseconds after [`Moment::ZERO`].
    pub const fn from_nanos(ns: u64) -> Moment {
        Moment { ns }
    }

    /// Nanoseconds since [`Moment::ZERO`].
    pub const fn as_nanos(self) -> u64 {
        self.ns
    }

    /// The time from `earlier` to `self`; zero when `earlier` is the later one.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates: the end of time is 584 years after the start.
    fn add(self, duration: Duration) -> Moment {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Moment { ns: self.ns.saturating_add(ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_never_is_negative() {
        let second = Duration::from_secs(1);
        assert_eq!((Moment::ZERO + second).since(Moment::ZERO), second);
        assert_eq!(Moment::ZERO.since(Moment::ZERO + second), Duration::ZERO);
        let end = Moment::from_nanos(u64::MAX);
        assert_eq!(end + second, end);
    }
}
