//! The door for the tier above.

use crate::{
    harness::{Balancer, PATIENCE, key},
    peer::{Peer, ok},
};
use net::trunk::{Answer, CallSlot, Identity, Link, LinkConfig, LinkEvents, call, open_stream};
use std::{
    rc::Rc,
    sync::{Mutex, mpsc},
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::Notify,
};
use wire::frame::{HeaderList, Headers, RequestRef, Target};

struct Connected(Notify);

impl LinkEvents for Connected {
    fn connected(&self, _: usize) {
        self.0.notify_one();
    }
    fn draining(&self, _: usize) {}
    fn disconnected(&self, _: usize) {}
}

/// Does something with a link to the balancer.
fn linked<T>(balancer: &Balancer, work: impl AsyncFnOnce(Link<CallSlot>) -> T) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let identity = Identity::new("edge".into(), key());
        let events = Rc::new(Connected(Notify::new()));
        let config = LinkConfig { identity, endpoint: balancer.endpoint(), index: 0 };
        let link = Link::open(config, Rc::clone(&events) as _);
        events.0.notified().await;
        work(link).await
    })
}

/// Asks through the trunk; the answer is put together.
fn ask(balancer: &Balancer, method: &str, path: &str, body: &[u8]) -> Answer {
    linked(balancer, async |link| {
        let mut headers = HeaderList::new();
        headers.push("host", b"shop.example").unwrap();
        headers.push("x-request-id", b"req_given").unwrap();
        let target = Target::Http { method, path, headers: headers.as_ref() };
        let mut request = RequestRef::new(target, 10_000, body);
        request.key = b"k1";
        call(&link, &request).await.unwrap()
    })
}

#[test]
fn what_comes_bit_by_bit_goes_on_bit_by_bit() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let peer = Peer::start(move |mut conn| {
        while let Some(request) = conn.request() {
            conn.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
            if request.line.contains("/broken") {
                return;
            }
            // Not before the asker has heard of it.
            gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            conn.say(b"3\r\ntwo\r\n0\r\n\r\n");
        }
    });
    let balancer = Balancer::before(&[peer.addr]);
    linked(&balancer, async |link| {
        for path in ["/events", "/broken"] {
            let target = Target::Http { method: "GET", path, headers: Headers::NONE };
            let request = RequestRef::new(target, 10_000, b"");
            let (writer, exchange) = open_stream(&link, &request).unwrap();
            writer.finish();
            let (head, body) = exchange.answer().await.unwrap();
            assert_eq!((head.response().status, head.response().decided_by), (200, "rates"));
            let mut body = body.expect("more is to come");
            assert_eq!(body.next().await.unwrap().unwrap(), "one");
            if path == "/broken" {
                assert!(body.next().await.unwrap().is_err(), "a half passed for a whole");
                continue;
            }
            go.send(()).unwrap();
            assert_eq!(body.next().await.unwrap().unwrap(), "two");
            assert!(body.next().await.is_none());
        }
    });
    // Long ones are put together by whoever wants them so.
    let long = Peer::answering(|_, _| ok(&"x".repeat(3_000_000)));
    let balancer = Balancer::before(&[long.addr]);
    assert_eq!(ask(&balancer, "GET", "/", b"").response().body.len(), 3_000_000);
}

#[test]
fn a_request_of_the_trunk_is_asked_over_http() {
    let peer = Peer::answering(|_, request| {
        let body = String::from_utf8_lossy(&request.body);
        ok(&format!(
            "{} {} {} {} {body}",
            request.line,
            request.header("host"),
            request.header("idempotency-key"),
            request.header("x-request-id"),
        ))
    });
    let balancer = Balancer::before(&[peer.addr]);
    let answer = ask(&balancer, "POST", "/a?b=1", b"hello");
    let response = answer.response();
    assert_eq!((response.status, response.decided_by), (200, "rates"));
    let text = String::from_utf8_lossy(response.body).into_owned();
    assert_eq!(text, "POST /a?b=1 HTTP/1.1 shop.example k1 req_given hello");
}

#[test]
fn failures_come_back_as_problems() {
    let peer = Peer::start(|mut conn| {
        let path = conn.request().map(|it| it.line).unwrap_or_default();
        if path.contains("/half") {
            conn.say(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        }
    });
    let balancer = Balancer::before(&[peer.addr]);
    for (method, path, status, code) in [
        ("GET", "/gone", 502, "bad_gateway"),
        ("GET", "/half", 502, "bad_gateway"),
        ("POST", "/half", 504, "outcome_unknown"),
    ] {
        let answer = ask(&balancer, method, path, b"");
        let response = answer.response();
        let problem: serde_json::Value = serde_json::from_slice(response.body).unwrap();
        assert_eq!((response.status, problem["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(problem["request_id"], "req_given");
    }
}
