//! The HTTP edge against clients that keep the rules and clients that do not.

mod frames;
mod h1;
mod h2_case;
mod h2_frames;
mod h2_heads;
mod h2_streams;
mod openings;
mod patience;
mod plain;
mod room;

use crate::harness::{PATIENCE, run};
use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use net::edge::{
    Asked, Body, BodyError, BodyMode, BodyStream, Edge, EdgeConfig, OnUpgrade, Service,
};
use net::node::{ClusterKey, NodeConfig};
use std::{cell::Cell, net::SocketAddr, rc::Rc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn_local,
};
use wire::Code;

/// Bytes of the answer to `/wide`: more than sockets hold.
const WIDE_BYTES: usize = 16 * 1024 * 1024;

/// Answers with method, path and body; `/wait` only once it is told to.
struct Mirror {
    arrived: mpsc::UnboundedSender<()>,
    go: tokio::sync::Notify,
    /// Told when a request is given up that waits to be told.
    given_up: Rc<tokio::sync::Notify>,
    full: Cell<bool>,
    /// While it is full, requests wait until they are told that there is room.
    has_line: Cell<bool>,
    turned_away: Cell<usize>,
}

impl Service for Mirror {
    fn body_mode(&self, parts: &Parts) -> BodyMode {
        match parts.uri.path() {
            "/stream" | "/upgrade" | "/broken" => BodyMode::Stream,
            _ => BodyMode::Whole { bytes_max: wire::limits::BODY_BYTES_MAX },
        }
    }

    /// Streams the body back; an upgraded connection hears everything twice. The answer to `/broken`
    /// breaks off while the body is still read.
    async fn relay(&self, asked: Asked<BodyStream>, upgrade: Option<OnUpgrade>) -> Response<Body> {
        if asked.path() == "/broken" {
            let waiting = Waiting(Some(Rc::clone(&self.given_up)));
            drop(spawn_local(async move {
                let read = asked.body.collect().await;
                assert!(read.is_err());
                drop(waiting);
            }));
            return Response::new(Body::streamed(Limited::new(Full::from("long"), 2)));
        }
        let Some(upgrade) = upgrade else {
            return Response::new(Body::streamed(asked.body.map_err(BodyError::from)));
        };
        drop(spawn_local(async move {
            let mut stream = upgrade.upgraded().await.expect("the answer is 101");
            let mut heard = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut heard).await {
                stream.write_all(&heard[..count].repeat(2)).await.unwrap();
            }
        }));
        let response = Response::builder().status(101).header("connection", "upgrade");
        response.header("upgrade", "echo").body(Body::from(Bytes::new())).unwrap()
    }

    async fn respond(&self, asked: Asked) -> Response<Body> {
        if asked.path() == "/wait" {
            self.arrived.send(()).unwrap();
            let waiting = Waiting(Some(Rc::clone(&self.given_up)));
            self.go.notified().await;
            waiting.told();
        }
        if asked.path() == "/peer" {
            let by = asked.parts.headers["x-forwarded-for"].to_str().unwrap();
            let text = format!("peer {}, for {by}", asked.peer);
            return Response::new(Body::from(Bytes::from(text)));
        }
        if asked.path() == "/long" {
            let body = Full::from("long").map_err(|never| match never {});
            return Response::new(Body::streamed(body));
        }
        if asked.path() == "/wide" {
            return Response::new(Body::from(Bytes::from(vec![b'w'; WIDE_BYTES])));
        }
        let body = String::from_utf8_lossy(&asked.body);
        let text = format!("{} {} {body}", asked.parts.method, asked.path());
        Response::new(Body::from(Bytes::from(text)))
    }

    fn is_full(&self) -> bool {
        self.full.get()
    }

    async fn room(&self) -> bool {
        if !self.has_line.get() {
            return !self.full.get();
        }
        self.arrived.send(()).unwrap();
        self.go.notified().await;
        true
    }

    fn turn_away(&self, parts: &Parts) -> Response<Bytes> {
        self.turned_away.set(self.turned_away.get() + 1);
        let mut response = self.refuse(parts, Code::Overloaded, "");
        *response.headers_mut() = parts.headers.clone();
        response
    }

    fn refuse(&self, _: &Parts, code: Code, _: &str) -> Response<Bytes> {
        let builder = Response::builder().status(code.status());
        builder.body(Bytes::from_static(code.text().as_bytes())).unwrap()
    }
}

