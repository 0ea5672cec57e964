//! The ways in to an HTTP service: from a client's own connection, and from the trunk.

use super::{
    body::{Arriving, Payload},
    failure::Failure,
    group::Group,
    head::{self, Head},
    limits::{TUNNEL_QUIET_MAX, WHOLE_ANSWER_BYTES_MAX, WHOLE_BODY_BYTES_MAX},
    roster::{Passed, Switched},
    tunnel,
};
use crate::{balancer::front, coming::Coming, held::held, problem};
use bytes::{Bytes, BytesMut};
use http::{Response, Version, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use net::{
    clock,
    edge::{Asked, Body, BodyMode, BodyStream, OnUpgrade},
    trunk::{ReplyTo, StreamReader},
};
use std::{rc::Rc, sync::Arc, time::Duration};
use stdx::Moment;
use tokio::{task::spawn_local, time::timeout};
use wire::{
    Code, Flaw,
    frame::{HeaderList, Headers, RequestRef, ResponseRef, Target},
};

/// What this node says is to arrive before those in front of it give up.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// How the body of a request for an HTTP service is wanted: a short one whole, so that it can be
/// sent again.
pub(crate) fn body_mode(parts: &Parts) -> BodyMode {
    let headers = &parts.headers;
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.map(|it| it.to_str().ok().and_then(|it| it.parse::<usize>().ok()));
    let is_short = match length {
        Some(length) => length.is_some_and(|it| it <= WHOLE_BODY_BYTES_MAX),
        None if headers.contains_key(header::TRANSFER_ENCODING) => false,
        // In HTTP/2 a body need not be announced.
        None => parts.version < Version::HTTP_2 || parts.method.is_safe(),
    };
    if is_short && !headers.contains_key(header::UPGRADE) {
        BodyMode::Whole { bytes_max: WHOLE_BODY_BYTES_MAX }
    } else {
        BodyMode::Stream
    }
}

/// Passes a client's request on to a service, and its answer back as it comes. What `begun` gives
/// once the answer has begun is kept until its end.
pub(crate) async fn over_http<G: Unpin + 'static>(
    group: &Rc<Group>,
    asked: &Asked<()>,
    payload: Payload,
    upgrade: Option<OnUpgrade>,
    deadline: Duration,
    begun: impl FnOnce() -> G,
) -> Response<Body> {
    let headers = &asked.parts.headers;
    let request_id = front::request_id(headers);
    let key = match front::key(&asked.parts) {
        Ok(key) => key,
        Err(flaw) => return front::bad_key(flaw, request_id).map(Body::from),
    };
    let mut response = match front::forwarded_headers(headers, &request_id) {
        Ok(list) => {
            let wanted = upgrade.as_ref().and_then(|_| headers.get(header::UPGRADE));
            let head = Head {
                method: asked.parts.method.as_str(),
                path: asked.path(),
                headers: list.as_ref(),
                key: key.as_ref().map_or(&[], |key| key.value.as_bytes()),
                minted: key.as_ref().is_some_and(|key| key.minted),
                trace: asked.trace.as_str(),
                upgrade: wanted.and_then(|it| it.to_str().ok()),
                trailers: asked.parts.version == Version::HTTP_2,
            };
            let passed = group.pass(&head, payload, clock::now() + deadline).await;
            match passed.and_then(|it| answered(it, upgrade, begun)) {
                Ok(response) => response,
                Err(failure) => {
                    let (code, detail) = failure.verdict(head.is_safe());
                    front::problem(code, detail, None, &request_id).map(Body::from)
                }
            }
        }
        Err(_) => {
            let detail = "the headers are too many to be passed on";
            front::problem(Code::HeadersTooLarge, detail, None, &request_id).map(Body::from)
        }
    };
    front::mark(&mut response, request_id, key);
    response
}

