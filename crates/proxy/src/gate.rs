//! How many requests one worker lets in at once: an adaptive limit and those that it admitted.

use balance::{Limit, LimitSettings};
use net::{clock, ids};
use std::{cell::RefCell, rc::Rc};
use stdx::{Moment, Rng};

/// Lets requests of one worker in while there is room for them.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: RefCell<Limit>,
    rng: RefCell<Rng>,
}

impl Gate {
    pub(crate) fn new(settings: LimitSettings) -> Rc<Gate> {
        let limit = RefCell::new(Limit::new(clock::now(), settings));
        Rc::new(Gate { limit, rng: RefCell::new(Rng::new(ids::seed())) })
    }

    /// Admits a request if there is room. Who is not admitted was certainly not executed.
    pub(crate) fn admit(self: &Rc<Gate>, now: Moment) -> Option<Admitted> {
        let admitted = self.limit.borrow_mut().try_start(now);
        admitted.then(|| Admitted { gate: Some(Rc::clone(self)), at: now })
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
}
