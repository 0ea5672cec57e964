//! Serves HTTP/1.1 and HTTP/2 and hands each request, within its limits, to the role.
//!
//! hyper parses and writes what is not plain HTTP/1.1 (`plain`). What is added here: the limits of
//! the public API, a bound on the age of everything that a slow client could hold open, a body for
//! what hyper refuses by itself, and the drain. Timeouts are kept by one sweep over the worker's
//! connections, so that a request costs no timer.

mod body;
mod client;
mod config;
mod conn;
mod farewell;
mod h1;
mod h2;
mod head;
mod http2;
mod inflow;
pub mod limits;
mod network;
mod patience;
mod plain;
mod proxy_header;
mod reply;
mod request;
mod scan;
mod slots;
mod sniff;
mod stamp;
mod stream;
mod target;
mod tls;
mod trace;
mod upgrade;
mod watch;

pub use self::{
    body::BodyStream,
    config::EdgeConfig,
    inflow::InflowError,
    network::{Network, NotANetwork},
    patience::Patience,
    reply::{Body, BodyError, StreamedBody},
    tls::{EdgeTls, TlsFiles},
    trace::TraceParent,
    upgrade::{OnUpgrade, Upgraded},
};

use self::{
    client::{Client, Via},
    conn::ConnState,
    patience::Sweeps,
    stream::Stream,
};
use crate::node::NodeConfig;
use bytes::Bytes;
use http::{Response, request::Parts};
use hyper::server::conn::http1;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::{Rc, Weak},
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

/// A request within the limits, with its body whole or as it comes in.
#[derive(Debug)]
pub struct Asked<B = Bytes> {
    pub parts: Parts,
    pub body: B,
    /// The client, or whoever stands before it.
    pub peer: SocketAddr,
    /// Whether it came within TLS.
    pub is_tls: bool,
    /// Its place in a trace, whatever its headers say.
    pub trace: TraceParent,
}

impl<B> Asked<B> {
    /// Path and query. There is one: without it the request was refused.
    pub fn path(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", |it| it.as_str())
    }
}

/// How a role wants a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// Read whole, in time, and refused when it is longer: for [`Service::respond`].
    Whole { bytes_max: usize },
    /// As it comes in: for [`Service::relay`].
    Stream,
}

/// What the role answers.
pub trait Service: 'static {
    /// How the body of this request is wanted.
    fn body_mode(&self, parts: &Parts) -> BodyMode {
        _ = parts;
        BodyMode::Whole { bytes_max: wire::limits::BODY_BYTES_MAX }
    }

    /// Answers a request that was read whole.
    fn respond(&self, asked: Asked) -> impl Future<Output = Response<Body>>;

    /// Answers a request whose body is to be streamed. `upgrade` is there when the client asks to
    /// leave HTTP behind: an answer with status 101 then makes it come true. Asked only of a role
    /// whose [`Service::body_mode`] says so.
    fn relay(
        &self,
        asked: Asked<BodyStream>,
        upgrade: Option<OnUpgrade>,
    ) -> impl Future<Output = Response<Body>> {
        drop(upgrade);
        let refusal = self.refuse(&asked.parts, Code::InvalidRequest, "nothing is streamed here");
        std::future::ready(refusal.map(Body::from))
    }

    /// The answer to a request that breaks a limit or the rules of HTTP.
    fn refuse(&self, parts: &Parts, code: Code, detail: &str) -> Response<Bytes>;

    /// Whether one request more would find no room, whatever it asks. Asked of every request, so it
    /// must cost nothing.
    fn is_full(&self) -> bool {
        false
    }

    /// Waits for room, in a node that is full. False when there was none in good time: then the
    /// request is to be turned away. Whoever gets room must take it before it waits again.
    fn room(&self) -> impl Future<Output = bool> {
        std::future::ready(!self.is_full())
    }

    /// Counts and answers a request that got no [`Service::room`].
    fn turn_away(&self, parts: &Parts) -> Response<Bytes> {
        self.refuse(parts, Code::Overloaded, "as much is in flight as this node takes")
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
    config: EdgeConfig,
    /// What the node is called in `Via`; `None` where nothing is passed on.
    via: Option<Via>,
    http1: http1::Builder,
    /// Memory to read into and to write from; never in use over an await.
    scratch: RefCell<Vec<u8>>,
    out: RefCell<Vec<u8>>,
    conns: RefCell<Vec<Rc<ConnState>>>,
    sweeps: Rc<Sweeps>,
    /// Counts sweeps.
    tick: Rc<Cell<u64>>,
    draining: Cell<bool>,
    /// Connections that were open when the edge went out of rotation.
    retired: RefCell<Vec<Weak<ConnState>>>,
    ended: Notify,
}

impl<S> Shared<S> {
    /// Whether the next answer on a connection is its last.
    fn is_last(&self, conn: &ConnState) -> bool {
        self.draining.get() || conn.is_old()
    }
}

