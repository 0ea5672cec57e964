//! One HTTP request to somewhere else, with a bound on its time and on the length of its answer.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

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

/// Sends `request` on a connection of its own to `host` and `port`. All of it, the connecting
/// included, may take `time_max`; an answer may be `bytes_max` long.
pub async fn fetch(
    (host, port): (&str, u16),
    request: Request<Full<Bytes>>,
    time_max: Duration,
    bytes_max: usize,
) -> Result<Fetched, FetchError> {
    let end = tokio::time::Instant::now() + time_max;
    let late = || format!("no answer within {time_max:?}");
    let stream = match tokio::time::timeout_at(end, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(FetchError::Unsent(error.to_string())),
        Err(_) => return Err(FetchError::Unsent(late())),
    };
    match tokio::time::timeout_at(end, exchange(stream, request, bytes_max)).await {
        Ok(Ok(fetched)) => Ok(fetched),
        Ok(Err(error)) => Err(FetchError::Unanswered(error.to_string())),
        Err(_) => Err(FetchError::Unanswered(late())),
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<Fetched, Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
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
