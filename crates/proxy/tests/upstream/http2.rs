//! Servers that speak HTTP/2 with prior knowledge.

use crate::harness::{Balancer, Client, PATIENCE, rates};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use proxy::upstream::config::{HttpServiceConfig, Protocol};
use std::{
    convert::Infallible,
    future::ready,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::Barrier,
    task::spawn_local,
};

#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output: 'static> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

/// Answers when `together` requests are in flight; until the process ends.
fn server(together: usize) -> (SocketAddr, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) {
    let (bound, addr) = mpsc::channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (counted, noted) = (Arc::clone(&connections), Arc::clone(&seen));
    thread::spawn(move || {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            let barrier = Arc::new(Barrier::new(together));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if stream.peek(&mut [0]).await.unwrap_or(0) == 0 {
                    continue;
                }
                counted.fetch_add(1, SeqCst);
                let (barrier, noted) = (Arc::clone(&barrier), Arc::clone(&noted));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (barrier, noted) = (Arc::clone(&barrier), Arc::clone(&noted));
                    async move {
                        noted.lock().unwrap().push(format!(
                            "{} {:?}",
                            request.uri(),
                            request.version()
                        ));
                        let te = request.headers().get("te").cloned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        barrier.wait().await;
                        // As gRPC ends an answer.
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        if let Some(te) = te {
                            trailers.insert("x-te", te);
                        }
                        let body = Full::new(body).with_trailers(ready(Some(Ok(trailers))));
                        Ok::<_, Infallible>(Response::new(body))
                    }
                });
                let conn =
                    http2::Builder::new(Here).serve_connection(TokioIo::new(stream), service);
                drop(spawn_local(conn));
            }
        });
    });
    (addr.recv().unwrap(), connections, seen)
}

#[test]
fn many_requests_share_a_connection() {
    const TOGETHER: usize = 20;
    let (addr, connections, seen) = server(TOGETHER);
    let config = HttpServiceConfig { protocol: Protocol::Http2, ..rates(&[addr]) };
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let clients: Vec<_> = (0..TOGETHER)
        .map(|number| {
            let http = balancer.http;
            thread::spawn(move || {
                let body = format!("body {number}").repeat(number + 1);
                let answer = Client::connect(http).ask("PUT", "/a?b=1", &[], &body);
                assert_eq!((answer.status(), answer.text()), (200, body.as_str()));
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(connections.load(SeqCst), 1);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|it| it == "http://shop.example/a?b=1 HTTP/2.0"), "{seen:?}");
    balancer.drain();
}

#[test]
fn long_bodies_cross_both_ways() {
    let (addr, _, _) = server(1);
    let config = HttpServiceConfig { protocol: Protocol::Http2, ..rates(&[addr]) };
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let body = "0123456789".repeat(300_000);
    let answer = Client::connect(balancer.http).ask("POST", "/", &[], &body);
    assert_eq!((answer.status(), answer.body.len()), (200, body.len()));
    balancer.drain();
}

#[test]
fn trailers_cross_where_both_sides_can_carry_them() {
    let (addr, _, _) = server(1);
    let config = HttpServiceConfig { protocol: Protocol::Http2, ..rates(&[addr]) };
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(balancer.http).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(Here, TokioIo::new(stream));
        let (mut sender, conn) = handshake.await.unwrap();
        drop(spawn_local(conn));
        let request = Request::post("http://shop.example/grpc").header("te", "trailers");
        let request = request.body(Full::new(Bytes::from_static(b"message"))).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        let trailers = answer.trailers().expect("trailers").clone();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-te"]),
            (&"0".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert_eq!(answer.to_bytes(), "message");
    });
    drop(runtime); // Or the drain would wait for a client that does not listen.
    balancer.drain();
}

#[test]
fn a_server_of_another_protocol_is_no_gateway() {
    let peer = crate::peer::Peer::answering(|_, _| crate::peer::ok("HTTP/1.1"));
    let config = HttpServiceConfig { protocol: Protocol::Http2, ..rates(&[peer.addr]) };
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let answer = balancer.get("/");
    assert!([502, 503].contains(&answer.status()), "{answer:?}");
}
