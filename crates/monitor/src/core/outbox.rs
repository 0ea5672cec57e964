//! What has to be sent, to whom, and when to try again.
//!
//! One queue per channel: a channel that hangs delays no other. Within a channel notices go out in
//! order, so nobody hears of an end before the beginning. Whether a letter has arrived is known
//! only from the other side's answer; one that was sent and not answered is sent again, under the
//! same id, so that a receiver can tell it is the same.

use super::notice::{Event, Notice};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};
use stdx::{Moment, Rng};

/// Letters that wait in one channel; the oldest goes to the dead letters when there is one more.
pub const WAITING_MAX: usize = 1_000;
/// Dead letters that are kept in memory to be shown.
pub const DEAD_MAX: usize = 100;
/// The wait after a first failure; it doubles,
pub const DELAY_MIN: Duration = Duration::from_secs(1);
/// up to this.
pub const DELAY_MAX: Duration = Duration::from_secs(600);
/// Attempts after which a letter is dead: with the waits above, after more than two days.
pub const ATTEMPTS_MAX: u32 = 300;
/// Failures in a row after which a channel counts as sick.
pub const SICK_AFTER: u32 = 3;

/// Names a letter for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterId(pub u64);

/// A notice on its way to one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub id: LetterId,
    pub notice: Notice,
    pub attempts: u32,
    /// It also tells of the beginning, which was never delivered.
    pub is_combined: bool,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The other side has taken it.
    Accepted,
    /// It may work another time.
    Failed(String),
    /// It never will: the other side understood and refused.
    Refused(String),
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// It will be tried again after this.
    Delayed(Duration),
    /// It is given up.
    Dead,
}

/// The queue of one channel.
#[derive(Clone, Debug)]
pub struct Queue {
    waiting: VecDeque<Letter>,
    dead: VecDeque<Letter>,
    /// The first letter is being sent.
    is_busy: bool,
    not_before: Moment,
    failures: u32,
    /// When the first of those failures in a row came.
    failing_since: Option<Moment>,
    last_error: Option<String>,
    rng: Rng,
}

impl Queue {
    /// An empty queue. The seed spreads the waits of several monitors.
    pub fn new(seed: u64) -> Queue {
        Queue {
            waiting: VecDeque::new(),
            dead: VecDeque::new(),
            is_busy: false,
            not_before: Moment::ZERO,
            failures: 0,
            failing_since: None,
            last_error: None,
            rng: Rng::new(seed),
        }
    }

    /// Takes a letter. Returns the ids of letters that need not be sent any more: whoever was not
    /// told yet that it began is told once that it is over.
    pub fn push(&mut self, mut letter: Letter) -> Vec<LetterId> {
        let mut obsolete = Vec::new();
        if letter.notice.event == Event::Resolved {
            let first = usize::from(self.is_busy);
            let of_it = |it: &Letter| it.notice.incident == letter.notice.incident;
            let untold: Vec<LetterId> =
                self.waiting.iter().skip(first).filter(|it| of_it(it)).map(|it| it.id).collect();
            // One that was tried may have arrived: only then it is repeated, as itself.
            let opening = self.waiting.iter().skip(first).find(|it| of_it(it));
            letter.is_combined = opening.is_some_and(|it| it.notice.event == Event::Opened);
            self.waiting.retain(|it| !untold.contains(&it.id));
            obsolete.extend(untold);
        }
        self.waiting.push_back(letter);
        while WAITING_MAX < self.waiting.len() {
            // The first one may be on its way.
            if let Some(oldest) = self.waiting.remove(usize::from(self.is_busy)) {
                obsolete.push(oldest.id);
                self.bury(oldest);
            }
        }
        obsolete
    }

    /// The letter to be sent now, if there is one. Its end is to be told with [`Queue::ended`].
    pub fn take(&mut self, now: Moment) -> Option<Letter> {
        if self.is_busy || now < self.not_before {
            return None;
        }
        let first = self.waiting.front_mut()?;
        first.attempts += 1;
        self.is_busy = true;
        Some(first.clone())
    }

    /// When [`Queue::take`] may have something again.
    pub fn due(&self) -> Option<Moment> {
        (!self.is_busy && !self.waiting.is_empty()).then_some(self.not_before)
    }

