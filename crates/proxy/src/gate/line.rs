//! Requests that wait for room, first come first served.
//!
//! A refusal costs what a read and a write cost, and that is taken from what is served: a node that
//! refuses whatever it cannot take at once spends itself on refusing, and those who are refused are
//! back at once. So a request waits for a moment, which is also all that a burst needs, and only so
//! many are refused in a time. Knows no clock.

use std::{cell::Cell, cell::RefCell, collections::VecDeque, rc::Rc, task::Waker, time::Duration};
use stdx::Moment;

/// Requests of one worker that wait; one more is refused at once.
const LINE_MAX: usize = 20_000;
/// How long one waits before it may be refused.
const ROOM_WAIT_MAX: Duration = Duration::from_millis(100);
/// How often those who waited too long are looked for.
pub(crate) const LINE_TICK: Duration = Duration::from_millis(10);
/// Refusals of one worker in a millisecond while others are let in: a refusal costs some 20 µs, so
/// these are a sixteenth of a processor. Nobody waits for more than seven seconds, whatever happens.
const REFUSALS_PER_MS: u32 = 3;
/// After so long without anybody let in, nobody is served whose time refusals could take.
const STANDSTILL: Duration = Duration::from_millis(200);
/// Refusals at once: after a turn of the event loop that took long, and at a standstill.
const REFUSALS_MAX: u32 = 1_000;

/// What becomes of a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is room, and it is kept for it.
    Room,
    /// It waited in vain.
    Refused,
    /// Whoever sent it is gone.
    Gone,
}

/// A place in the line.
#[derive(Debug)]
pub(crate) struct Place {
    since: Moment,
    verdict: Cell<Option<Verdict>>,
    waker: RefCell<Waker>,
}

impl Place {
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.get()
    }

    /// Who is to be woken by the verdict.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.borrow_mut().clone_from(waker);
    }

    /// Leaves the line; the verdict if there was one.
    pub(crate) fn leave(&self) -> Option<Verdict> {
        self.verdict.replace(Some(Verdict::Gone))
    }
}

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Those who went among them.
    places: VecDeque<Rc<Place>>,
    /// When refusals were last given.
    refused_at: Moment,
    /// When somebody was last let in.
    moved_at: Moment,
}

impl Line {
    pub(crate) fn new() -> Line {
        Line { places: VecDeque::new(), refused_at: Moment::ZERO, moved_at: Moment::ZERO }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A place at the end, unless the line is too long.
    pub(crate) fn join(&mut self, now: Moment, waker: &Waker) -> Option<Rc<Place>> {
        if LINE_MAX <= self.places.len() {
            return None;
        }
        if self.places.is_empty() {
            (self.refused_at, self.moved_at) = (now, now);
        }
        let (verdict, waker) = (Cell::new(None), RefCell::new(waker.clone()));
        let place = Rc::new(Place { since: now, verdict, waker });
        self.places.push_back(Rc::clone(&place));
        Some(place)
    }

    /// Gives room to whoever is first; false when nobody waits.
    pub(crate) fn let_in(&mut self, now: Moment) -> bool {
        let is_let_in = self.first().is_some() && self.give(Verdict::Room);
        if is_let_in {
            self.moved_at = now;
        }
        is_let_in
    }

    /// Refuses those who have waited too long, as many as may be since the last time.
    pub(crate) fn refuse_overdue(&mut self, now: Moment) {
        let since = now.since(self.refused_at).as_millis();
        let mut allowed = REFUSALS_MAX;
        if now.since(self.moved_at) < STANDSTILL {
            let since = u32::try_from(since).unwrap_or(u32::MAX);
            allowed = allowed.min(since.saturating_mul(REFUSALS_PER_MS));
        }
        self.refused_at = now;
        for _ in 0..allowed {
            let is_overdue = self.first().is_some_and(|it| ROOM_WAIT_MAX <= now.since(it.since));
            if !is_overdue || !self.give(Verdict::Refused) {
                return;
            }
        }
    }

    /// Who is first, once those who went are out of the way.
    fn first(&mut self) -> Option<&Rc<Place>> {
        while self.places.front().is_some_and(|it| it.verdict.get().is_some()) {
            self.places.pop_front();
        }
        self.places.front()
    }

    fn give(&mut self, verdict: Verdict) -> bool {
        let Some(place) = self.places.pop_front() else { return false };
        place.verdict.set(Some(verdict));
        place.waker.borrow().wake_by_ref();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(ms)
    }

    fn line(count: u64) -> (Line, Vec<Rc<Place>>) {
        let mut line = Line::new();
        let places =
            (0..count).map(|ms| line.join(at(ms), Waker::noop()).expect("short")).collect();
        (line, places)
    }

    fn verdicts(places: &[Rc<Place>]) -> Vec<Option<Verdict>> {
        places.iter().map(|it| it.verdict()).collect()
    }

    #[test]
    fn whoever_came_first_is_first() {
        let (mut line, places) = line(4);
        assert_eq!(places[1].leave(), None);
        assert!(line.let_in(at(4)) && line.let_in(at(4)));
        let (room, gone) = (Some(Verdict::Room), Some(Verdict::Gone));
        assert_eq!(verdicts(&places), [room, gone, room, None]);
        assert!(line.let_in(at(4)) && !line.let_in(at(4)) && line.is_empty());
        assert_eq!(places[3].leave(), room);
    }

    #[test]
    fn nobody_is_refused_early_and_all_who_may_be_in_the_end() {
        let (mut line, places) = line(3);
        line.refuse_overdue(at(99));
        assert_eq!(verdicts(&places), [None; 3]);
        line.refuse_overdue(at(101)); // Two of three are overdue.
        let refused = Some(Verdict::Refused);
        assert_eq!(verdicts(&places), [refused, refused, None]);
        line.refuse_overdue(at(102));
        assert!(line.is_empty());
    }

    #[test]
    fn refusals_are_rationed_while_others_are_let_in() {
        let mut line = Line::new();
        let places: Vec<_> =
            (0..5_000).map(|_| line.join(at(0), Waker::noop()).expect("short")).collect();
        let refused = || places.iter().filter(|it| it.verdict() == Some(Verdict::Refused)).count();
        assert!(line.let_in(at(100)));
        line.refuse_overdue(at(100)); // 100 ms of them.
        assert_eq!(refused(), 300);
        line.refuse_overdue(at(110));
        line.refuse_overdue(at(110));
        assert_eq!(refused(), 330);
        line.refuse_overdue(at(299)); // Many at once, but not all.
        assert_eq!(refused(), 897);
        line.refuse_overdue(at(300)); // Nobody is served any more.
        assert_eq!(refused(), 1_897);
    }

    #[test]
    fn a_line_is_bounded() {
        let mut line = Line::new();
        for _ in 0..LINE_MAX {
            assert!(line.join(at(0), Waker::noop()).is_some());
        }
        assert!(line.join(at(0), Waker::noop()).is_none());
        assert!(line.let_in(at(0)) && line.join(at(0), Waker::noop()).is_some());
    }
}
