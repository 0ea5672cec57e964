//! What is known of one HTTP connection: what it is busy with, and since when.
//!
//! Time is counted in sweeps: one timer for all connections of a worker, none for a request.

use super::{patience::Sweeps, upgrade::Upgraded};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::sync::oneshot;

/// Sweeps that a drain gives a connection that was busy just now, so that a request on its way is
/// answered and not cut off: 1 s.
const DRAIN_SWEEPS: u64 = 2;

/// What a connection is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not one whole request head has come yet, nor anything else that shows what is spoken.
    Opening,
    /// Between requests.
    Idle,
    /// Bytes have come, and not yet a whole head.
    Head,
    /// At least one request is being answered.
    Handling,
    /// It no longer speaks HTTP.
    Upgraded,
}

#[derive(Debug)]
pub(super) struct ConnState {
    phase: Cell<Phase>,
    since: Cell<u64>,
    opened: u64,
    /// Requests that have come on it.
    requests: Cell<u64>,
    tick: Rc<Cell<u64>>,
    max: Rc<Sweeps>,
    cut: Cell<bool>,
    /// Something was read.
    heard: Cell<bool>,
    /// Bytes may still come that nobody is going to read.
    unread: Cell<bool>,
    /// The head of a further request has begun to come.
    mid_head: Cell<bool>,
    /// Requests that are not answered to the last byte.
    busy: Cell<u32>,
    /// Answers that have begun, and when one of them last went on.
    answers: Cell<u32>,
    answered: Cell<u64>,
    /// Streamed request bodies that somebody waits for, and when one of them last went on.
    awaited: Cell<u32>,
    received: Cell<u64>,
    /// Since when the socket takes nothing more.
    blocked: Cell<Option<u64>>,
    /// Since when nothing more can come from the client.
    left: Cell<Option<u64>>,
    /// Who is to get the connection once it has left HTTP.
    upgrade: RefCell<Option<oneshot::Sender<Upgraded>>>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
}

impl ConnState {
    pub(super) fn new(tick: Rc<Cell<u64>>, max: Rc<Sweeps>) -> ConnState {
        let now = tick.get();
        ConnState {
            phase: Cell::new(Phase::Opening),
            since: Cell::new(now),
            opened: now,
            requests: Cell::new(0),
            tick,
            max,
            cut: Cell::new(false),
            heard: Cell::new(false),
            unread: Cell::new(false),
            mid_head: Cell::new(false),
            busy: Cell::new(0),
            answers: Cell::new(0),
            answered: Cell::new(now),
            awaited: Cell::new(0),
            received: Cell::new(now),
            blocked: Cell::new(None),
            left: Cell::new(None),
            upgrade: RefCell::default(),
            task: RefCell::default(),
        }
    }

    fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.tick.get());
    }

    /// Sweeps so far.
    pub(super) fn now(&self) -> u64 {
        self.tick.get()
    }

    fn sweeps_since(&self, tick: u64) -> u64 {
        self.tick.get() - tick
    }

    /// Requests that are not answered to the last byte.
    pub(super) fn busy(&self) -> u32 {
        self.busy.get()
    }

    /// Whether the client lets us wait for longer than it may.
    pub(super) fn is_overdue(&self) -> bool {
        let sweeps = self.sweeps_since(self.since.get());
        let longer_than =
            |max: u64, since: Option<u64>| since.is_some_and(|tick| max < self.sweeps_since(tick));
        let max = &self.max;
        let in_phase = match self.phase() {
            Phase::Idle => max.idle < sweeps,
            Phase::Opening | Phase::Head => max.head < sweeps,
            // A whole body has a timeout, and the role keeps a deadline.
            Phase::Handling => {
                (self.answers.get() != 0 && max.stall < self.sweeps_since(self.answered.get()))
                    || (self.awaited.get() != 0
                        && max.stall < self.sweeps_since(self.received.get()))
                    || longer_than(max.left, self.left.get())
            }
            Phase::Upgraded => return false,
        };
        in_phase || longer_than(max.stall, self.blocked.get())
    }

    /// Whether the connection has lived so long, or served so many, that its next answer should be
    /// its last.
    pub(super) fn is_old(&self) -> bool {
        self.max.age < self.sweeps_since(self.opened)
            || self.max.requests_max <= self.requests.get()
    }

    /// Whether a drain may close an HTTP/1 connection once it has answered what it is at. Not
    /// while a request comes in, or seems likely to: the answer to that one will say that it is
    /// the last.
    pub(super) fn may_shut(&self) -> bool {
        self.phase() == Phase::Handling || DRAIN_SWEEPS <= self.sweeps_since(self.since.get())
    }

    /// Whether an HTTP/2 connection that was told at this sweep to end may be closed: what the
    /// client sent before it heard of that has come.
    pub(super) fn may_let_go(&self, told: u64) -> bool {
        self.is_free() && DRAIN_SWEEPS <= self.sweeps_since(told.max(self.since.get()))
    }

    /// Whether a request is in hand, and all that is awaited is our own answer to it.
    pub(super) fn is_handling(&self) -> bool {
        self.phase() == Phase::Handling
    }

    /// Notes that nothing more can come from the client.
    pub(super) fn leave(&self) {
        if self.left.get().is_none() {
            self.left.set(Some(self.tick.get()));
        }
    }

    /// Whether nothing is in hand.
    pub(super) fn is_free(&self) -> bool {
        self.busy.get() == 0
    }

    /// Whether a request has begun and got no further than its head.
    pub(super) fn is_late_head(&self) -> bool {
        matches!(self.phase(), Phase::Opening | Phase::Head) && self.heard.get()
    }

    /// Notes that bytes came.
    pub(super) fn hear(&self) {
        self.heard.set(true);
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Whether nothing is in hand, and all that was answered is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.phase() == Phase::Idle && self.blocked.get().is_none()
    }

    /// Notes whether the head of a further request has begun to come.
    pub(super) fn set_mid_head(&self, is_mid_head: bool) {
        self.mid_head.set(is_mid_head);
    }

    /// Notes whether the socket takes bytes.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        match is_blocked {
            true if self.blocked.get().is_none() => self.blocked.set(Some(self.tick.get())),
            true => (),
            false => self.blocked.set(None),
        }
    }

    /// Notes that the socket has taken bytes; `is_awaited` says whether answers wait for that.
    pub(super) fn goes_out(&self, is_awaited: bool) {
        self.blocked.set(None);
        if is_awaited {
            self.answered.set(self.tick.get());
        }
    }

    /// Notes that the request in hand is answered without its body.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Promises the connection to somebody, in place of whoever it was promised before.
    pub(super) fn promise(&self, upgrade: Option<oneshot::Sender<Upgraded>>) {
        self.upgrade.replace(upgrade);
    }

    /// Whether an answer may still grant an upgrade.
    pub(super) fn is_promised(&self) -> bool {
        self.upgrade.borrow().is_some()
    }

    /// To whom the connection was promised and who still wants it.
    pub(super) fn promised(&self) -> Option<oneshot::Sender<Upgraded>> {
        self.upgrade.take().filter(|it| !it.is_closed())
    }

    /// Remembers the task that serves the connection.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Ends the connection, whatever it is busy with.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// What the connection's task waits for; `None` once the connection is cut off.
    pub(super) async fn unless_cut<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.watch(cx);
            match self.is_cut() {
                true => Poll::Ready(None),
                false => future.as_mut().poll(cx).map(Some),
            }
        })
        .await
    }
}

/// A request in hand, until its answer is handed over to the last byte or nobody wants it.
#[derive(Debug)]
pub(super) struct InHand {
    state: Rc<ConnState>,
    answering: bool,
}

impl InHand {
    pub(super) fn new(state: Rc<ConnState>) -> InHand {
        state.busy.set(state.busy.get() + 1);
        state.requests.set(state.requests.get() + 1);
        state.enter(Phase::Handling);
        InHand { state, answering: false }
    }

    /// Notes that the answer has begun, or that the client takes more of it.
    pub(super) fn answer_goes_on(&mut self) {
        let state = &self.state;
        if !self.answering {
            self.answering = true;
            state.answers.set(state.answers.get() + 1);
        }
        state.answered.set(state.tick.get());
    }

    /// Notes that whoever makes the answer has no more of it yet: the client holds up nothing.
    pub(super) fn answer_waits(&mut self) {
        if std::mem::take(&mut self.answering) {
            let answers = &self.state.answers;
            answers.set(answers.get() - 1);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.answer_waits();
        let state = &self.state;
        state.busy.set(state.busy.get() - 1);
        if state.busy.get() == 0 && state.phase() == Phase::Handling {
            state.enter(if state.mid_head.get() { Phase::Head } else { Phase::Idle });
        }
    }
}

/// A streamed body that somebody waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    state: Rc<ConnState>,
    waiting: bool,
}

impl Awaited {
    pub(super) fn new(state: Rc<ConnState>) -> Awaited {
        Awaited { state, waiting: false }
    }

    /// Notes whether the next part of the body is being waited for.
    pub(super) fn set_waiting(&mut self, waiting: bool) {
        let state = &self.state;
        match (self.waiting, waiting) {
            (false, true) => {
                state.awaited.set(state.awaited.get() + 1);
                state.received.set(state.tick.get());
            }
            (true, false) => {
                state.awaited.set(state.awaited.get() - 1);
                state.received.set(state.tick.get());
            }
            (false, false) | (true, true) => (),
        }
        self.waiting = waiting;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}