    /// An attempt has ended.
    pub fn ended(&mut self, now: Moment, sent: &Sent) -> Option<(Letter, Fate)> {
        if !std::mem::take(&mut self.is_busy) {
            return None;
        }
        let letter = self.waiting.front()?.clone();
        match sent {
            Sent::Accepted => self.failing_since = None,
            Sent::Failed(_) | Sent::Refused(_) => _ = self.failing_since.get_or_insert(now),
        }
        let fate = match sent {
            Sent::Accepted => {
                (self.failures, self.last_error) = (0, None);
                self.not_before = now;
                Fate::Delivered
            }
            Sent::Refused(error) => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = Some(error.clone());
                Fate::Dead
            }
            Sent::Failed(error) => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = Some(error.clone());
                let delay = self.delay();
                self.not_before = now + delay;
                if letter.attempts < ATTEMPTS_MAX { Fate::Delayed(delay) } else { Fate::Dead }
            }
        };
        match fate {
            Fate::Delayed(_) => {}
            Fate::Delivered => drop(self.waiting.pop_front()),
            Fate::Dead => {
                if let Some(letter) = self.waiting.pop_front() {
                    self.bury(letter);
                }
            }
        }
        Some((letter, fate))
    }

    /// Doubles with each failure in a row, less up to a fourth by chance.
    fn delay(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let delay = (DELAY_MIN * (1 << doublings)).min(DELAY_MAX);
        let quarter = usize::try_from(delay.as_millis() / 4).unwrap_or(usize::MAX);
        let less = u64::try_from(self.rng.below(quarter.max(1))).unwrap_or(0);
        delay - Duration::from_millis(less)
    }

    fn bury(&mut self, letter: Letter) {
        self.dead.push_back(letter);
        if DEAD_MAX < self.dead.len() {
            self.dead.pop_front();
        }
    }

    /// Letters that wait, the one on its way among them.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The letters that wait, the one on its way among them.
    pub fn waiting(&self) -> impl Iterator<Item = &Letter> {
        self.waiting.iter()
    }

    /// Letters that were given up.
    pub fn dead(&self) -> impl Iterator<Item = &Letter> {
        self.dead.iter()
    }

    /// It has failed several times in a row.
    pub fn is_sick(&self) -> bool {
        SICK_AFTER <= self.failures
    }

    /// Since when every attempt has failed; `None` when the last one has not.
    pub fn failing_since(&self) -> Option<Moment> {
        self.failing_since
    }

    /// What the last attempt failed with; `None` once one has succeeded.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        check::CheckId,
        incident::{Incident, IncidentId, Kind, Member},
    };
    use wire::Timestamp;

    fn letter(id: u64, incident: u64, event: Event) -> Letter {
        let at = Timestamp(7);
        let member =
            Member { check: CheckId(1), why: "no beat".to_owned(), since: at, is_over: false };
        let about = Incident {
            told_at: Some(at),
            ..Incident::new(IncidentId(incident), Kind::Down, member, at)
        };
        let notice = Notice { incident: IncidentId(incident), event, at, about, to: Vec::new() };
        Letter { id: LetterId(id), notice, attempts: 0, is_combined: false }
    }

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_failed_is_sent_again_until_it_is_accepted() {
        let mut queue = Queue::new(1);
        queue.push(letter(1, 1, Event::Opened));
        let (mut now, mut delays) = (at(10), Vec::new());
        for _ in 0..12 {
            assert!(queue.take(now).is_some());
            assert!(queue.take(now).is_none(), "one at a time");
            let (_, fate) = queue.ended(now, &Sent::Failed("timeout".to_owned())).unwrap();
            let Fate::Delayed(delay) = fate else { panic!("{fate:?}") };
            assert!(queue.take(now).is_none(), "not at once");
            now = queue.due().unwrap();
            delays.push(delay);
        }
        assert!(queue.is_sick());
        assert_eq!(queue.failing_since(), Some(at(10)));
        assert!(delays[0] <= DELAY_MIN && delays.windows(3).all(|it| it[0] < it[2]), "{delays:?}");
        assert!(delays.iter().all(|it| *it <= DELAY_MAX));
        queue.take(now).unwrap();
        assert_eq!(queue.ended(now, &Sent::Accepted).unwrap().1, Fate::Delivered);
        assert_eq!((queue.waiting_count(), queue.is_sick(), queue.due()), (0, false, None));
        assert_eq!(queue.failing_since(), None);
    }

    #[test]
    fn a_refused_letter_holds_up_no_other() {
        let mut queue = Queue::new(1);
        queue.push(letter(1, 1, Event::Opened));
        queue.push(letter(2, 2, Event::Opened));
        queue.take(at(1)).unwrap();
        let (dead, fate) = queue.ended(at(1), &Sent::Refused("400".to_owned())).unwrap();
        assert_eq!((dead.id, fate), (LetterId(1), Fate::Dead));
        assert_eq!(queue.take(at(1)).unwrap().id, LetterId(2));
        assert_eq!(queue.dead().count(), 1);
    }

    #[test]
    fn whoever_was_not_told_of_the_beginning_is_told_once() {
        let mut queue = Queue::new(1);
        queue.push(letter(1, 1, Event::Opened));
        queue.push(letter(2, 2, Event::Opened));
        queue.take(at(1)).unwrap(); // Incident 1 is on its way.
        assert_eq!(queue.push(letter(3, 1, Event::Resolved)), []);
        assert_eq!(queue.push(letter(4, 2, Event::Resolved)), [LetterId(2)]);
        queue.ended(at(1), &Sent::Accepted);
        let third = queue.take(at(1)).unwrap();
        assert_eq!((third.id, third.is_combined), (LetterId(3), false));
        queue.ended(at(1), &Sent::Accepted);
        let fourth = queue.take(at(1)).unwrap();
        assert_eq!((fourth.id, fourth.is_combined), (LetterId(4), true));
    }

    #[test]
    fn a_full_queue_gives_up_its_oldest() {
        let mut queue = Queue::new(1);
        for id in 0..=WAITING_MAX as u64 {
            let obsolete = queue.push(letter(id, id, Event::Opened));
            assert_eq!(obsolete.is_empty(), id < WAITING_MAX as u64);
        }
        assert_eq!(queue.waiting_count(), WAITING_MAX);
        assert_eq!(queue.dead().next().unwrap().id, LetterId(0));
    }
}
