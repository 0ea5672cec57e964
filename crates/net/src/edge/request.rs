//! One request of either version: checked against the limits, its body read, and answered.

use super::{
    Asked, BodyMode, Service,
    body::{self, BodyStream, ReadError},
    conn::ConnState,
    limits,
    reply::Body,
    upgrade::OnUpgrade,
};
use http::{HeaderMap, HeaderValue, Response, Version, header, request::Parts};
use hyper::body::Incoming;
use std::{net::SocketAddr, rc::Rc};
use wire::Code;

/// Whom a connection comes from, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) is_tls: bool,
}

pub(super) async fn answer<S: Service>(
    service: &S,
    request: http::Request<Incoming>,
    client: Client,
    state: &Rc<ConnState>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Client { peer, is_tls } = client;
    let (code, detail) = match check(&parts) {
        Err(refusal) => refusal,
        Ok(()) => match service.body_mode(&parts) {
            BodyMode::Whole { bytes_max } => {
                match body::read(body, &parts.headers, bytes_max).await {
                    Ok(body) => return service.respond(Asked { parts, body, peer, is_tls }).await,
                    Err(ReadError::TooLarge) => {
                        (Code::BodyTooLarge, "the body is larger than allowed")
                    }
                    Err(ReadError::Slow) => {
                        (Code::RequestTimeout, "the body did not arrive in time")
                    }
                    Err(ReadError::Broken) => {
                        (Code::InvalidRequest, "the body broke off or is malformed")
                    }
                }
            }
            BodyMode::Stream => {
                let upgrade = wants_upgrade(&parts).then(|| {
                    let (heir, upgrade) = OnUpgrade::new();
                    state.promise(Some(heir));
                    upgrade
                });
                let body = BodyStream::new(body, Rc::clone(state));
                return service.relay(Asked { parts, body, peer, is_tls }, upgrade).await;
            }
        },
    };
    let mut response = service.refuse(&parts, code, detail).map(Body::from);
    if parts.version < Version::HTTP_2 {
        // What was refused before its body was read also ends the connection: the rest of the body
        // would be taken for the next request.
        state.leave_unread();
        last(response.headers_mut());
    }
    response
}

/// Says that the connection ends with this answer.
pub(super) fn last(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// RFC 9110 §7.8: only in HTTP/1.1, and only what `Connection` names too.
fn wants_upgrade(parts: &Parts) -> bool {
    let is_named = |value: &HeaderValue| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    parts.version == Version::HTTP_11
        && parts.headers.contains_key(header::UPGRADE)
        && parts.headers.get_all(header::CONNECTION).iter().any(is_named)
}

fn check(parts: &Parts) -> Result<(), (Code, &'static str)> {
    let headers = &parts.headers;
    let uri_bytes = parts.uri.path_and_query().map(|it| it.as_str().len());
    let Some(uri_bytes) = uri_bytes else {
        return Err((Code::InvalidRequest, "the request target has no path"));
    };
    if limits::METHOD_BYTES_MAX < parts.method.as_str().len() {
        return Err((Code::InvalidRequest, "the method is longer than 32 characters"));
    }
    if limits::URI_BYTES_MAX < uri_bytes {
        return Err((Code::UriTooLong, "path and query are longer than 8 KiB"));
    }
    let count = |name| headers.get_all(name).iter().count();
    if limits::HEADERS_MAX < headers.len() || limits::HEADERS_BYTES_MAX < headers_bytes(headers) {
        return Err((Code::HeadersTooLarge, "more than 100 headers or 32 KiB of them"));
    }
    let hosts = count(header::HOST);
    if 1 < hosts || (parts.version == Version::HTTP_11 && hosts == 0) {
        return Err((Code::InvalidRequest, "not exactly one Host header"));
    }
    Ok(())
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
