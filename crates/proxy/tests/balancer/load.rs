//! Whom a balancer asks: by policy, by load, by health, and by the list that may change.

use crate::harness::{ANY, Answer, Balancer, Leaf, PATIENCE, Stub};
use balance::Policy;
use net::trunk::{Handler, ReplyTo};
use proxy::config::EndpointConfig;
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
        mpsc,
    },
    thread,
};
use wire::frame::{LoadReport, RequestRef, ResponseRef};

/// Answers everything at once with its name, with a status that may change, on somebody's account.
struct Well {
    name: &'static str,
    decided_by: &'static str,
    status: Arc<AtomicU16>,
}

impl Handler for Well {
    fn request(&self, _: RequestRef<'_>, reply: ReplyTo) {
        let status = self.status.load(Relaxed);
        reply.send(ResponseRef::new(status, self.decided_by, self.name.as_bytes()));
    }
}

/// An endpoint that answers with the status that is set, blames `decided_by`, and reports `load`.
fn well(
    name: &'static str,
    decided_by: &'static str,
    load: Option<LoadReport>,
) -> (Stub, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let handler = Well { name, decided_by, status: Arc::clone(&status) };
    let stub = Stub::start(
        name,
        ANY.parse().unwrap(),
        || handler,
        move |server| {
            if let Some(load) = load {
                server.set_load(Rc::new(move || load));
            }
        },
    );
    (stub, status)
}

fn balancer(policy: Policy, stubs: &[(&Stub, u32)]) -> Balancer {
    let endpoint = |(stub, weight): &(&Stub, u32)| EndpointConfig {
        weight: NonZeroU32::new(*weight).unwrap(),
        ..EndpointConfig::trunk(&stub.endpoint)
    };
    let edge = Balancer::with("edge", stubs.iter().map(endpoint).collect(), policy, PATIENCE);
    for (stub, _) in stubs {
        edge.ask_until("GET /x", &stub.endpoint.name, |it| it["state"] == "up");
    }
    edge
}

/// Who answered how often.
fn shares(answers: &[Answer]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        *shares.entry(answer.body.as_str()).or_default() += 1;
    }
    shares
}

fn ask(edge: &Balancer, count: usize) -> Vec<Answer> {
    (0..count).map(|_| edge.ask("GET /x")).collect()
}

fn busy(in_flight: u32, latency_us: u32) -> Option<LoadReport> {
    Some(LoadReport { in_flight, latency_us, ..LoadReport::default() })
}

#[test]
fn weights_are_obeyed() {
    let [(one, _), (two, _)] = ["one", "two"].map(|name| well(name, name, None));
    let edge = balancer(Policy::Weighted, &[(&one, 1), (&two, 3)]);
    // Past its slow start an endpoint gets exactly its share.
    let answered = |it: &serde_json::Value| 5 <= it["requests"].as_u64().unwrap();
    edge.ask_until("GET /x", "one", answered);
    let until = net::clock::now() + PATIENCE;
    loop {
        let answers = ask(&edge, 40);
        let shares = shares(&answers);
        if (shares.get("one"), shares.get("two")) == (Some(&10), Some(&30)) {
            break;
        }
        assert!(net::clock::now() < until, "{shares:?}");
    }
    assert!(edge.plan.set_weight("one", NonZeroU32::new(3).unwrap()));
    assert!(!edge.plan.set_weight("nobody", NonZeroU32::MIN));
    edge.ask_until("GET /x", "one", |it| it["weight"] == 3);
    let answers = ask(&edge, 40);
    assert_eq!(shares(&answers)["one"], 20);
    edge.drain();
}

#[test]
fn least_load_goes_by_what_endpoints_report() {
    let (slow, _) = well("slow", "slow", busy(0, 50_000));
    let (fast, _) = well("fast", "fast", busy(0, 1_000));
    let edge = balancer(Policy::LeastLoad, &[(&slow, 1), (&fast, 1)]);
    for name in ["slow", "fast"] {
        edge.ask_until("GET /x", name, |it| it["reported"]["latency_us"] != 0);
    }
    let answers = ask(&edge, 100);
    let shares = shares(&answers);
    let statuses = ["slow", "fast"].map(|name| edge.endpoint_status(name));
    assert!(Some(&90) <= shares.get("fast"), "{shares:?} {statuses:?}");
    edge.drain();
}

