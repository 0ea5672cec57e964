//! Servers that break off, stay silent, shed, or say what cannot be trusted.

use crate::{
    harness::{Balancer, Client, PATIENCE, nobody, rates},
    peer::{Peer, ok},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

/// Answers the first request of each connection, and ends at the second without a word.
fn forgetful() -> Peer {
    Peer::start(|mut conn| {
        conn.request();
        let answer = ok(&conn.number.to_string());
        conn.say(answer.as_bytes());
        conn.request();
    })
}

#[test]
fn a_connection_that_ended_unnoticed_is_no_failure_where_a_repeat_does_no_harm() {
    let peer = forgetful();
    let balancer = Balancer::before(&[peer.addr]);
    for number in 0..4 {
        assert_eq!(balancer.get("/").text(), number.to_string());
    }
    // A key of the client's says that a repeat is harmless.
    let keyed = [("idempotency-key", "k1")];
    assert_eq!(balancer.post("/", &keyed).text(), "4");
    let totals = balancer.service.totals();
    assert_eq!((totals.stale, totals.repeats, totals.failed), (4, 0, 0), "{totals:?}");
}

#[test]
fn what_may_have_been_executed_and_cannot_be_repeated_is_told_as_unknown() {
    let peer = forgetful();
    let balancer = Balancer::before(&[peer.addr]);
    assert_eq!(balancer.post("/", &[]).text(), "0");
    // The connection is young, so it is used.
    let answer = balancer.post("/", &[]);
    assert_eq!((answer.status(), answer.code().as_str()), (504, "outcome_unknown"));
    assert!(answer.header("idempotency-key").starts_with("tgk_"), "{answer:?}");
}

#[test]
fn nobody_there_is_passed_over_and_what_was_not_sent_is_sent_elsewhere() {
    let peer = Peer::answering(|_, request| ok(&String::from_utf8_lossy(&request.body)));
    let balancer = Balancer::before(&[nobody(), peer.addr]);
    for _ in 0..10 {
        assert_eq!(balancer.post("/", &[]).text(), "body");
    }
    let alone = Balancer::before(&[nobody()]);
    let answer = alone.post("/", &[]);
    assert_eq!((answer.status(), answer.code().as_str()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), "1");
}

#[test]
fn a_lost_connection_is_repeated_elsewhere_only_where_that_does_no_harm() {
    let sick = Peer::start(|mut conn| drop(conn.request()));
    let well = Peer::answering(|_, _| ok("well"));
    let balancer = Balancer::before(&[sick.addr, well.addr]);
    for _ in 0..6 {
        assert_eq!(balancer.get("/").text(), "well");
    }
    let alone = Balancer::before(&[sick.addr]);
    assert_eq!(alone.post("/", &[]).code(), "outcome_unknown");
    let answer = alone.get("/");
    assert_eq!((answer.status(), answer.code().as_str()), (502, "bad_gateway"));
}

#[test]
fn silence_ends_at_the_deadline() {
    let peer = Peer::start(|mut conn| {
        conn.request();
        conn.read_rest();
    });
    let balancer = Balancer::start(rates(&[peer.addr]), Duration::from_millis(200), PATIENCE);
    for answer in [balancer.get("/"), balancer.post("/", &[])] {
        assert_eq!((answer.status(), answer.code().as_str()), (504, "outcome_unknown"));
    }
    assert_eq!(balancer.service.endpoints()[0].late, 2);
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let peer = Peer::start(|mut conn| {
        conn.request();
        conn.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    client.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.answer_head().unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.with_body(&mut client.stream, false).is_none(), "a half passed for a whole");
}

#[test]
fn statuses_of_the_service_are_passed_on_and_not_repeated() {
    let asked = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    let peer = Peer::answering(move |_, request| {
        counted.fetch_add(1, SeqCst);
        let status = &request.line[5..8];
        format!("HTTP/1.1 {status} Anything\r\ncontent-length: 2\r\n\r\nno")
    });
    let balancer = Balancer::before(&[peer.addr]);
    for status in [500, 502, 503, 504, 404, 429] {
        let answer = balancer.get(&format!("/{status}"));
        assert_eq!((answer.status(), answer.text()), (status, "no"));
    }
    assert_eq!(asked.load(SeqCst), 6);
    let state = &balancer.service.endpoints()[0];
    assert_eq!((state.failed, state.shed), (2, 1));
}

#[test]
fn doubtful_answers_are_not_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\na: b\r\n folded: c\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace : b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let peer = Peer::answering(move |_, _| answer.to_owned());
        let balancer = Balancer::before(&[peer.addr]);
        let got = balancer.get("/");
        assert_eq!((got.status(), got.code().as_str()), (502, "bad_gateway"), "{answer:?}");
        assert_eq!(balancer.post("/", &[]).code(), "outcome_unknown", "{answer:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let peer = Peer::answering(move |_, _| many.clone());
    assert_eq!(Balancer::before(&[peer.addr]).get("/").code(), "bad_gateway");
}

#[test]
fn bytes_after_an_answer_are_no_answer_to_the_next_request() {
    let peer = Peer::start(|mut conn| {
        let number = conn.number;
        while conn.request().is_some() {
            let answer = format!("{}{}", ok(&number.to_string()), ok("smuggled"));
            conn.say(answer.as_bytes());
        }
    });
    let balancer = Balancer::before(&[peer.addr]);
    for _ in 0..5 {
        assert_ne!(balancer.get("/").text(), "smuggled");
    }
}
