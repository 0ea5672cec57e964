//! A client's connection, below HTTP: a TCP stream, in the clear or within TLS.

use super::tls::EdgeTls;
use bytes::{Buf, Bytes};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// A client's connection. What was read too early is read again first.
#[derive(Debug)]
pub(super) struct Stream {
    early: Bytes,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// A connection in the clear.
    pub(super) fn plain(stream: TcpStream) -> Stream {
        Stream { early: Bytes::new(), transport: Transport::Plain(stream) }
    }

    /// The connection once TLS is agreed on.
    pub(super) async fn within(self, tls: &EdgeTls) -> io::Result<Stream> {
        let Transport::Plain(stream) = self.transport else {
            return Err(io::Error::other("TLS within TLS"));
        };
        let stream = tls.acceptor().accept(stream).await?;
        Ok(Stream { early: Bytes::new(), transport: Transport::Tls(Box::new(stream)) })
    }

    /// Whether something could be read: bytes, none at the end of the stream, or an error.
    pub(super) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]))
    }

    /// Puts bytes back that were read.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        assert!(self.early.is_empty(), "bytes are put back once");
        self.early = bytes;
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.early.is_empty() {
            let count = stream.early.len().min(buf.remaining());
            buf.put_slice(&stream.early[..count]);
            stream.early.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut stream.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
