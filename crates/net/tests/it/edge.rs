//! The HTTP edge against clients that keep the rules and clients that do not.

use crate::harness::{PATIENCE, run};
use bytes::Bytes;
use http::{Response, request::Parts};
use net::edge::{Asked, Edge, Service};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::spawn_local,
};
use wire::Code;

/// Answers with method, path and body; `/wait` only once it is told to.
struct Mirror {
    arrived: mpsc::UnboundedSender<()>,
    go: tokio::sync::Notify,
}

impl Service for Mirror {
    async fn respond(&self, asked: Asked) -> Response<Bytes> {
        if asked.path() == "/wait" {
            self.arrived.send(()).unwrap();
            self.go.notified().await;
        }
        let body = String::from_utf8_lossy(&asked.body);
        let text = format!("{} {} {body}", asked.parts.method, asked.path());
        Response::new(Bytes::from(text))
    }

    fn refuse(&self, _: &Parts, code: Code, _: &str) -> Response<Bytes> {
        let builder = Response::builder().status(code.status());
        builder.body(Bytes::from_static(code.text().as_bytes())).unwrap()
    }
}

async fn edge() -> (Edge<Mirror>, SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let edge = Edge::new(Mirror { arrived, go: tokio::sync::Notify::new() });
    let serving = edge.clone();
    drop(spawn_local(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            serving.serve(stream, peer, ());
        }
    }));
    (edge, addr, arrivals)
}

/// Sends bytes, closes that direction unless told otherwise, and returns all that comes.
async fn send(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    // A reset after the answer is as good as an end.
    drop(stream.read_to_end(&mut said).await);
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
        // What hyper itself refuses has no body.
        (format!("GET / HTTP/1.1\r\n{host} x: y\r\n\r\n"), "400", ""),
        (
            format!("POST / HTTP/1.1\r\n{host}content-length: 4\r\ncontent-length: 5\r\n\r\nbody"),
            "400",
            "",
        ),
        (format!("POST / HTTP/1.1\r\n{host}content-length: +4\r\n\r\nbody"), "400", ""),
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
