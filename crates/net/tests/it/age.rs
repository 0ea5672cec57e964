//! Connections that are replaced, and peers that are cut off.

use crate::{
    greeting::{greet_as_client, greet_as_server, next},
    harness::{Event, Node, link, request, run},
    local::Pair,
};
use bytes::Bytes;
use net::trunk::{
    Ages, Loss, call,
    limits::{LEAVING_CONNS_MAX, RARE_FRAMES_MAX},
    open_stream,
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};
use wire::frame::{Farewell, Frame, FrameBuffer, ResponseRef, append_going_away, append_ping};

#[test]
fn a_connection_is_replaced_before_it_is_left() {
    run(async {
        let mut pair = Pair::start().await;
        let held = call(&pair.link, &request("/", b"held"));
        let (held_reply, _) = pair.request().await;
        pair.link.renew();
        // There is never a moment without a connection, and nothing is told of the change.
        while pair.server.connections() == 1 {
            let answer = call(&pair.link, &request("/", b"between"));
            pair.request().await.0.send(ResponseRef::new(200, "echo", b"yes"));
            assert_eq!(answer.await.unwrap().body(), "yes");
        }
        // The old one waits for what is in flight on it.
        for _ in 0..100 {
            let answer = call(&pair.link, &request("/", b"after"));
            pair.request().await.0.send(ResponseRef::new(200, "echo", b"yes"));
            answer.await.unwrap();
        }
        assert_eq!((pair.server.connections(), pair.link.in_flight()), (2, 1));
        held_reply.send(ResponseRef::new(200, "echo", b"at last"));
        assert_eq!(held.await.unwrap().body(), "at last");
        while pair.server.connections() != 1 {
            yield_now().await;
        }
        assert!(pair.link.is_connected());
        assert!(pair.events.try_recv().is_err());
    });
}

#[test]
fn connections_that_are_being_left_are_bounded() {
    run(async {
        let mut pair = Pair::start().await;
        let mut held = Vec::new();
        for _ in 0..LEAVING_CONNS_MAX + 3 {
            held.push(call(&pair.link, &request("/", b"held")));
            held.push(call(&pair.link, &request("/", b"held")));
            let (first, _) = pair.request().await;
            let (second, _) = pair.request().await;
            let before = pair.server.connections();
            pair.link.renew();
            while pair.server.connections() == before && before <= LEAVING_CONNS_MAX {
                yield_now().await;
            }
            // Only the oldest is cut off, and only then do its calls hear of it.
            std::mem::forget((first, second));
            let answer = call(&pair.link, &request("/", b"between"));
            pair.request().await.0.send(ResponseRef::new(200, "echo", b""));
            answer.await.unwrap();
        }
        assert!(pair.server.connections() <= LEAVING_CONNS_MAX + 2);
        held.remove(0).await.unwrap_err();
    });
}

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(60);

/// Ages that nobody reaches.
const ENDLESS: Ages = Ages { renewed: LONG, served: LONG, leaving: LONG, streams: LONG };

