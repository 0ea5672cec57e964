//! Requests that are to be answered, found by number without a search.

use super::client::Ticket;
use std::{
    cell::{Cell, RefCell},
    task::Waker,
};
use wire::{
    Flaw,
    frame::limits::{IN_FLIGHT_MAX, SLOT_BITS},
};

const _: () = assert!(IN_FLIGHT_MAX == 1 << SLOT_BITS);
const INDEX_MASK: u32 = IN_FLIGHT_MAX - 1;

/// What the server's end of a connection owes. The numbers are the peer's: by the rules of the
/// trunk no two requests in flight share a slot.
#[derive(Debug, Default)]
pub(super) struct Duties {
    /// By slot. Grows to the most that was ever in flight.
    duties: RefCell<Vec<Duty>>,
    count: Cell<u32>,
}

#[derive(Debug)]
struct Duty {
    id: u32,
    state: State,
    hook: Hook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Free, and its request was given up when it had been answered.
    Crossed,
    Wanted,
    /// The peer has given the request up.
    Cancelled,
}

impl Duty {
    fn is_owed(&self) -> bool {
        match self.state {
            State::Free | State::Crossed => false,
            State::Wanted | State::Cancelled => true,
        }
    }
}

/// What giving up a request met.
#[derive(Debug)]
pub(super) enum Cancelled {
    /// It was waited for until now.
    Now(Hook),
    /// It crossed the answer, as may happen once to each request.
    TooLate,
    /// There is no such request.
    Nothing,
}

/// What a request was passed on as: whoever passed it on says so, to be told when it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The handler's own number of the link.
    pub way: u32,
    pub ticket: Ticket,
}

/// Who is to hear that a request was given up.
#[derive(Debug, Default)]
pub(super) enum Hook {
    #[default]
    Nobody,
    Handler(Tag),
    Task(Waker),
}

impl Duties {
    /// Requests that are not answered yet.
    pub(super) fn len(&self) -> u32 {
        self.count.get()
    }

    /// Takes a request in.
    pub(super) fn begin(&self, id: u32) -> Result<(), Flaw> {
        let mut duties = self.duties.borrow_mut();
        let index = at(id);
        if duties.len() <= index {
            let free = || Duty { id: 0, state: State::Free, hook: Hook::Nobody };
            duties.resize_with(index + 1, free);
        }
        let duty = &mut duties[index];
        if duty.is_owed() {
            return Err(Flaw("two requests in one slot"));
        }
        (duty.id, duty.state) = (id, State::Wanted);
        self.count.set(self.count.get() + 1);
        Ok(())
    }

    /// Whether the answer to the request is still waited for.
    pub(super) fn is_wanted(&self, id: u32) -> bool {
        self.duties.borrow().get(at(id)).is_some_and(|it| it.id == id && it.state == State::Wanted)
    }

    /// Says who is to hear when the request is given up, instead of whoever was.
    pub(super) fn hook(&self, id: u32, hook: Hook) {
        if let Some(duty) = self.duties.borrow_mut().get_mut(at(id)).filter(|it| it.id == id) {
            duty.hook = hook;
        }
    }

    /// The peer gives the request up.
    pub(super) fn cancel(&self, id: u32) -> Cancelled {
        let mut duties = self.duties.borrow_mut();
        let Some(duty) = duties.get_mut(at(id)).filter(|it| it.id == id) else {
            return Cancelled::Nothing;
        };
        match duty.state {
            State::Wanted => {
                duty.state = State::Cancelled;
                Cancelled::Now(std::mem::take(&mut duty.hook))
            }
            State::Free => {
                duty.state = State::Crossed;
                Cancelled::TooLate
            }
            State::Crossed | State::Cancelled => Cancelled::Nothing,
        }
    }

    /// The peer is gone, and gives up everything.
    pub(super) fn cancel_all(&self) -> Vec<Hook> {
        let mut duties = self.duties.borrow_mut();
        let wanted = duties.iter_mut().filter(|it| it.state == State::Wanted);
        let cancelled = wanted.map(|duty| {
            duty.state = State::Cancelled;
            std::mem::take(&mut duty.hook)
        });
        cancelled.collect()
    }

    /// The request is answered; its slot is the peer's again.
    pub(super) fn finish(&self, id: u32) {
        let mut duties = self.duties.borrow_mut();
        if let Some(duty) = duties.get_mut(at(id)).filter(|it| it.id == id)
            && duty.is_owed()
        {
            duty.state = State::Free;
            duty.hook = Hook::Nobody;
            self.count.set(self.count.get() - 1);
        }
    }
}

fn at(id: u32) -> usize {
    usize::try_from(id & INDEX_MASK).expect("an index fits a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_owed_until_it_is_answered_and_wanted_until_it_is_given_up() {
        let duties = Duties::default();
        let (first, next) = (3, 3 | IN_FLIGHT_MAX);
        duties.begin(first).unwrap();
        assert_eq!(duties.begin(next), Err(Flaw("two requests in one slot")));
        assert!(duties.is_wanted(first) && !duties.is_wanted(next));
        assert!(matches!(duties.cancel(next), Cancelled::Nothing));
        let tag = Tag { way: 1, ticket: Ticket { serial: 2, id: 3 } };
        duties.hook(first, Hook::Handler(tag));
        assert!(matches!(duties.cancel(first), Cancelled::Now(Hook::Handler(it)) if it == tag));
        assert!(matches!(duties.cancel(first), Cancelled::Nothing));
        assert!(!duties.is_wanted(first));
        assert_eq!((duties.len(), duties.begin(next).is_err()), (1, true));
        duties.finish(first);
        duties.finish(first);
        assert_eq!(duties.len(), 0);
        // One that crosses the answer is no offence, a second one is.
        assert!(matches!(duties.cancel(first), Cancelled::TooLate));
        assert!(matches!(duties.cancel(first), Cancelled::Nothing));
        duties.begin(next).unwrap();
        duties.finish(first);
        assert!(duties.is_wanted(next));
        assert_eq!((duties.cancel_all().len(), duties.len()), (1, 1));
    }
}
