//! Awaiting an answer, for those who have a task per request.

use super::{
    client::Link,
    conn::{Loss, Pending, Refused},
};
use bytes::Bytes;
use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};
use wire::frame::{RequestRef, ResponseRef};

/// An answer that was received whole, and is the caller's to keep.
#[derive(Clone, Debug)]
pub struct Answer {
    message: Bytes,
}

impl Answer {
    /// The answer as it came.
    pub fn response(&self) -> ResponseRef<'_> {
        ResponseRef::read(&self.message).expect("it was read when it came")
    }

    /// The body, without a copy.
    pub fn body(&self) -> Bytes {
        self.share(self.response().body)
    }

    /// Any part of the response, without a copy.
    ///
    /// # Panics
    /// When `part` is of something else.
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.message.slice_ref(part)
    }
}

/// The pending side of a [`call`].
#[derive(Debug)]
pub struct CallSlot {
    state: Rc<RefCell<State>>,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Answer, Loss>),
    /// Nobody waits any more.
    Dropped,
}

impl CallSlot {
    fn settle(&self, result: impl FnOnce() -> Result<Answer, Loss>) {
        let mut state = self.state.borrow_mut();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Pending for CallSlot {
    fn answered(self, response: ResponseRef<'_>) {
        self.settle(|| Ok(Answer { message: Bytes::copy_from_slice(response.message()) }));
    }

    fn lost(self, loss: Loss) {
        self.settle(|| Err(loss));
    }
}

/// Marks the call as given up when its future is dropped.
struct Waiting {
    state: Rc<RefCell<State>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.state.replace(State::Dropped);
    }
}

/// Sends a request and waits for its answer, its deadline or the loss of the connection.
///
/// The request is sent by the call itself, before the first await. Dropping the future gives the
/// answer up: whatever comes later is thrown away.
pub fn call<P: Pending + From<CallSlot>>(
    link: &Link<P>,
    request: &RequestRef<'_>,
) -> impl Future<Output = Result<Answer, Loss>> + use<P> {
    let waiting = Waiting { state: Rc::new(RefCell::new(State::Waiting(None))) };
    let slot = CallSlot { state: Rc::clone(&waiting.state) };
    if let Err(Refused { loss, .. }) = link.send(request, P::from(slot)) {
        waiting.state.replace(State::Done(Err(loss)));
    }
    async move {
        poll_fn(|cx| {
            let mut state = waiting.state.borrow_mut();
            match &mut *state {
                State::Waiting(waker) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                State::Done(_) => match std::mem::replace(&mut *state, State::Dropped) {
                    State::Done(result) => Poll::Ready(result),
                    State::Waiting(_) | State::Dropped => Poll::Pending,
                },
                State::Dropped => Poll::Pending,
            }
        })
        .await
    }
}
