//! The trunk within TLS.
//!
//! The certificates are in `certs/`, made once for a hundred years: an authority `ca`, a `node`
//! signed by it, another authority and a `stranger` signed by that one.

use crate::{
    harness::{Event, Node, identity, link_with, request, run},
    local::pattern,
};
use net::trunk::{Identity, TlsFiles, TrunkTls, call};
use std::path::PathBuf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/certs", name].iter().collect()
}

fn files(ca: &str, who: &str) -> TlsFiles {
    let (cert, key) = (file(&format!("{who}.pem")), file(&format!("{who}.key")));
    TlsFiles { ca: file(&format!("{ca}.pem")), cert, key }
}

fn identity_of(node: &str, ca: &str, who: &str) -> Identity {
    let tls = Some(TrunkTls::load(&files(ca, who)).unwrap());
    Identity { tls, ..identity(node, "key") }
}

fn tls_node() -> Node {
    Node::start_at("127.0.0.1:0".parse().unwrap(), identity_of("echo", "ca", "node"))
}

#[test]
fn certificates_of_the_cluster_are_let_in_and_everything_works() {
    run(async {
        let node = tls_node();
        let (link, mut events) = link_with(node.addr, identity_of("test", "ca", "node"));
        assert_eq!(events.recv().await, Some(Event::Connected));
        let large = pattern(1 << 20);
        let calls: Vec<_> = (0..20)
            .flat_map(|_| {
                [call(&link, &request("/", &large)), call(&link, &request("/", b"small"))]
            })
            .collect();
        for (at, call) in calls.into_iter().enumerate() {
            let wanted = if at % 2 == 0 { &large[..] } else { b"small" };
            assert!(call.await.unwrap().body() == wanted, "call {at}");
        }
        node.kill();
    });
}

/// Why a link does not come to be.
async fn refused(node: &Node, identity: Identity) -> String {
    let (link, mut events) = link_with(node.addr, identity);
    let Some(Event::Unreachable(why)) = events.recv().await else { panic!() };
    assert!(!link.is_connected());
    why
}

#[test]
fn whoever_has_no_such_certificate_is_refused() {
    run(async {
        let node = tls_node();
        // A client whose certificate another authority signed: the node says so.
        let why = refused(&node, identity_of("test", "ca", "stranger")).await;
        assert!(why.contains("received fatal alert"), "{why}");
        // A node whose certificate is not of the client's authority: the client says so.
        let why = refused(&node, identity_of("test", "other-ca", "stranger")).await;
        assert!(why.contains("invalid peer certificate: UnknownIssuer"), "{why}");
        // The right certificate without the cluster's key.
        let tls = identity_of("test", "ca", "node").tls;
        let why = refused(&node, Identity { tls, ..identity("test", "another") }).await;
        assert_eq!(why, "it does not know the cluster key");
        // One that does not speak TLS, and a node that does not.
        let why = refused(&node, identity("test", "key")).await;
        assert!(!why.is_empty());
        let plain = Node::start();
        let why = refused(&plain, identity_of("test", "ca", "node")).await;
        assert!(why.starts_with("TLS: received corrupt message"), "{why}");
        plain.kill();
        node.kill();
    });
}

#[test]
fn a_client_without_a_certificate_gets_no_request_through() {
    run(async {
        let mut node = tls_node();
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        // An alert, perhaps, and the end.
        let mut said = Vec::new();
        drop(stream.read_to_end(&mut said).await);
        assert!(said.len() < 64, "{said:?}");
        assert!(node.arrived.try_recv().is_err());
        node.kill();
    });
}

#[test]
fn files_that_do_not_fit_are_named() {
    let load = |files: TlsFiles| TrunkTls::load(&files).unwrap_err().to_string();
    let missing = load(files("nobody", "node"));
    assert!(missing.contains("nobody.pem: No such file"), "{missing}");
    let mut swapped = files("ca", "node");
    swapped.cert = file("node.key");
    let why = load(swapped);
    assert!(why.contains("node.key holds no certificate"), "{why}");
    let mut mixed = files("ca", "node");
    mixed.key = file("stranger.key");
    let why = load(mixed);
    assert!(why.contains("stranger.key: "), "{why}");
}
