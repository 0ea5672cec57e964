//! Connections that leave HTTP behind, as WebSocket's do.

use crate::{
    harness::{Balancer, Client, PATIENCE, rates, until},
    peer::{Conn, Peer, ok},
};
use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Duration,
};

const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Upgrades, and then says everything back until the client ends; then it says farewell.
pub(crate) fn echo(mut conn: Conn) {
    let Some(request) = conn.request() else { return };
    if request.header("upgrade").is_empty() {
        return conn.say(ok("plain").as_bytes());
    }
    assert_eq!(request.header("connection"), "upgrade");
    assert!(!request.header("sec-websocket-key").is_empty());
    // What follows at once must not be lost.
    conn.say(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
    );
    loop {
        let bytes = conn.read_some();
        if bytes.is_empty() {
            break;
        }
        conn.say(&bytes);
    }
    conn.say(b"farewell");
    conn.end_writing();
}

fn upgraded(balancer: &Balancer) -> Client {
    let mut client = Client::connect(balancer.http);
    client.say(ASK);
    let head = client.answer_head().unwrap();
    assert_eq!((head.status(), head.header("upgrade")), (101, "websocket"), "{head:?}");
    assert_eq!(head.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(head.header("connection").eq_ignore_ascii_case("upgrade"), "{head:?}");
    client
}

#[test]
fn both_ways_until_each_half_ends() {
    let peer = Peer::start(echo);
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = upgraded(&balancer);
    assert_eq!(client.read_exact(5), b"hello");
    for size in [1, 1_000, 300_000] {
        let sent = vec![42; size];
        let mut writer = client.stream.get_ref().try_clone().unwrap();
        let writing = std::thread::spawn({
            let sent = sent.clone();
            move || writer.write_all(&sent).unwrap()
        });
        assert_eq!(client.read_exact(size), sent);
        writing.join().unwrap();
    }
    assert_eq!(balancer.service.totals().tunnels, 1);
    assert_eq!(balancer.service.endpoints()[0].in_flight, 1);
    client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"farewell");
    until("the tunnel is over", || balancer.service.totals().tunnels == 0);
    assert_eq!(balancer.service.endpoints()[0].in_flight, 0);
    balancer.drain();
}

#[test]
fn a_service_that_declines_answers_as_ever() {
    let peer = Peer::answering(|_, _| ok("no"));
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    for _ in 0..2 {
        client.say(ASK);
        assert_eq!(client.answer(false).unwrap().text(), "no");
    }
}

#[test]
fn an_upgrade_that_connection_does_not_name_is_none() {
    let peer = Peer::start(echo);
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    assert_eq!(client.ask("GET", "/chat", &[("upgrade", "websocket")], "").text(), "plain");
}

#[test]
fn the_end_of_a_drain_is_the_end_of_a_tunnel() {
    let peer = Peer::start(echo);
    let balancer = Balancer::start(rates(&[peer.addr]), PATIENCE, Duration::from_millis(100));
    let mut client = upgraded(&balancer);
    assert_eq!(client.read_exact(5), b"hello");
    balancer.drain();
    let mut rest = Vec::new();
    // Cut off, in whatever way the system tells it.
    drop(client.stream.read_to_end(&mut rest));
    assert_eq!(rest, b"");
}
