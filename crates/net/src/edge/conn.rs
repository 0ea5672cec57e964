//! What is known of one HTTP connection: what it is busy with, and since when.

use super::farewell::bare_start;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::net::TcpStream;

/// Sweeps that a drain gives a connection that was busy just now, so that a request on its way is
/// answered and not cut off: 1 s.
const DRAIN_SWEEPS: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests, or until the last answer is written.
    Idle,
    /// Bytes have come, and not yet a whole head.
    Head,
    /// A request is being answered.
    Handling,
}

#[derive(Debug)]
pub(super) struct ConnState {
    phase: Cell<Phase>,
    since: Cell<u64>,
    tick: Rc<Cell<u64>>,
    cut: Cell<bool>,
    /// Something was read.
    heard: Cell<bool>,
    /// Bytes may still come that nobody is going to read.
    unread: Cell<bool>,
    /// hyper's own answer to what it could not read: a head without a body, and not sent.
    bare: RefCell<Option<Box<[u8]>>>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
}

impl ConnState {
    pub(super) fn new(tick: Rc<Cell<u64>>) -> ConnState {
        ConnState {
            phase: Cell::new(Phase::Head),
            since: Cell::new(tick.get()),
            tick,
            cut: Cell::new(false),
            heard: Cell::new(false),
            unread: Cell::new(false),
            bare: RefCell::default(),
            task: RefCell::new(None),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.tick.get());
    }

    pub(super) fn sweeps_in_phase(&self) -> u64 {
        self.tick.get() - self.since.get()
    }

    /// Whether a drain may close the connection once it has answered what it is at. Not while a
    /// request comes in, or seems likely to: the answer to that one will say that it is the last.
    pub(super) fn may_shut(&self) -> bool {
        self.phase() == Phase::Handling || DRAIN_SWEEPS <= self.sweeps_in_phase()
    }

    /// Whether a request has begun and got no further than its head.
    pub(super) fn is_late_head(&self) -> bool {
        self.phase() == Phase::Head && self.heard.get()
    }

    /// Notes that the request in hand is answered without its body.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// hyper's own answer, if it gave one.
    pub(super) fn take_bare(&self) -> Option<Box<[u8]>> {
        self.bare.take()
    }

    /// Remembers the task that serves the connection.
    pub(super) fn watch(&self, cx: &Context<'_>) {
        let mut task = self.task.borrow_mut();
        if task.is_none() {
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
}

/// A stream that notes when the first bytes of a request come, and that keeps hyper's own
/// refusals for itself: they have no body, and ours do. It stays open when hyper is done with it.
pub(super) struct WatchedIo {
    io: Rc<RefCell<TokioIo<TcpStream>>>,
    state: Rc<ConnState>,
}

impl WatchedIo {
    /// Watches a stream that its other owner leaves alone until the connection has ended.
    pub(super) fn new(io: Rc<RefCell<TokioIo<TcpStream>>>, state: Rc<ConnState>) -> WatchedIo {
        WatchedIo { io, state }
    }
}

impl Read for WatchedIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, buf);
        if read.is_ready() {
            self.state.heard.set(true);
            if self.state.phase() == Phase::Idle {
                self.state.enter(Phase::Head);
            }
        }
        read
    }
}

impl Write for WatchedIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let ours = match bare_start(buf) {
            None => buf,
            Some(0) => {
                self.state.bare.replace(Some(buf.into()));
                return Poll::Ready(Ok(buf.len()));
            }
            Some(at) => &buf[..at],
        };
        Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, ours)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
