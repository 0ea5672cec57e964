//! One HTTP request to somewhere else, with a bound on its time and on the length of its answer.

use crate::tls::ClientTls;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::client::TlsStream;

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// A name, or an address without brackets.
    pub host: &'a str,
    pub port: u16,
    /// Set, the server has to prove to be that host.
    pub tls: Option<&'a ClientTls>,
}

impl Place<'_> {
    /// Where no TLS is spoken.
    pub fn plain(host: &str, port: u16) -> Place<'_> {
        Place { host, port, tls: None }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub status: u16,
    pub body: Bytes,
}

/// Why nothing did.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no connection, so nothing was sent.
    #[error("{0}")]
    Unsent(String),
    /// It was sent, or a part of it, and no answer came.
    #[error("{0}")]
    Unanswered(String),
}

/// Sends `request` on a connection of its own. All of it, connecting and TLS included, may take
/// `time_max`; an answer may be `bytes_max` long.
pub async fn fetch(
    place: Place<'_>,
    request: Request<Full<Bytes>>,
    time_max: Duration,
    bytes_max: usize,
) -> Result<Fetched, FetchError> {
    let end = Instant::now() + time_max;
    let late = || format!("no answer within {time_max:?}");
    let unsent = |error: std::io::Error| FetchError::Unsent(error.to_string());
    let connecting = async {
        let stream = TcpStream::connect((place.host, place.port)).await?;
        stream.set_nodelay(true)?;
        match place.tls {
            None => Ok(Stream::Plain(stream)),
            Some(tls) => Ok(Stream::Tls(tls.connect(place.host, stream).await?)),
        }
    };
    let stream = match timeout_at(end, connecting).await {
        Ok(stream) => stream.map_err(unsent)?,
        Err(_) => return Err(FetchError::Unsent(late())),
    };
    let exchange = async {
        match stream {
            Stream::Plain(stream) => exchange(stream, request, bytes_max).await,
            Stream::Tls(stream) => exchange(stream, request, bytes_max).await,
        }
    };
    match timeout_at(end, exchange).await {
        Ok(Ok(fetched)) => Ok(fetched),
        Ok(Err(error)) => Err(FetchError::Unanswered(error.to_string())),
        Err(_) => Err(FetchError::Unanswered(late())),
    }
}

/// A connection that can bear a request.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<Fetched, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let conversation = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), bytes_max).collect().await?.to_bytes();
        Ok(Fetched { status, body })
    };
    tokio::pin!(conversation, connection);
    tokio::select! {
        biased;
        fetched = &mut conversation => fetched,
        // The connection may end as soon as the answer is in: the conversation has the last word.
        ended = &mut connection => match ended {
            Ok(()) => conversation.await,
            Err(error) => Err(error.into()),
        },
    }
}
