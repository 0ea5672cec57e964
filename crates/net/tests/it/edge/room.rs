//! A node that is full: who waits for room, and who is turned away.

use super::{
    edge,
    frames::{Client, get},
    read_until,
};
use crate::harness::{PATIENCE, run};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const PLAIN: &[u8] = b"POST /x HTTP/1.1\r\nhost: a\r\nIdempotency-Key: k\r\nx-request-id: r\r\n\
    content-length: 4\r\n\r\nbody";

#[test]
fn the_connection_goes_on_after_a_refusal() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        let mirror = edge.service();
        let mut stream = TcpStream::connect(addr).await.unwrap();
        for refused in 1..=3 {
            mirror.full.set(true);
            stream.write_all(PLAIN).await.unwrap();
            let said = read_until(&mut stream, "overloaded").await;
            let (head, _) = said.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{said}");
            for line in ["x-request-id: r", "idempotency-key: k", "content-length: 10"] {
                assert!(head.lines().any(|it| it == line), "{said}");
            }
            assert!(head.contains("\r\ndate: ") && head.contains("\r\nvia: 1.1 edge-"), "{said}");
            assert!(!head.contains("connection"), "{said}");
            assert_eq!(mirror.turned_away.get(), refused);
            mirror.full.set(false);
            stream.write_all(PLAIN).await.unwrap();
            read_until(&mut stream, "POST /x body").await;
        }
        // hyper still waits for its first request where all were refused, and is let go all the same.
        mirror.full.set(true);
        let mut refused = TcpStream::connect(addr).await.unwrap();
        refused.write_all(PLAIN).await.unwrap();
        read_until(&mut refused, "overloaded").await;
        edge.drain(PATIENCE * 2).await;
        assert_eq!(edge.connections(), 0);
    });
}

/// What is not plain is left to hyper, whose answer the role gives: here, one of success.
#[test]
fn what_is_not_plain_takes_the_long_way() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        edge.service().full.set(true);
        for (request, end) in [
            (&b"GET /close HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"[..], "GET /close "),
            (b"GET /old HTTP/1.0\r\n\r\n", "GET /old "),
            // Two in one read.
            (&PLAIN.repeat(2), "POST /x body"),
        ] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(request).await.unwrap();
            read_until(&mut stream, end).await;
        }
        // In pieces, of which the first was passed on.
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .write_all(
                b"GET /expect HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
            content-length: 1\r\n\r\n",
            )
            .await
            .unwrap();
        read_until(&mut stream, "100 Continue\r\n\r\n").await;
        stream.write_all(b"x").await.unwrap();
        read_until(&mut stream, "GET /expect x").await;
        assert_eq!(edge.service().turned_away.get(), 0);
        // One that is out of form is that first of all.
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost : a\r\n\r\n").await.unwrap();
        read_until(&mut stream, "invalid_request").await;
    });
}

#[test]
fn streams_of_http_2_are_refused_before_their_bodies() {
    run(async {
        let (edge, addr, _arrivals) = edge().await;
        edge.service().full.set(true);
        let mut client = Client::greeted(addr).await;
        client.send(&get(1)).await;
        let answer = client.find(|it| it.ends_stream()).await.expect("an answer");
        assert_eq!((answer.payload, edge.service().turned_away.get()), (b"overloaded".to_vec(), 1));
    });
}

#[test]
fn whoever_waits_for_room_is_served_when_there_is_some() {
    run(async {
        let (edge, addr, mut arrivals) = edge().await;
        let mirror = edge.service();
        mirror.full.set(true);
        mirror.has_line.set(true);
        // Plain, and through hyper.
        for (request, end) in [
            (PLAIN, "POST /x body"),
            (&PLAIN.repeat(2), "POST /x body"),
            (b"GET /old HTTP/1.0\r\n\r\n", "GET /old "),
        ] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(request).await.unwrap();
            for _ in 0..request.windows(2).filter(|it| it == b" /").count() {
                arrivals.recv().await.unwrap();
                mirror.go.notify_one();
            }
            read_until(&mut stream, end).await;
        }
        let mut client = Client::greeted(addr).await;
        client.send(&get(1)).await;
        arrivals.recv().await.unwrap();
        mirror.go.notify_one();
        let answer = client.find(|it| it.ends_stream()).await.expect("an answer");
        assert!(answer.payload.starts_with(b"GET /"), "{answer:?}");
        assert_eq!(mirror.turned_away.get(), 0);
    });
}
