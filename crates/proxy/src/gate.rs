//! How many requests one worker lets in at once: an adaptive limit and those that it admitted.

use balance::{Limit, LimitSettings};
use net::{clock, ids};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use stdx::{Moment, Rng};

/// Answers of one worker that go on after their heads, and connections that left HTTP behind. They
/// may last for hours and say nothing of how fast anything is, so they take no room of the adaptive
/// limit; above this number whatever might become one more is refused.
pub(crate) const OPEN_STREAMS_MAX: u32 = 8_192;

/// Lets requests of one worker in while there is room for them.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: RefCell<Limit>,
    rng: RefCell<Rng>,
    streams: Cell<u32>,
}

impl Gate {
    pub(crate) fn new(settings: LimitSettings) -> Rc<Gate> {
        let limit = RefCell::new(Limit::new(clock::now(), settings));
        Rc::new(Gate { limit, rng: RefCell::new(Rng::new(ids::seed())), streams: Cell::new(0) })
    }

    /// Admits a request if there is room. Who is not admitted was certainly not executed.
    pub(crate) fn admit(self: &Rc<Gate>, now: Moment) -> Option<Admitted> {
        let admitted = self.limit.borrow_mut().try_start(now);
        admitted.then(|| Admitted { gate: Some(Rc::clone(self)), at: now })
    }

    /// Requests that were admitted and have not ended.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u32 {
        self.limit.borrow().in_flight()
    }

    /// Whether there is no room now.
    pub(crate) fn is_full(&self) -> bool {
        self.limit.borrow().is_full()
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
            gate.limit.borrow_mut().ended(clock::now(), &mut gate.rng.borrow_mut(), None);
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

    #[test]
    fn whoever_leaves_makes_room() {
        let gate = Gate::new(LimitSettings { min: 2, initial: 2, max: 2 });
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

    #[test]
    fn streams_take_no_room_and_are_bounded() {
        let gate = Gate::new(LimitSettings { min: 1, initial: 1, max: 1 });
        let open: Vec<_> = (0..OPEN_STREAMS_MAX).map(|_| gate.open_stream()).collect();
        assert!(gate.has_all_streams() && gate.admit(clock::now()).is_some());
        drop(open);
        assert!(!gate.has_all_streams());
    }
}
