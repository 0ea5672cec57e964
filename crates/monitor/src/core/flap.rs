//! Tells a check that keeps changing from one that changed.
//!
//! Two thresholds, so that flapping itself does not flap: it begins at a count of changes in a
//! long window and ends when a shorter one has passed without any.

use super::check::between;
use std::{collections::VecDeque, time::Duration};
use wire::Timestamp;

/// Changes between well and unwell within [`WINDOW`] at which a check is flapping.
pub const CHANGES_MAX: usize = 6;
/// How far back changes count.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Without a change for this long it is steady again.
pub const QUIET: Duration = Duration::from_secs(300);

/// The recent changes of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flap {
    changes: VecDeque<Timestamp>,
    is_flapping: bool,
}

impl Flap {
    /// Flapping when the last process ended, and as if it had changed just now.
    pub fn resumed(at: Timestamp) -> Flap {
        Flap { changes: VecDeque::from([at]), is_flapping: true }
    }

    /// Counts a change between well and unwell. True when flapping begins with it.
    pub fn changed(&mut self, at: Timestamp) -> bool {
        self.changes.push_back(at);
        while CHANGES_MAX < self.changes.len()
            || self.changes.front().is_some_and(|first| WINDOW < between(*first, at))
        {
            self.changes.pop_front();
        }
        let begins = !self.is_flapping && self.changes.len() == CHANGES_MAX;
        self.is_flapping |= begins;
        begins
    }

    /// It changes too often for each change to be told.
    pub fn is_flapping(&self) -> bool {
        self.is_flapping
    }

    /// True when it has just become steady.
    pub fn settles(&mut self, now: Timestamp) -> bool {
        let last = self.changes.back().copied().unwrap_or_default();
        let settles = self.is_flapping && QUIET <= between(last, now);
        if settles {
            *self = Flap::default();
        }
        settles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn six_changes_in_ten_minutes_are_too_many() {
        let mut flap = Flap::default();
        let begins: Vec<bool> = (0..7).map(|turn| flap.changed(at(turn * 100))).collect();
        assert_eq!(begins, [false, false, false, false, false, true, false]);
        assert!(!flap.settles(at(899)));
        assert!(flap.is_flapping());
        assert!(flap.settles(at(900)));
        assert!(!flap.is_flapping());
    }

    #[test]
    fn slow_changes_never_are() {
        let mut flap = Flap::default();
        assert!((0..100).all(|turn| !flap.changed(at(turn * 150))));
    }
}