/// A request that waits. Dropped, it was given up.
struct Waiting(Option<Rc<tokio::sync::Notify>>);

impl Waiting {
    fn told(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(given_up) = &self.0 {
            given_up.notify_one();
        }
    }
}

async fn edge() -> (Edge<Mirror>, SocketAddr, mpsc::UnboundedReceiver<()>) {
    edge_with(EdgeConfig::default()).await
}

async fn edge_with(edge: EdgeConfig) -> (Edge<Mirror>, SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let node = NodeConfig {
        name: "edge".into(),
        admin: addr,
        cluster_key: ClusterKey([7; 32].as_slice().into()),
        edge,
        trunk_tls: None,
        trunk_ages: net::trunk::Ages::default(),
        drain_max: PATIENCE,
        watched: net::agent::Watched::default(),
    };
    let edge = Edge::of(
        &node,
        Mirror {
            arrived,
            go: tokio::sync::Notify::new(),
            given_up: Rc::default(),
            full: Cell::new(false),
            has_line: Cell::new(false),
            turned_away: Cell::new(0),
        },
    );
    let serving = edge.clone();
    drop(spawn_local(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            serving.serve(stream, peer, ());
        }
    }));
    (edge, addr, arrivals)
}

/// Sends bytes, and returns all that comes.
async fn send(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.expect("the end, and no reset");
    String::from_utf8(said).unwrap()
}

/// Each request asks for the end of the connection by itself or by what is wrong with it.
#[test]
fn limits_and_rules_are_told_apart_by_status() {
    let long = "x".repeat(9_000);
    let many: String = (0..101).map(|at| format!("h{at}: v\r\n")).collect();
    let wide = format!("h: {}\r\n", "v".repeat(33_000));
    let host = "host: a\r\nconnection: close\r\n";
    let cases = [
        (format!("GET /x?y=1 HTTP/1.1\r\n{host}\r\n"), "200", "GET /x?y=1 "),
        (format!("POST / HTTP/1.1\r\n{host}content-length: 4\r\n\r\nbody"), "200", "POST / body"),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
            ),
            "200",
            "POST / body",
        ),
        (format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), "414", "uri_too_long"),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), "431", "headers_too_large"),
        (format!("GET / HTTP/1.1\r\n{host}{wide}\r\n"), "431", "headers_too_large"),
        (
            format!("POST / HTTP/1.1\r\n{host}content-length: 262145\r\n\r\n"),
            "413",
            "body_too_large",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n40001\r\n{}\r\n",
                "x".repeat(0x40001)
            ),
            "413",
            "body_too_large",
        ),
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(), "400", "invalid_request"),
        (format!("GET / HTTP/1.1\r\n{host}host: b\r\n\r\n"), "400", "invalid_request"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200", "GET / "),
        (format!("{} / HTTP/1.1\r\n{host}\r\n", "X".repeat(33)), "400", "invalid_request"),
        (
            format!("POST / HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "400",
            "invalid_request",
        ),
        // What hyper itself refuses.
        (format!("GET / HTTP/1.1\r\n{host} x: y\r\n\r\n"), "400", "invalid_request"),
        (
            format!("POST / HTTP/1.1\r\n{host}content-length: 4\r\ncontent-length: 5\r\n\r\nbody"),
            "400",
            "invalid_request",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}content-length: +4\r\n\r\nbody"),
            "400",
            "invalid_request",
        ),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", many.repeat(3)), "431", "headers_too_large"),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", wide.repeat(30)), "431", "headers_too_large"),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", long.repeat(8)), "414", "uri_too_long"),
        ("nonsense\r\n\r\n".to_owned(), "400", "invalid_request"),
    ];
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for (request, status, body) in &cases {
            let said = send(addr, request.as_bytes()).await;
            let shown = &request[..request.len().min(80)];
            assert_eq!(said.get(9..12), Some(*status), "{shown:?} got {said:?}");
            assert!(said.ends_with(body), "{shown:?} got {said:?}");
        }
    });
}

