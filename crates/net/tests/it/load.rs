//! Load reports in band, and what a silent peer looks like.

use crate::harness::{Event, Node, Order, connected, link, request, run};
use net::trunk::call;
use std::sync::mpsc;
use tokio::sync::oneshot;
use wire::frame::LoadReport;

const REPORT: LoadReport =
    LoadReport { in_flight: 3, latency_us: 1_500, limit_permille: 250, draining: false };

#[test]
fn a_peer_is_told_the_load_at_once_and_again_while_nothing_is_asked() {
    run(async {
        let node = Node::start();
        let (first, mut events) = connected(&node).await;
        node.order(Order::Load(REPORT));
        for _ in 0..3 {
            assert_eq!(events.recv().await, Some(Event::Load(REPORT)));
        }
        // Who comes later is told as well.
        let (second, mut later) = link(node.addr, "key");
        assert_eq!(later.recv().await, Some(Event::Connected));
        assert_eq!(later.recv().await, Some(Event::Load(REPORT)));
        drop((first, second));
        node.kill();
    });
}

#[test]
fn reports_come_with_the_answers() {
    run(async {
        let node = Node::start();
        let (link, mut events) = connected(&node).await;
        node.order(Order::Load(REPORT));
        assert_eq!(events.recv().await, Some(Event::Load(REPORT)));
        let (mut asked, mut told) = (0_u32, 0_u32);
        while told < 10 {
            call(&link, &request("/", b"x")).await.unwrap();
            asked += 1;
            while let Ok(event) = events.try_recv() {
                assert_eq!(event, Event::Load(REPORT));
                told += 1;
            }
        }
        // Not with each of them.
        assert!(told * 2 < asked, "{told} of {asked}");
        node.kill();
    });
}

#[test]
fn a_draining_node_says_so_whatever_its_load() {
    run(async {
        let mut node = Node::start();
        let (link, mut events) = connected(&node).await;
        node.order(Order::Load(REPORT));
        assert_eq!(events.recv().await, Some(Event::Load(REPORT)));
        let held = call(&link, &request("/hold", b"x"));
        node.arrived.recv().await.unwrap();
        let (done, drained) = oneshot::channel();
        node.order(Order::Drain(done));
        let draining = LoadReport { draining: true, ..REPORT };
        while events.recv().await.unwrap() != Event::Load(draining) {}
        node.order(Order::Release);
        held.await.unwrap();
        drained.await.unwrap();
        node.kill();
    });
}

#[test]
fn a_silent_peer_misses_its_checks_before_it_is_lost() {
    run(async {
        let node = Node::start();
        let (_link, mut events) = connected(&node).await;
        let (wakes, until) = mpsc::channel();
        node.order(Order::Hang(until));
        assert_eq!(events.recv().await, Some(Event::MissedCheck));
        assert_eq!(events.recv().await, Some(Event::MissedCheck));
        while events.recv().await.unwrap() != Event::Disconnected {}
        drop(wakes);
        while events.recv().await.unwrap() != Event::Connected {}
        node.kill();
    });
}

#[test]
fn a_node_out_of_rotation_says_so_at_once_and_serves_what_comes_all_the_same() {
    run(async {
        let node = Node::start();
        let (link, mut events) = connected(&node).await;
        node.order(Order::Load(REPORT));
        assert_eq!(events.recv().await, Some(Event::Load(REPORT)));
        let draining = LoadReport { draining: true, ..REPORT };
        for (on, report) in [(true, draining), (false, REPORT)] {
            node.order(Order::Retire(on));
            while events.recv().await.unwrap() != Event::Load(report) {}
            assert_eq!(call(&link, &request("/", b"x")).await.unwrap().response().status, 200);
        }
        // Nobody had to connect anew.
        let mut connections = 0;
        while let Ok(event) = events.try_recv() {
            connections += u32::from(event == Event::Connected);
        }
        assert_eq!(connections, 0);
        node.kill();
    });
}

#[test]
fn who_is_turned_away_finishes_and_returns_once_it_may() {
    run(async {
        let mut node = Node::start();
        let (link, mut events) = connected(&node).await;
        let held = call(&link, &request("/hold", b"x"));
        node.arrived.recv().await.unwrap();
        node.order(Order::TurnAway(true));
        assert_eq!(events.recv().await, Some(Event::Draining));
        node.order(Order::Release);
        assert_eq!(held.await.unwrap().response().status, 200);
        node.order(Order::TurnAway(false));
        // It may have been turned away once more in between.
        while !link.is_connected() || call(&link, &request("/", b"x")).await.is_err() {
            events.recv().await.unwrap();
        }
        node.kill();
    });
}
