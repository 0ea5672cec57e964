//! One request to somewhere else, within TLS: who is believed to be whom.

use crate::harness::{PATIENCE, run};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use net::{
    fetch::{FetchError, Fetched, Place, fetch},
    tls::{self, ClientTls, Spoken},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::spawn_local,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, SupportedProtocolVersion, version},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Certificates of the edge's tests: a `server` that is localhost and 127.0.0.1, and its `ca`.
fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/edge/certs", name].iter().collect()
}

/// The trunk's: a `stranger` of another authority, and a `node` that is called so.
fn trunk_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/certs", name].iter().collect()
}

/// What a server is made of.
struct Made {
    cert: PathBuf,
    key: PathBuf,
    version: &'static SupportedProtocolVersion,
    alpn: &'static [&'static [u8]],
}

impl Made {
    fn well() -> Made {
        let (cert, key) = (file("server.pem"), file("server.key"));
        Made { cert, key, version: &version::TLS13, alpn: &[b"h2", b"http/1.1"] }
    }

    /// Answers every connection's first request.
    async fn start(self) -> SocketAddr {
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                tls::certificates(&self.cert).unwrap(),
                tls::private_key(&self.key).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = self.alpn.iter().map(|it| it.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                // A client that does not believe us is gone.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(ANSWER).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        })
        .await
    }
}

async fn serve<F>(each: impl Fn(TcpStream) -> F + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(spawn_local(async move {
        loop {
            drop(spawn_local(each(listener.accept().await.unwrap().0)));
        }
    }));
    addr
}

async fn ask(host: &str, addr: SocketAddr, ca: PathBuf) -> Result<Fetched, FetchError> {
    let tls = ClientTls::load(Some(&ca), Spoken::Http1).unwrap();
    let place = Place { host, port: addr.port(), tls: Some(&tls) };
    let request = Request::get("/").header("host", host).body(Full::<Bytes>::default());
    fetch(place, request.unwrap(), PATIENCE, 1024).await
}

/// Why nothing was sent.
#[track_caller]
fn unsent(answer: Result<Fetched, FetchError>) -> String {
    match answer {
        Err(FetchError::Unsent(why)) => why,
        Ok(_) | Err(FetchError::Unanswered(_)) => panic!("{answer:?}"),
    }
}

#[test]
fn a_server_that_proves_its_name_or_address_is_asked() {
    run(async {
        for version in [&version::TLS13, &version::TLS12] {
            for alpn in [Made::well().alpn, &Made::well().alpn[1..], &[]] {
                let addr = Made { version, alpn, ..Made::well() }.start().await;
                for host in ["localhost", "127.0.0.1"] {
                    let answer = ask(host, addr, file("ca.pem")).await.unwrap();
                    assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
                }
            }
        }
    });
}

#[test]
fn another_server_is_sent_nothing_and_the_reason_is_told() {
    run(async {
        let addr = Made::well().start().await;
        let why = unsent(ask("localhost", addr, trunk_file("ca.pem")).await);
        assert_eq!(why, "TLS: its certificate is of no authority that is trusted here");

        let (cert, key) = (trunk_file("node.pem"), trunk_file("node.key"));
        let addr = Made { cert, key, ..Made::well() }.start().await;
        let why = unsent(ask("localhost", addr, trunk_file("ca.pem")).await);
        assert_eq!(why, "TLS: its certificate is not for localhost");

        let addr = Made { alpn: &[b"h2"], ..Made::well() }.start().await;
        let why = unsent(ask("localhost", addr, file("ca.pem")).await);
        assert_eq!(why, "TLS: it refused the handshake: NoApplicationProtocol");

        let addr = serve(|mut stream: TcpStream| async move {
            stream.write_all(ANSWER).await.unwrap();
        });
        let why = unsent(ask("localhost", addr.await, file("ca.pem")).await);
        assert_eq!(why, "TLS: it speaks no TLS there");

        let addr = serve(|mut stream: TcpStream| async move {
            let _count = stream.read(&mut [0; 4096]).await.unwrap();
        });
        let why = unsent(ask("localhost", addr.await, file("ca.pem")).await);
        assert_eq!(why, "TLS: it hung up during the handshake");
    });
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    run(async {
        let addr = serve(|stream: TcpStream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        });
        let addr = addr.await;
        let tls = ClientTls::load(Some(&file("ca.pem")), Spoken::Http1).unwrap();
        let place = Place { host: "localhost", port: addr.port(), tls: Some(&tls) };
        let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
        let why = unsent(fetch(place, request, Duration::from_millis(50), 1024).await);
        assert_eq!(why, "no answer within 50ms");
    });
}

#[test]
fn trust_is_equal_where_it_is_in_the_same_authorities() {
    let load = |ca: PathBuf, spoken| ClientTls::load(Some(&ca), spoken).unwrap();
    assert_eq!(load(file("ca.pem"), Spoken::Http1), load(file("ca.pem"), Spoken::Http1));
    assert_ne!(load(file("ca.pem"), Spoken::Http1), load(file("ca.pem"), Spoken::Http2));
    assert_ne!(load(file("ca.pem"), Spoken::Http1), load(trunk_file("ca.pem"), Spoken::Http1));
}
