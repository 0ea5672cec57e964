//! The stream below hyper's HTTP/1, which sees every byte first.
//!
//! What comes in is scanned, and nothing goes on from the first byte that is out of form: hyper
//! sees the end of the stream there. It notes when the first bytes of a request come and whether
//! the client takes its answer, and it keeps hyper's own refusals for itself: they have no body,
//! and ours do. It stays open when hyper is done with it.

use super::{
    conn::ConnState,
    farewell::bare_start,
    scan::{Flaw, Scanner, Stop},
    stream::Stream,
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

pub(super) struct Watched {
    /// Shared with the connection's task, which looks whether the client is still there.
    stream: Rc<RefCell<Stream>>,
    state: Rc<ConnState>,
    scanner: Scanner,
    /// What came after a request for an upgrade: of the upgraded connection, or the next request.
    held: Vec<u8>,
    /// The stream has ended, for hyper: by itself, or before the first byte out of form.
    ended: bool,
    refusal: Option<Refusal>,
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

impl Watched {
    pub(super) fn new(stream: Rc<RefCell<Stream>>, state: Rc<ConnState>) -> Watched {
        Watched {
            stream,
            state,
            scanner: Scanner::new(),
            held: Vec::new(),
            ended: false,
            refusal: None,
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

impl AsyncRead for Watched {
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
        if !this.held.is_empty() {
            let count = this.held.len().min(buf.remaining());
            buf.put_slice(&this.held[..count]);
            this.held.drain(..count);
        } else if this.ended {
            return Poll::Ready(Ok(()));
        } else {
            ready!(Pin::new(&mut *this.stream.borrow_mut()).poll_read(cx, buf))?;
        }
        this.check(buf, before);
        this.state.hear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
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
