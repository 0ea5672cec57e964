//! Awaiting an answer, for those who have a task per request.

use super::{
    client::{Link, Ticket},
    conn::{Loss, Pending, Refused},
    stream::{StreamReader, StreamWriter, Ungathered},
};
use bytes::Bytes;
use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};
use tokio::task::spawn_local;
use wire::frame::{Patch, RequestRef, ResponseRef};

/// An answer that was received, whole or its first part, and is the caller's to keep.
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
    /// A long answer is wanted as it comes, and not put together.
    streams: bool,
}

/// An answer with the first part of its body, and a reader for the others if that is not all.
type Settled = Result<(Answer, Option<StreamReader>), Loss>;

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>, Option<Ticket>),
    Done(Settled),
    /// Nobody waits any more.
    Dropped,
}

impl CallSlot {
    fn settle(&self, result: impl FnOnce() -> Settled) {
        let mut state = self.state.borrow_mut();
        if let State::Waiting(waker, _) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result());
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Pending for CallSlot {
    fn sent(&self, ticket: Ticket) {
        if let State::Waiting(_, its) = &mut *self.state.borrow_mut() {
            *its = Some(ticket);
        }
    }

    fn answered(self, response: ResponseRef<'_>) {
        self.settle(|| Ok((Answer { message: Bytes::copy_from_slice(response.message()) }, None)));
    }

    fn streamed(self, head: ResponseRef<'_>, body: StreamReader) {
        let message = Bytes::copy_from_slice(head.message());
        if self.streams {
            return self.settle(|| Ok((Answer { message }, Some(body))));
        }
        drop(spawn_local(async move {
            let gathered = body.gather(&message).await;
            self.settle(|| match gathered {
                Ok(message) => Ok((Answer { message: message.into() }, None)),
                Err(Ungathered::Lost(loss)) => Err(loss),
                Err(Ungathered::TooLong | Ungathered::Full) => Err(Loss::Reset),
            });
        }));
    }

    fn lost(self, loss: Loss) {
        self.settle(|| Err(loss));
    }
}

/// Gives the call up when its future is dropped.
struct Waiting<P: Pending> {
    state: Rc<RefCell<State>>,
    link: Link<P>,
}

impl<P: Pending> Waiting<P> {
    /// What waits, and the slot that settles it.
    fn new(link: &Link<P>, streams: bool) -> (Waiting<P>, CallSlot) {
        let state = Rc::new(RefCell::new(State::Waiting(None, None)));
        let slot = CallSlot { state: Rc::clone(&state), streams };
        (Waiting { state, link: link.clone() }, slot)
    }

    async fn settled(&self) -> Settled {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            match &mut *state {
                State::Waiting(waker, _) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                State::Done(_) => match std::mem::replace(&mut *state, State::Dropped) {
                    State::Done(result) => Poll::Ready(result),
                    State::Waiting(..) | State::Dropped => Poll::Pending,
                },
                State::Dropped => Poll::Pending,
            }
        })
        .await
    }
}

impl<P: Pending> Drop for Waiting<P> {
    fn drop(&mut self) {
        let before = self.state.replace(State::Dropped);
        if let State::Waiting(_, Some(ticket)) = before {
            self.link.cancel(ticket);
        }
    }
}

/// Sends a request and waits for its answer, its deadline or the loss of the connection. A long
/// answer is put together first.
///
/// The request is sent by the call itself, before the first await. Dropping the future gives the
/// request up: the endpoint is told so, and whatever it answers is thrown away.
pub fn call<P: Pending + From<CallSlot>>(
    link: &Link<P>,
    request: &RequestRef<'_>,
) -> impl Future<Output = Result<Answer, Loss>> + use<P> {
    let settled = call_with(link, request, false, P::from);
    async move { settled.await.map(|(answer, _)| answer) }
}

/// As [`call`], for pendings that hold more than the slot: `wrap` makes one, which is to pass on to
/// the slot what it hears. It hears of everything, also of a request that could not be sent.
///
/// With `streams` a long answer is not put together: its first part comes with a reader for the
/// others, and the deadline is one for that first part.
pub fn call_with<P: Pending, W: FnOnce(CallSlot) -> P>(
    link: &Link<P>,
    request: &RequestRef<'_>,
    streams: bool,
    wrap: W,
) -> impl Future<Output = Result<(Answer, Option<StreamReader>), Loss>> + use<P, W> {
    let (waiting, slot) = Waiting::new(link, streams);
    if let Err(Refused { pending, loss }) = link.send(request, wrap(slot)) {
        pending.lost(loss);
    }
    async move { waiting.settled().await }
}

/// A request that streams: the rest of its body goes out as the answer comes in.
pub struct Exchange<P: Pending> {
    waiting: Waiting<P>,
}

impl<P: Pending> std::fmt::Debug for Exchange<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl<P: Pending> Exchange<P> {
    /// The head of the answer with the first part of its body, and a reader for the others if that
    /// is not all. To drop the future gives the request up.
    ///
    /// The deadline of the request is one for the head; whoever reads on minds the time himself.
    pub async fn answer(self) -> Result<(Answer, Option<StreamReader>), Loss> {
        self.waiting.settled().await
    }
}

/// Sends the head of a request, with what is already there of its body, which is to fit one frame
/// with it (4 KiB always do). Both directions are open from then on, each until its own end; the
/// end of the answer ends the exchange.
///
/// # Errors
/// When nothing was sent.
pub fn open_stream<P: Pending + From<CallSlot>>(
    link: &Link<P>,
    request: &RequestRef<'_>,
) -> Result<(StreamWriter, Exchange<P>), Loss> {
    let (waiting, slot) = Waiting::new(link, true);
    match link.send_open(request, P::from(slot)) {
        Ok(writer) => Ok((writer, Exchange { waiting })),
        Err(Refused { loss, .. }) => Err(loss),
    }
}

/// As [`open_stream`] for a request whose first part was received and goes on as it was.
///
/// # Errors
/// When nothing was sent.
///
/// # Panics
/// When `part` is not from [`RequestRef::message`] of a request that was received.
pub fn forward_stream<P: Pending + From<CallSlot>>(
    link: &Link<P>,
    patch: Patch,
    part: &[u8],
) -> Result<(StreamWriter, Exchange<P>), Loss> {
    let (waiting, slot) = Waiting::new(link, true);
    match link.forward_open(patch, P::from(slot), part) {
        Ok(writer) => Ok((writer, Exchange { waiting })),
        Err(Refused { loss, .. }) => Err(loss),
    }
}
