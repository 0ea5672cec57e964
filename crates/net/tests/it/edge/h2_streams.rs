//! Streams of one HTTP/2 connection beside each other: bodies as they come, answers as they become
//! ready, and what is given up alone.

use super::{WIDE_BYTES, edge, frames::*};
use crate::harness::{PATIENCE, run};
use std::rc::Rc;
use tokio::task::spawn_local;

fn ask(stream: u32, flags: u8, method: &'static str, path: &'static str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &head(method, path, &[]))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &8_u32.to_be_bytes())
}

async fn body(client: &mut Client, stream: u32) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let next = client.find(|it| it.stream == stream).await.expect("an answer");
        assert!(next.kind == HEADERS || next.kind == DATA, "{next:?}");
        if next.kind == DATA {
            body.extend_from_slice(&next.payload);
        }
        if next.ends_stream() {
            return body;
        }
    }
}

#[test]
fn an_answer_that_is_ready_overtakes_those_that_are_not() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&[ask(1, END_STREAM, "GET", "/wait"), get(3)].concat()).await;
        assert_eq!(body(&mut client, 3).await, b"GET / ");
        arrivals.recv().await.unwrap();
        edge.service().go.notify_one();
        assert_eq!(body(&mut client, 1).await, b"GET /wait ");
    });
}

#[test]
fn a_request_that_is_reset_is_given_up_alone() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        // Answered before its body, which never ends, so that its stream stays open; the request
        // after it has its place.
        let long = head("POST", "/", &[("content-length", "270000")]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &long)).await;
        assert_eq!(body(&mut client, 1).await, b"body_too_large");
        client.send(&ask(3, END_STREAM, "GET", "/wait")).await;
        arrivals.recv().await.unwrap();
        client.send(&[ask(5, END_STREAM, "GET", "/wait"), reset(1)].concat()).await;
        arrivals.recv().await.unwrap();
        client.send(&[reset(5), get(7)].concat()).await;
        Rc::clone(&edge.service().given_up).notified().await;
        assert_eq!(body(&mut client, 7).await, b"GET / ");
        assert_eq!(edge.in_flight(), 1);
        edge.service().go.notify_one();
        assert_eq!(body(&mut client, 3).await, b"GET /wait ");
        assert_eq!(edge.in_flight(), 0);
    });
}

#[test]
fn whoever_leaves_gives_all_up() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&ask(1, END_STREAM, "GET", "/wait")).await;
        arrivals.recv().await.unwrap();
        let given_up = Rc::clone(&edge.service().given_up);
        drop(client);
        given_up.notified().await;
        edge.drain(PATIENCE).await;
        assert_eq!((edge.connections(), edge.in_flight()), (0, 0));
    });
}

/// The answer to the first half of a body comes before the second half is sent.
#[test]
fn a_streamed_body_goes_through_as_it_comes() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&ask(1, 0, "POST", "/stream")).await;
        for (part, flags) in [("first", 0), ("second", END_STREAM)] {
            client.send(&frame(DATA, flags, 1, part.as_bytes())).await;
            let data = client.find(|it| it.kind == DATA).await.unwrap();
            assert_eq!(data.payload, part.as_bytes());
        }
        // One that its client gives up breaks off, and the connection goes on.
        client.send(&ask(3, 0, "POST", "/stream")).await;
        client.send(&[frame(DATA, 0, 3, b"half"), reset(3), get(5)].concat()).await;
        assert_eq!(body(&mut client, 5).await, b"GET / ");
    });
}

/// Whoever still reads the body of a request whose answer breaks off is told.
#[test]
fn an_answer_that_breaks_off_takes_the_body_with_it() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&ask(1, 0, "POST", "/broken")).await;
        let reset = client.find(|it| it.kind == RESET).await.unwrap();
        assert_eq!((reset.stream, reset.code()), (1, Some(2)));
        Rc::clone(&edge.service().given_up).notified().await;
        client.send(&get(3)).await;
        assert_eq!(body(&mut client, 3).await, b"GET / ");
    });
}

