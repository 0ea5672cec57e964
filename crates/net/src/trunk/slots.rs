//! Requests that wait for their answers, found by number without a search.

use wire::frame::limits::{IN_FLIGHT_MAX, SLOT_BITS};

/// Of a request's number: its slot. The bits above count how often the slot was used, so that an
/// answer to an earlier request is not taken for one to the present.
const INDEX_MASK: u32 = IN_FLIGHT_MAX - 1;

#[derive(Debug)]
pub(super) struct Slots<P> {
    slots: Vec<Slot<P>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<P> {
    /// Number of the request that has the slot, or had it last.
    id: u32,
    /// Tick after which nobody wants the answer.
    expires: u64,
    state: State<P>,
}

#[derive(Debug)]
enum State<P> {
    Free,
    Waiting(P),
    /// The first part of its answer is here.
    Streaming,
    /// Given up: keeps the slot until the peer, which is still at it, has said that it is over.
    Abandoned,
}

/// What an answer found.
#[derive(Debug)]
pub(super) enum Found<P> {
    Waiting(P),
    Streaming,
    Abandoned,
    /// The peer answers what was never asked, or twice.
    Nothing,
}

impl<P> Slots<P> {
    pub(super) fn new() -> Slots<P> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    /// Slots that are taken.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The number that the next [`Slots::insert`] will use.
    ///
    /// # Panics
    /// When all slots are taken, which the caller has seen to.
    pub(super) fn next_id(&self) -> u32 {
        match self.free.last() {
            Some(&index) => self.slots[at(index)].id.wrapping_add(1 << SLOT_BITS),
            None => {
                let index = u32::try_from(self.slots.len()).expect("below the limit");
                assert!(index < IN_FLIGHT_MAX);
                index
            }
        }
    }

    /// Takes the slot of [`Slots::next_id`].
    pub(super) fn insert(&mut self, pending: P, expires: u64) {
        let id = self.next_id();
        let slot = Slot { id, expires, state: State::Waiting(pending) };
        match self.free.pop() {
            Some(index) => self.slots[at(index)] = slot,
            None => self.slots.push(slot),
        }
    }

    /// Frees the slot of an exchange that is over.
    pub(super) fn remove(&mut self, id: u32) -> Found<P> {
        let Some(slot) = self.slot(id) else { return Found::Nothing };
        let found = match std::mem::replace(&mut slot.state, State::Free) {
            State::Free => return Found::Nothing,
            State::Waiting(pending) => Found::Waiting(pending),
            State::Streaming => Found::Streaming,
            State::Abandoned => Found::Abandoned,
        };
        self.free.push(id & INDEX_MASK);
        found
    }

    /// The first part of a long answer is here. Also returns the tick of the deadline.
    pub(super) fn begin(&mut self, id: u32) -> (Found<P>, u64) {
        let Some(slot) = self.slot(id) else { return (Found::Nothing, 0) };
        let found = match std::mem::replace(&mut slot.state, State::Streaming) {
            State::Waiting(pending) => Found::Waiting(pending),
            State::Streaming => Found::Streaming,
            State::Abandoned => {
                slot.state = State::Abandoned;
                Found::Abandoned
            }
            State::Free => {
                slot.state = State::Free;
                Found::Nothing
            }
        };
        (found, slot.expires)
    }

    /// Nobody waits any more: the slot is kept until the peer has said that it is over.
    pub(super) fn abandon(&mut self, id: u32) -> Found<P> {
        let Some(slot) = self.slot(id) else { return Found::Nothing };
        match std::mem::replace(&mut slot.state, State::Abandoned) {
            State::Waiting(pending) => Found::Waiting(pending),
            State::Streaming => Found::Streaming,
            State::Abandoned => Found::Abandoned,
            State::Free => {
                slot.state = State::Free;
                Found::Nothing
            }
        }
    }

    fn slot(&mut self, id: u32) -> Option<&mut Slot<P>> {
        self.slots.get_mut(at(id & INDEX_MASK)).filter(|slot| slot.id == id)
    }

    /// Gives up on what has passed its deadline, and adds it to `expired`.
    pub(super) fn expire(&mut self, tick: u64, expired: &mut Vec<(u32, P)>) {
        for slot in &mut self.slots {
            if tick < slot.expires || !matches!(slot.state, State::Waiting(_)) {
                continue;
            }
            if let State::Waiting(it) = std::mem::replace(&mut slot.state, State::Abandoned) {
                expired.push((slot.id, it));
            }
        }
    }

    /// Frees everything and returns who still waits.
    pub(super) fn drain(&mut self) -> Vec<P> {
        self.free.clear();
        let waiting = self.slots.drain(..).filter_map(|slot| match slot.state {
            State::Waiting(pending) => Some(pending),
            State::Free | State::Streaming | State::Abandoned => None,
        });
        waiting.collect()
    }
}

fn at(index: u32) -> usize {
    usize::try_from(index).expect("an index fits a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut slots = Slots::new();
        let first = slots.next_id();
        slots.insert('a', 1);
        let second = slots.next_id();
        slots.insert('b', 1);
        assert!(matches!(slots.remove(first), Found::Waiting('a')));
        assert!(matches!(slots.remove(first), Found::Nothing));
        let third = slots.next_id();
        assert_ne!(first, third);
        slots.insert('c', 1);
        assert_eq!(slots.len(), 2);
        assert!(matches!(slots.remove(first), Found::Nothing));
        assert!(matches!(slots.remove(third), Found::Waiting('c')));
        assert!(matches!(slots.remove(second), Found::Waiting('b')));
        assert!(matches!(slots.remove(77), Found::Nothing));
    }

    #[test]
    fn what_is_past_its_deadline_keeps_its_slot_until_answered() {
        let mut slots = Slots::new();
        let (soon, mut expired) = (slots.next_id(), Vec::new());
        slots.insert('a', 1);
        slots.insert('b', 2);
        slots.expire(1, &mut expired);
        slots.expire(1, &mut expired);
        assert_eq!((expired, slots.len()), (vec![(soon, 'a')], 2));
        assert!(matches!(slots.remove(soon), Found::Abandoned));
        assert_eq!((slots.drain(), slots.len()), (vec!['b'], 0));
    }

    #[test]
    fn a_slot_that_was_given_up_is_freed_once_and_by_the_peer() {
        let mut slots = Slots::new();
        let id = slots.next_id();
        slots.insert('a', 7);
        assert!(matches!(slots.abandon(id), Found::Waiting('a')));
        assert!(matches!(slots.abandon(id), Found::Abandoned));
        assert!(matches!(slots.begin(id), (Found::Abandoned, 7)));
        assert_eq!(slots.len(), 1);
        assert!(matches!(slots.remove(id), Found::Abandoned));
        assert!(matches!(slots.remove(id), Found::Nothing));
        assert!(matches!(slots.abandon(id), Found::Nothing));
        assert!(matches!(slots.begin(id), (Found::Nothing, 7)));
        assert_eq!(slots.len(), 0);
        let next = slots.next_id();
        slots.insert('b', 8);
        assert!(matches!(slots.abandon(id), Found::Nothing));
        assert!(matches!(slots.begin(next), (Found::Waiting('b'), 8)));
        assert!(matches!(slots.begin(next), (Found::Streaming, 8)));
        assert!(matches!(slots.remove(next), Found::Streaming));
    }
}
