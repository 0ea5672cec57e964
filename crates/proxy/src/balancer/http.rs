//! The HTTP front: a client's request goes on over the trunk, and its answer comes back as HTTP.

use super::{
    front::{self, Key},
    limits::{ATTEMPTS_MAX, EDGE_LIMIT, FULL_MAX, UNSENT_WAIT_MAX},
    router::Router,
    verdict::{Failure, Nature, is_definite},
};
use crate::gate::Gate;
use balance::{Ask, Outcome};
use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use net::{
    clock,
    edge::{Asked, Body, Service},
    trunk::{Answer, Loss},
};
use std::{cell::Cell, rc::Rc};
use tokio::time::timeout;
use wire::{
    Code,
    frame::{RequestRef, Target},
};

/// Takes requests of clients.
pub(super) struct HttpFront {
    router: Rc<Router>,
    gate: Rc<Gate>,
}

impl HttpFront {
    pub(super) fn new(router: Rc<Router>) -> HttpFront {
        HttpFront { router, gate: Gate::new(EDGE_LIMIT) }
    }

    /// Asks the endpoints, and makes an HTTP answer of whatever comes of it.
    async fn pass(
        &self,
        asked: &Asked,
        request_id: &HeaderValue,
        key: Option<&Key>,
        shed: &Cell<bool>,
    ) -> Response<Bytes> {
        let Ok(headers) = front::forwarded_headers(&asked.parts.headers, request_id) else {
            let detail = "the headers are too many to be passed on";
            return front::problem(Code::HeadersTooLarge, detail, None, request_id);
        };
        let method = asked.parts.method.as_str();
        let target = Target::Http { method, path: asked.path(), headers: headers.as_ref() };
        let mut request = RequestRef::new(target, 0, &asked.body);
        if let Some(key) = key {
            request.key = key.value.as_bytes();
            request.minted = key.minted;
        }
        request.trace = front::trace(&asked.parts.headers);
        let nature = Nature::of(&request);
        let counters = &self.router.counters;
        let failure = match self.exchange(request, nature, shed).await {
            Ok(answer) => match passed_on(&answer) {
                Ok(response) => return response,
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        match failure {
            Failure::Unsent => counters.unsent.add(1),
            Failure::Unknown | Failure::Late => counters.unknown.add(1),
        }
        let (code, detail) = failure.verdict(nature);
        front::problem(code, detail, None, request_id)
    }

    /// Sends a request to one endpoint, and if its connection is lost to one more.
    async fn exchange(
        &self,
        mut request: RequestRef<'_>,
        nature: Nature,
        shed: &Cell<bool>,
    ) -> Result<Answer, Failure> {
        let router = &self.router;
        let expires = clock::now() + router.deadline.get();
        let hash = router.hash_of(&request.target);
        let (mut excluded, mut refusals, mut fulls) = (None, 0, 0);
        loop {
            let repeated = request.attempt != 0;
            let in_vain = if repeated { Failure::Unknown } else { Failure::Unsent };
            let now = clock::now();
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
            let result = router.call(ticket, &request).await;
            excluded = Some(endpoint);
            match result {
                Ok(answer) => {
                    let response = answer.response();
                    shed.set(router.blame(endpoint, &response) == Outcome::Shed);
                    let passes = !repeated || nature.reads;
                    if passes || is_definite(response.status, response.body) {
                        return Ok(answer);
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

impl Service for HttpFront {
    async fn respond(&self, asked: Asked) -> Response<Body> {
        let now = clock::now();
        self.router.requested(now);
        let request_id = front::request_id(&asked.parts.headers);
        let key = match front::key(&asked.parts) {
            Ok(key) => key,
            Err(flaw) => {
                let field = Some("Idempotency-Key");
                let mut response = front::problem(Code::InvalidRequest, flaw.0, field, &request_id);
                front::mark(&mut response, request_id, None);
                return response.map(Body::from);
            }
        };
        let Some(admitted) = self.gate.admit(now) else {
            self.router.counters.shed.add(1);
            let mut response = front::problem(Code::Overloaded, FULL, None, &request_id);
            front::mark(&mut response, request_id, key);
            return response.map(Body::from);
        };
        let shed = Cell::new(false);
        let mut response = self.pass(&asked, &request_id, key.as_ref(), &shed).await;
        if shed.get() {
            admitted.shed();
        } else if !response.status().is_server_error() {
            admitted.answered(clock::now());
        }
        front::mark(&mut response, request_id, key);
        response.map(Body::from)
    }

    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        front::refusal(parts, code, detail)
    }
}

/// What a client is told whose request is one too many.
const FULL: &str = "as much is in flight as this node takes; the request was not executed";

/// An endpoint's answer as HTTP. A bare failure is a node's below that gave up on the request:
/// with 503 before it began, with anything else without saying how far it had come.
fn passed_on(answer: &Answer) -> Result<Response<Bytes>, Failure> {
    let response = answer.response();
    let is_bare = response.body.is_empty() && response.headers.is_empty();
    if 500 <= response.status && is_bare {
        return Err(if response.status == 503 { Failure::Unsent } else { Failure::Unknown });
    }
    let share = |part: &[u8]| answer.share(part);
    front::response(response.status, response.headers, answer.body(), share).ok_or(Failure::Unknown)
}
