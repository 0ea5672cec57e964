//! What becomes of a connection that leaves HTTP behind (RFC 9110 §7.8), as for WebSocket.

use super::{conn::ConnState, stream::Stream};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

/// The promise of a connection: kept once an answer with status 101 was written, broken by any
/// other answer.
#[derive(Debug)]
pub struct OnUpgrade {
    receiver: oneshot::Receiver<Upgraded>,
    quiet_max: Duration,
}

impl OnUpgrade {
    pub(super) fn new(quiet_max: Duration) -> (oneshot::Sender<Upgraded>, OnUpgrade) {
        let (sender, receiver) = oneshot::channel();
        (sender, OnUpgrade { receiver, quiet_max })
    }

    /// How long nothing may move on the connection.
    pub fn quiet_max(&self) -> Duration {
        self.quiet_max
    }

    /// The connection; `None` when the request was answered otherwise or the client has gone.
    pub async fn upgraded(self) -> Option<Upgraded> {
        self.receiver.await.ok()
    }
}

/// A connection that does no longer speak HTTP. It fails once a drain takes too long; whoever
/// holds it keeps its time limits.
#[derive(Debug)]
pub struct Upgraded {
    stream: Stream,
    state: Rc<ConnState>,
    /// Its end tells the edge that the connection is done.
    _held: oneshot::Sender<()>,
}

impl Upgraded {
    pub(super) fn new(stream: Stream, state: Rc<ConnState>, held: oneshot::Sender<()>) -> Upgraded {
        Upgraded { stream, state, _held: held }
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.state.watch(cx);
        match self.state.is_cut() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
