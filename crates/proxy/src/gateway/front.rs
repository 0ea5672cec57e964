//! The two ways in: the trunk of the tier above, and HTTP for those who try one tier alone.

use super::{
    answer::Answer,
    board::WorkerBoard,
    load::{Load, Taken},
    request::{Desk, Request, Step},
};
use crate::balancer::front;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use net::{
    clock,
    edge::{Asked, Body, Service},
    ids,
    trunk::{Handler, ReplyTo},
};
use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};
use tokio::task::spawn_local;
use wire::{
    Code, Reply,
    call::Failure,
    frame::{HeaderList, RequestRef, ResponseRef, Target},
    limits::REQUEST_ID_BYTES_MAX,
};

/// One worker of the gateway, behind both ways in.
pub(super) struct Front {
    pub(super) node: Arc<str>,
    pub(super) desk: Desk,
    /// Of a request that comes over HTTP.
    pub(super) deadline: Cell<Duration>,
    pub(super) board: Arc<WorkerBoard>,
    pub(super) load: Rc<Load>,
}

/// Takes requests from the tier above.
pub(super) struct TrunkFront(pub(super) Rc<Front>);

impl Handler for TrunkFront {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let front = &self.0;
        let Target::Http { method, path, headers } = request.target else {
            return refuse_call(&front.node, reply);
        };
        front.board.requests.add(1);
        let id = headers.get("x-request-id").and_then(decent_id);
        let minted_id = id.is_none().then(ids::request_id);
        let request_id = id.or(minted_id.as_ref().map(ids::Minted::as_str));
        let request_id = request_id.expect("given or minted");
        let Some(taken) = front.load.take(clock::now()) else {
            return front.send(front.full(request_id), &front.node, reply);
        };
        let step = front.desk.take(&Request {
            method,
            path,
            headers,
            body: request.body,
            key: request.key,
            minted: request.minted,
            request_id,
            attempts: request.attempt,
            left: Duration::from_millis(request.deadline_ms.into()),
            trace: request.trace,
        });
        match step {
            Step::Answer(answer) => {
                taken.answered(answer.status);
                front.send(answer, &front.node, reply);
            }
            Step::Ask(job) => {
                let front = Rc::clone(front);
                drop(spawn_local(async move {
                    // Given up, the asking stops, and the account node is told: what it has not
                    // begun it never will; what it has is stored under its key.
                    let answer = tokio::select! {
                        answer = taken.below(job.answer()) => answer,
                        () = reply.cancelled() => return,
                    };
                    let blamed = job.blamed(answer.status);
                    let decided_by = blamed.as_deref().unwrap_or(&front.node);
                    taken.answered(answer.status);
                    front.send(answer, decided_by, reply);
                }));
            }
        }
    }
}

impl Front {
    /// What is told to one request too many: it was certainly not executed.
    fn full(&self, request_id: &str) -> Answer {
        self.board.shed.add(1);
        Answer::overloaded(request_id)
    }

    /// `decided_by` is this node, or whoever behind it is to blame.
    fn send(&self, answer: Answer, decided_by: &str, reply: ReplyTo) {
        self.board.count(answer.status);
        let mut headers = HeaderList::new();
        let content_type = Some(("content-type", answer.content_type));
        for (name, value) in content_type.into_iter().chain(answer.header) {
            headers.push(name, value.as_bytes()).expect("two short headers fit");
        }
        let mut response = ResponseRef::new(answer.status, decided_by, &answer.body);
        response.headers = headers.as_ref();
        reply.send(response);
    }
}

/// A call for an account node has gone astray: nobody configured so would send one.
fn refuse_call(node: &str, reply: ReplyTo) {
    let mut body = Vec::new();
    Reply::Failed(Failure::Malformed).encode(&mut body);
    reply.send(ResponseRef::new(200, node, &body));
}

fn decent_id(id: &[u8]) -> Option<&str> {
    let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len());
    let id = std::str::from_utf8(id).ok()?;
    (fits && id.bytes().all(|byte| byte.is_ascii_graphic())).then_some(id)
}

/// Takes requests from clients.
pub(super) struct HttpFront(pub(super) Rc<Front>);

impl Service for HttpFront {
    async fn respond(&self, asked: Asked) -> Response<Body> {
        let front = &self.0;
        front.board.requests.add(1);
        let request_id = front::request_id(&asked.parts.headers);
        let key = match front::key(&asked.parts) {
            Ok(key) => key,
            Err(flaw) => {
                let field = Some("Idempotency-Key");
                let mut response = front::problem(Code::InvalidRequest, flaw.0, field, &request_id);
                front.board.count(Code::InvalidRequest.status());
                front::mark(&mut response, request_id, None);
                return response.map(Body::from);
            }
        };
        let answer = match front.load.take(clock::now()) {
            Some(taken) => front.answer(&asked, &request_id, key.as_ref(), taken).await,
            None => Some(front.full(request_id.to_str().unwrap_or_default())),
        };
        let mut response = match answer {
            Some(answer) => {
                front.board.count(answer.status);
                http_response(answer)
            }
            None => {
                let detail = "the headers are too many";
                front::problem(Code::HeadersTooLarge, detail, None, &request_id)
            }
        };
        front::mark(&mut response, request_id, key);
        response.map(Body::from)
    }

    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        front::refusal(parts, code, detail)
    }
}

impl Front {
    /// `None` when the headers are more than a request may have.
    async fn answer(
        &self,
        asked: &Asked,
        request_id: &HeaderValue,
        key: Option<&front::Key>,
        taken: Taken,
    ) -> Option<Answer> {
        let headers = &asked.parts.headers;
        let list = front::forwarded_headers(headers, request_id).ok()?;
        let step = self.desk.take(&Request {
            method: asked.parts.method.as_str(),
            path: asked.path(),
            headers: list.as_ref(),
            body: &asked.body,
            key: key.map_or(&[], |key| key.value.as_bytes()),
            minted: key.is_some_and(|key| key.minted),
            request_id: request_id.to_str().expect("front::request_id() gives only ASCII"),
            attempts: 0,
            left: self.deadline.get(),
            trace: front::trace(headers),
        });
        let answer = match step {
            Step::Answer(answer) => answer,
            Step::Ask(job) => taken.below(job.answer()).await,
        };
        taken.answered(answer.status);
        Some(answer)
    }
}

fn http_response(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).expect("the table of codes holds statuses");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some((name, value)) = answer.header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
