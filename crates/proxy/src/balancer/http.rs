//! The HTTP front: a client's request goes on over the trunk, and its answer comes back as HTTP.

use super::{
    front::{self, Key},
    http_stream,
    limits::{ATTEMPTS_MAX, EDGE_LIMIT, FULL_MAX, UNSENT_WAIT_MAX},
    router::Router,
    verdict::{Failure, Nature, is_definite},
};
use crate::{coming::Coming, escapes::unescaped, gate::Gate, held::held, upstream::door};
use balance::{Ask, Outcome};
use bytes::Bytes;
use http::{HeaderValue, Response, Version, request::Parts};
use net::{
    clock,
    edge::{Asked, Body, BodyMode, BodyStream, OnUpgrade, Service},
    trunk::{Answer, Loss, StreamReader},
};
use std::{cell::Cell, rc::Rc, sync::Arc};
use stdx::Moment;
use tokio::time::timeout;
use wire::{
    Code,
    frame::{Headers, RequestRef, Target},
};

/// Takes requests of clients.
pub(super) struct HttpFront {
    router: Rc<Router>,
    gate: Rc<Gate>,
}

impl HttpFront {
    pub(super) fn new(router: Rc<Router>) -> HttpFront {
        let gate = Gate::new(EDGE_LIMIT, Arc::clone(&router.counters.line));
        HttpFront { router, gate }
    }

    /// Asks the endpoints, and makes an HTTP answer of whatever comes of it.
    async fn pass(
        &self,
        now: Moment,
        asked: &Asked,
        request_id: &HeaderValue,
        key: Option<&Key>,
        shed: &Cell<bool>,
    ) -> Response<Body> {
        let Ok(headers) = front::forwarded_headers(&asked.parts.headers, request_id) else {
            let detail = "the headers are too many to be passed on";
            return front::problem(Code::HeadersTooLarge, detail, None, request_id).map(Body::from);
        };
        let request = request(asked, headers.as_ref(), &asked.body, key);
        let nature = Nature::of(&request);
        let streams = may_stream(&asked.parts);
        let failure = match self.exchange(now, request, streams, nature, shed).await {
            Ok((endpoint, answer, more)) => match passed_on(asked.parts.version, &answer, more) {
                Ok(response) => return self.keep(endpoint, response),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        failed(&self.router, failure, nature, request_id)
    }

    /// Sends a request to one endpoint, and if its connection is lost to one more.
    async fn exchange(
        &self,
        now: Moment,
        mut request: RequestRef<'_>,
        streams: bool,
        nature: Nature,
        shed: &Cell<bool>,
    ) -> Result<(usize, Answer, Option<StreamReader>), Failure> {
        let router = &self.router;
        let expires = now + router.deadline.get();
        let mut known = Some(now);
        let hash = router.hash_of(&request.target);
        let (mut excluded, mut refusals, mut fulls) = (None, 0, 0);
        loop {
            let repeated = request.attempt != 0;
            let in_vain = if repeated { Failure::Unknown } else { Failure::Unsent };
            let now = known.take().unwrap_or_else(clock::now);
            let left = expires.since(now);
            let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            if left_ms == 0 {
                return Err(Failure::Late);
            }
            let Some(ticket) = router.send(now, Ask { excluded, hash }) else {
                let patience = if repeated { left } else { left.min(UNSENT_WAIT_MAX) };
                if !timeout(patience, router.any_up()).await.unwrap_or(false) {
                    return Err(in_vain);
                }
                continue;
            };
            request.deadline_ms = left_ms;
            let endpoint = ticket.choice.endpoint;
            let result = router.call(ticket, &request, streams).await;
            excluded = Some(endpoint);
            match result {
                Ok((answer, more)) => {
                    let response = answer.response();
                    shed.set(router.blame(endpoint, &response) == Outcome::Shed);
                    let passes = !repeated || nature.reads;
                    if passes || is_definite(response.status, response.body) {
                        return Ok((endpoint, answer, more));
                    }
                    return Err(Failure::Unknown);
                }
                Err(Loss::DeadlinePassed) => return Err(Failure::Late),
                Err(Loss::Reset) => return Err(Failure::Unknown),
                Err(Loss::ConnectionLost) => {
                    let may_repeat = !repeated && nature.repeatable;
                    let too_often = ATTEMPTS_MAX <= request.attempt + 1;
                    if !may_repeat || too_often || !router.may_repeat() {
                        return Err(Failure::Unknown);
                    }
                    request.attempt += 1;
                }
                Err(loss) => {
                    fulls += usize::from(loss == Loss::Full);
                    refusals += 1;
                    if loss == Loss::TooLong || fulls == FULL_MAX || router.len() < refusals {
                        return Err(in_vain);
                    }
                }
            }
        }
    }
}

impl HttpFront {
    /// Counts an answer that is still coming here and at its endpoint.
    fn keep(&self, endpoint: usize, response: Response<Body>) -> Response<Body> {
        let open = || (self.gate.open_stream(), self.router.hold(endpoint));
        response.map(|body| held(body, open))
    }

    /// Has `pass` pass on a request that is admitted, and marks its answer. Whether the answer was
    /// a refusal for lack of room further down is to be set in the cell.
    async fn admit<B>(
        &self,
        asked: &Asked<B>,
        pass: impl AsyncFnOnce(Moment, &HeaderValue, Option<&Key>, &Cell<bool>) -> Response<Body>,
    ) -> Response<Body> {
        let now = clock::now();
        self.router.requested(now);
        let request_id = front::request_id(&asked.parts.headers);
        let key = match front::key(&asked.parts) {
            Ok(key) => key,
            Err(flaw) => return front::bad_key(flaw, request_id).map(Body::from),
        };
        let is_crowded = may_stream(&asked.parts) && self.gate.has_all_streams();
        let admitted = if is_crowded { None } else { self.gate.admit(now) };
        let Some(admitted) = admitted else {
            self.router.counters.shed.add(1);
            let mut response = front::problem(Code::Overloaded, front::FULL, None, &request_id);
            front::mark(&mut response, request_id, key);
            return response.map(Body::from);
        };
        let shed = Cell::new(false);
        let mut response = pass(now, &request_id, key.as_ref(), &shed).await;
        if shed.get() {
            admitted.shed();
        } else if !response.status().is_server_error() {
            admitted.answered(clock::now());
        }
        front::mark(&mut response, request_id, key);
        response
    }
}

impl Service for HttpFront {
    fn body_mode(&self, parts: &Parts) -> BodyMode {
        http_stream::body_mode(parts)
    }

    async fn respond(&self, asked: Asked) -> Response<Body> {
        self.admit(&asked, async |now, request_id, key, shed| {
            self.pass(now, &asked, request_id, key, shed).await
        })
        .await
    }

    async fn relay(&self, asked: Asked<BodyStream>, upgrade: Option<OnUpgrade>) -> Response<Body> {
        let (asked, body) = door::apart(asked);
        self.admit(&asked, async |_, request_id, key, shed| {
            let way = (&self.router, &self.gate);
            http_stream::pass(way, &asked, body, upgrade, (request_id, key), shed).await
        })
        .await
    }

    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        front::refusal(parts, code, detail)
    }

    fn is_full(&self) -> bool {
        self.gate.is_full()
    }

    fn room(&self) -> impl Future<Output = bool> {
        self.gate.room()
    }

    fn turn_away(&self, parts: &Parts) -> Response<Bytes> {
        self.gate.turned_away();
        self.router.requested(clock::now());
        self.router.counters.shed.add(1);
        self.refuse(parts, Code::Overloaded, front::FULL)
    }
}

/// Whether a long answer may go to the client as it comes. One of the account API is put together,
/// but for its events: it is not long, and one that breaks off is then told as such. So is one to
/// HTTP/1.0, where a body that broke off looks like one that ended.
pub(super) fn may_stream(parts: &Parts) -> bool {
    let path = unescaped(parts.uri.path());
    let is_put_together = path.starts_with("/v1/") && !path.ends_with("/events");
    parts.version != Version::HTTP_10 && !is_put_together
}

/// A request for the trunk, without a deadline yet.
pub(super) fn request<'a, B>(
    asked: &'a Asked<B>,
    headers: Headers<'a>,
    body: &'a [u8],
    key: Option<&'a Key>,
) -> RequestRef<'a> {
    let (method, path) = (asked.parts.method.as_str(), asked.path());
    let target = Target::Http { method, path, headers };
    let mut request = RequestRef::new(target, 0, body);
    if let Some(key) = key {
        request.key = key.value.as_bytes();
        request.minted = key.minted;
    }
    request.trace = asked.trace.as_str();
    request
}