/// The length that is dropped must not be the one that a tier behind would go by.
#[test]
fn of_two_lengths_only_the_chunked_one_counts() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for (first, second) in [
            ("content-length: 4", "transfer-encoding: chunked"),
            ("transfer-encoding: chunked", "content-length: 4"),
        ] {
            let request = format!(
                "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{first}\r\n{second}\r\n\r\n\
                 0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
            );
            let said = send(addr, request.as_bytes()).await;
            assert!(!said.contains("smuggled"), "{said}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let many: String =
            (0..50).map(|at| format!("GET /{at} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
        let last = "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let said = send(addr, format!("{many}{last}").as_bytes()).await;
        let places: Vec<_> =
            (0..50).map(|at| said.find(&format!("GET /{at} ")).expect("answered")).collect();
        assert!(places.is_sorted());
        assert!(said.ends_with("GET /last "));
    });
}

/// Whoever is still sending when the refusal comes gets to read it.
#[test]
fn a_refusal_reaches_those_who_are_still_sending() {
    let head = "host: a\r\ncontent-type: text/plain\r\n";
    let body = "x".repeat(2 << 20);
    let chunk = format!("200000\r\n{body}\r\n0\r\n\r\n");
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        for (request, code) in [
            (format!("POST / HTTP/1.1\r\n{head}content-length: 2097152\r\n\r\n{body}"), "body_too"),
            (
                format!("POST / HTTP/1.1\r\n{head}transfer-encoding: chunked\r\n\r\n{chunk}"),
                "body_too",
            ),
            (format!("GET / HTTP/1.1\r\n{head}x: {body}\r\n\r\n"), "headers_too"),
        ] {
            let said = send(addr, request.as_bytes()).await;
            assert!(said.ends_with(&format!("\r\n\r\n{code}_large")), "{said}");
        }
    });
}

#[test]
fn who_has_nothing_to_add_is_answered() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let asking = spawn_local(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            said
        });
        arrivals.recv().await.unwrap();
        edge.service().go.notify_one();
        let said = asking.await.unwrap();
        assert!(said.ends_with("GET /wait "), "{said}");
    });
}

/// A client that goes on asking is told which answer is the last one.
#[test]
fn a_drain_is_polite_to_those_who_were_just_here() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let mut said = [0; 4096];
        stream.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let count = stream.read(&mut said).await.unwrap();
        assert!(!String::from_utf8_lossy(&said[..count]).contains("connection: close"));
        let draining = edge.clone();
        let drain = spawn_local(async move { draining.drain(PATIENCE).await });
        tokio::task::yield_now().await;
        stream.write_all(b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.contains("connection: close") && said.ends_with("GET /2 "), "{said}");
        drain.await.unwrap();
    });
}

#[test]
fn a_drain_answers_what_is_in_flight_and_closes() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let asking =
            spawn_local(async move { send(addr, b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await });
        arrivals.recv().await.unwrap();
        let draining = edge.clone();
        let drain = spawn_local(async move { draining.drain(PATIENCE).await });
        tokio::task::yield_now().await;
        assert!(!drain.is_finished());
        edge.service().go.notify_one();
        let said = asking.await.unwrap();
        assert!(said.ends_with("GET /wait "), "{said}");
        drain.await.unwrap();
        assert_eq!(edge.connections(), 0);
    });
}

/// The answer to the first half of a body comes before the second half is sent.
#[test]
fn a_streamed_body_goes_through_as_it_comes() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = "POST /stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.unwrap();
        let said = read_until(&mut stream, "5\r\nfirst\r\n").await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "6\r\nsecond\r\n0\r\n\r\n").await;
        stream.write_all(b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        read_until(&mut stream, "GET /next ").await;
    });
}

#[test]
fn an_upgrade_gets_the_connection_and_what_came_with_the_request() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n";
        stream.write_all(format!("{head}\r\nab").as_bytes()).await.unwrap();
        let said = read_until(&mut stream, "\r\n\r\nabab").await;
        assert!(said.starts_with("HTTP/1.1 101"), "{said}");
        stream.write_all(b"cd").await.unwrap();
        read_until(&mut stream, "cdcd").await;
        assert_eq!(edge.connections(), 1);
        drop(stream);
        edge.drain(PATIENCE).await;
        assert_eq!(edge.connections(), 0);
    });
}

/// Reads until what has come ends so.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let count = stream.read_buf(&mut said).await.unwrap();
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}
