//! The two ways in: the trunk of the tier above, and HTTP for those who try one tier alone.

use super::{
    answer::Answer,
    board::WorkerBoard,
    events::Events,
    load::{Load, Taken},
    request::{Desk, Request, Step},
    route::body_bytes_max,
};
use super::{
    mistake::Mistake,
    routes::{Found, Routes},
};
use crate::{
    balancer::front,
    config::{GatewayConfig, RouteConfig},
    upstream::{Group, HttpService, HttpServices, Payload, door},
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::body::{Body as HttpBody, Frame};
use net::{
    clock,
    control::EndpointView,
    edge::{Asked, Body, BodyError, BodyMode, BodyStream, OnUpgrade, Service},
    ids,
    trunk::{Handler, ReplyTo, StreamReader, put_together},
};
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::mpsc, task::spawn_local};
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
    /// To HTTP services beside the account API.
    pub(super) routes: RefCell<Routes<Rc<Group>>>,
    /// Of a request that comes over HTTP.
    pub(super) deadline: Cell<Duration>,
    pub(super) board: Arc<WorkerBoard>,
    pub(super) load: Rc<Load>,
    /// Whoever listens for long is to go.
    pub(super) is_ending: Cell<bool>,
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
        match front.routes.borrow().find(path) {
            Found::Nothing => (),
            Found::Dotted => {
                return front.send(Answer::mistake(&dotted(), ""), &front.node, reply);
            }
            Found::Service(group) => {
                let group = Rc::clone(group);
                return front.aside(&group, &request, None, reply);
            }
        }
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
            Step::Listen(events) => front.listen(events, taken, reply),
            Step::Work(work) => {
                let front = Rc::clone(front);
                drop(spawn_local(async move {
                    let answer = tokio::select! {
                        answer = taken.below(work) => answer,
                        () = reply.cancelled() => return,
                    };
                    taken.answered(answer.status);
                    front.send(answer, &front.node, reply);
                }));
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

    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        self.stream_in(head, body, reply);
    }
}

impl TrunkFront {
    /// Passes a long request on to its HTTP service, as it comes. Any other is put together.
    fn stream_in(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        let Target::Http { path, headers, .. } = head.target else {
            return put_together(self, head, body, reply);
        };
        match self.0.group(path) {
            Found::Service(group) => {
                self.0.board.requests.add(1);
                self.0.aside(&group, &head, Some(body), reply);
            }
            // Its stream waits for an upgrade and not for a body.
            Found::Dotted | Found::Nothing if door::wanted_upgrade(headers).is_some() => {
                self.request(head, reply);
            }
            Found::Dotted | Found::Nothing => put_together(self, head, body, reply),
        }
    }
}

impl Front {
    /// Tells somebody in front what happens, for as long as he listens.
    fn listen(self: &Rc<Front>, events: Events, taken: Taken, reply: ReplyTo) {
        taken.answered(200);
        let Some(aside) = self.load.take_aside(clock::now()) else {
            return self.send(self.full(""), &self.node, reply);
        };
        let answer = Answer::stream();
        self.board.count(answer.status);
        let headers = headers_of(&answer);
        let mut response = ResponseRef::new(answer.status, &self.node, &[]);
        response.headers = headers.as_ref();
        let Some(mut writer) = reply.begin(response) else { return };
        let events = events.at(self);
        drop(spawn_local(async move {
            let _open = aside.begun();
            events.run(async |bytes| writer.send(bytes).await).await;
            writer.finish();
        }));
    }

    /// As [`Front::listen`], to a client of its own.
    fn listen_http(self: &Rc<Front>, events: Events) -> Option<Response<Body>> {
        let aside = self.load.take_aside(clock::now())?;
        let (sender, receiver) = mpsc::channel(1);
        let events = events.at(self);
        drop(spawn_local(async move {
            let _open = aside.begun();
            events.run(async |bytes| sender.send(bytes).await).await;
        }));
        let response = http_response(Answer::stream());
        Some(response.map(|_| Body::streamed(Heard(receiver))))
    }

