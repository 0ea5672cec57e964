//! How long an edge waits for its clients, and how long it keeps one.

use super::limits;
use std::time::Duration;

/// Limits by time and number of a client's connection. The default is that of [`limits`].
///
/// Times are kept in sweeps, so each is met to within two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the head of a request, the first one with all that comes before it.
    pub head: Duration,
    /// For a body that is read whole, if it earns no further time by its rate.
    pub body: Duration,
    /// Without a byte of a streamed body, or with none of the answer taken.
    pub stall: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// With no byte either way on a connection that was upgraded; whoever joins it keeps this.
    pub upgraded: Duration,
    /// For an answer after an HTTP/1 client has closed its half.
    pub left: Duration,
    /// After which the next answer is the last.
    pub age: Duration,
    /// Requests after which the same holds.
    pub requests_max: u64,
    /// How often connections past these limits are looked for.
    pub sweep_every: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            head: limits::HEAD_MAX,
            body: limits::BODY_MAX,
            stall: limits::STALL_MAX,
            idle: limits::IDLE_MAX,
            upgraded: limits::UPGRADED_MAX,
            left: limits::LEFT_MAX,
            age: limits::AGE_MAX,
            requests_max: limits::REQUESTS_MAX,
            sweep_every: limits::SWEEP_EVERY,
        }
    }
}

/// [`Patience`] counted in sweeps.
#[derive(Debug)]
pub(super) struct Sweeps {
    pub(super) head: u64,
    pub(super) stall: u64,
    pub(super) idle: u64,
    pub(super) left: u64,
    pub(super) age: u64,
    pub(super) requests_max: u64,
}

impl Sweeps {
    pub(super) fn of(patience: &Patience) -> Sweeps {
        let every = patience.sweep_every.as_nanos().max(1);
        let count = |time: Duration| u64::try_from(time.as_nanos() / every).unwrap_or(u64::MAX);
        Sweeps {
            head: count(patience.head),
            stall: count(patience.stall),
            idle: count(patience.idle),
            left: count(patience.left),
            age: count(patience.age),
            requests_max: patience.requests_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_sweeps() {
        let sweeps = Sweeps::of(&Patience::default());
        assert_eq!((sweeps.head, sweeps.stall, sweeps.idle, sweeps.age), (20, 60, 120, 7_200));
    }
}
