//! What comes before HTTP: TLS with its choice of a protocol, and the header of another's proxy.

use super::{edge_with, frames, read_until};
use crate::harness::run;
use net::edge::{EdgeConfig, EdgeTls, TlsFiles};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

fn cert(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/edge/certs", name].iter().collect()
}

/// The certificate of another authority, which clients here do not trust.
fn strange_tls() -> EdgeTls {
    let file = |name| [env!("CARGO_MANIFEST_DIR"), "tests/it/certs", name].iter().collect();
    let files = TlsFiles { cert: file("node.pem"), key: file("node.key"), client_ca: None };
    EdgeTls::load(&files).expect("the files are sound")
}

fn tls(client_ca: Option<PathBuf>) -> EdgeConfig {
    let files = TlsFiles { cert: cert("server.pem"), key: cert("server.key"), client_ca };
    let tls = EdgeTls::load(&files).expect("the files are sound");
    EdgeConfig { tls: Some(tls), ..EdgeConfig::default() }
}

async fn within(
    addr: SocketAddr,
    protocol: &[u8],
    shows: Option<&str>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let roots = net::tls::authorities(&cert("ca.pem")).unwrap();
    let config = ClientConfig::builder_with_provider(net::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        None => config.with_no_client_auth(),
        Some(name) => {
            let chain = net::tls::certificates(&cert(&format!("{name}.pem"))).unwrap();
            let key = net::tls::private_key(&cert(&format!("{name}.key"))).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

const GET: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn both_versions_are_spoken_within_tls() {
    run(async {
        let (_edge, addr, _arrivals) = edge_with(tls(None)).await;
        let mut stream = within(addr, b"http/1.1", None).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("GET /x "), "{said}");
        let mut stream = within(addr, b"h2", None).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let settings = frames::frame(frames::SETTINGS, 0, 0, &[]);
        let hello = [frames::PREFACE, &settings, &frames::get(1)].concat();
        stream.write_all(&hello).await.unwrap();
        let mut said = Vec::new();
        while !said.windows(6).any(|part| part == b"GET / ") {
            assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
        }
        // In the clear nobody is served.
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await);
        assert!(!said.starts_with(b"HTTP/"));
    });
}

#[test]
fn a_client_shows_its_certificate_where_it_has_to() {
    run(async {
        let (_edge, addr, _arrivals) = edge_with(tls(Some(cert("ca.pem")))).await;
        let mut known = within(addr, b"http/1.1", Some("client")).await.unwrap();
        known.write_all(GET).await.unwrap();
        let mut said = String::new();
        known.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("GET /x "), "{said}");
        // In TLS 1.3 the client learns of it at its first read.
        if let Ok(mut unknown) = within(addr, b"http/1.1", None).await {
            drop(unknown.write_all(GET).await);
            let mut said = Vec::new();
            assert!(unknown.read_to_end(&mut said).await.is_err() && said.is_empty());
        }
    });
}

#[test]
fn files_that_will_not_do_are_named() {
    let load = |cert: PathBuf, key: PathBuf| {
        EdgeTls::load(&TlsFiles { cert, key, client_ca: None }).unwrap_err().to_string()
    };
    for (error, named) in [
        (load(cert("none.pem"), cert("server.key")), "none.pem"),
        (load(cert("server.key"), cert("server.key")), "server.key"),
        (load(cert("server.pem"), cert("server.pem")), "server.pem"),
        (load(cert("server.pem"), cert("client.key")), "client.key"),
    ] {
        assert!(error.contains(named), "{error}");
    }
}

/// A header of the PROXY protocol, version 2, for TCP over IPv4 from 1.2.3.4:5.
const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\0\x05\0\x50";

#[test]
fn a_proxy_says_whom_it_speaks_for() {
    let config = EdgeConfig { proxy_protocol: true, ..EdgeConfig::default() };
    run(async {
        let (_edge, addr, _arrivals) = edge_with(config).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = b"GET /peer HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9\r\n\r\n";
        stream.write_all(&[PROXY, request].concat()).await.unwrap();
        read_until(&mut stream, "peer 1.2.3.4:5, for 1.2.3.4").await;
        let text = "PROXY TCP4 1.2.3.4 1.2.3.4 5 6\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for bytes in [GET, text.as_bytes()] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut said = Vec::new();
            drop(stream.read_to_end(&mut said).await);
            assert!(said.is_empty());
        }
    });
}

/// Without the switch such a header is no request.
#[test]
fn a_proxy_that_was_not_announced_is_refused() {
    run(async {
        let (_edge, addr, _arrivals) = edge_with(EdgeConfig::default()).await;
        let said = super::send(addr, &[PROXY, GET].concat()).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    });
}

/// Connections that are open go on; those to come are received with the new files.
#[test]
fn certificates_are_renewed_under_open_connections() {
    run(async {
        let config = tls(None);
        let shared = config.tls.clone().unwrap();
        let (_edge, addr, _arrivals) = edge_with(config).await;
        let ask = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut open = within(addr, b"http/1.1", None).await.unwrap();
        open.write_all(ask).await.unwrap();
        assert_ne!(open.read(&mut [0; 4096]).await.unwrap(), 0);

        assert!(shared.renew(&strange_tls()) && !shared.renew(&strange_tls()));
        within(addr, b"http/1.1", None).await.unwrap_err();
        open.write_all(ask).await.unwrap();
        let mut said = [0; 4096];
        let count = open.read(&mut said).await.unwrap();
        assert!(said[..count].ends_with(b"GET /x "));

        // From now on a client has to show a certificate, too.
        assert!(shared.renew(&tls(Some(cert("ca.pem"))).tls.unwrap()));
        if let Ok(mut unknown) = within(addr, b"http/1.1", None).await {
            drop(unknown.write_all(GET).await);
            assert!(unknown.read_to_end(&mut Vec::new()).await.is_err());
        }
        let mut known = within(addr, b"http/1.1", Some("client")).await.unwrap();
        known.write_all(GET).await.unwrap();
        let mut said = String::new();
        known.read_to_string(&mut said).await.unwrap();
        assert!(said.ends_with("GET /x "), "{said}");
    });
}