    /// Passes a request of the tier above on to an HTTP service, if there is room for it.
    fn aside(
        &self,
        group: &Rc<Group>,
        request: &RequestRef<'_>,
        more: Option<StreamReader>,
        reply: ReplyTo,
    ) {
        let Some(aside) = self.load.take_aside(clock::now()) else {
            let id = match request.target {
                Target::Http { headers, .. } => headers.get("x-request-id").and_then(decent_id),
                Target::Ledger { .. } => None,
            };
            return self.send(self.full(id.unwrap_or_default()), &self.node, reply);
        };
        let board = Arc::clone(&self.board);
        let done = move |status| {
            board.count(status);
            aside.begun()
        };
        door::over_trunk(group, &self.node, request, more, reply, done);
    }

    /// What is told to one request too many: it was certainly not executed.
    fn full(&self, request_id: &str) -> Answer {
        self.board.shed.add(1);
        Answer::overloaded(request_id)
    }

    /// `decided_by` is this node, or whoever behind it is to blame.
    fn send(&self, answer: Answer, decided_by: &str, reply: ReplyTo) {
        self.board.count(answer.status);
        let headers = headers_of(&answer);
        let mut response = ResponseRef::new(answer.status, decided_by, &answer.body);
        response.headers = headers.as_ref();
        reply.send(response);
    }
}

/// Memory for the headers of an answer: more than they mostly are.
const ANSWER_HEADERS_BYTES: usize = 128;

fn headers_of(answer: &Answer) -> HeaderList {
    let mut headers = HeaderList::with_capacity(ANSWER_HEADERS_BYTES);
    let content_type = (!answer.content_type.is_empty()).then_some(answer.content_type);
    let content_type = content_type.map(|it| ("content-type", it));
    for (name, value) in content_type.into_iter().chain(answer.header) {
        headers.push(name, value.as_bytes()).expect("two short headers fit");
    }
    headers
}

/// What a listener is told, as it comes.
struct Heard(mpsc::Receiver<Bytes>);

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
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
    fn body_mode(&self, parts: &Parts) -> BodyMode {
        match self.0.routes.borrow().find(parts.uri.path()) {
            Found::Service(_) => door::body_mode(parts),
            Found::Dotted | Found::Nothing => {
                BodyMode::Whole { bytes_max: body_bytes_max(parts.uri.path()) }
            }
        }
    }

    async fn relay(&self, asked: Asked<BodyStream>, upgrade: Option<OnUpgrade>) -> Response<Body> {
        let (asked, body) = door::apart(asked);
        match self.0.group(asked.path()) {
            Found::Service(group) => {
                self.0.pass(&group, &asked, door::streamed(body), upgrade).await
            }
            // Nothing else is streamed, unless the routes changed this very moment.
            Found::Dotted | Found::Nothing => {
                let detail = "nothing is streamed here";
                self.refuse(&asked.parts, Code::InvalidRequest, detail).map(Body::from)
            }
        }
    }

    async fn respond(&self, asked: Asked) -> Response<Body> {
        let front = &self.0;
        match front.group(asked.path()) {
            Found::Nothing => (),
            Found::Dotted => {
                let mistake = dotted();
                return self.refuse(&asked.parts, mistake.code, &mistake.detail).map(Body::from);
            }
            Found::Service(group) => {
                let (asked, body) = door::apart(asked);
                return front.pass(&group, &asked, Payload::Whole(body), None).await;
            }
        }
        front.board.requests.add(1);
        let request_id = front::request_id(&asked.parts.headers);
        let key = match front::key(&asked.parts) {
            Ok(key) => key,
            Err(flaw) => {
                front.board.count(Code::InvalidRequest.status());
                return front::bad_key(flaw, request_id).map(Body::from);
            }
        };
        let full = || front.full(request_id.to_str().unwrap_or_default());
        let told = match front.load.take(clock::now()) {
            Some(taken) => front.answer(&asked, &request_id, key.as_ref(), taken).await,
            None => Some(Told::Answer(full())),
        };
        let mut response = match told {
            Some(Told::Answer(answer)) => {
                front.board.count(answer.status);
                http_response(answer).map(Body::from)
            }
            Some(Told::Listen(events)) => {
                let response = front.listen_http(events);
                let response = response.unwrap_or_else(|| http_response(full()).map(Body::from));
                front.board.count(response.status().as_u16());
                response
            }
            None => {
                let detail = "the headers are too many";
                front::problem(Code::HeadersTooLarge, detail, None, &request_id).map(Body::from)
            }
        };
        front::mark(&mut response, request_id, key);
        response
    }

    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes> {
        front::refusal(parts, code, detail)
    }

    fn is_full(&self) -> bool {
        self.0.load.is_full()
    }

    fn room(&self) -> impl Future<Output = bool> {
        self.0.load.room()
    }

    fn turn_away(&self, parts: &Parts) -> Response<Bytes> {
        let board = &self.0.board;
        self.0.load.turned_away();
        board.requests.add(1);
        board.shed.add(1);
        board.count(Code::Overloaded.status());
        self.refuse(parts, Code::Overloaded, front::FULL)
    }
}

