//! What the first of our nodes does to an HTTP request, and to its answer.
//!
//! It gives the request an id and, if it may change something, an idempotency key; and it passes
//! on no header that is only between a client and its server.

use crate::problem::{self, Problem};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Version, header, request::Parts};
use net::ids;
use wire::{
    Code, Flaw,
    frame::{HeaderList, Headers},
    limits::{KEY_BYTES_MAX, REQUEST_ID_BYTES_MAX},
};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Memory for the headers that travel on, to begin with: more than they mostly are.
const FORWARDED_BYTES: usize = 1024;

/// What a client is told whose request is one too many.
pub(crate) const FULL: &str =
    "as much is in flight as this node takes; the request was not executed";

/// The id of a request: the client's if it is a decent one, else ours.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (given.next(), given.next()) {
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len());
        if fits && id.as_bytes().iter().all(u8::is_ascii_graphic) {
            return id.clone();
        }
    }
    value(ids::request_id().as_bytes())
}

/// The idempotency key that a request bears, here and in its answer.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) value: HeaderValue,
    pub(crate) minted: bool,
}

/// The client's key or a minted one for a POST or PATCH, none for other methods. `Err` when what
/// the client sent is no key.
pub(crate) fn key(parts: &Parts) -> Result<Option<Key>, Flaw> {
    if parts.method != Method::POST && parts.method != Method::PATCH {
        return Ok(None);
    }
    let mut given = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = given.next() else {
        let value = value(ids::idempotency_key().as_bytes());
        return Ok(Some(Key { value, minted: true }));
    };
    if given.next().is_some() {
        return Err(Flaw("the Idempotency-Key is given twice"));
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len());
    if !fits || !key.as_bytes().iter().all(printable) {
        return Err(Flaw("the Idempotency-Key is not 1 to 255 printable ASCII characters"));
    }
    Ok(Some(Key { value: key.clone(), minted: false }))
}

/// The headers that travel on: the end-to-end ones, and the request's id.
pub(crate) fn forwarded_headers(
    headers: &HeaderMap,
    request_id: &HeaderValue,
) -> Result<HeaderList, Flaw> {
    let mut list = HeaderList::with_capacity(FORWARDED_BYTES);
    let names_some = headers.contains_key(header::CONNECTION);
    for (name, value) in headers {
        let ours = *name == REQUEST_ID || *name == IDEMPOTENCY_KEY || *name == TRACEPARENT;
        let stays = is_hop_by_hop(name) || (names_some && is_named_in_connection(headers, name));
        if !ours && !stays {
            list.push(name.as_str(), value.as_bytes())?;
        }
    }
    list.push(REQUEST_ID.as_str(), request_id.as_bytes())?;
    Ok(list)
}

/// RFC 9110 §7.6.1, and what states the length of a body: each connection and frame does that for
/// itself.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::UPGRADE
        || *name == header::EXPECT
        || *name == header::PROXY_AUTHORIZATION
        || *name == header::PROXY_AUTHENTICATE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

fn is_named_in_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| {
        let mut tokens = value.as_bytes().split(|&byte| byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    })
}

/// Puts an answer from the trunk into HTTP of this version. `share` makes a part of it the
/// response's own.
pub(crate) fn response(
    version: Version,
    status: u16,
    headers: Headers<'_>,
    body: Bytes,
    share: impl Fn(&[u8]) -> Bytes,
) -> Option<Response<Bytes>> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).ok()?;
    let out = response.headers_mut();
    // Id, key, Server and Via; in HTTP/2 hyper adds Date and Content-Length.
    out.reserve(headers.len() + if version == Version::HTTP_2 { 6 } else { 4 });
    for (name, value) in headers.iter() {
        let name = HeaderName::from_bytes(name).ok()?;
        if !is_hop_by_hop(&name) {
            out.append(name, HeaderValue::from_maybe_shared(share(value)).ok()?);
        }
    }
    Some(response)
}

/// What a client gets whose request the edge did not take in whole.
pub(crate) fn refusal(parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
    let request_id = request_id(&parts.headers);
    let mut response = problem(code, detail, None, &request_id);
    // What the client sent as a key is given back to it only if it is one.
    mark(&mut response, request_id, key(parts).unwrap_or(None));
    response
}

/// The answer to a request whose key is none.
pub(crate) fn bad_key(flaw: Flaw, request_id: HeaderValue) -> Response<Bytes> {
    let field = Some("Idempotency-Key");
    let mut response = problem(Code::InvalidRequest, flaw.0, field, &request_id);
    mark(&mut response, request_id, None);
    response
}

/// Marks an answer with the request's id and key. They never come again: HTTP/2 is to keep them out
/// of its table of headers (RFC 7541 §7.1.3), from which they would only drive out what does.
pub(crate) fn mark<B>(response: &mut Response<B>, mut request_id: HeaderValue, key: Option<Key>) {
    request_id.set_sensitive(true);
    response.headers_mut().insert(REQUEST_ID, request_id);
    if let Some(Key { mut value, .. }) = key {
        value.set_sensitive(true);
        response.headers_mut().insert(IDEMPOTENCY_KEY, value);
    }
}

/// A problem as an HTTP answer, not marked yet.
pub(crate) fn problem(
    code: Code,
    detail: &str,
    field: Option<&str>,
    request_id: &HeaderValue,
) -> Response<Bytes> {
    let request_id = request_id.to_str().unwrap_or_default();
    let body = Problem { code, detail, field, request_id }.body();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() =
        http::StatusCode::from_u16(code.status()).expect("the table holds statuses");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    if let Some(seconds) = problem::retry_after(code) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

fn value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("base 32 makes a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_each_answer_is_never_indexed() {
        let (parts, ()) = http::Request::post("/").body(()).unwrap().into_parts();
        let response = refusal(&parts, Code::Overloaded, FULL);
        for (name, value) in response.headers() {
            let differs = *name == REQUEST_ID || *name == IDEMPOTENCY_KEY;
            assert_eq!(value.is_sensitive(), differs, "{name}");
        }
        assert!(response.headers().contains_key(IDEMPOTENCY_KEY));
    }
}
