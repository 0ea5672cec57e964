//! Bodies that are longer than any buffer, or that never end.

use crate::{
    harness::{Balancer, Client, PATIENCE, read_chunk},
    peer::{Peer, ok},
};
use std::sync::{Mutex, mpsc};

#[test]
fn what_the_service_says_bit_by_bit_is_heard_bit_by_bit() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let peer = Peer::start(move |mut conn| {
        conn.request();
        conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for event in ["one", "two", "three"] {
            conn.say(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
            // Not before the client has heard of this one.
            gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        conn.say(b"0\r\n\r\n");
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    client.say(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer_head().unwrap().header("transfer-encoding"), "chunked");
    for event in ["one", "two", "three"] {
        assert_eq!(read_chunk(&mut client.stream).unwrap(), event.as_bytes());
        assert_eq!(balancer.service.endpoints()[0].in_flight, 1);
        go.send(()).unwrap();
    }
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"");
}

#[test]
fn a_body_of_any_length_goes_up_and_comes_back() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 160;
    let peer = Peer::answering(|_, request| {
        let sum: u64 = request.body.iter().map(|byte| u64::from(*byte)).sum();
        let body = "x".repeat(request.body.len());
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nx-sum: {sum}\r\ncontent-length: {length}\r\n\r\n{body}")
    });
    let balancer = Balancer::before(&[peer.addr]);
    for framing in ["chunked", "length"] {
        let mut client = Client::connect(balancer.http);
        let head = match framing {
            "chunked" => "transfer-encoding: chunked".to_owned(),
            _ => format!("content-length: {}", CHUNK * CHUNKS),
        };
        client.say(format!("POST /up HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n").as_bytes());
        for _ in 0..CHUNKS {
            if framing == "chunked" {
                client.say(format!("{CHUNK:x}\r\n").as_bytes());
            }
            client.say(&[1; CHUNK]);
            if framing == "chunked" {
                client.say(b"\r\n");
            }
        }
        if framing == "chunked" {
            client.say(b"0\r\n\r\n");
        }
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.header("x-sum"), (CHUNK * CHUNKS).to_string(), "{framing}");
        assert_eq!(answer.body.len(), CHUNK * CHUNKS);
    }
}

#[test]
fn a_server_that_answers_before_it_has_read_loses_only_that_connection() {
    let peer = Peer::start(|mut conn| {
        let number = conn.number;
        while let Some(head) = conn.head() {
            if head.line.starts_with("PUT") {
                conn.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
                conn.read_rest();
                return;
            }
            conn.say(ok(&number.to_string()).as_bytes());
        }
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    client.say(b"PUT /up HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nsome of it");
    assert_eq!(client.answer_head().unwrap().status(), 413);
    // The first connection waits for the rest of the body, and nobody else gets it.
    assert_eq!(balancer.get("/").text(), "1");
    drop(client);
    assert_eq!(balancer.get("/").text(), "1");
}

#[test]
fn a_client_that_breaks_off_is_not_the_services_fault() {
    let (ended, has_ended) = mpsc::channel();
    let peer = Peer::start(move |mut conn| {
        conn.head();
        conn.read_rest();
        ended.send(()).unwrap();
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    client.say(b"POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nsome of it");
    crate::harness::until("the request is on its way", || peer.connections() == 1);
    drop(client);
    has_ended.recv_timeout(PATIENCE).unwrap();
    let state = &balancer.service.endpoints()[0];
    assert_eq!((state.lost, state.failed), (0, 0), "{state:?}");
}