/// A path that its service might understand as one that no route leads to.
fn dotted() -> Mistake {
    Mistake::new(Code::InvalidRequest, "the path has a segment . or .., and is not passed on")
}

impl Front {
    /// Makes the routes those of the configuration. A group whose service stays is kept.
    pub(super) fn set_routes(
        &self,
        services: &HttpServices,
        config: &GatewayConfig,
        worker: usize,
    ) {
        let present: Vec<Rc<Group>> = self.routes.borrow().iter().cloned().collect();
        let group = |service: &Arc<HttpService>| {
            let kept = present.iter().find(|group| Arc::ptr_eq(group.service(), service));
            match kept {
                Some(group) => {
                    group.refresh();
                    Rc::clone(group)
                }
                None => Group::open(service, worker),
            }
        };
        let groups: Vec<_> = services.set(&config.http_services).iter().map(group).collect();
        let route = |route: &RouteConfig| {
            let group = groups.iter().find(|group| group.service().name() == route.service)?;
            Some((route.path.clone(), Rc::clone(group)))
        };
        self.routes.replace(Routes::new(config.routes.iter().filter_map(route)));
    }

    /// The endpoints of HTTP services as they stand.
    pub(super) fn routed(&self) -> Vec<EndpointView> {
        let mut views: Vec<EndpointView> = Vec::new();
        for view in self.routes.borrow().iter().flat_map(|group| group.views()) {
            // Several routes may lead to a service.
            if !views.iter().any(|it| it.name == view.name) {
                views.push(view);
            }
        }
        views
    }

    /// Goes by what has changed about the endpoints of HTTP services.
    pub(super) fn refresh_routes(&self) {
        self.routes.borrow().iter().for_each(|group| group.refresh());
    }

    /// Sends nothing more to HTTP services on connections that are idle now.
    pub(super) fn close_routes(&self) {
        self.routes.borrow().iter().for_each(|group| group.close());
    }

    fn group(&self, target: &str) -> Found<Rc<Group>> {
        self.routes.borrow().find(target).cloned()
    }

    /// Passes a request on to an HTTP service.
    async fn pass(
        &self,
        group: &Rc<Group>,
        asked: &Asked<()>,
        payload: Payload,
        upgrade: Option<OnUpgrade>,
    ) -> Response<Body> {
        self.board.requests.add(1);
        let deadline = self.deadline.get();
        let response = match self.load.take_aside(clock::now()) {
            Some(aside) => {
                let begun = || aside.begun();
                door::over_http(group, asked, payload, upgrade, deadline, begun).await
            }
            None => {
                self.board.shed.add(1);
                front::refusal(&asked.parts, Code::Overloaded, front::FULL).map(Body::from)
            }
        };
        self.board.count(response.status().as_u16());
        response
    }

    /// `None` when the headers are more than a request may have.
    async fn answer(
        &self,
        asked: &Asked,
        request_id: &HeaderValue,
        key: Option<&front::Key>,
        taken: Taken,
    ) -> Option<Told> {
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
            trace: asked.trace.as_str(),
        });
        let answer = match step {
            Step::Listen(events) => {
                taken.answered(200);
                return Some(Told::Listen(events));
            }
            Step::Answer(answer) => answer,
            Step::Ask(job) => taken.below(job.answer()).await,
            Step::Work(work) => taken.below(work).await,
        };
        taken.answered(answer.status);
        Some(Told::Answer(answer))
    }
}

/// What a client of ours is told.
enum Told {
    Answer(Answer),
    Listen(Events),
}

fn http_response(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).expect("the table of codes holds statuses");
    let headers = response.headers_mut();
    if !answer.content_type.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    }
    if let Some((name, value)) = answer.header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