impl<S: Service> Edge<S> {
    /// An edge of its own, as for the admin pages: in the clear, and it passes nothing on.
    pub fn new(service: S) -> Edge<S> {
        Edge::open(service, EdgeConfig::default(), None)
    }

    /// The edge of a node, without connections yet.
    pub fn of(node: &NodeConfig, service: S) -> Edge<S> {
        let via = Via::new(&config::pseudonym(&node.name, &node.cluster_key));
        Edge::open(service, node.edge.clone(), Some(via))
    }

    fn open(service: S, config: EdgeConfig, via: Option<Via>) -> Edge<S> {
        let sweeps = Rc::new(Sweeps::of(&config.patience));
        let sweep_every = config.patience.sweep_every;
        let shared = Rc::new(Shared {
            service,
            config,
            via,
            http1: http1(),
            scratch: RefCell::new(vec![0; plain::READ_BYTES]),
            out: RefCell::default(),
            conns: RefCell::default(),
            sweeps,
            tick: Rc::default(),
            draining: Cell::new(false),
            retired: RefCell::default(),
            ended: Notify::new(),
        });
        drop(spawn_local(sweep(Rc::downgrade(&shared), sweep_every)));
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

    /// Requests that are being answered.
    pub fn in_flight(&self) -> u64 {
        self.shared.conns.borrow().iter().map(|conn| u64::from(conn.busy())).sum()
    }

    /// Goes out of rotation, or comes back: while it is out, every answer is the last of its
    /// connection, so that clients go where a health check sends them.
    pub fn retire(&self, on: bool) {
        let shared = &self.shared;
        shared.draining.set(on);
        let conns = shared.conns.borrow();
        let leaving = if on { conns.iter().map(Rc::downgrade).collect() } else { Vec::new() };
        shared.retired.replace(leaving);
        conns.iter().for_each(|conn| conn.wake());
    }

    /// Connections that were open when the edge went out of rotation, and still are.
    pub fn retiring(&self) -> usize {
        self.shared.retired.borrow().iter().filter(|it| it.strong_count() != 0).count()
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

fn http1() -> http1::Builder {
    let mut http = http1::Builder::new();
    // Wider than our limits, so that most of what is beyond them is told apart by us.
    http.max_headers(2 * limits::HEADERS_MAX)
        .max_buf_size(2 * (limits::HEADERS_BYTES_MAX + limits::URI_BYTES_MAX))
        // A client may say that it has nothing to add and still wait for the answer.
        .half_close(true)
        .writev(false); // Bodies are small: one buffer is cheaper to write than two.
    http
}

/// Cuts off connections whose clients let us wait for too long.
async fn sweep<S>(shared: Weak<Shared<S>>, every: Duration) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.tick.set(shared.tick.get() + 1);
        for conn in &*shared.conns.borrow() {
            if conn.is_overdue() {
                conn.cut();
            } else if shared.is_last(conn) {
                conn.wake();
            }
        }
    }
}

async fn serve_connection<S: Service>(shared: Rc<Shared<S>>, stream: TcpStream, peer: SocketAddr) {
    let state = Rc::new(ConnState::new(Rc::clone(&shared.tick), Rc::clone(&shared.sweeps)));
    shared.conns.borrow_mut().push(Rc::clone(&state));
    match unless_let_go(&shared, &state, opened(&shared.config, stream, peer)).await {
        Some(Ok(Opened { stream, client, version })) => match version {
            sniff::Version::Http1 => h1::serve(&shared, stream, &client, &state).await,
            sniff::Version::Http2 => h2::serve(&shared, stream, &client, &state).await,
        },
        Some(Err(err)) => tracing::debug!(%peer, %err, "connection failed"),
        None => (),
    }
    shared.conns.borrow_mut().retain(|it| !Rc::ptr_eq(it, &state));
    shared.ended.notify_one();
}

/// A connection of which it is known whom it comes from and what it speaks.
struct Opened {
    stream: Stream,
    client: Rc<Client>,
    version: sniff::Version,
}

async fn opened(
    config: &EdgeConfig,
    stream: TcpStream,
    sender: SocketAddr,
) -> std::io::Result<Opened> {
    let mut stream = Stream::plain(stream);
    let named = if config.proxy_protocol { proxy_header::read(&mut stream).await? } else { None };
    if let Some(tls) = &config.tls {
        stream = stream.within(tls).await?;
    }
    let version = sniff::version(&mut stream).await?;
    let client = Client::new(named.unwrap_or(sender), config.tls.is_some(), config);
    Ok(Opened { stream, client: Rc::new(client), version })
}

/// What `future` gives, which waits for what a client says next; `None` once the connection is cut
/// off, or a drain finds that none are on their way.
async fn unless_let_go<S, T>(
    shared: &Shared<S>,
    state: &ConnState,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let waiting = poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() && shared.draining.get() && state.may_shut() {
            return Poll::Ready(None);
        }
        polled.map(Some)
    });
    state.unless_cut(waiting).await.flatten()
}
