//! Requests that wait for their answers, found by number without a search.

use wire::frame::limits::IN_FLIGHT_MAX;

/// Low bits of a request's number: its slot. The others count how often the slot was used, so
/// that an answer to an earlier request is not taken for one to the present.
const INDEX_BITS: u32 = IN_FLIGHT_MAX.ilog2();
const INDEX_MASK: u32 = IN_FLIGHT_MAX - 1;

const _: () = assert!(IN_FLIGHT_MAX.is_power_of_two());

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
    /// Past its deadline: keeps the slot until the peer, which is still at it, has answered.
    Abandoned,
}

/// What an answer found.
#[derive(Debug)]
pub(super) enum Found<P> {
    Waiting(P),
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
            Some(&index) => self.slots[at(index)].id.wrapping_add(1 << INDEX_BITS),
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

    /// Frees the slot of an answered request.
    pub(super) fn remove(&mut self, id: u32) -> Found<P> {
        let index = id & INDEX_MASK;
        let Some(slot) = self.slots.get_mut(at(index)) else { return Found::Nothing };
        if slot.id != id {
            return Found::Nothing;
        }
        let found = match std::mem::replace(&mut slot.state, State::Free) {
            State::Free => return Found::Nothing,
            State::Waiting(pending) => Found::Waiting(pending),
            State::Abandoned => Found::Abandoned,
        };
        self.free.push(index);
        found
    }

    /// Gives up on what has passed its deadline, and adds it to `expired`.
    pub(super) fn expire(&mut self, tick: u64, expired: &mut Vec<P>) {
        for slot in &mut self.slots {
            if tick < slot.expires || !matches!(slot.state, State::Waiting(_)) {
                continue;
            }
            if let State::Waiting(it) = std::mem::replace(&mut slot.state, State::Abandoned) {
                expired.push(it);
            }
        }
    }

    /// Frees everything and returns who still waits.
    pub(super) fn drain(&mut self) -> Vec<P> {
        self.free.clear();
        let waiting = self.slots.drain(..).filter_map(|slot| match slot.state {
            State::Waiting(pending) => Some(pending),
            State::Free | State::Abandoned => None,
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
        assert_eq!((expired, slots.len()), (vec!['a'], 2));
        assert!(matches!(slots.remove(soon), Found::Abandoned));
        assert_eq!((slots.drain(), slots.len()), (vec!['b'], 0));
    }
}