/// The client's answer; joins its connection with the endpoint's where both agreed to upgrade.
fn answered<G: Unpin + 'static>(
    passed: Passed,
    upgrade: Option<OnUpgrade>,
    begun: impl FnOnce() -> G,
) -> Result<Response<Body>, Failure> {
    match (passed, upgrade) {
        (Passed::Answered(response), _) => {
            Ok(response.map(|body| held(Body::streamed(body), begun)))
        }
        (Passed::Switched(switched), Some(client)) => {
            let (response, upstream, kept) = tunnel::parts(switched);
            tunnel::start(client, upstream, (kept, begun()));
            Ok(response.map(|()| Body::from(Bytes::new())))
        }
        (Passed::Switched(_), None) => Err(Failure::Odd),
    }
}

/// The body of a request that was not read whole.
pub(crate) fn streamed(body: BodyStream) -> Payload {
    match body.is_end_stream() {
        true => Payload::Whole(Bytes::new()),
        false => Payload::Stream(Box::pin(body.map_err(Into::into))),
    }
}

/// Takes the body out of a request.
pub(crate) fn apart<B>(asked: Asked<B>) -> (Asked<()>, B) {
    let Asked { parts, body, peer, is_tls, trace } = asked;
    (Asked { parts, body: (), peer, is_tls, trace }, body)
}

/// Passes on a request of the trunk, with a reader for what of its body is not in `request`. Its
/// answer names the service as the hop that decided: whatever that is to blame for, this node is
/// not. `done` is told its status when it begins, and what that gives is kept until its end.
pub(crate) fn over_trunk<G: 'static>(
    group: &Rc<Group>,
    node: &Arc<str>,
    request: &RequestRef<'_>,
    more: Option<StreamReader>,
    reply: ReplyTo,
    done: impl FnOnce(u16) -> G + 'static,
) {
    let (group, node) = (Rc::clone(group), Arc::clone(node));
    let message = Bytes::copy_from_slice(request.message());
    drop(spawn_local(async move {
        let request = RequestRef::read(&message).expect("it was read when it came");
        let Target::Http { method, path, headers } = request.target else {
            return drop(reply); // It was looked at before.
        };
        let left = Duration::from_millis(request.deadline_ms.into());
        let expires = clock::now() + left.saturating_sub(MARGIN_MAX.min(left / 10));
        let head = Head {
            method,
            path,
            headers,
            key: request.key,
            minted: request.minted,
            trace: request.trace,
            upgrade: more.as_ref().and_then(|_| wanted_upgrade(headers)),
            trailers: false,
        };
        let first = message.slice_ref(request.body);
        let (payload, tunnel) = match more {
            None => (Payload::Whole(first), None),
            Some(reader) if head.upgrade.is_some() => (Payload::Whole(first), Some(reader)),
            Some(reader) => match Coming::new(first, headers.get("content-length"), reader) {
                Some(coming) => (Payload::Stream(Box::pin(coming)), None),
                None => return drop(reply), // No edge of ours says such a thing.
            },
        };
        let passing = async {
            match (group.pass(&head, payload, expires).await?, tunnel) {
                (Passed::Answered(response), _) => Told::of(response, expires).await,
                (Passed::Switched(switched), Some(reader)) => Ok(Told::Switched(switched, reader)),
                (Passed::Switched(_), None) => Err(Failure::Odd),
            }
        };
        let told = tokio::select! {
            told = passing => told,
            // The service is told by the end of its connection.
            () = reply.cancelled() => return drop(reply),
        };
        let service = group.service().name();
        match told {
            Ok(Told::Whole(response)) => {
                drop(done(response.status().as_u16()));
                send(&response, &node, service, reply);
            }
            Ok(Told::Coming(response)) => {
                let _kept = done(response.status().as_u16());
                stream(response, &node, service, reply).await;
            }
            Ok(Told::Switched(switched, reader)) => {
                let _kept = done(101);
                switch(switched, reader, &node, service, reply).await;
            }
            Err(failure) => {
                let (code, detail) = failure.verdict(head.is_safe());
                drop(done(code.status()));
                let request_id = headers.get("x-request-id").unwrap_or_default();
                let request_id = std::str::from_utf8(request_id).unwrap_or_default();
                problem::send(reply, service, code, detail, request_id);
            }
        }
    }));
}

/// What the edge's client wants its connection to become. Only an edge says so, and only with
/// a request that has no body.
pub(crate) fn wanted_upgrade(headers: Headers<'_>) -> Option<&str> {
    headers.get("upgrade").and_then(|it| std::str::from_utf8(it).ok())
}