/// More than sockets and windows hold, beside a stream that needs neither.
#[test]
fn a_long_answer_goes_out_as_the_client_takes_it() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&[ask(1, END_STREAM, "GET", "/wide"), get(3)].concat()).await;
        let (mut wide, mut other) = (0, false);
        while wide < WIDE_BYTES {
            let next = client.find(|it| it.kind == DATA).await.expect("all of it");
            other |= next.stream == 3;
            if next.stream == 1 {
                assert!(next.payload.iter().all(|it| *it == b'w'));
                wide += next.payload.len();
            }
            let length = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
            client.send(&frame(WINDOW, 0, 0, &length)).await;
            client.send(&frame(WINDOW, 0, 1, &length)).await;
        }
        assert!(other && wide == WIDE_BYTES);
    });
}

/// It is given up when the other one waits for its turn.
#[test]
fn a_turn_is_not_lost_with_whose_it_is() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        let wide = |stream| ask(stream, END_STREAM, "GET", "/wide");
        client
            .send(&[frame(SETTINGS, 0, 0, &setting(4, 1 << 20)), wide(1), wide(3)].concat())
            .await;
        let mut room = 65_535;
        while room != 0 {
            let next = client.find(|it| it.kind == DATA).await.expect("all there is room for");
            room -= next.payload.len();
        }
        // What does not fit one read comes between: by then each has sent a frame.
        let more = frame(WINDOW, 0, 0, &200_000_u32.to_be_bytes());
        client.send(&[more, frame(0x16, 0, 0, &[0; 16_384]), reset(1)].concat()).await;
        let mut room = 200_000;
        while room != 0 {
            let next = client.find(|it| it.kind == DATA).await.expect("the other's turn");
            room -= next.payload.len();
        }
    });
}

#[test]
fn headers_beyond_all_limits_are_refused_and_the_connection_goes_on() {
    run(async {
        let (_edge, addr, _arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        let value: &'static str = "v".repeat(12_000).leak();
        let long = head("GET", "/", &[("x", value); 5]);
        let mut pieces = long.chunks(16_000).peekable();
        let first = pieces.next().unwrap();
        client.send(&frame(HEADERS, END_STREAM, 1, first)).await;
        while let Some(piece) = pieces.next() {
            let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            client.send(&frame(CONTINUATION, flags, 1, piece)).await;
        }
        assert_eq!(body(&mut client, 1).await, b"headers_too_large");
        client.send(&get(3)).await;
        assert_eq!(body(&mut client, 3).await, b"GET / ");
    });
}

#[test]
fn a_drain_answers_what_is_in_flight_and_closes() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let mut client = Client::greeted(addr).await;
        client.send(&ask(1, END_STREAM, "GET", "/wait")).await;
        arrivals.recv().await.unwrap();
        let draining = edge.clone();
        let drain = spawn_local(async move { draining.drain(PATIENCE).await });
        let told = client.find(|it| it.kind == GOAWAY).await.unwrap();
        assert_eq!((told.code(), &told.payload[..4]), (Some(0), &[0x7f, 0xff, 0xff, 0xff][..]));
        // What was on its way is answered, too.
        client.send(&get(3)).await;
        assert_eq!(body(&mut client, 3).await, b"GET / ");
        client.send(&frame(PING, ACK, 0, b"farewell")).await;
        let told = client.find(|it| it.kind == GOAWAY).await.unwrap();
        assert_eq!((told.code(), &told.payload[..4]), (Some(0), &[0, 0, 0, 3][..]));
        edge.service().go.notify_one();
        assert_eq!(body(&mut client, 1).await, b"GET /wait ");
        assert_eq!(client.next().await, Ok(None));
        drain.await.unwrap();
        assert_eq!(edge.connections(), 0);
    });
}
