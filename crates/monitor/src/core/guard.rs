//! The detector's own clock: it stands still while the monitor does.
//!
//! A monitor that was stopped, swapped out or starved heard nothing in that time, and must not
//! blame others for its own deafness (Cassandra's "not marking nodes down due to local pause").
//! Every deadline is kept on this clock, so a pause moves all of them by its length at no cost.

use std::time::Duration;
use stdx::Moment;

/// The shell looks at the clock this often, whatever else happens.
pub const TICK_EVERY: Duration = Duration::from_millis(100);
/// A gap between two looks that is longer was a pause of ours.
pub const PAUSE_MIN: Duration = Duration::from_millis(300);
/// A pause of at least this length may have cost us beats for good: whoever was expected in it is
/// excused until next time, and the time counts as unknown.
pub const BLIND_MIN: Duration = Duration::from_secs(2);

/// What the clock shows at the start of the process, so that it can show what was before it: a
/// decade, longer than any period.
const EPOCH: Duration = Duration::from_secs(3_650 * 86_400);

/// A stretch in which the monitor heard nothing, on the process's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blind {
    pub from: Moment,
    pub to: Moment,
}

/// Counts time, pauses left out.
#[derive(Clone, Debug)]
pub struct Guard {
    seen: Moment,
    paused: Duration,
}

impl Guard {
    /// A clock that starts with the process's own.
    pub fn new(now: Moment) -> Guard {
        Guard { seen: now, paused: Duration::ZERO }
    }

    /// Takes a look at the clock. `Some` when there was a pause since the last one.
    pub fn look(&mut self, now: Moment) -> Option<Blind> {
        let gap = now.since(self.seen);
        let from = self.seen;
        self.seen = self.seen.max(now);
        if gap <= PAUSE_MIN {
            return None;
        }
        self.paused += gap;
        Some(Blind { from, to: now })
    }

    /// What this clock shows when the process's shows `now`, which was just looked at.
    pub fn active(&self, now: Moment) -> Moment {
        Moment::ZERO + (EPOCH + now.since(Moment::ZERO)).saturating_sub(self.paused)
    }

    /// When this clock will show `active` if there is no further pause.
    pub fn real(&self, active: Moment) -> Moment {
        Moment::ZERO + (active.since(Moment::ZERO + EPOCH) + self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_while_nobody_looks() {
        let at = |ms| Moment::ZERO + Duration::from_millis(ms);
        let mut guard = Guard::new(at(0));
        for ms in (100..=1_000).step_by(100) {
            assert_eq!(guard.look(at(ms)), None);
        }
        assert_eq!(guard.active(at(1_000)), at(1_000) + EPOCH);
        assert_eq!(guard.look(at(6_000)), Some(Blind { from: at(1_000), to: at(6_000) }));
        assert_eq!(guard.active(at(6_000)), at(1_000) + EPOCH);
        assert_eq!(guard.look(at(6_100)), None);
        assert_eq!(guard.active(at(6_100)), at(1_100) + EPOCH);
        assert_eq!(guard.real(at(1_100) + EPOCH), at(6_100));
    }
}
