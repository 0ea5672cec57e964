//! What was agreed about a check's beats: how often, and how long after that it is given up.

use super::{check::between, schedule::Schedule};
use std::time::Duration;
use wire::Timestamp;

/// Shortest and longest period and grace.
pub const PERIOD_MIN: Duration = Duration::from_secs(1);
pub const PERIOD_MAX: Duration = Duration::from_secs(365 * 86_400);

/// When the next beat is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This long after the last one.
    Every(Duration),
    /// At the next time of a schedule.
    At(Box<Schedule>),
}

/// Pace and grace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    pub pace: Pace,
    pub grace: Duration,
}

impl Contract {
    /// Every `period`, with so much grace.
    pub fn every(period: Duration, grace: Duration) -> Contract {
        Contract { pace: Pace::Every(period), grace }
    }

    /// How long after `last`, seen from wall time `now`, the next beat is expected. A schedule's
    /// time is made an instant before the grace is added, so that a change of the clocks by an
    /// hour moves no deadline.
    pub fn expected_in(&self, last: Timestamp) -> Duration {
        match &self.pace {
            Pace::Every(period) => *period,
            Pace::At(schedule) => {
                schedule.next_after(last).map_or(PERIOD_MAX, |next| between(last, next))
            }
        }
    }

    /// The period as far as there is one: of a schedule, the time between its next two turns.
    pub fn period(&self, now: Timestamp) -> Duration {
        match &self.pace {
            Pace::Every(period) => *period,
            Pace::At(schedule) => {
                let next = schedule.next_after(now);
                let after = next.and_then(|it| schedule.next_after(it));
                next.zip(after).map_or(PERIOD_MAX, |(next, after)| between(next, after))
            }
        }
    }
}
