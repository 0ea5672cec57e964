//! What crosses, and on which connections.

use crate::{
    harness::{Balancer, Client, PATIENCE, rates},
    peer::{Peer, ok},
};

#[test]
fn headers_cross_from_end_to_end_and_connections_are_kept() {
    let peer = Peer::answering(|number, request| {
        let mut body = format!("{number} {}\n", request.line);
        for (name, value) in &request.headers {
            body.push_str(&format!("{name}: {value}\n"));
        }
        body.push_str(&String::from_utf8_lossy(&request.body));
        format!(
            "HTTP/1.1 201 Created\r\nconnection: x-own\r\nx-own: 1\r\nkeep-alive: timeout=60\r\n\
             etag: \"a\"\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    let headers = [
        ("authorization", "Bearer theirs"),
        ("connection", "x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("idempotency-key", "k1"),
    ];
    let answer = client.ask("POST", "/a?b=1", &headers, "hello");
    assert_eq!(answer.status(), 201);
    let text = answer.text();
    assert!(text.starts_with("0 POST /a?b=1 HTTP/1.1\n"), "{text}");
    for there in [
        "host: shop.example\n",
        "authorization: Bearer theirs\n",
        "idempotency-key: k1\n",
        "x-request-id: req_",
        "x-forwarded-for: 127.0.0.1",
        "content-length: 5\n",
        "\nhello",
    ] {
        assert!(text.contains(there), "{there}: {text}");
    }
    for gone in ["x-mine", "te:", "connection:"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert_eq!((answer.header("etag"), answer.header("idempotency-key")), ("\"a\"", "k1"));
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
    for gone in ["x-own", "keep-alive"] {
        assert_eq!(answer.header(gone), "", "{answer:?}");
    }
    for _ in 0..3 {
        let answer = client.ask("GET", "/again", &[], "");
        assert!(answer.text().starts_with("0 GET /again"), "{}", answer.text());
    }
    assert_eq!(peer.connections(), 1);
    balancer.drain();
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let peer = Peer::answering(|number, request| match request.line.as_str() {
        line if line.starts_with("HEAD") => {
            "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n".to_owned()
        }
        line if line.contains("/204") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        line if line.contains("/304") => {
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: \"a\"\r\n\r\n".to_owned()
        }
        line if line.contains("/103") => {
            format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}", ok("after 103"))
        }
        _ => ok(&number.to_string()),
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut client = Client::connect(balancer.http);
    let head = client.ask("HEAD", "/", &[], "");
    assert_eq!((head.status(), head.header("content-length")), (200, "12345"));
    assert_eq!(client.ask("GET", "/204", &[], "").status(), 204);
    let not_modified = client.ask("GET", "/304", &[], "");
    assert_eq!((not_modified.status(), not_modified.header("etag")), (304, "\"a\""));
    assert_eq!(client.ask("GET", "/103", &[], "").text(), "after 103");
    assert_eq!(client.ask("GET", "/", &[], "").text(), "0");
    assert_eq!(peer.connections(), 1);
}

#[test]
fn a_host_that_is_set_replaces_the_clients() {
    let peer = Peer::answering(|_, request| ok(request.header("host")));
    let mut config = rates(&[peer.addr]);
    config.host = Some("rates.internal".to_owned());
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    assert_eq!(balancer.get("/").text(), "rates.internal");
}

#[test]
fn requests_are_spread_by_the_policy_and_the_books_balance() {
    let peers: Vec<_> =
        (0..3).map(|name| Peer::answering(move |_, _| ok(&format!("{name}")))).collect();
    let addrs: Vec<_> = peers.iter().map(|peer| peer.addr).collect();
    let balancer = Balancer::before(&addrs);
    let mut counts = [0; 3];
    let mut client = Client::connect(balancer.http);
    for _ in 0..30 {
        counts[client.ask("GET", "/", &[], "").text().parse::<usize>().unwrap()] += 1;
    }
    // Round robin, but for the slow start of each.
    assert!(counts.iter().all(|count| 5 <= *count), "{counts:?}");
    let states = balancer.service.endpoints();
    assert_eq!(states.iter().map(|it| it.requests).sum::<u64>(), 30);
    assert!(states.iter().all(|it| it.in_flight == 0 && it.lost + it.failed == 0), "{states:?}");
    balancer.drain();
}

#[test]
fn a_drain_ends_what_is_in_flight() {
    let (asked, was_asked) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let peer = Peer::answering(move |_, request| {
        if request.line.contains("/at-once") {
            return ok("at once");
        }
        asked.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
        ok("at last")
    });
    let balancer = Balancer::before(&[peer.addr]);
    let mut idle = Client::connect(balancer.http);
    assert_eq!(idle.ask("GET", "/at-once", &[], "").text(), "at once");
    let mut client = Client::connect(balancer.http);
    client.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    was_asked.recv_timeout(PATIENCE).unwrap();
    balancer.begin_drain();
    assert!(idle.answer(false).is_none()); // Let go: the drain has begun.
    go.send(()).unwrap();
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.text(), answer.header("connection")), ("at last", "close"));
    balancer.drain();
}