/// Has the connection replaced so many times, while a stream is open on the first one; the stream
/// still carries bytes both ways.
async fn carries_on(mut pair: Pair, replaced: usize) {
    let (mut up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
    let (mut server_end, reply, _) = pair.stream().await;
    let mut down = reply.begin(ResponseRef::new(101, "echo", b"")).unwrap();
    let mut client_end = exchange.answer().await.unwrap().1.unwrap();
    let first = pair.accepted.get();
    while pair.accepted.get() < first + replaced {
        yield_now().await;
    }
    for _ in 0..10 {
        up.send(Bytes::from("up")).await.unwrap();
        down.send(server_end.next().await.unwrap().unwrap()).await.unwrap();
        assert_eq!(client_end.next().await.unwrap().unwrap(), "up");
    }
    // What is new goes to a fresh one.
    let answer = call(&pair.link, &request("/", b"new"));
    pair.request().await.0.send(ResponseRef::new(200, "echo", b"yes"));
    answer.await.unwrap();
    down.finish();
    assert!(client_end.next().await.is_none());
    assert!(pair.events.try_recv().is_err());
}

/// Many times the age at which what was left is cut off goes by: three and more replacements.
#[test]
fn a_stream_outlives_the_age_of_connections() {
    let short = Ages { renewed: SHORT, leaving: Duration::from_millis(1), ..ENDLESS };
    run(async { carries_on(Pair::aging(short, ENDLESS).await, 4).await });
}

#[test]
fn a_stream_outlives_what_its_server_asks_for() {
    let short = Ages { served: SHORT, leaving: Duration::from_millis(1), ..ENDLESS };
    run(async { carries_on(Pair::aging(ENDLESS, short).await, 4).await });
}

/// The bound on streams holds at either end, whichever has the shorter one.
#[test]
fn no_stream_lives_for_ever() {
    let short = Ages { renewed: SHORT, served: SHORT, leaving: SHORT, streams: SHORT * 2 };
    for (client, server) in [(short, ENDLESS), (ENDLESS, short)] {
        run(async {
            let mut pair = Pair::aging(client, server).await;
            let (_up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
            let (_server_end, reply, _) = pair.stream().await;
            let _down = reply.begin(ResponseRef::new(101, "echo", b"")).unwrap();
            let mut client_end = exchange.answer().await.unwrap().1.unwrap();
            assert_eq!(client_end.next().await, Some(Err(Loss::ConnectionLost)));
        });
    }
}

/// A server may ask for it, and serves on meanwhile.
#[test]
fn an_old_connection_is_replaced_when_the_server_asks() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (link, mut events) = link(listener.local_addr().unwrap(), "key");
        let (mut old, _) = listener.accept().await.unwrap();
        let mut buffer = greet_as_server(&mut old).await;
        assert_eq!(events.recv().await, Some(Event::Connected));
        let mut out = Vec::new();
        append_going_away(&mut out, Farewell::Aged, "old");
        old.write_all(&out).await.unwrap();

        let (mut fresh, _) = listener.accept().await.unwrap();
        // Until the fresh one has greeted, requests go where they went.
        let answer = call(&link, &request("/", b"x"));
        next(&mut old, &mut buffer).await;
        let Some(Frame::Request(part)) = buffer.next_frame().unwrap() else { panic!() };
        let mut response = ResponseRef::new(200, "echo", b"y");
        (response.id, out) = (part.id, Vec::new());
        response.append(&mut out).unwrap();
        old.write_all(&out).await.unwrap();
        assert_eq!(answer.await.unwrap().body(), "y");

        greet_as_server(&mut fresh).await;
        // The old one is closed once nothing is left to come on it.
        assert_eq!(old.read(buffer.space()).await.unwrap(), 0);
        assert!(link.is_connected());
        assert!(events.try_recv().is_err());
    });
}

#[test]
fn who_sends_too_many_rare_frames_is_told_so_and_cut_off() {
    run(async {
        let node = Node::start();
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        let mut buffer = greet_as_client(&mut stream).await;
        let mut out = Vec::new();
        // More than two seconds' worth: one second may end in between.
        (0..2 * RARE_FRAMES_MAX + 1).for_each(|at| append_ping(&mut out, at.into()));
        stream.write_all(&out).await.unwrap();
        assert_eq!(farewell(&mut stream, &mut buffer).await, Farewell::Breach);
        node.kill();
    });
}

/// Reads until the peer says goodbye.
async fn farewell(stream: &mut TcpStream, buffer: &mut FrameBuffer) -> Farewell {
    loop {
        next(stream, buffer).await;
        while let Some(frame) = buffer.next_frame().unwrap() {
            if let Frame::GoingAway { why, .. } = frame {
                return why;
            }
        }
    }
}