/// An answer for the trunk.
enum Told {
    Whole(Response<Bytes>),
    /// Its body is long, or nobody knows how long.
    Coming(Response<Arriving>),
    /// The client's bytes are to go to the service from now on.
    Switched(Switched, StreamReader),
}

impl Told {
    async fn of(response: Response<Arriving>, expires: Moment) -> Result<Told, Failure> {
        let length = response.body().size_hint().exact();
        match length.map(|length| usize::try_from(length).unwrap_or(usize::MAX)) {
            Some(..=WHOLE_ANSWER_BYTES_MAX) => gather(response, expires).await.map(Told::Whole),
            Some(_) | None => Ok(Told::Coming(response)),
        }
    }
}

/// The whole answer, if it comes in time.
async fn gather(response: Response<Arriving>, expires: Moment) -> Result<Response<Bytes>, Failure> {
    let (parts, mut body) = response.into_parts();
    let all = async {
        let mut gathered = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::Lost)?;
            let Ok(data) = frame.into_data() else { continue };
            gathered.extend_from_slice(&data);
        }
        Ok(gathered.freeze())
    };
    let whole = timeout(expires.since(clock::now()), all).await.unwrap_or(Err(Failure::Late))?;
    Ok(Response::from_parts(parts, whole))
}

/// Sends an answer as it comes. One that breaks off breaks off for the asker, too.
async fn stream(response: Response<Arriving>, node: &str, service: &str, reply: ReplyTo) {
    let list = headers(&response, node).and_then(|mut list| {
        // The frame does not say it, and the edge is to tell its client.
        if let Some(length) = response.body().size_hint().exact() {
            list.push(header::CONTENT_LENGTH.as_str(), length.to_string().as_bytes())?;
        }
        Ok(list)
    });
    let Ok(list) = list else { return too_many(service, reply) };
    let mut head = ResponseRef::new(response.status().as_u16(), service, &[]);
    head.headers = list.as_ref();
    let Some(mut writer) = reply.begin(head) else { return };
    let mut body = response.into_body();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = writer.closed() => return,
        };
        match frame {
            None => return writer.finish(),
            Some(Err(_)) => return,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if writer.send(data).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Joins the service's connection with the exchange.
async fn switch(
    switched: Switched,
    reader: StreamReader,
    node: &str,
    service: &str,
    reply: ReplyTo,
) {
    let (response, upstream, kept) = tunnel::parts(switched);
    let list = headers(&response, node).and_then(|mut list| {
        if let Some(name) = response.headers().get(header::UPGRADE) {
            list.push(header::UPGRADE.as_str(), name.as_bytes())?;
        }
        Ok(list)
    });
    let Ok(list) = list else { return too_many(service, reply) };
    let mut head = ResponseRef::new(response.status().as_u16(), service, &[]);
    head.headers = list.as_ref();
    let Some(writer) = reply.begin(head) else { return };
    match upstream.await {
        Ok(upstream) => {
            tunnel::carry(TokioIo::new(upstream), reader, writer, TUNNEL_QUIET_MAX).await;
        }
        Err(err) => tracing::debug!(%err, "the upgrade came to nothing"),
    }
    drop(kept);
}

fn headers<B>(response: &Response<B>, node: &str) -> Result<HeaderList, Flaw> {
    let mut list = head::list(response.headers())?;
    // RFC 9110 §7.6.3. It also tells a bare failure of the service's from one of a tier's.
    list.push("via", format!("1.1 {node}").as_bytes())?;
    Ok(list)
}

fn too_many(service: &str, reply: ReplyTo) {
    let detail = "the service's answer has too many headers";
    problem::send(reply, service, Code::BadGateway, detail, "");
}

fn send(response: &Response<Bytes>, node: &str, service: &str, reply: ReplyTo) {
    let Ok(list) = headers(response, node) else { return too_many(service, reply) };
    let mut answer = ResponseRef::new(response.status().as_u16(), service, response.body());
    answer.headers = list.as_ref();
    reply.send(answer);
}
