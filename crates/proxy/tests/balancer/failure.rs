//! Endpoints that go, at the worst moment.

use crate::harness::{Answer, Balancer, Leaf, PATIENCE, ask};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

fn asking(addr: SocketAddr, request: &'static str) -> thread::JoinHandle<Answer> {
    thread::spawn(move || ask(addr, request))
}

/// Two leaves, the front to ask, and what is to be kept alive.
struct Tree {
    leaves: Vec<Leaf>,
    layers: Vec<Balancer>,
    arrived: mpsc::Receiver<(&'static str, u8)>,
}

impl Tree {
    /// `layers` balancers on top of each other over two leaves.
    fn new(layers: usize, deadline: Duration) -> Tree {
        let (arrivals, arrived) = mpsc::channel();
        let leaves: Vec<_> =
            ["leaf-1", "leaf-2"].map(|name| Leaf::start(name, arrivals.clone())).into();
        let mut endpoints: Vec<_> = leaves.iter().map(|leaf| leaf.endpoint.clone()).collect();
        let mut tree = Tree { leaves, layers: Vec::new(), arrived };
        for name in ["inner", "edge"].into_iter().take(layers) {
            let balancer = Balancer::start(name, &endpoints, deadline);
            endpoints = vec![balancer.endpoint()];
            tree.layers.push(balancer);
        }
        // Both leaves are asked until each has answered: then both are connected.
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2 {
            // With a short deadline the first may be refused, before anybody is connected.
            if ask(tree.front(), "GET /x").status == 200 {
                seen.insert(tree.arrived.recv().unwrap().0);
            }
        }
        tree
    }

    fn front(&self) -> SocketAddr {
        self.layers.last().unwrap().http.unwrap()
    }

    fn kill(&mut self, name: &str) {
        let at = self.leaves.iter().position(|leaf| &*leaf.endpoint.name == name).unwrap();
        self.leaves.swap_remove(at).kill();
    }

    /// Asks something that the first leaf holds, kills that one, and returns the answer.
    fn ask_and_kill(&mut self, request: &'static str) -> Answer {
        let asking = asking(self.front(), request);
        let (first, attempt) = self.arrived.recv_timeout(PATIENCE).unwrap();
        assert_eq!(attempt, 0);
        self.kill(first);
        asking.join().unwrap()
    }
}

#[test]
fn a_killed_endpoint_costs_a_keyed_request_nothing() {
    for layers in [1, 2] {
        for method in ["POST", "PATCH", "GET"] {
            let mut tree = Tree::new(layers, PATIENCE);
            let request = ["POST /hold-first", "PATCH /hold-first", "GET /hold-first"];
            let request = request.into_iter().find(|it| it.starts_with(method)).unwrap();
            let answer = tree.ask_and_kill(request);
            assert_eq!(answer.status, 200, "{method} over {layers}: {answer:?}");
            assert!(answer.body.contains("attempt=1"), "{answer:?}");
            assert_eq!(tree.arrived.recv_timeout(PATIENCE).unwrap().1, 1);
        }
    }
}

#[test]
fn after_an_unknown_outcome_a_refusal_is_not_passed_on() {
    for layers in [1, 2] {
        let mut tree = Tree::new(layers, PATIENCE);
        let answer = tree.ask_and_kill("POST /hold-then-503");
        assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"));
        let mut tree = Tree::new(layers, PATIENCE);
        assert_eq!(tree.ask_and_kill("GET /hold-then-503").status, 503);
    }
}

#[test]
fn what_has_no_key_and_is_no_read_is_not_repeated() {
    for layers in [1, 2] {
        let mut tree = Tree::new(layers, PATIENCE);
        let answer = tree.ask_and_kill("DELETE /hold-first");
        assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"));
        assert!(tree.arrived.try_recv().is_err());
    }
}

#[test]
fn the_second_attempt_waits_for_an_endpoint_to_come_back() {
    for layers in [1, 2] {
        let mut tree = Tree::new(layers, PATIENCE);
        let asking = asking(tree.front(), "POST /hold-first");
        let (first, _) = tree.arrived.recv_timeout(PATIENCE).unwrap();
        let idle = if first == "leaf-1" { "leaf-2" } else { "leaf-1" };
        tree.kill(idle);
        let at = tree.leaves[0].endpoint.addr;
        tree.kill(first);
        let (arrivals, arrived) = mpsc::channel();
        let back = Leaf::start_at(first, at, arrivals);
        assert_eq!(asking.join().unwrap().status, 200, "over {layers}");
        assert_eq!(arrived.recv().unwrap(), (first, 1));
        back.kill();
    }
}

#[test]
fn nobody_there_is_a_definite_refusal() {
    for layers in [1, 2] {
        let mut tree = Tree::new(layers, PATIENCE);
        for leaf in ["leaf-1", "leaf-2"] {
            tree.kill(leaf);
            // What is sent before its death is known may have been executed: that is no refusal.
            tree.layers[0].ask_until("GET /x", leaf, |it| it["state"] != "up");
        }
        let answer = ask(tree.front(), "POST /x");
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.header("idempotency-key").is_empty());
    }
}

#[test]
fn a_passed_deadline_is_an_unknown_outcome() {
    for layers in [1, 2] {
        let tree = Tree::new(layers, Duration::from_millis(100));
        let answer = ask(tree.front(), "POST /hold");
        assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"));
        assert!(!answer.header("idempotency-key").is_empty());
    }
}

/// Clients that never stop asking notice nothing when one of two inner balancers drains.
#[test]
fn a_drain_of_one_of_two_balancers_loses_nothing() {
    let leaf = Leaf::start("leaf", mpsc::channel().0);
    let layers = ["layer-1", "layer-2"]
        .map(|name| Balancer::start(name, std::slice::from_ref(&leaf.endpoint), PATIENCE));
    let edge = Balancer::start("edge", &layers.each_ref().map(Balancer::endpoint), PATIENCE);
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, counted) = mpsc::channel();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, addr, asked) = (Arc::clone(&stop), edge.http.unwrap(), asked.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(addr, "DELETE /x");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    // Nobody counts any more at the end.
                    _ = asked.send(());
                }
            })
        })
        .collect();
    let some = || (0..200).for_each(|_| counted.recv_timeout(PATIENCE).unwrap());
    some();
    let [first, second] = layers;
    first.drain();
    some();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    edge.drain();
    second.drain();
    leaf.kill();
}
