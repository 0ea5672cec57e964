//! The stream below hyper's HTTP/1, which sees every byte first.
//!
//! It notes when the first bytes of a request come and whether the client takes its answer, and it
//! keeps hyper's own refusals for itself: they have no body, and ours do. It stays open when hyper
//! is done with it.

use super::{conn::ConnState, farewell::bare_start, stream::Stream};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Watched {
    stream: Stream,
    state: Rc<ConnState>,
    /// hyper's own answer to what it could not read: a head without a body, and not sent.
    bare: Option<Box<[u8]>>,
}

impl Watched {
    pub(super) fn new(stream: Stream, state: Rc<ConnState>) -> Watched {
        Watched { stream, state, bare: None }
    }

    /// The stream, and hyper's own answer if it gave one.
    pub(super) fn into_parts(self) -> (Stream, Option<Box<[u8]>>) {
        (self.stream, self.bare)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.state.hear();
        }
        read
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
                self.bare = Some(buf.into());
                return Poll::Ready(Ok(buf.len()));
            }
            Some(at) => &buf[..at],
        };
        let written = Pin::new(&mut self.stream).poll_write(cx, ours);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
