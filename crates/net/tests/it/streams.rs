//! Messages longer than a frame: whole ones by themselves, and open ones in both directions.

use crate::{
    harness::request,
    local::{Pair, pattern, read_all, write_all},
};
use bytes::Bytes;
use net::trunk::{Loss, call, open_stream};
use tokio::task::spawn_local;
use wire::frame::{ResponseRef, limits::STREAM_WINDOW_BYTES};

const MIB: usize = 1024 * 1024;

#[test]
fn both_directions_stream_at_once_and_nothing_is_lost() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (up, down) = (pattern(5 * MIB), pattern(3 * MIB + 1));
        let (writer, exchange) = open_stream(&pair.link, &request("/", b"first")).unwrap();
        let sent = up.clone();
        let writing = spawn_local(async move { write_all(writer, &sent, 100_000).await });
        let (reader, reply, first) = pair.stream().await;
        assert_eq!(first, b"first");
        let answer = reply.begin(ResponseRef::new(200, "echo", b"head")).unwrap();
        let sent = down.clone();
        let answering = spawn_local(async move { write_all(answer, &sent, 7_777).await });
        let reading = spawn_local(read_all(reader));
        let (head, body) = exchange.answer().await.unwrap();
        assert_eq!((head.response().status, head.body()), (200, Bytes::from("head")));
        // The request ends before its answer, which ends the exchange.
        let got = spawn_local(async move {
            let mut body = body.unwrap();
            let first = body.next().await.unwrap().unwrap();
            (first, body)
        });
        writing.await.unwrap().unwrap();
        assert!(reading.await.unwrap().unwrap() == up);
        let (first, body) = got.await.unwrap();
        let rest = read_all(body).await.unwrap();
        answering.await.unwrap().unwrap();
        assert!([&first[..], &rest[..]].concat() == down);
        pair.settled().await;
    });
}

/// A tunnel: what goes in on one side comes out on the other at once, in both directions.
#[test]
fn a_tunnel_passes_every_piece_on_at_once() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (mut up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (mut server_end, reply, _) = pair.stream().await;
        let mut down = reply.begin(ResponseRef::new(101, "echo", b"")).unwrap();
        let (_, body) = exchange.answer().await.unwrap();
        let mut client_end = body.unwrap();
        for round in 0..1_000 {
            let word = Bytes::from(format!("round {round}"));
            up.send(word.clone()).await.unwrap();
            let heard = server_end.next().await.unwrap().unwrap();
            assert_eq!(heard, word);
            down.send(heard).await.unwrap();
            assert_eq!(client_end.next().await.unwrap().unwrap(), word);
        }
        down.finish();
        assert!(client_end.next().await.is_none());
        // The end of the answer is the end of all of it.
        assert_eq!(up.closed().await, Loss::Reset);
        assert_eq!(up.send(Bytes::from("x")).await, Err(Loss::Reset));
        pair.settled().await;
    });
}

#[test]
fn who_does_not_read_stalls_nobody_else() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let long = pattern(4 * MIB);
        let (slow_up, slow) = open_stream(&pair.link, &request("/", b"")).unwrap();
        slow_up.finish();
        let (_, reply, _) = pair.stream().await;
        reply.send(ResponseRef::new(200, "echo", &long));
        let (head, unread) = slow.answer().await.unwrap();
        let first = head.body();

        // Short ones and long ones pass it by in both directions.
        for body in [&b"short"[..], &long] {
            let answer = call(&pair.link, &request("/whole", body));
            let (reply, got) = pair.request().await;
            assert!(got == body);
            reply.send(ResponseRef::new(200, "echo", body));
            assert!(answer.await.unwrap().body() == body);
        }
        // Meanwhile the slow one got no more than its window.
        assert_eq!(pair.server.in_flight(), 1);
        let rest = read_all(unread.unwrap()).await.unwrap();
        assert!([&first[..], &rest].concat() == long);
        pair.settled().await;
    });
}

