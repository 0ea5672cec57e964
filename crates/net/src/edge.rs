//! Serves HTTP/1.1 and hands each request, whole and within its limits, to the role.
//!
//! hyper parses and writes. What is added here: the limits of the public API, a bound on the age
//! of everything that a slow client could hold open, a body for what hyper refuses by itself, and
//! the drain. Timeouts are kept by one sweep over the worker's connections, so that a request costs
//! no timer.

mod body;
mod conn;
mod farewell;
pub mod limits;

use self::{
    body::BodyError,
    conn::{ConnState, Phase, WatchedIo},
};
use bytes::Bytes;
use http::{HeaderMap, Response, Version, header, request::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::spawn_local,
    time::{MissedTickBehavior, timeout},
};
use wire::Code;

/// A request within the limits, its body read whole.
#[derive(Debug)]
pub struct Asked {
    pub parts: Parts,
    pub body: Bytes,
    pub peer: SocketAddr,
}

impl Asked {
    /// Path and query. There is one: without it the request was refused.
    pub fn path(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", |it| it.as_str())
    }
}

/// What the role answers.
pub trait Service: 'static {
    /// Answers a request.
    fn respond(&self, asked: Asked) -> impl Future<Output = Response<Bytes>>;

    /// The answer to a request that breaks a limit or the rules of HTTP.
    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes>;

    /// Longest body that this request may have.
    fn body_bytes_max(&self, parts: &Parts) -> usize {
        _ = parts;
        wire::limits::BODY_BYTES_MAX
    }
}

/// Serves HTTP on one thread. Clones share it.
pub struct Edge<S> {
    shared: Rc<Shared<S>>,
}

impl<S> Clone for Edge<S> {
    fn clone(&self) -> Edge<S> {
        Edge { shared: Rc::clone(&self.shared) }
    }
}

struct Shared<S> {
    service: S,
    http: http1::Builder,
    conns: RefCell<Vec<Rc<ConnState>>>,
    /// Counts sweeps.
    tick: Rc<Cell<u64>>,
    draining: Cell<bool>,
    ended: Notify,
}

impl<S: Service> Edge<S> {
    /// An edge without connections yet.
    pub fn new(service: S) -> Edge<S> {
        let mut http = http1::Builder::new();
        // Wider than our limits, so that most of what is beyond them is told apart by us.
        http.max_headers(2 * limits::HEADERS_MAX)
            .max_buf_size(2 * (limits::HEADERS_BYTES_MAX + limits::URI_BYTES_MAX))
            // A client may say that it has nothing to add and still wait for the answer.
            .half_close(true)
            .writev(false); // Bodies are small: one buffer is cheaper to write than two.
        let shared = Rc::new(Shared {
            service,
            http,
            conns: RefCell::default(),
            tick: Rc::default(),
            draining: Cell::new(false),
            ended: Notify::new(),
        });
        drop(spawn_local(sweep(Rc::downgrade(&shared))));
        Edge { shared }
    }

    /// The role's own part.
    pub fn service(&self) -> &S {
        &self.shared.service
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.conns.borrow().len()
    }

    /// Serves a connection; `held` is dropped when it ends.
    pub fn serve(&self, stream: TcpStream, peer: SocketAddr, held: impl Sized + 'static) {
        let shared = Rc::clone(&self.shared);
        drop(spawn_local(async move {
            serve_connection(shared, stream, peer).await;
            drop(held);
        }));
    }

    /// Finishes what is in flight and closes each connection as it falls idle; after `max` cuts
    /// off the rest.
    pub async fn drain(&self, max: Duration) {
        let shared = &self.shared;
        shared.draining.set(true);
        for conn in &*shared.conns.borrow() {
            conn.wake();
        }
        let emptied = async {
            while !shared.conns.borrow().is_empty() {
                shared.ended.notified().await;
            }
        };
        if timeout(max, emptied).await.is_err() {
            let connections = self.connections();
            tracing::warn!(connections, "drain took too long: the rest is cut off");
            for conn in &*shared.conns.borrow() {
                conn.cut();
            }
        }
    }
}

/// Cuts off connections that have been idle or half a request for too long.
async fn sweep<S>(shared: std::rc::Weak<Shared<S>>) {
    let mut interval = tokio::time::interval(limits::SWEEP_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.tick.set(shared.tick.get() + 1);
        for conn in &*shared.conns.borrow() {
            let sweeps_max = match conn.phase() {
                Phase::Idle => limits::IDLE_SWEEPS_MAX,
                Phase::Head => limits::HEAD_SWEEPS_MAX,
                // The body has a timeout, and the role keeps a deadline.
                Phase::Handling => continue,
            };
            if sweeps_max < conn.sweeps_in_phase() {
                conn.cut();
            } else if shared.draining.get() {
                conn.wake();
            }
        }
    }
}

