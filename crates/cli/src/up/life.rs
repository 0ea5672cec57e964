//! The life of one node under `up`: when it is started again, and what it is called meanwhile.
//!
//! Pure: time is an argument, processes are somebody else's.

use std::time::Duration;
use stdx::Moment;

/// The wait before a node is started again, the first time.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// It doubles up to this.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// A node that lived this long starts again with the shortest wait.
const ALIVE_RESET: Duration = Duration::from_secs(10);
/// A node that does not say that it is ready within this is given up.
pub(super) const READY_MAX: Duration = Duration::from_secs(30);
/// Ends before it was ever ready, in a row, after which a starting tree is given up.
pub(super) const EARLY_ENDS_MAX: u32 = 3;

/// Why a node is down and stays down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    NotYetStarted,
    Stopped,
    Killed,
    Drained,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No process, and none is to come.
    Down(Why),
    /// A process that has not said yet that it is ready.
    Starting { since: Moment },
    /// Ready to serve.
    Ready { since: Moment },
    /// A process that was told to end.
    Ending(Why),
    /// No process, one is to come.
    Waiting { until: Moment },
}

/// One node's life so far.
#[derive(Clone, Debug)]
pub(super) struct Life {
    phase: Phase,
    delay: Duration,
    early_ends: u32,
    restarts: u64,
}

impl Life {
    /// Not yet started.
    pub(super) fn new() -> Life {
        Life {
            phase: Phase::Down(Why::NotYetStarted),
            delay: DELAY_MIN,
            early_ends: 0,
            restarts: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// How often it was started again after it had ended by itself.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// A process was started.
    pub(super) fn started(&mut self, now: Moment) {
        if let Phase::Waiting { .. } = self.phase {
            self.restarts += 1;
        }
        self.phase = Phase::Starting { since: now };
    }

    /// The process says that it is ready.
    pub(super) fn ready(&mut self) {
        if let Phase::Starting { since } = self.phase {
            self.phase = Phase::Ready { since };
            self.early_ends = 0;
        }
    }

    /// The process has ended. `Some` is the wait before the next one, when it ended by itself.
    pub(super) fn ended(&mut self, now: Moment) -> Option<Duration> {
        let since = match self.phase {
            Phase::Ending(why) => {
                self.phase = Phase::Down(why);
                return None;
            }
            Phase::Down(_) | Phase::Waiting { .. } => return None,
            Phase::Starting { since } => {
                self.early_ends += 1;
                since
            }
            Phase::Ready { since } => since,
        };
        if ALIVE_RESET <= now.since(since) {
            self.delay = DELAY_MIN;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(DELAY_MAX);
        self.phase = Phase::Waiting { until: now + delay };
        Some(delay)
    }

    /// Somebody wants it down; it stays so until it is started again.
    pub(super) fn ordered_down(&mut self, why: Why) {
        self.delay = DELAY_MIN;
        self.early_ends = 0;
        self.phase = match self.phase {
            Phase::Down(_) | Phase::Waiting { .. } => Phase::Down(why),
            Phase::Starting { .. } | Phase::Ready { .. } | Phase::Ending(_) => Phase::Ending(why),
        };
    }

    /// What is starting gets the whole time again, as after a kill that takes effect soon.
    pub(super) fn given_time(&mut self, now: Moment) {
        if let Phase::Starting { since } = &mut self.phase {
            *since = now;
        }
    }

    /// When something has to be done about it: it must be started, or was too long in starting.
    pub(super) fn due(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Starting { since } => Some(since + READY_MAX),
            Phase::Down(_) | Phase::Ready { .. } | Phase::Ending(_) => None,
        }
    }

    /// Why a tree that is being started had better give up on this node.
    pub(super) fn hopeless(&self, now: Moment) -> Option<&'static str> {
        if EARLY_ENDS_MAX <= self.early_ends {
            return Some("ends as soon as it is started");
        }
        match self.phase {
            Phase::Starting { since } if READY_MAX <= now.since(since) => {
                Some("is not ready after 30 seconds")
            }
            Phase::Starting { .. }
            | Phase::Down(_)
            | Phase::Ready { .. }
            | Phase::Ending(_)
            | Phase::Waiting { .. } => None,
        }
    }

    /// True when there is nothing more to wait for at the start of the tree.
    pub(super) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Ready { .. } | Phase::Down(Why::Stopped | Why::Killed | Why::Drained) => true,
            Phase::Down(Why::NotYetStarted)
            | Phase::Starting { .. }
            | Phase::Ending(_)
            | Phase::Waiting { .. } => false,
        }
    }

    /// As `status` shows it.
    pub(super) fn text(&self) -> &'static str {
        match self.phase {
            Phase::Down(Why::NotYetStarted | Why::Drained) => "down",
            Phase::Down(Why::Stopped) => "stopped",
            Phase::Down(Why::Killed) => "killed",
            Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Ending(_) => "draining",
            Phase::Waiting { .. } => "restarting",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    /// Starts a node that is ready at once, ends it after `alive`; the wait in milliseconds.
    fn one_life(life: &mut Life, start: u64, alive: u64) -> u128 {
        life.started(at(start));
        life.ready();
        life.ended(at(start + alive)).unwrap().as_millis()
    }

    #[test]
    fn the_wait_doubles_until_a_node_lives() {
        let mut life = Life::new();
        let waits: Vec<u128> = (0..8).map(|it| one_life(&mut life, it * 6_000, 10)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(one_life(&mut life, 60_000, 9_999), 5_000);
        assert_eq!(one_life(&mut life, 80_000, 10_000), 100);
        assert_eq!(life.restarts(), 9);
        assert_eq!(life.text(), "restarting");
        assert_eq!(life.due(), Some(at(90_100)));
    }

    #[test]
    fn what_was_ordered_down_stays_down() {
        let mut life = Life::new();
        life.started(at(0));
        life.ready();
        life.ordered_down(Why::Killed);
        assert_eq!(life.text(), "draining");
        assert_eq!(life.ended(at(5)), None);
        assert_eq!((life.text(), life.due(), life.is_settled()), ("killed", None, true));
        life.started(at(10));
        assert_eq!((life.text(), life.restarts()), ("starting", 0));
    }

    #[test]
    fn an_order_ends_the_wait() {
        let mut life = Life::new();
        one_life(&mut life, 0, 1);
        life.ordered_down(Why::Stopped);
        assert_eq!((life.text(), life.due()), ("stopped", None));
        life.ordered_down(Why::Killed);
        assert_eq!(life.text(), "killed");
    }

    #[test]
    fn a_node_that_never_gets_ready_is_hopeless() {
        let mut life = Life::new();
        for round in 0..EARLY_ENDS_MAX {
            assert_eq!(life.hopeless(at(0)), None, "{round}");
            life.started(at(0));
            life.ended(at(1));
        }
        assert_eq!(life.hopeless(at(1)), Some("ends as soon as it is started"));

        let mut life = Life::new();
        life.started(at(0));
        assert_eq!(life.due(), Some(at(30_000)));
        assert_eq!(life.hopeless(at(29_999)), None);
        assert_eq!(life.hopeless(at(30_000)), Some("is not ready after 30 seconds"));
        life.ready();
        assert_eq!(life.hopeless(at(90_000)), None);
    }
}
