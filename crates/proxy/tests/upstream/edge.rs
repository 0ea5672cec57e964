//! What streams through a whole tree: from the edge to a service that is routed to, and back.

use crate::{
    harness::{Client, PATIENCE, read_chunk, until},
    peer::{Peer, ok},
    tree::Tree,
    upgrade::echo,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

const LONG_BYTES: usize = 20_000_000;

/// No two parts of it are alike.
fn long() -> Vec<u8> {
    (0u32..).flat_map(u32::to_le_bytes).take(LONG_BYTES).collect()
}

#[test]
fn what_comes_bit_by_bit_reaches_the_client_bit_by_bit() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let peer = Peer::start(move |mut conn| {
        while conn.request().is_some() {
            conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-kind: events\r\n\r\n");
            for event in ["one", "two", "three"] {
                conn.say(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
                // Not before the client has heard of this one.
                gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            conn.say(b"0\r\n\r\n");
        }
    });
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    for _ in 0..2 {
        client.say(b"GET /rates/events HTTP/1.1\r\nhost: a\r\n\r\n");
        let head = client.answer_head().unwrap();
        assert_eq!((head.status(), head.header("x-kind")), (200, "events"), "{head:?}");
        assert_eq!(head.header("transfer-encoding"), "chunked");
        for event in ["one", "two", "three"] {
            assert_eq!(read_chunk(&mut client.stream).unwrap(), event.as_bytes());
            go.send(()).unwrap();
        }
        assert_eq!(read_chunk(&mut client.stream).unwrap(), b"");
    }
    drop(client);
    tree.drain();
}

#[test]
fn a_long_answer_arrives_whole_and_with_its_length() {
    let peer = Peer::start(|mut conn| {
        while let Some(request) = conn.request() {
            match request.line.contains("/chunked") {
                true => conn.say(
                    format!(
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{LONG_BYTES:x}\r\n"
                    )
                    .as_bytes(),
                ),
                false => conn.say(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG_BYTES}\r\n\r\n").as_bytes(),
                ),
            }
            conn.say(&long());
            if request.line.contains("/chunked") {
                conn.say(b"\r\n0\r\n\r\n");
            }
        }
    });
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    for path in ["/rates/length", "/rates/chunked", "/rates/length"] {
        let answer = client.ask("GET", path, &[], "");
        let is_told = answer.header("content-length") == LONG_BYTES.to_string();
        assert_eq!(is_told, path.ends_with("length"), "{:?}", answer.headers);
        assert!(answer.body == long(), "{path}: {} bytes", answer.body.len());
    }
    drop(client);
    tree.drain();
}

#[test]
fn a_client_that_leaves_ends_the_services_work() {
    let (ended, has_ended) = mpsc::channel();
    let peer = Peer::start(move |mut conn| {
        conn.request();
        conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        let event = [&b"4000\r\n"[..], &[42; 0x4000], b"\r\n"].concat();
        while conn.is_heard(&event) {}
        ended.send(()).unwrap();
    });
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    client.say(b"GET /rates/events HTTP/1.1\r\nhost: a\r\n\r\n");
    client.answer_head().unwrap();
    assert_eq!(read_chunk(&mut client.stream).unwrap(), b"one");
    drop(client);
    has_ended.recv_timeout(PATIENCE).unwrap();
    tree.drain();
}

/// A half is never taken for a whole, whether the service told the length or not.
#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let peer = Peer::start(|mut conn| {
        let told = conn.request().is_some_and(|it| it.line.contains("/length"));
        match told {
            true => conn.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nsome"),
            false => {
                conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n");
            }
        }
    });
    let tree = Tree::before(peer.addr);
    for path in ["length", "chunked"] {
        let mut client = tree.client();
        client.say(format!("GET /rates/{path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        assert!(client.answer(false).is_none(), "{path}");
    }
    tree.drain();
}

#[test]
fn the_deadline_is_one_for_the_head() {
    const DEADLINE: Duration = Duration::from_secs(2);
    let peer = Peer::start(|mut conn| {
        if conn.request().is_some_and(|it| it.line.contains("/late")) {
            return drop(conn.read_rest());
        }
        conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        // What this test is about is time.
        thread::sleep(DEADLINE + DEADLINE / 4);
        conn.say(b"3\r\ntwo\r\n0\r\n\r\n");
    });
    let tree = Tree::with(peer.addr, DEADLINE);
    let mut client = tree.client();
    assert_eq!(client.ask("GET", "/rates/slow", &[], "").text(), "onetwo");
    let late = client.ask("GET", "/rates/late", &[], "");
    assert_eq!((late.status(), late.code().as_str()), (504, "outcome_unknown"));
    drop(client);
    tree.drain();
}

#[test]
fn a_long_request_goes_on_as_it_comes() {
    let (heard, hears) = mpsc::channel();
    let peer = Peer::start(move |mut conn| {
        while let Some(head) = conn.head() {
            if head.header("content-length").is_empty() {
                // Of unknown length: its first part is here while the client holds back the rest.
                heard.send(conn.chunk()).unwrap();
                while conn.chunk().is_some_and(|it| !it.is_empty()) {}
                conn.say(ok("heard").as_bytes());
            } else {
                let whole = conn.rest_of(head).unwrap();
                conn.say(ok(if whole.body == long() { "same" } else { "other" }).as_bytes());
            }
        }
    });
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    for _ in 0..2 {
        client.say(
            b"POST /rates/up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        );
        assert_eq!(hears.recv_timeout(PATIENCE).unwrap().as_deref(), Some(&b"some"[..]));
        client.say(b"0\r\n\r\n");
        assert_eq!(client.answer(false).unwrap().text(), "heard");
        let head =
            format!("PUT /rates/up HTTP/1.1\r\nhost: a\r\ncontent-length: {LONG_BYTES}\r\n\r\n");
        client.say(head.as_bytes());
        client.say(&long());
        assert_eq!(client.answer(false).unwrap().text(), "same");
    }
    // What no route leads to has its old limits.
    client.say(b"POST /v1/a/accounts HTTP/1.1\r\nhost: a\r\ncontent-length: 300000\r\n\r\n");
    assert_eq!(client.answer_head().unwrap().status(), 413);
    drop(client);
    tree.drain();
}

#[test]
fn a_request_that_breaks_off_breaks_off_for_the_service() {
    let (ended, has_ended) = mpsc::channel();
    let peer = Peer::start(move |mut conn| {
        conn.head();
        ended.send((conn.chunk(), conn.chunk())).unwrap();
    });
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    client.say(
        b"POST /rates/up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
    );
    until("the request is on its way", || peer.connections() == 1);
    drop(client);
    let (first, then) = has_ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!((first.as_deref(), then), (Some(&b"some"[..]), None));
    tree.drain();
}

#[test]
fn a_connection_leaves_http_behind_at_both_ends_of_the_tree() {
    let peer = Peer::start(echo);
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    client.say(ask_upgrade("/rates/chat").as_bytes());
    let head = client.answer_head().unwrap();
    assert_eq!((head.status(), head.header("upgrade")), (101, "websocket"), "{head:?}");
    assert_eq!(head.header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(head.header("connection").eq_ignore_ascii_case("upgrade"), "{head:?}");
    assert_eq!(client.read_exact(5), b"hello");
    // While it lasts it counts as in flight at its endpoint, at every hop.
    assert_eq!(tree.admins.map(in_flight), [1, 1]);
    for size in [1, 1_000, 3_000_000] {
        let sent: Vec<u8> = long()[..size].to_vec();
        let mut writer = client.stream.get_ref().try_clone().unwrap();
        let writing = thread::spawn({
            let sent = sent.clone();
            move || writer.write_all(&sent).unwrap()
        });
        assert!(client.read_exact(size) == sent);
        writing.join().unwrap();
    }
    // The client has nothing to add, and still hears the farewell.
    client.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"farewell");
    until("it counts no more", || tree.admins.map(in_flight) == [0, 0]);
    tree.drain();
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer() {
    let peer = Peer::answering(|_, _| ok("no"));
    let tree = Tree::before(peer.addr);
    let mut client = tree.client();
    for _ in 0..2 {
        client.say(ask_upgrade("/rates/chat").as_bytes());
        assert_eq!(client.answer(false).unwrap().text(), "no");
    }
    // Nor does anything wait for it that knows no such thing.
    for path in ["/none", "/v1/a/accounts/alice"] {
        client.say(ask_upgrade(path).as_bytes());
        assert_eq!(client.answer(false).unwrap().status(), 401, "{path}");
    }
    drop(client);
    tree.drain();
}

/// A node's first endpoint, as its admin address shows it.
fn in_flight(admin: SocketAddr) -> u64 {
    let page = Client::connect(admin).ask("GET", "/admin/endpoints", &[], "");
    let page: serde_json::Value = serde_json::from_str(page.text()).unwrap();
    page["endpoints"][0]["in_flight"].as_u64().unwrap()
}

/// As those of a balancer do.
#[test]
fn endpoints_of_a_route_obey_orders() {
    let peer = Peer::answering(|_, _| ok("yes"));
    let tree = Tree::before(peer.addr);
    let order = |body: &str| {
        let path = format!("/admin/endpoints/{}", peer.addr);
        let kind = ("content-type", "application/json");
        let host = ("host", "127.0.0.1");
        Client::connect(tree.admins[1]).ask("POST", &path, &[host, kind], body)
    };
    let asked = || tree.client().ask("GET", "/rates/x", &[], "").status();
    until("it is checked", || asked() == 200);
    let done = order(r#"{"state":"drain","weight":7}"#);
    assert_eq!(done.status(), 200, "{done:?}");
    assert!(done.text().contains(r#""weight":7"#) && done.text().contains("draining"), "{done:?}");
    assert_eq!(asked(), 503);
    assert_eq!(order(r#"{"state":"active"}"#).status(), 200);
    assert_eq!(asked(), 200);
    tree.drain();
}

fn ask_upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
