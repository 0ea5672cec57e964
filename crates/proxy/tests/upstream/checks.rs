//! Active checks: who is asked, and who gets requests for it.

use crate::{
    harness::{Balancer, Client, Message, PATIENCE, nobody, rates, until},
    peer::{Peer, ok},
};
use balance::{CheckRule, Health};
use proxy::upstream::config::{CheckConfig, HttpServiceConfig};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

fn checked(addrs: &[SocketAddr]) -> HttpServiceConfig {
    let rule = CheckRule { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN };
    let (every, timeout) = (Duration::from_millis(20), Duration::from_secs(5));
    let check = CheckConfig { path: Some("/healthz".to_owned()), every, timeout, rule };
    HttpServiceConfig { check, ..rates(addrs) }
}

/// A server whose health can be switched.
fn moody(name: &'static str) -> (Peer, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&well);
    let peer = Peer::answering(move |_, request| match request.line.contains("/healthz") {
        true if !mood.load(SeqCst) => "HTTP/1.1 500 Sick\r\ncontent-length: 0\r\n\r\n".to_owned(),
        true | false => ok(name),
    });
    (peer, well)
}

fn health(balancer: &Balancer) -> Vec<Health> {
    balancer.service.endpoints().iter().map(|it| it.health).collect()
}

#[test]
fn requests_follow_the_checks() {
    let ((a, a_well), (b, b_well)) = (moody("a"), moody("b"));
    let balancer = Balancer::start(checked(&[a.addr, b.addr]), PATIENCE, PATIENCE);
    until("both are well", || health(&balancer) == [Health::Well; 2]);
    a_well.store(false, SeqCst);
    until("a is sick", || health(&balancer)[0] == Health::Sick);
    // The worker has heard of it a moment later.
    let mut client = Client::connect(balancer.http);
    let mut ask = || client.ask("GET", "/", &[], "").text().to_owned();
    until("a is left alone", || (0..4).all(|_| ask() == "b"));
    for _ in 0..10 {
        assert_eq!(ask(), "b");
    }
    // Nobody is well: everybody is tried.
    b_well.store(false, SeqCst);
    until("b is sick", || health(&balancer) == [Health::Sick; 2]);
    let mut seen = String::new();
    until("both are tried", || {
        seen.push_str(&ask());
        seen.contains('a') && seen.contains('b')
    });
    a_well.store(true, SeqCst);
    until("a is well", || health(&balancer) == [Health::Well, Health::Sick]);
    until("b is left alone", || (0..4).all(|_| ask() == "a"));
    balancer.drain();
}

#[test]
fn readiness_and_the_admin_pages_tell_what_the_checks_say() {
    let (a, _) = moody("a");
    let balancer = Balancer::start(checked(&[a.addr, nobody()]), PATIENCE, PATIENCE);
    let admin = |path: &str| -> Message {
        Client::connect(balancer.admin).ask("GET", path, &[("connection", "close")], "")
    };
    until("checked", || health(&balancer) == [Health::Well, Health::Sick]);
    assert_eq!(admin("/readyz").status(), 200);
    balancer.get("/");
    let status: serde_json::Value = serde_json::from_slice(&admin("/admin/status").body).unwrap();
    assert_eq!((&status["role"], &status["service"]), (&"balancer".into(), &"rates".into()));
    assert_eq!(status["endpoints"][1]["health"], "sick");
    assert_eq!(status["endpoints"][0]["name"], a.addr.to_string());
    let metrics = admin("/metrics");
    let up = format!("upstream_endpoint_up{{service=\"rates\",endpoint=\"{}\"}} 1", a.addr);
    assert!(metrics.text().contains(&up), "{}", metrics.text());
    assert!(metrics.text().contains("upstream_requests_total{service=\"rates\"} 1"));

    let lonely = Balancer::start(checked(&[nobody()]), PATIENCE, PATIENCE);
    until("checked", || health(&lonely) == [Health::Sick]);
    let ready = Client::connect(lonely.admin).ask("GET", "/readyz", &[], "");
    assert_eq!(ready.status(), 503);
    assert!(ready.text().contains("no endpoint of rates passes its checks"), "{}", ready.text());
}

#[test]
fn an_operator_takes_an_endpoint_out_and_weighs_it() {
    let ((a, _), (b, _)) = (moody("a"), moody("b"));
    let balancer = Balancer::start(checked(&[a.addr, b.addr]), PATIENCE, PATIENCE);
    let post = |body: &str| -> Message {
        let path = format!("/admin/endpoints/{}", a.addr);
        let host = balancer.admin.to_string();
        let headers =
            [("host", &*host), ("content-type", "application/json"), ("connection", "close")];
        Client::connect(balancer.admin).ask("POST", &path, &headers, body)
    };
    let drained = post("{\"state\":\"drain\",\"weight\":3}");
    assert_eq!(drained.status(), 200, "{}", drained.text());
    // It holds when it is answered.
    let mut client = Client::connect(balancer.http);
    for _ in 0..10 {
        assert_eq!(client.ask("GET", "/", &[], "").text(), "b");
    }
    let answer = Client::connect(balancer.admin).ask("GET", "/admin/endpoints", &[], "");
    let text = answer.text();
    assert!(text.contains("\"draining\"") && text.contains(&a.addr.to_string()), "{text}");
    assert_eq!(post("{\"state\":\"active\"}").status(), 200);
    let mut seen = String::new();
    until("a is asked again", || {
        seen.push_str(client.ask("GET", "/", &[], "").text());
        seen.contains('a')
    });
    assert_eq!(balancer.service.endpoints()[0].weight.get(), 3);
}

#[test]
fn without_a_path_it_is_enough_to_connect() {
    let peer = Peer::answering(|_, _| ok("a"));
    let config = checked(&[peer.addr, nobody()]);
    let check = CheckConfig { path: None, ..config.check };
    let balancer = Balancer::start(HttpServiceConfig { check, ..config }, PATIENCE, PATIENCE);
    until("checked", || health(&balancer) == [Health::Well, Health::Sick]);
    assert_eq!(peer.connections(), 0, "nothing was said");
}
