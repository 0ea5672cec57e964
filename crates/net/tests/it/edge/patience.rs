//! What becomes of clients that take too long, and of connections that have lived long enough.
//!
//! All limits are short here but those that would hide the one that is meant.

use super::{
    edge_with,
    frames::{Client, Frame, GOAWAY, get},
    read_until,
};
use crate::harness::{PATIENCE, run};
use net::edge::{EdgeConfig, Patience};
use std::{rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{spawn_local, yield_now},
};

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(50);

/// Limits that nobody reaches, and a sweep that is often.
fn endless() -> Patience {
    Patience {
        head: LONG,
        body: LONG,
        stall: LONG,
        idle: LONG,
        upgraded: LONG,
        left: LONG,
        age: LONG,
        requests_max: u64::MAX,
        sweep_every: Duration::from_millis(10),
    }
}

fn with(patience: Patience) -> EdgeConfig {
    EdgeConfig { patience, ..EdgeConfig::default() }
}

const ASK: &[u8] = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";

/// What comes of bytes after which the client does nothing more.
fn after(patience: Patience, sent: &[u8]) -> String {
    run(async {
        let (_edge, addr, _arrivals) = edge_with(with(patience)).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut said = Vec::new();
        // A connection that is cut in the middle of a body may be reset.
        drop(stream.read_to_end(&mut said).await);
        String::from_utf8(said).unwrap()
    })
}

#[test]
fn a_head_that_takes_too_long() {
    let patience = Patience { head: SHORT, ..endless() };
    let said = after(patience, b"GET / HTTP/1.1\r\nhost:");
    assert!(said.starts_with("HTTP/1.1 408") && said.ends_with("request_timeout"), "{said}");
    let said = after(patience, &[ASK, b"GET /2"].concat());
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("request_timeout"), "{said}");
    // Who has said nothing is told nothing.
    assert_eq!(after(patience, b""), "");
}

#[test]
fn a_body_that_takes_too_long() {
    let patience = Patience { body: SHORT, ..endless() };
    let said = after(patience, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
    assert!(said.starts_with("HTTP/1.1 408") && said.ends_with("request_timeout"), "{said}");
}

#[test]
fn a_streamed_body_that_stands_still() {
    let patience = Patience { stall: SHORT, ..endless() };
    let head = "POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf";
    let said = after(patience, head.as_bytes());
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("half"), "{said}");
}

#[test]
fn a_connection_that_is_idle() {
    let said = after(Patience { idle: SHORT, ..endless() }, ASK);
    assert!(said.ends_with("GET /x "), "{said}");
    run(async {
        let config = with(Patience { idle: SHORT, ..endless() });
        let (_edge, addr, _arrivals) = edge_with(config).await;
        let mut client = Client::greeted(addr).await;
        let farewell = client.find(|it| it.kind == GOAWAY).await.expect("GOAWAY");
        assert_eq!(farewell.code(), Some(0));
    });
}

/// Asks again and again; the answers before the one that is said to be the last.
async fn asked_in_vain(addr: std::net::SocketAddr) -> usize {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    for before in 0.. {
        stream.write_all(ASK).await.unwrap();
        let said = read_until(&mut stream, "GET /x ").await;
        if said.contains("connection: close") {
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            return before;
        }
    }
    unreachable!("an answer was the last")
}

#[test]
fn a_connection_that_is_old() {
    run(async {
        let (_edge, addr, _arrivals) = edge_with(with(Patience { age: SHORT, ..endless() })).await;
        asked_in_vain(addr).await;
        let mut client = Client::greeted(addr).await;
        let farewell = client.find(|it| it.kind == GOAWAY).await.expect("GOAWAY");
        assert_eq!(farewell.code(), Some(0));
    });
}

#[test]
fn a_connection_that_has_served_enough() {
    run(async {
        let config = with(Patience { requests_max: 3, ..endless() });
        let (_edge, addr, _arrivals) = edge_with(config).await;
        assert_eq!(asked_in_vain(addr).await, 2);
        // Of HTTP/2, too, the last one is answered.
        let mut client = Client::greeted(addr).await;
        for stream in [1, 3, 5] {
            client.send(&get(stream)).await;
        }
        let (mut answers, mut farewells) = (0, 0);
        while let Ok(Some(frame)) = client.next().await {
            answers += usize::from(Frame::ends_stream(&frame));
            farewells += usize::from(frame.kind == GOAWAY);
        }
        assert_eq!((answers, 0 < farewells), (3, true));
    });
}

/// However long a head may take: nothing has begun.
#[test]
fn a_drain_lets_go_of_who_has_said_nothing() {
    run(async {
        let (edge, addr, _arrivals) = edge_with(with(endless())).await;
        let mut fresh = TcpStream::connect(addr).await.unwrap();
        let mut greeted = Client::greeted(addr).await;
        while edge.connections() < 2 {
            yield_now().await;
        }
        edge.drain(PATIENCE * 2).await;
        assert_eq!((edge.connections(), fresh.read(&mut [0]).await.unwrap()), (0, 0));
        // Its ping is never answered here.
        while let Ok(Some(_)) = greeted.next().await {}
    });
}

/// What is waited for by nobody is given up while it waits.
#[test]
fn who_has_gone_is_not_answered() {
    run(async {
        let config = with(Patience { left: SHORT, ..endless() });
        let (edge, addr, mut arrivals) = edge_with(config).await;
        for resets in [true, false] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            arrivals.recv().await.unwrap();
            if resets {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(stream);
            Rc::clone(&edge.service().given_up).notified().await;
        }
        while edge.connections() != 0 {
            yield_now().await;
        }
    });
}

/// A reset is noticed at once, whatever the sweep is at.
#[test]
fn a_reset_needs_no_sweep() {
    run(async {
        let config = with(Patience { sweep_every: LONG, ..endless() });
        let (edge, addr, mut arrivals) = edge_with(config).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        arrivals.recv().await.unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        let given_up = Rc::clone(&edge.service().given_up);
        let waiting = spawn_local(async move { given_up.notified().await });
        drop(stream);
        waiting.await.unwrap();
    });
}
