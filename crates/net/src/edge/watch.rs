//! The stream below hyper's HTTP/1, which sees every byte first.
//!
//! What comes in is scanned, and nothing goes on from the first byte that is out of form: hyper
//! sees the end of the stream there. It notes when the first bytes of a request come and whether
//! the client takes its answer, and it keeps hyper's own refusals for itself: they have no body,
//! and ours do. It stays open when hyper is done with it.

use super::{
    Service, Shared,
    conn::ConnState,
    farewell::{self, bare_start},
    scan::{Flaw, Scanner, Stop},
    stamp,
    stream::Stream,
    turnstile,
};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read ahead of an upgrade that is not granted yet.
const HELD_BYTES_MAX: usize = 8 * 1024;

pub(super) struct Watched<S> {
    shared: Rc<Shared<S>>,
    /// Shared with the connection's task, which looks whether the client is still there.
    stream: Rc<RefCell<Stream>>,
    state: Rc<ConnState>,
    scanner: Scanner,
    /// What came after a request for an upgrade: of the upgraded connection, or the next request.
    held: Vec<u8>,
    /// The stream has ended, for hyper: by itself, or before the first byte out of form.
    ended: bool,
    refusal: Option<Refusal>,
    /// Refusals of ours that the socket has not taken yet.
    owed: Vec<u8>,
}

/// Why hyper heard no more, or what it said for itself.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A request's head is out of form.
    Head(Flaw),
    /// A request's body is, and whoever reads it says so.
    Body,
    /// hyper's own answer to what it could not read: a head without a body, and not sent.
    Bare(Box<[u8]>),
}

/// What is left when hyper is done.
pub(super) struct Rest {
    /// What was read and not passed on.
    pub(super) held: Vec<u8>,
    pub(super) refusal: Option<Refusal>,
}

impl<S: Service> Watched<S> {
    pub(super) fn new(
        shared: Rc<Shared<S>>,
        stream: Rc<RefCell<Stream>>,
        state: Rc<ConnState>,
    ) -> Watched<S> {
        Watched {
            shared,
            stream,
            state,
            scanner: Scanner::new(),
            held: Vec::new(),
            ended: false,
            refusal: None,
            owed: Vec::new(),
        }
    }

    pub(super) fn into_rest(self) -> Rest {
        Rest { held: self.held, refusal: self.refusal }
    }

    /// Scans what was just read, and takes back what must not go on.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let was_mid_head = self.scanner.is_mid_head();
        let passing = match self.scanner.scan(&buf.filled()[before..]) {
            Stop::End => None,
            Stop::Upgrade(at) => {
                self.held.extend_from_slice(&buf.filled()[before + at..]);
                Some(at)
            }
            Stop::Flaw(at, flaw) => {
                self.ended = true;
                self.state.leave_unread();
                tracing::debug!(?flaw, "bytes out of form");
                let in_body = self.scanner.broke_in_body();
                self.refusal = Some(if in_body { Refusal::Body } else { Refusal::Head(flaw) });
                Some(at)
            }
        };
        if let Some(passing) = passing {
            buf.set_filled(before + passing);
        }
        let is_mid_head = self.scanner.is_mid_head();
        if is_mid_head != was_mid_head {
            self.state.set_mid_head(is_mid_head);
        }
    }

    /// Refuses what was just read, if the node is full and it is one plain request. `begun` is how
    /// many had begun before it.
    fn turned_away(&mut self, bytes: &[u8], begun: u64) -> bool {
        let is_one = self.scanner.is_between() && self.scanner.begun() == begun + 1;
        if !is_one || self.scanner.awaits_upgrade() || self.ended || self.is_last() {
            return false;
        }
        let Some(parts) = turnstile::plain(bytes) else { return false };
        let mut answer = self.shared.service.turn_away(&parts);
        stamp::response(answer.headers_mut(), self.shared.via.as_ref());
        self.owed = farewell::written(&answer, None);
        self.state.pass_by();
        true
    }

    /// Whether the next answer is the last: hyper ends the connection then.
    fn is_last(&self) -> bool {
        self.shared.draining.get() || self.state.is_old()
    }

    /// Sends what is owed.
    fn pay(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            let written = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, &self.owed);
            self.state.set_blocked(written.is_pending());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.owed.drain(..count)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on while it is open whether the connection leaves HTTP: only to learn that the client
    /// has gone.
    fn hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < HELD_BYTES_MAX {
            let mut bytes = [0; 1024];
            let mut buf = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }
}

impl<S: Service> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.scanner.awaits_upgrade() {
            if !this.state.is_free() || this.state.is_promised() {
                return if this.ended { Poll::Ready(Ok(())) } else { this.hold(cx) };
            }
            this.scanner.go_on();
        }
        loop {
            ready!(this.pay(cx))?;
            let mut is_full = false;
            if !this.held.is_empty() {
                let count = this.held.len().min(buf.remaining());
                buf.put_slice(&this.held[..count]);
                this.held.drain(..count);
            } else if this.ended {
                return Poll::Ready(Ok(()));
            } else {
                ready!(Pin::new(&mut *this.stream.borrow_mut()).poll_read(cx, buf))?;
                let is_waiting = this.scanner.is_between() && this.state.is_waiting();
                is_full = is_waiting && this.shared.service.is_full();
            }
            let begun = this.scanner.begun();
            this.check(buf, before);
            if is_full && this.turned_away(&buf.filled()[before..], begun) {
                buf.set_filled(before);
                continue;
            }
            this.state.hear();
            return Poll::Ready(Ok(()));
        }
    }
}

impl<S: Service> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.pay(cx))?;
        let ours = match bare_start(buf) {
            None => buf,
            Some(0) => {
                self.refusal.get_or_insert_with(|| Refusal::Bare(buf.into()));
                return Poll::Ready(Ok(buf.len()));
            }
            Some(at) => &buf[..at],
        };
        let written = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, ours);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Within TLS a write is taken before it is sent.
        let flushed = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
        self.state.set_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
