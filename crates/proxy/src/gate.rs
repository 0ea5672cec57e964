//! How many requests one worker lets in at once: an adaptive limit, those that it admitted, and those
//! that wait for room.

mod line;

use self::line::{LINE_TICK, Line, Place, Verdict};
use balance::{Limit, LimitSettings};
use net::{clock, counters::Counter, ids};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};
use stdx::{Moment, Rng};
use tokio::task::spawn_local;

/// Answers of one worker that go on after their heads, and connections that left HTTP behind. They
/// may last for hours and say nothing of how fast anything is, so they take no room of the adaptive
/// limit; above this number whatever might become one more is refused.
pub(crate) const OPEN_STREAMS_MAX: u32 = 8_192;

/// What one worker counts of those who wait for room.
#[derive(Debug, Default)]
pub(crate) struct LineCounters {
    /// They wait now.
    pub(crate) waiting: Counter,
    /// They waited, and there was room in good time.
    pub(crate) let_in: Counter,
}

/// Lets requests of one worker in while there is room for them.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: RefCell<Limit>,
    rng: RefCell<Rng>,
    streams: Cell<u32>,
    line: RefCell<Line>,
    /// Room that is kept for those who were let in from the line and have not come yet.
    promised: Cell<u32>,
    /// Somebody looks after the line.
    is_kept: Cell<bool>,
    counters: Arc<LineCounters>,
}

impl Gate {
    pub(crate) fn new(settings: LimitSettings, counters: Arc<LineCounters>) -> Rc<Gate> {
        let limit = RefCell::new(Limit::new(clock::now(), settings));
        Rc::new(Gate {
            limit,
            rng: RefCell::new(Rng::new(ids::seed())),
            streams: Cell::new(0),
            line: RefCell::new(Line::new()),
            promised: Cell::new(0),
            is_kept: Cell::new(false),
            counters,
        })
    }

    /// Admits a request if there is room. Who is not admitted was certainly not executed.
    pub(crate) fn admit(self: &Rc<Gate>, now: Moment) -> Option<Admitted> {
        // Room that is promised is taken; that there is none besides says nothing of the limit.
        let is_free = self.promised.get() == 0 || self.has_room();
        let admitted = is_free && self.limit.borrow_mut().try_start(now);
        admitted.then(|| Admitted { gate: Some(Rc::clone(self)), at: now })
    }

    fn has_room(&self) -> bool {
        let limit = self.limit.borrow();
        limit.in_flight().saturating_add(self.promised.get()) < limit.limit()
    }

    /// Requests that were admitted and have not ended.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u32 {
        self.limit.borrow().in_flight()
    }

    /// Whether there is no room now, or others wait for it.
    pub(crate) fn is_full(&self) -> bool {
        !self.line.borrow().is_empty() || !self.has_room()
    }

    /// Waits for room. Ends with true when there is some, which must be taken at once, and with
    /// false when there was none in good time.
    pub(crate) fn room(self: &Rc<Gate>) -> Room {
        Room { gate: Rc::clone(self), place: None }
    }

    /// Gives what room there is to those who wait for it.
    fn let_in(&self, now: Moment) {
        while self.has_room() && self.line.borrow_mut().let_in(now) {
            self.promised.set(self.promised.get() + 1);
        }
    }

    /// A place in the line.
    fn line_up(self: &Rc<Gate>, waker: &Waker) -> Option<Rc<Place>> {
        let now = clock::now();
        let place = self.line.borrow_mut().join(now, waker)?;
        self.counters.waiting.add(1);
        // That somebody waits is what shows that the limit is too low.
        self.turned_away();
        if !self.is_kept.replace(true) {
            drop(spawn_local(keep(Rc::downgrade(self))));
        }
        self.let_in(now);
        Some(place)
    }

    /// Whoever was let in is here, or will not come.
    fn keep_promise(&self) {
        self.promised.set(self.promised.get() - 1);
    }

    /// Notes a request that was refused because there was no room.
    pub(crate) fn turned_away(self: &Rc<Gate>) {
        // Should there be room again, it is given back at once.
        drop(self.admit(clock::now()));
    }

    /// Whether nothing may be let in that might go on after its answer has begun.
    pub(crate) fn has_all_streams(&self) -> bool {
        OPEN_STREAMS_MAX <= self.streams.get()
    }

    /// Counts something that goes on after its answer has begun, until what is returned is dropped.
    pub(crate) fn open_stream(self: &Rc<Gate>) -> OpenStream {
        self.streams.set(self.streams.get() + 1);
        OpenStream { gate: Rc::clone(self) }
    }

    /// Thousandths of the limit in use.
    pub(crate) fn share_permille(&self) -> u16 {
        self.limit.borrow().share_permille()
    }
}