async fn serve_connection<S: Service>(shared: Rc<Shared<S>>, stream: TcpStream, peer: SocketAddr) {
    let state = Rc::new(ConnState::new(Rc::clone(&shared.tick)));
    shared.conns.borrow_mut().push(Rc::clone(&state));
    let stream = Rc::new(RefCell::new(TokioIo::new(stream)));
    let ended = {
        let io = WatchedIo::new(Rc::clone(&stream), Rc::clone(&state));
        let service = service_fn(|request: http::Request<Incoming>| {
            let (shared, state) = (Rc::clone(&shared), Rc::clone(&state));
            async move {
                state.enter(Phase::Handling);
                let mut response = answer(&shared.service, request, peer, &state).await;
                state.enter(Phase::Idle);
                if shared.draining.get() {
                    last(&mut response);
                }
                Ok::<_, Infallible>(response.map(Full::new))
            }
        });
        let mut http = pin!(shared.http.serve_connection(io, service));
        let mut shutting = false;
        std::future::poll_fn(|cx| {
            state.watch(cx);
            if state.is_cut() {
                return Poll::Ready(Ok(()));
            }
            let polled = http.as_mut().poll(cx);
            // A request that is on its way in is still taken; its answer says that it is the last.
            if shared.draining.get() && !shutting && polled.is_pending() && state.may_shut() {
                shutting = true;
                http.as_mut().graceful_shutdown();
                return http.as_mut().poll(cx);
            }
            polled
        })
        .await
    };
    let words = last_words(&shared.service, &state, ended.as_ref().err());
    if let Err(err) = ended {
        tracing::debug!(%peer, %err, "connection failed");
    }
    if let Some(stream) = Rc::into_inner(stream) {
        let is_unread = state.is_unread() || !words.is_empty();
        // A client that is gone has heard enough.
        drop(farewell::end(stream.into_inner().into_inner(), &words, is_unread).await);
    }
    shared.conns.borrow_mut().retain(|it| !Rc::ptr_eq(it, &state));
    shared.ended.notify_one();
}

/// What a client is told whose request never came to be one; empty when there is nothing to tell.
fn last_words<S: Service>(service: &S, state: &ConnState, err: Option<&hyper::Error>) -> Vec<u8> {
    let bare = state.take_bare();
    let (code, detail) = match &bare {
        Some(bare) => farewell::meaning(bare),
        None if err.is_some_and(hyper::Error::is_parse_version_h2) => {
            (Code::InvalidRequest, "HTTP/2 is not spoken here; HTTP/1.1 is")
        }
        None if state.is_cut() && state.is_late_head() => {
            (Code::RequestTimeout, "the head of the request did not arrive in time")
        }
        None => return Vec::new(),
    };
    let (parts, ()) = http::Request::new(()).into_parts();
    farewell::last_words(&service.refuse(&parts, code, detail), bare.as_deref())
}

async fn answer<S: Service>(
    service: &S,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    state: &ConnState,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let (code, detail) = match check(&parts) {
        Err(refusal) => refusal,
        Ok(()) => match body::read(body, &parts.headers, service.body_bytes_max(&parts)).await {
            Ok(body) => return service.respond(Asked { parts, body, peer }).await,
            Err(BodyError::TooLarge) => (Code::BodyTooLarge, "the body is larger than allowed"),
            Err(BodyError::Slow) => (Code::RequestTimeout, "the body did not arrive in time"),
            Err(BodyError::Broken) => (Code::InvalidRequest, "the body broke off or is malformed"),
        },
    };
    // What was refused before its body was read also ends the connection: the rest of the body
    // would be taken for the next request.
    state.leave_unread();
    let mut response = service.refuse(&parts, code, detail);
    last(&mut response);
    response
}

/// Says that the connection ends with this answer.
fn last(response: &mut Response<Bytes>) {
    response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
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
    if let Some(encoding) = headers.get(header::TRANSFER_ENCODING) {
        // hyper itself drops Content-Length beside Transfer-Encoding, so what is passed on has one
        // length only; whatever still shows both is refused.
        if headers.contains_key(header::CONTENT_LENGTH) || count(header::TRANSFER_ENCODING) != 1 {
            return Err((Code::InvalidRequest, "more than one statement of the body's length"));
        }
        if !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err((Code::InvalidRequest, "the only Transfer-Encoding is chunked"));
        }
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
