//! Which of several monitors tells people: the first in the file that is there.
//!
//! All of them hear everything and decide the same; one that stands by keeps what it would have
//! said for a while. When the one before it falls silent it says what that one may not have said any
//! more: whatever came after its last beat, and a little before. So nothing is lost, and at most the
//! last notices are said twice. Two that are alive and do not hear each other both tell: twice is
//! better than never.

use super::{
    check::{between, micros},
    notice::Notice,
};
use std::{collections::VecDeque, time::Duration};
use wire::Timestamp;

/// Notices that are kept; one more drops the oldest.
pub const RECENT_MAX: usize = 1_000;
/// How long before its last beat the other may have failed to say something: a first notice waits
/// for company, and its delivery takes a while.
pub const MARGIN: Duration = Duration::from_secs(5);

/// How one of several monitors stands.
#[derive(Clone, Debug)]
pub struct Standby {
    recent: VecDeque<Notice>,
    is_active: bool,
    /// How long notices are kept: as long as it takes to find the other dead, and longer.
    keep: Duration,
}

impl Standby {
    /// One that finds others dead after `deadline`. The first of all is active at once.
    pub fn new(is_first: bool, deadline: Duration) -> Standby {
        Standby { recent: VecDeque::new(), is_active: is_first, keep: 2 * deadline + 2 * MARGIN }
    }

    /// Whether it tells people now.
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Takes a notice: given back, it is to be told.
    pub fn take(&mut self, notice: Notice) -> Option<Notice> {
        if self.is_active {
            return Some(notice);
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(notice);
        None
    }

    /// Learns whether one before it is there, and when it was last heard; what is to be told now.
    pub fn look(&mut self, now: Timestamp, is_there: bool, heard: Timestamp) -> Vec<Notice> {
        if is_there {
            self.is_active = false;
            self.recent.retain(|it| between(it.at, now) <= self.keep);
            return Vec::new();
        }
        self.is_active = true;
        let from = Timestamp(heard.0.saturating_sub(micros(MARGIN)));
        self.recent.drain(..).filter(|it| from <= it.at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        check::CheckId,
        incident::{Incident, IncidentId, Kind, Member},
        notice::Event,
    };

    fn notice(id: u64, seconds: i64) -> Notice {
        let at = Timestamp(seconds * 1_000_000);
        let member =
            Member { check: CheckId(1), why: "no beat".to_owned(), since: at, is_over: false };
        let about = Incident::new(IncidentId(id), Kind::Down, member, at);
        Notice { incident: IncidentId(id), event: Event::Opened, at, about, to: Vec::new() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn one_that_stands_by_says_what_the_other_may_not_have_said() {
        let mut standby = Standby::new(false, Duration::from_secs(5));
        for (id, seconds) in [(1, 100), (2, 118), (3, 121)] {
            assert_eq!(standby.take(notice(id, seconds)), None);
            assert_eq!(standby.look(at(seconds), true, at(seconds)), []);
        }
        // Last heard at 120 and found dead at 125.
        let told: Vec<u64> =
            standby.look(at(125), false, at(120)).iter().map(|it| it.incident.0).collect();
        assert_eq!(told, [2, 3], "what came long before was said");
        assert!(standby.is_active());
        assert!(standby.take(notice(4, 126)).is_some());
        // The other is back.
        assert_eq!(standby.look(at(130), true, at(130)), []);
        assert_eq!(standby.take(notice(5, 131)), None);
    }

    #[test]
    fn the_first_tells_at_once_and_others_keep_a_bounded_while() {
        let deadline = Duration::from_secs(5);
        assert!(Standby::new(true, deadline).take(notice(1, 1)).is_some());
        let mut standby = Standby::new(false, deadline);
        for id in 0..=RECENT_MAX as u64 {
            standby.take(notice(id, 1));
        }
        assert_eq!(standby.recent.len(), RECENT_MAX);
        standby.look(at(22), true, at(22));
        assert!(standby.recent.is_empty());
    }
}
