//! A client for one HTTP request, with a bound on time and length.

use crate::topology::elements::url::HttpUrl;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest body of an answer: a full page of the longest rows.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why nothing did.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection, so nothing was sent.
    Unsent(String),
    /// It was sent, or a part of it, and no answer came: it may have been executed.
    Unanswered(String),
}

/// Sends one request on a connection of its own.
pub(crate) async fn call(
    url: &HttpUrl,
    request: Request<Full<Bytes>>,
    time_max: Duration,
) -> Result<Reply, Failure> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let connect = tokio::time::timeout(time_max, TcpStream::connect((host, url.port)));
    let stream = match connect.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Failure::Unsent(error.to_string())),
        Err(_) => return Err(Failure::Unsent(format!("no connection within {time_max:?}"))),
    };
    match tokio::time::timeout(time_max, exchange(stream, request)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(Failure::Unanswered(error.to_string())),
        Err(_) => Err(Failure::Unanswered(format!("no answer within {time_max:?}"))),
    }
}

async fn exchange(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let conversation = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes();
        Ok(Reply { status, body })
    };
    tokio::pin!(conversation, connection);
    tokio::select! {
        biased;
        reply = &mut conversation => reply,
        // The connection may end as soon as the answer is in: the conversation has the last word.
        ended = &mut connection => match ended {
            Ok(()) => conversation.await,
            Err(error) => Err(error.into()),
        },
    }
}

/// A GET of `path`.
pub(crate) fn get(url: &HttpUrl, path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header("host", format!("{}:{}", url.host, url.port))
        .body(Full::default())
        .expect("paths of our own are well formed")
}

/// A POST to an admin address, which takes orders only from who can say that it is no web page.
pub(crate) fn order(url: &HttpUrl, path: &str) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("host", format!("{}:{}", url.host, url.port))
        .header("content-type", "application/json")
        .body(Full::default())
        .expect("paths of our own are well formed")
}
