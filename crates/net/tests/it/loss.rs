//! Connections that break.

use crate::harness::{Event, Node, connected, identity, link, request, run};
use net::trunk::{Loss, call};

#[test]
fn a_killed_server_loses_what_was_in_flight_and_is_found_again() {
    run(async {
        let mut node = Node::start();
        let (link, mut events) = connected(&node).await;
        let calls: Vec<_> = (0..50).map(|_| call(&link, &request("/hold", b"x"))).collect();
        for _ in 0..50 {
            node.arrived.recv().await.unwrap();
        }
        let addr = node.addr;
        node.kill();
        for call in calls {
            let loss = call.await.unwrap_err();
            assert_eq!(loss, Loss::ConnectionLost);
            assert!(!loss.is_unsent());
        }
        assert_eq!(events.recv().await, Some(Event::Disconnected));
        let node = Node::start_at(addr, identity("echo", "key"));
        while events.recv().await.unwrap() != Event::Connected {}
        call(&link, &request("/", b"")).await.unwrap();
        node.kill();
    });
}

#[test]
fn without_a_connection_nothing_is_sent() {
    run(async {
        let node = Node::start();
        let addr = node.addr;
        node.kill();
        let (link, mut events) = link(addr, "key");
        assert_eq!(call(&link, &request("/", b"")).await.unwrap_err(), Loss::NotConnected);
        assert!(matches!(events.recv().await, Some(Event::Unreachable(_))));
        assert!(!link.is_connected());
    });
}

#[test]
fn a_closed_link_waits_for_its_answers_and_never_returns() {
    run(async {
        let node = Node::start();
        let (link, _events) = connected(&node).await;
        let last = call(&link, &request("/", b"last"));
        link.close();
        assert_eq!(call(&link, &request("/", b"")).await.unwrap_err(), Loss::NotConnected);
        assert_eq!(last.await.unwrap().body(), "last");
        assert!(!link.is_connected());
        node.kill();
    });
}
