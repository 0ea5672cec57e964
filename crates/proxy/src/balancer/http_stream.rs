//! Long requests of clients, and connections that are to leave HTTP behind: both go over the trunk
//! as they come, and are sent once.

use super::{
    front::{self, Key},
    hop::Sent,
    http::{failed, may_stream, passed_on, request},
    relay_stream::open,
    router::Router,
    verdict::{Failure, Nature},
};
use crate::{gate::Gate, gateway::body_bytes_max, held::held, upstream::tunnel};
use balance::Outcome;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Version, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use net::{
    clock,
    edge::{Asked, Body, BodyMode, BodyStream, OnUpgrade},
    trunk::{Answer, Loss, StreamReader, StreamWriter},
};
use std::{cell::Cell, rc::Rc};
use tokio::task::spawn_local;
use wire::{
    Code, Flaw,
    frame::{HeaderList, RequestRef},
    limits::BODY_BYTES_MAX,
};

/// How a body is wanted: whole where that is little, so that the request can be sent again, and
/// always for the account API.
pub(super) fn body_mode(parts: &Parts) -> BodyMode {
    if !may_stream(parts) {
        return BodyMode::Whole { bytes_max: body_bytes_max(parts.uri.path()) };
    }
    let headers = &parts.headers;
    let is_short = match headers.get(header::CONTENT_LENGTH) {
        Some(length) => {
            let length = length.to_str().ok().and_then(|it| it.parse::<usize>().ok());
            length.is_some_and(|it| it <= BODY_BYTES_MAX)
        }
        None if headers.contains_key(header::TRANSFER_ENCODING) => false,
        // In HTTP/2 a body need not be announced.
        None => parts.version < Version::HTTP_2 || parts.method.is_safe(),
    };
    if !is_short || headers.contains_key(header::UPGRADE) {
        BodyMode::Stream
    } else {
        BodyMode::Whole { bytes_max: body_bytes_max(parts.uri.path()) }
    }
}

/// Passes a request on whose body is still to come, and its answer back.
pub(super) async fn pass(
    way: (&Rc<Router>, &Rc<Gate>),
    asked: &Asked<()>,
    body: BodyStream,
    upgrade: Option<OnUpgrade>,
    (request_id, key): (&HeaderValue, Option<&Key>),
    shed: &Cell<bool>,
) -> Response<Body> {
    // A body before the upgrade is nobody's habit, and the rest of the connection is no body.
    let upgrade = upgrade.filter(|_| body.is_end_stream());
    let Ok(headers) = headers(&asked.parts, request_id, &body, upgrade.is_some()) else {
        let detail = "the headers are too many to be passed on";
        return front::problem(Code::HeadersTooLarge, detail, None, request_id).map(Body::from);
    };
    let request = request(asked, headers.as_ref(), &[], key);
    match exchange(way, (request, asked.parts.version), body, upgrade, shed).await {
        Ok(response) => response,
        Err(failure) => failed(way.0, failure, Nature::of(&request), request_id),
    }
}

/// The headers that travel on, and what nothing else tells whoever is before the service: the length
/// of the body, and what the connection is to become.
fn headers(
    parts: &Parts,
    request_id: &HeaderValue,
    body: &BodyStream,
    upgrades: bool,
) -> Result<HeaderList, Flaw> {
    let mut list = front::forwarded_headers(&parts.headers, request_id)?;
    let wanted = parts.headers.get(header::UPGRADE).filter(|_| upgrades);
    if let Some(wanted) = wanted {
        list.push(header::UPGRADE.as_str(), wanted.as_bytes())?;
    } else if let Some(length) = body.size_hint().exact() {
        list.push(header::CONTENT_LENGTH.as_str(), length.to_string().as_bytes())?;
    }
    Ok(list)
}

async fn exchange(
    (router, gate): (&Rc<Router>, &Rc<Gate>),
    (request, version): (RequestRef<'_>, Version),
    body: BodyStream,
    upgrade: Option<OnUpgrade>,
    shed: &Cell<bool>,
) -> Result<Response<Body>, Failure> {
    let expires = clock::now() + router.deadline.get();
    let send = |endpoint, deadline_ms| {
        let mut timed = request;
        timed.deadline_ms = deadline_ms;
        router.open_stream(endpoint, &timed)
    };
    let hash = router.hash_of(&request.target);
    let (ticket, writer, exchange) = open(router, expires, hash, send).await?;
    let sent = Sent::new(Rc::clone(router), ticket);
    let tunnel = match upgrade {
        Some(client) => Some((client, writer)),
        None => {
            drop(spawn_local(pump(body, writer)));
            None
        }
    };
    let (answer, more) = match exchange.answer().await {
        Ok(answered) => answered,
        Err(loss) => {
            sent.lost(loss);
            return Err(match loss {
                Loss::NotConnected | Loss::Full | Loss::TooLong => Failure::Unsent,
                Loss::DeadlinePassed => Failure::Late,
                Loss::ConnectionLost | Loss::Reset => Failure::Unknown,
            });
        }
    };
    let response = answer.response();
    shed.set(router.blame(ticket.choice.endpoint, &response) == Outcome::Shed);
    sent.answered(&response);
    let open = || (gate.open_stream(), router.hold(ticket.choice.endpoint));
    match (tunnel, more) {
        (Some((client, writer)), Some(reader)) if response.status == 101 => {
            switched(&answer, client, (reader, writer), open())
        }
        (tunnel, more) => {
            if let Some((_, writer)) = tunnel {
                writer.finish();
            }
            passed_on(version, &answer, more).map(|it| it.map(|body| held(body, open)))
        }
    }
}

/// Sends the body on as the endpoint takes it. One that breaks off breaks the request off.
async fn pump(mut body: BodyStream, mut to: StreamWriter) {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = to.closed() => return,
        };
        match frame {
            None => return to.finish(),
            Some(Err(_)) => return,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if to.send(data).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Grants the upgrade, and joins the client's connection with the exchange.
fn switched(
    answer: &Answer,
    client: OnUpgrade,
    (reader, writer): (StreamReader, StreamWriter),
    open: impl Sized + 'static,
) -> Result<Response<Body>, Failure> {
    let head = answer.response();
    let share = |part: &[u8]| answer.share(part);
    let name = head.headers.get("upgrade").map(|it| HeaderValue::from_maybe_shared(share(it)));
    let Some(Ok(name)) = name else { return Err(Failure::Unknown) };
    let response =
        front::response(Version::HTTP_11, head.status, head.headers, Bytes::new(), share);
    let mut response = response.ok_or(Failure::Unknown)?;
    debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(header::UPGRADE, name);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let quiet_max = client.quiet_max();
    drop(spawn_local(async move {
        match client.upgraded().await {
            Some(client) => tunnel::carry(client, reader, writer, quiet_max).await,
            None => tracing::debug!("the client left before its connection was upgraded"),
        }
        drop(open);
    }));
    Ok(response.map(Body::from))
}
