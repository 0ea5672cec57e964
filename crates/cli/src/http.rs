//! A client for one HTTP request, with a bound on time and length.

use crate::{error::CliError, topology::elements::url::HttpUrl};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use net::{
    fetch::{FetchError, Fetched, Place, fetch},
    tls::{ClientTls, Spoken},
};
use std::{path::Path, time::Duration};

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

/// What an `https://` URL needs: the authorities of this file are trusted, else the system's.
pub(crate) fn trust(url: &HttpUrl, ca: Option<&Path>) -> Result<Option<ClientTls>, CliError> {
    let tls = url.tls.then(|| ClientTls::load(ca, Spoken::Http1)).transpose();
    tls.map_err(|error| CliError::failed(format!("TLS: {error}")))
}

/// Sends one request on a connection of its own; `tls` is what [`trust`] said of the URL.
pub(crate) async fn call(
    url: &HttpUrl,
    tls: Option<&ClientTls>,
    request: Request<Full<Bytes>>,
    time_max: Duration,
) -> Result<Reply, Failure> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    match fetch(Place { host, port: url.port, tls }, request, time_max, BODY_BYTES_MAX).await {
        Ok(Fetched { status, body }) => Ok(Reply { status, body }),
        Err(FetchError::Unsent(why)) => Err(Failure::Unsent(why)),
        Err(FetchError::Unanswered(why)) => Err(Failure::Unanswered(why)),
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