/// What a client gets whose request failed here.
pub(super) fn failed(
    router: &Router,
    failure: Failure,
    nature: Nature,
    request_id: &HeaderValue,
) -> Response<Body> {
    match failure {
        Failure::Unsent => router.counters.unsent.add(1),
        Failure::Unknown | Failure::Late => router.counters.unknown.add(1),
    }
    let (code, detail) = failure.verdict(nature);
    front::problem(code, detail, None, request_id).map(Body::from)
}

/// An endpoint's answer as HTTP. A bare failure is a node's below that gave up on the request:
/// with 503 before it began, with anything else without saying how far it had come.
/// Of a long one only the head and what came with it are here.
pub(super) fn passed_on(
    version: Version,
    answer: &Answer,
    more: Option<StreamReader>,
) -> Result<Response<Body>, Failure> {
    let response = answer.response();
    if response.status < 200 {
        return Err(Failure::Unknown); // Nobody asked for it.
    }
    let is_bare = response.body.is_empty() && response.headers.is_empty();
    if 500 <= response.status && is_bare {
        return Err(if response.status == 503 { Failure::Unsent } else { Failure::Unknown });
    }
    let share = |part: &[u8]| answer.share(part);
    let body = share(response.body);
    let http = front::response(version, response.status, response.headers, body, share);
    let http = http.ok_or(Failure::Unknown)?;
    let Some(reader) = more else { return Ok(http.map(Body::from)) };
    let length = response.headers.get("content-length");
    let (parts, first) = http.into_parts();
    let coming = Coming::new(first, length, reader).ok_or(Failure::Unknown)?;
    Ok(Response::from_parts(parts, Body::streamed(coming)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_as_they_come_however_they_are_written() {
        let streams = |path: &str| {
            let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            may_stream(&parts)
        };
        for path in ["/v1/a/events", "/v1/%61/event%73", "/%76%31/a/events?after=now", "/rates/x"] {
            assert!(streams(path), "{path}");
        }
        for path in ["/v1/a/accounts", "/%761/a/accounts", "/v1/a%2Fevents/x"] {
            assert!(!streams(path), "{path}");
        }
    }
}
