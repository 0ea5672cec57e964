//! Endpoints within TLS.

use crate::harness::{Balancer, PATIENCE, nobody, rates, until};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use net::tls;
use proxy::upstream::config::{HttpServiceConfig, Protocol, ServiceTls};
use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
};
use tokio::runtime::{Builder, LocalOptions};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// A file of the certificates that the edge is tested with: of `localhost` and 127.0.0.1.
fn certificate(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../net/tests/it/edge/certs", name].iter().collect()
}

/// A server that agrees on this protocol and answers with the version and the target it heard.
fn server(alpn: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let certificates = tls::certificates(&certificate("server.pem")).unwrap();
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, tls::private_key(&certificate("server.key")).unwrap())
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    thread::spawn(move || {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                drop(tokio::task::spawn_local(async move {
                    // Who does not believe us is gone.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (stream, answer) = (TokioIo::new(stream), service_fn(answer));
                    let ended = if alpn == b"h2" {
                        let builder = hyper::server::conn::http2::Builder::new(Here);
                        builder.serve_connection(stream, answer).await
                    } else {
                        let builder = hyper::server::conn::http1::Builder::new();
                        builder.serve_connection(stream, answer).await
                    };
                    // How it ends is no matter of these tests.
                    drop(ended);
                }));
            }
        });
    });
    addr
}

#[derive(Clone, Copy)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let heard = format!("{:?} {}", request.version(), request.uri());
    Ok(Response::new(Full::new(Bytes::from(heard))))
}

fn within_tls(addr: SocketAddr, protocol: Protocol, host: &str) -> HttpServiceConfig {
    let tls = ServiceTls { ca: Some(certificate("ca.pem")), client: None };
    let host = Some(host.to_owned());
    let mut config = HttpServiceConfig { protocol, tls: Some(tls), host, ..rates(&[addr]) };
    config.load_tls().unwrap();
    config
}

#[test]
fn both_protocols_are_spoken_within_tls() {
    for (alpn, protocol, heard) in [
        (&b"http/1.1"[..], Protocol::Http1, "HTTP/1.1 /a?b=1"),
        (b"h2", Protocol::Http2, "HTTP/2.0 https://localhost:7/a?b=1"),
    ] {
        let addr = server(alpn);
        let balancer =
            Balancer::start(within_tls(addr, protocol, "localhost:7"), PATIENCE, PATIENCE);
        for _ in 0..2 {
            let answer = balancer.get("/a?b=1");
            assert_eq!((answer.status(), answer.text()), (200, heard));
        }
        balancer.drain();
    }
}

#[test]
fn an_endpoint_that_cannot_prove_its_name_is_sent_nothing() {
    let addr = server(b"http/1.1");
    let config = within_tls(addr, Protocol::Http1, "rates.internal");
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let answer = balancer.get("/");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    // The checks go the same way.
    until("the check fails", || {
        balancer.service.readiness().is_err_and(|it| it.contains("passes"))
    });
    // Believed by another name, it is served by connections of that name.
    balancer.service.set(within_tls(addr, Protocol::Http1, "localhost"));
    until("it is believed", || balancer.get("/").status() == 200);
    balancer.drain();
}

#[test]
fn authorities_that_are_not_there_are_no_reason_to_go_on_without() {
    let tls = ServiceTls { ca: Some("/nowhere/ca.pem".into()), client: None };
    let mut config = HttpServiceConfig { tls: Some(tls), ..rates(&[nobody()]) };
    assert!(config.load_tls().unwrap_err().to_string().contains("/nowhere/ca.pem"));
}