#[test]
fn a_writer_waits_for_its_reader() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (mut writer, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (reader, reply, _) = pair.stream().await;
        let window = usize::try_from(STREAM_WINDOW_BYTES).unwrap();
        writer.send(Bytes::from(vec![1; window])).await.unwrap();
        let more = spawn_local(async move {
            writer.send(Bytes::from_static(b"more")).await.unwrap();
            writer.finish();
        });
        // A round trip later it still waits: the window is shut.
        let answer = call(&pair.link, &request("/", b""));
        pair.request().await.0.send(ResponseRef::new(200, "echo", b""));
        answer.await.unwrap();
        assert!(!more.is_finished());
        assert_eq!(read_all(reader).await.unwrap().len(), window + 4);
        more.await.unwrap();
        reply.send(ResponseRef::new(200, "echo", b"done"));
        assert_eq!(exchange.answer().await.unwrap().0.body(), "done");
        pair.settled().await;
    });
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        // A stream: what came is read, then the loss.
        let (up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        up.finish();
        let (_, reply, _) = pair.stream().await;
        let mut writer = reply.begin(ResponseRef::new(200, "echo", b"")).unwrap();
        writer.send(Bytes::from("part")).await.unwrap();
        drop(writer);
        let (_, body) = exchange.answer().await.unwrap();
        let mut body = body.unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "part");
        assert_eq!(body.next().await.unwrap(), Err(Loss::Reset));

        // A call: no answer at all.
        let answer = call(&pair.link, &request("/", b""));
        let writer = pair.request().await.0.begin(ResponseRef::new(200, "echo", b"")).unwrap();
        drop(writer);
        assert_eq!(answer.await.unwrap_err(), Loss::Reset);
        pair.settled().await;
    });
}

#[test]
fn an_answer_may_come_before_the_end_of_its_request() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (mut writer, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (reader, reply, _) = pair.stream().await;
        drop(reader);
        reply.send(ResponseRef::new(413, "echo", b"too long"));
        let (head, body) = exchange.answer().await.unwrap();
        assert_eq!((head.response().status, body.is_none()), (413, true));
        let sent = loop {
            if let Err(loss) = writer.send(Bytes::from(vec![0; 10_000])).await {
                break loss;
            }
        };
        assert_eq!(sent, Loss::Reset);
        drop(writer);
        pair.settled().await;
        // The connection is as good as before.
        let answer = call(&pair.link, &request("/", b"x"));
        pair.request().await.0.send(ResponseRef::new(200, "echo", b"y"));
        assert_eq!(answer.await.unwrap().body(), "y");
    });
}

#[test]
fn a_request_that_is_too_long_for_its_handler_is_refused() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (writer, exchange) = open_stream(&pair.link, &request("/whole", b"")).unwrap();
        let sent = write_all(writer, &pattern(9 * MIB), MIB).await;
        assert_eq!(sent, Err(Loss::Reset));
        assert_eq!(exchange.answer().await.unwrap().0.response().status, 500);
        pair.settled().await;
        assert!(pair.came.try_recv().is_err());
    });
}

#[test]
fn a_lost_connection_breaks_off_what_streams() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (mut up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (mut reader, reply, _) = pair.stream().await;
        let mut down = reply.begin(ResponseRef::new(200, "echo", b"")).unwrap();
        let (_, body) = exchange.answer().await.unwrap();
        let mut body = body.unwrap();
        pair.server.drain(std::time::Duration::ZERO).await;
        assert_eq!(body.next().await.unwrap(), Err(Loss::ConnectionLost));
        assert_eq!(up.send(Bytes::from("x")).await, Err(Loss::ConnectionLost));
        assert_eq!(reader.next().await.unwrap(), Err(Loss::ConnectionLost));
        assert_eq!(down.send(Bytes::from("x")).await, Err(Loss::ConnectionLost));
        assert_eq!(pair.link.in_flight(), 0);
    });
}
