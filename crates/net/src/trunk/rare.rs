//! A limit on the frames that a peer has little cause to send.

use super::limits::RARE_FRAMES_MAX;
use crate::clock;
use std::{cell::Cell, time::Duration};
use stdx::Moment;
use wire::Flaw;

/// Counts such frames by the second. Looks at the clock for each of them, and for no others.
#[derive(Debug)]
pub(super) struct RareFrames {
    since: Cell<Moment>,
    count: Cell<u32>,
}

impl RareFrames {
    pub(super) fn new() -> RareFrames {
        RareFrames { since: Cell::new(Moment::ZERO), count: Cell::new(0) }
    }

    /// Counts one more.
    pub(super) fn count(&self) -> Result<(), Flaw> {
        self.count_at(clock::now())
    }

    fn count_at(&self, now: Moment) -> Result<(), Flaw> {
        if Duration::from_secs(1) <= now.since(self.since.get()) {
            self.since.set(now);
            self.count.set(0);
        }
        self.count.set(self.count.get() + 1);
        if RARE_FRAMES_MAX < self.count.get() {
            return Err(Flaw("too many frames that are no part of a request"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_in_a_second_pass_and_no_more() {
        let (rare, start) = (RareFrames::new(), Moment::ZERO);
        (0..RARE_FRAMES_MAX).for_each(|_| rare.count_at(start).unwrap());
        assert!(rare.count_at(start + Duration::from_millis(999)).is_err());
        rare.count_at(start + Duration::from_secs(1)).unwrap();
    }
}
