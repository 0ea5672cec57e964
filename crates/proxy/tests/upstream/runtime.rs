//! Endpoints that come, go, are drained and re-weighted while requests are under way.

use crate::{
    harness::{Balancer, Client, PATIENCE, rates, until},
    peer::{Peer, ok},
};
use balance::Policy;
use proxy::upstream::config::{HttpServiceConfig, Protocol};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

fn named(name: &'static str) -> Peer {
    Peer::answering(move |_, _| ok(name))
}

/// Who answers the next twenty requests.
fn who(balancer: &Balancer) -> Vec<String> {
    let mut client = Client::connect(balancer.http);
    let mut names: Vec<_> =
        (0..20).map(|_| client.ask("GET", "/", &[], "").text().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn endpoints_change_under_load_and_nothing_fails() {
    let peers = ["a", "b", "c"].map(named);
    let [a, b, c] = [0, 1, 2].map(|at| peers[at].addr);
    let balancer = Balancer::before(&[a, b]);
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, asked, http) = (Arc::clone(&over), Arc::clone(&asked), balancer.http);
            thread::spawn(move || {
                let mut client = Client::connect(http);
                while !over.load(SeqCst) {
                    let answer = client.ask("POST", "/", &[], "not to be repeated");
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    asked.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let service = &balancer.service;
    for (addrs, names) in
        [(vec![a, b, c], vec!["a", "b", "c"]), (vec![c], vec!["c"]), (vec![a, b], vec!["a", "b"])]
    {
        service.set(rates(&addrs));
        until("the list is followed", || who(&balancer) == names);
        let so_far = asked.load(SeqCst);
        until("more is asked", || so_far + 50 < asked.load(SeqCst));
    }
    assert!(service.set_drained(&a.to_string(), true));
    until("a is left alone", || who(&balancer) == ["b"]);
    assert!(service.endpoints()[0].drained);
    assert!(service.set_drained(&a.to_string(), false));
    until("a is back", || who(&balancer) == ["a", "b"]);
    assert!(!service.set_drained("nobody:1", true));
    over.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(service.totals().failed + service.totals().unsent, 0);
    balancer.drain();
}

#[test]
fn what_an_endpoint_has_it_finishes_when_it_is_taken_out() {
    let (asked, was_asked) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let slow = Peer::answering(move |_, _| {
        asked.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
        ok("slow")
    });
    let other = named("other");
    let balancer = Balancer::before(&[slow.addr]);
    let mut client = Client::connect(balancer.http);
    client.say(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n");
    was_asked.recv_timeout(PATIENCE).unwrap();
    balancer.service.set(rates(&[other.addr]));
    until("the other is asked", || who(&balancer) == ["other"]);
    go.send(()).unwrap();
    assert_eq!(client.answer(false).unwrap().text(), "slow");
}

#[test]
fn weights_are_obeyed_and_change() {
    let peers = ["a", "b"].map(named);
    let addrs: Vec<SocketAddr> = peers.iter().map(|it| it.addr).collect();
    let config = HttpServiceConfig { policy: Policy::Weighted, ..rates(&addrs) };
    let balancer = Balancer::start(config, PATIENCE, PATIENCE);
    let share = || {
        let mut client = Client::connect(balancer.http);
        (0..40).filter(|_| client.ask("GET", "/", &[], "").text() == "a").count()
    };
    until("both are past their slow start", || (18..=22).contains(&share()));
    assert!(balancer.service.set_weight(&addrs[0].to_string(), NonZeroU32::new(3).unwrap()));
    until("three of four", || (29..=31).contains(&share()));
}

#[test]
fn another_protocol_takes_other_connections() {
    let peer = named("a");
    let balancer = Balancer::before(&[peer.addr]);
    assert_eq!(who(&balancer), ["a"]);
    let config = HttpServiceConfig { protocol: Protocol::Http2, ..rates(&[peer.addr]) };
    balancer.service.set(config);
    until("it is no HTTP/2", || balancer.get("/").status() != 200);
    balancer.service.set(rates(&[peer.addr]));
    until("it is HTTP/1.1", || balancer.get("/").status() == 200);
}
