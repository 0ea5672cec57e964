//! One request of either version: checked against the limits, its body read, and answered.

use super::{
    Asked, BodyMode, Service, Shared,
    body::{self, BodyStream},
    client::{Client, Via},
    conn::ConnState,
    farewell,
    inflow::Inflow,
    limits,
    reply::Body,
    stamp,
    target::{self, Aim},
    trace::TraceParent,
    upgrade::OnUpgrade,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};
use std::rc::Rc;
use wire::Code;

/// Methods that some path may take.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Answers a request: by the role, if it keeps the rules.
pub(super) async fn answer<S: Service>(
    shared: &Shared<S>,
    request: http::Request<Inflow>,
    client: &Client,
    state: &Rc<ConnState>,
) -> Response<Body> {
    let mut response = unstamped(shared, request, client, state).await;
    stamp::response(response.headers_mut(), shared.via.as_ref());
    response
}

/// Answers a request whose headers are so many that not all were kept.
pub(super) fn answer_too_large<S: Service>(
    shared: &Shared<S>,
    request: http::Request<Inflow>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    body::hear_out(body);
    let (code, detail) = farewell::TOO_LARGE;
    let mut response = refused(&shared.service, &parts, code, detail);
    stamp::response(response.headers_mut(), shared.via.as_ref());
    response
}

/// Answers a request that has come whole and asks nothing of the connection; the role takes bodies
/// of up to `bytes_max`.
pub(super) async fn answer_whole<S: Service>(
    shared: &Shared<S>,
    mut parts: Parts,
    body: Bytes,
    bytes_max: usize,
    client: &Client,
) -> Response<Body> {
    let service = &shared.service;
    let Client { peer, is_tls, .. } = *client;
    let mut response = match checked(&mut parts, client, shared.via.as_ref()) {
        Ok((Aim::Edge, _)) => options(service, &parts),
        Ok((Aim::Role, _)) if bytes_max < body.len() => {
            let (code, detail) = body::ReadError::TooLarge.meaning(bytes_max);
            refused(service, &parts, code, &detail)
        }
        Ok((Aim::Role, trace)) => service.respond(Asked { parts, body, peer, is_tls, trace }).await,
        Err((code, detail)) => {
            // Who breaks the rules of HTTP may have meant something else by what comes next.
            let mut response = refused(service, &parts, code, detail);
            last(response.headers_mut());
            response
        }
    };
    stamp::response(response.headers_mut(), shared.via.as_ref());
    response
}

async fn unstamped<S: Service>(
    shared: &Shared<S>,
    request: http::Request<Inflow>,
    client: &Client,
    state: &Rc<ConnState>,
) -> Response<Body> {
    let service = &shared.service;
    let (mut parts, mut body) = request.into_parts();
    if service.is_full() && !service.room().await && Version::HTTP_2 <= parts.version {
        body::hear_out(body);
        return service.turn_away(&parts).map(Body::from);
    }
    let Client { peer, is_tls, .. } = *client;
    let (code, detail) = match checked(&mut parts, client, shared.via.as_ref()) {
        Err((code, detail)) => (code, detail.into()),
        Ok((Aim::Edge, _)) => return options(service, &parts),
        Ok((Aim::Role, trace)) => match service.body_mode(&parts) {
            BodyMode::Whole { bytes_max } => {
                let time_max = shared.config.patience.body;
                match body::read(&mut body, &parts.headers, bytes_max, time_max).await {
                    Ok(body) => {
                        return service.respond(Asked { parts, body, peer, is_tls, trace }).await;
                    }
                    Err(error) => error.meaning(bytes_max),
                }
            }
            BodyMode::Stream => {
                let upgrade = wants_upgrade(&parts).then(|| {
                    let (heir, upgrade) = OnUpgrade::new(shared.config.patience.upgraded);
                    state.promise(Some(heir));
                    upgrade
                });
                let body = BodyStream::new(body, Rc::clone(state));
                return service.relay(Asked { parts, body, peer, is_tls, trace }, upgrade).await;
            }
        },
    };
    let mut response = refused(service, &parts, code, &detail);
    if parts.version < Version::HTTP_2 {
        // What was refused before its body was read also ends the connection: the rest of the body
        // would be taken for the next request.
        state.leave_unread();
        last(response.headers_mut());
    } else {
        body::hear_out(body);
    }
    response
}

/// The answer to a request that breaks a limit or a rule.
fn refused<S: Service>(service: &S, parts: &Parts, code: Code, detail: &str) -> Response<Body> {
    let mut response = service.refuse(parts, code, detail).map(Body::from);
    if code == Code::MethodNotAllowed {
        response.headers_mut().insert(header::ALLOW, ALLOW);
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

/// What OPTIONS is told about the edge as a whole.
fn options<S: Service>(service: &S, parts: &Parts) -> Response<Body> {
    // A refusal is marked as all answers of the role are; nothing else of it is meant.
    let mut response = service.refuse(parts, Code::MethodNotAllowed, "");
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.headers_mut().insert(header::ALLOW, ALLOW);
    response.map(|_| Body::from(Bytes::new()))
}

/// Whom a request is for, which then says where it comes from.
fn checked(
    parts: &mut Parts,
    client: &Client,
    via: Option<&Via>,
) -> Result<(Aim, TraceParent), (Code, &'static str)> {
    let aim = check(parts)?;
    Ok((aim, stamp::request(parts, client, via)?))
}

fn check(parts: &mut Parts) -> Result<Aim, (Code, &'static str)> {
    if limits::METHOD_BYTES_MAX < parts.method.as_str().len() {
        return Err((Code::InvalidRequest, "the method is longer than 32 characters"));
    }
    let uri_bytes = parts.uri.path_and_query().map_or(0, |it| it.as_str().len());
    if limits::URI_BYTES_MAX < uri_bytes {
        return Err((Code::UriTooLong, "path and query are longer than 8 KiB"));
    }
    let headers = &parts.headers;
    if limits::HEADERS_MAX < headers.len() || limits::HEADERS_BYTES_MAX < headers_bytes(headers) {
        return Err((Code::HeadersTooLarge, "more than 100 headers or 32 KiB of them"));
    }
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(header::EXPECT).iter().all(is_known) {
        return Err((Code::ExpectationFailed, "the only expectation is 100-continue"));
    }
    target::settle(parts)
}

fn headers_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
