//! What is known of one HTTP connection: what it is busy with, and since when.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::net::TcpStream;

/// Sweeps that a drain gives a connection on which nothing whole has come yet: 1 s.
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
    /// request seems to be coming in.
    pub(super) fn may_shut(&self) -> bool {
        self.phase() != Phase::Head || DRAIN_SWEEPS <= self.sweeps_in_phase()
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

/// A stream that notes when the first bytes of a request come.
pub(super) struct WatchedIo {
    io: TokioIo<TcpStream>,
    state: Rc<ConnState>,
}

impl WatchedIo {
    pub(super) fn new(stream: TcpStream, state: Rc<ConnState>) -> WatchedIo {
        WatchedIo { io: TokioIo::new(stream), state }
    }
}

impl Read for WatchedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() && self.state.phase() == Phase::Idle {
            self.state.enter(Phase::Head);
        }
        read
    }
}

impl Write for WatchedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