#[test]
fn who_says_that_it_drains_gets_nothing() {
    let report = LoadReport { draining: true, ..LoadReport::default() };
    let (leaving, _) = well("leaving", "leaving", Some(report));
    let (staying, _) = well("staying", "staying", busy(9, 9_000));
    let endpoints = [&leaving, &staying].map(|it| EndpointConfig::trunk(&it.endpoint)).to_vec();
    let edge = Balancer::with("edge", endpoints, Policy::RoundRobin, PATIENCE);
    edge.ask_until("GET /x", "leaving", |it| it["state"] == "draining");
    let answers = ask(&edge, 20);
    assert_eq!(shares(&answers), [("staying", 20)].into());
    edge.drain();
}

#[test]
fn a_breaker_trips_and_probes_back() {
    let (ill, status) = well("ill", "ill", None);
    let (fit, _) = well("fit", "fit", None);
    let edge = balancer(Policy::RoundRobin, &[(&ill, 1), (&fit, 1)]);
    status.store(500, Relaxed);
    edge.ask_until("GET /x", "ill", |it| it["breaker"] == "tripped");
    // It rests at least half a second; of the probes that follow each fails.
    let failed = ask(&edge, 20).iter().filter(|it| it.status != 200).count();
    assert!(failed <= 3, "{failed}");
    status.store(200, Relaxed);
    edge.ask_until("GET /x", "ill", |it| it["breaker"] == "passing");
    let ill_status = edge.endpoint_status("ill");
    assert!(1 <= ill_status["trips"].as_u64().unwrap(), "{ill_status}");
    assert!(1 <= ill_status["probes"].as_u64().unwrap(), "{ill_status}");
    assert_eq!(edge.endpoint_status("fit")["trips"], 0);
    edge.drain();
}

#[test]
fn a_failure_behind_an_endpoint_trips_nobody() {
    let (relay, status) = well("relay", "a-1", None);
    let edge = balancer(Policy::LeastLoad, &[(&relay, 1)]);
    for code in [500, 503, 504] {
        status.store(code, Relaxed);
        (0..30).for_each(|_| assert_eq!(edge.ask("GET /x").status, code));
    }
    let status = edge.endpoint_status("relay");
    assert_eq!((&status["breaker"], &status["trips"]), (&"passing".into(), &0.into()));
    assert_eq!((&status["elsewhere"], &status["failed"]), (&90.into(), &0.into()));
    edge.drain();
}

#[test]
fn where_everybody_is_tripped_everybody_is_tried() {
    let (ill, status) = well("ill", "ill", None);
    let edge = balancer(Policy::LeastLoad, &[(&ill, 1)]);
    status.store(500, Relaxed);
    edge.ask_until("GET /x", "ill", |it| it["breaker"] == "tripped");
    assert_eq!(edge.ask("GET /x").status, 500);
    let status = crate::harness::ask(edge.admin, "GET /admin/status").body;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(1 <= status["panics"].as_u64().unwrap(), "{status}");
    edge.drain();
}

#[test]
fn endpoints_come_and_go_and_what_is_in_flight_is_finished() {
    let (arrivals, arrived) = mpsc::channel();
    let [first, second] = ["first", "second"].map(|name| Leaf::start(name, arrivals.clone()));
    let edge = Balancer::start("edge", std::slice::from_ref(&first.endpoint), PATIENCE);
    edge.ask_until("GET /x", "first", |it| it["state"] == "up");
    while arrived.try_recv().is_ok() {}
    let addr = edge.http.unwrap();
    let asking = thread::spawn(move || crate::harness::ask(addr, "GET /slow"));
    assert_eq!(arrived.recv_timeout(PATIENCE).unwrap().0, "first");
    edge.plan.set(vec![EndpointConfig::trunk(&second.endpoint)]);
    edge.ask_until("GET /x", "second", |it| it["state"] == "up");
    assert_eq!(asking.join().unwrap().body, "first");
    while arrived.try_recv().is_ok() {}
    (0..10).for_each(|_| assert_eq!(edge.ask("GET /x").status, 200));
    assert!(arrived.try_iter().all(|(name, _)| name == "second"));

    let both = [&first, &second].map(|it| EndpointConfig::trunk(&it.endpoint)).to_vec();
    edge.plan.set(both);
    edge.ask_until("GET /x", "first", |it| it["state"] == "up");
    assert!(edge.plan.set_drained("second", true));
    edge.ask_until("GET /x", "second", |it| it["state"] == "drained");
    while arrived.try_recv().is_ok() {}
    (0..10).for_each(|_| assert_eq!(edge.ask("GET /x").status, 200));
    assert!(arrived.try_iter().all(|(name, _)| name == "first"));
    assert!(edge.plan.set_drained("second", false));
    edge.ask_until("GET /x", "second", |it| it["state"] == "up");
    edge.drain();
}