/// Looks after the line until nobody waits any more.
async fn keep(gate: Weak<Gate>) {
    loop {
        tokio::time::sleep(LINE_TICK).await;
        let Some(gate) = gate.upgrade() else { return };
        let now = clock::now();
        gate.let_in(now);
        gate.line.borrow_mut().refuse_overdue(now);
        if gate.line.borrow().is_empty() {
            gate.is_kept.set(false);
            return;
        }
    }
}

/// A request that waits for room; dropped, it waits no longer.
#[derive(Debug)]
pub(crate) struct Room {
    gate: Rc<Gate>,
    /// `None` before and after.
    place: Option<Rc<Place>>,
}

impl Future for Room {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        if self.place.is_none() {
            if !self.gate.is_full() {
                return Poll::Ready(true);
            }
            let place = self.gate.line_up(cx.waker());
            if place.is_none() {
                return Poll::Ready(false);
            }
            self.place = place;
        }
        let Some(place) = &self.place else { return Poll::Pending };
        let Some(verdict) = place.verdict() else {
            place.set_waker(cx.waker());
            return Poll::Pending;
        };
        self.place = None;
        self.gate.counters.waiting.sub(1);
        let is_let_in = verdict == Verdict::Room;
        if is_let_in {
            self.gate.counters.let_in.add(1);
            self.gate.keep_promise();
        }
        Poll::Ready(is_let_in)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        self.gate.counters.waiting.sub(1);
        if place.leave() == Some(Verdict::Room) {
            self.gate.keep_promise();
            self.gate.let_in(clock::now());
        }
    }
}

/// A request that was admitted, until it comes to its end. Dropped, it ended in a way that says
/// nothing about how fast this node and those behind it are.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// `None` once it is counted as ended.
    gate: Option<Rc<Gate>>,
    pub(crate) at: Moment,
}

impl Admitted {
    /// It was answered, and how long that took counts.
    pub(crate) fn answered(mut self, now: Moment) {
        if let Some(gate) = self.gate.take() {
            let latency = now.since(self.at);
            gate.limit.borrow_mut().ended(now, &mut gate.rng.borrow_mut(), Some(latency));
            gate.let_in(now);
        }
    }

    /// It was refused for lack of room further on.
    pub(crate) fn shed(self) {
        if let Some(gate) = &self.gate {
            gate.limit.borrow_mut().dropped();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            let now = clock::now();
            gate.limit.borrow_mut().ended(now, &mut gate.rng.borrow_mut(), None);
            gate.let_in(now);
        }
    }
}

/// Something that goes on after its answer has begun.
#[derive(Debug)]
pub(crate) struct OpenStream {
    gate: Rc<Gate>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.gate.streams.set(self.gate.streams.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limit: u32) -> Rc<Gate> {
        Gate::new(LimitSettings { min: limit, initial: limit, max: limit }, Arc::default())
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let gate = gate(2);
        let now = clock::now();
        let [first, second] = [0; 2].map(|_| gate.admit(now).expect("room for two"));
        assert!(gate.admit(now).is_none());
        assert_eq!(gate.share_permille(), 1_000);
        drop(first);
        let third = gate.admit(now).expect("one went");
        second.answered(clock::now());
        third.shed();
        assert_eq!(gate.share_permille(), 0);
    }

    fn polled(room: &mut Room) -> Poll<bool> {
        Pin::new(room).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn room_is_kept_for_whoever_waited() {
        let waiting = async {
            let gate = gate(1);
            let now = clock::now();
            let inside = gate.admit(now).expect("room for one");
            let [mut first, mut second, mut third] = [0; 3].map(|_| gate.room());
            for room in [&mut first, &mut second, &mut third] {
                assert!(polled(room).is_pending());
            }
            let counted = || (gate.counters.waiting.get(), gate.counters.let_in.get());
            assert_eq!(counted(), (3, 0));
            inside.answered(clock::now());
            // Nobody overtakes who was let in, and who leaves makes room for the next.
            assert!(gate.is_full() && gate.admit(now).is_none());
            drop(first);
            assert_eq!(polled(&mut second), Poll::Ready(true));
            let inside = gate.admit(now).expect("its room");
            assert!(polled(&mut third).is_pending());
            assert_eq!(counted(), (1, 1));
            // In vain, in the end.
            assert!(!third.await);
            assert_eq!(counted(), (0, 1));
            drop(inside);
            assert!(!gate.is_full() && gate.room().await);
        };
        tokio::task::LocalSet::new().run_until(waiting).await;
    }

    #[test]
    fn streams_take_no_room_and_are_bounded() {
        let gate = gate(1);
        let open: Vec<_> = (0..OPEN_STREAMS_MAX).map(|_| gate.open_stream()).collect();
        assert!(gate.has_all_streams() && gate.admit(clock::now()).is_some());
        drop(open);
        assert!(!gate.has_all_streams());
    }
}
