//! Whom to answer: somebody who asked for one thing, or a batch whose answers are gathered first.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use wire::{Outcome, Reply, call::Failure};

/// Who waits for an answer. `T` is whom the node answers in the end.
#[derive(Debug)]
pub enum Asker<T> {
    One(T),
    /// The command at this place of a batch.
    Part(Rc<Gathering<T>>, usize),
}

/// The answers to a batch, as they come in.
#[derive(Debug)]
pub struct Gathering<T> {
    /// Taken when all are in.
    caller: RefCell<Option<T>>,
    answers: RefCell<Vec<Result<Outcome, Failure>>>,
    missing: Cell<usize>,
}

impl<T> Asker<T> {
    /// Who waits for each of `count` answers, which go to `caller` together.
    pub(crate) fn parts(caller: T, count: usize) -> impl Iterator<Item = Asker<T>> {
        // Nobody sees this failure: the last answer replaces the last of them.
        let answers = RefCell::new(vec![Err(Failure::OutcomeUnknown); count]);
        let (caller, missing) = (RefCell::new(Some(caller)), Cell::new(count));
        let gathering = Rc::new(Gathering { caller, answers, missing });
        (0..count).map(move |at| Asker::Part(Rc::clone(&gathering), at))
    }

    /// Whether the caller satisfies this.
    pub(crate) fn is(&self, check: fn(&T) -> bool) -> bool {
        match self {
            Asker::One(caller) => check(caller),
            Asker::Part(gathering, _) => gathering.caller.borrow().as_ref().is_some_and(check),
        }
    }

    /// Takes the answer; whom to tell what now, if anybody.
    pub(crate) fn answer(self, reply: Reply) -> Option<(T, Reply)> {
        match self {
            Asker::One(caller) => Some((caller, reply)),
            Asker::Part(gathering, at) => {
                gathering.answers.borrow_mut()[at] = part(reply);
                gathering.missing.set(gathering.missing.get() - 1);
                if gathering.missing.get() != 0 {
                    return None;
                }
                let caller = gathering.caller.borrow_mut().take()?;
                Some((caller, Reply::Batch(gathering.answers.take())))
            }
        }
    }
}

/// What a desk says of a command of a batch.
fn part(reply: Reply) -> Result<Outcome, Failure> {
    match reply {
        Reply::Outcome(outcome) => Ok(outcome),
        Reply::Failed(failure) => Err(failure),
        // No desk answers a command so.
        Reply::Account(_)
        | Reply::Transaction(_)
        | Reply::Transactions { .. }
        | Reply::Accounts { .. }
        | Reply::Trial(_)
        | Reply::Hold(_)
        | Reply::Transfer(_)
        | Reply::Pending(_)
        | Reply::Events { .. }
        | Reply::Batch(_) => Err(Failure::OutcomeUnknown),
    }
}
