//! Requests that are answered.

use crate::harness::{Event, Node, Order, connected, request, run};
use net::trunk::{Loss, STATUS_DROPPED, call};
use std::cell::Cell;
use tokio::{sync::oneshot, task::spawn_local};
use wire::{
    Epoch, PartitionId,
    frame::{HeaderList, Target, limits::IN_FLIGHT_MAX},
};

#[test]
fn an_echo_brings_back_headers_and_body() {
    run(async {
        let node = Node::start();
        let (link, _events) = connected(&node).await;
        let mut headers = HeaderList::new();
        headers.push("x-one", b"1").unwrap();
        let mut request = request("/", b"hello");
        request.target = Target::Http { method: "POST", path: "/", headers: headers.as_ref() };
        let answer = call(&link, &request).await.unwrap();
        let response = answer.response();
        assert_eq!(
            (response.status, response.decided_by, response.body),
            (200, "echo", &b"hello"[..])
        );
        assert_eq!(response.headers, headers.as_ref());
        assert_eq!(answer.body(), "hello");
        assert_eq!(link.in_flight(), 0);
        node.kill();
    });
}

#[test]
fn ten_thousand_at_once_on_one_connection() {
    run(async {
        let node = Node::start();
        let (link, _events) = connected(&node).await;
        let bodies: Vec<_> = (0..10_000).map(|at| format!("body {at}")).collect();
        // All are sent before the first is awaited.
        let calls: Vec<_> =
            bodies.iter().map(|body| call(&link, &request("/", body.as_bytes()))).collect();
        assert_eq!(link.in_flight(), 10_000);
        for (call, body) in calls.into_iter().zip(&bodies) {
            assert_eq!(call.await.unwrap().body(), body.as_bytes());
        }
        node.kill();
    });
}

#[test]
fn a_full_connection_refuses_and_recovers() {
    run(async {
        let mut node = Node::start();
        let (link, _events) = connected(&node).await;
        let held: Vec<_> =
            (0..IN_FLIGHT_MAX).map(|_| call(&link, &request("/hold", b""))).collect();
        let refused = call(&link, &request("/", b"")).await.unwrap_err();
        assert_eq!(refused, Loss::Full);
        assert!(refused.is_unsent());
        for _ in 0..IN_FLIGHT_MAX {
            node.arrived.recv().await.unwrap();
        }
        node.order(Order::Release);
        for call in held {
            call.await.unwrap();
        }
        assert!(call(&link, &request("/", b"")).await.is_ok());
        node.kill();
    });
}

#[test]
fn a_mebibyte_goes_both_ways_among_small_ones() {
    run(async {
        let node = Node::start();
        let (link, _events) = connected(&node).await;
        let large: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
        let calls: Vec<_> = (0..8)
            .flat_map(|_| {
                [call(&link, &request("/", &large)), call(&link, &request("/", b"small"))]
            })
            .collect();
        for (at, call) in calls.into_iter().enumerate() {
            let wanted = if at % 2 == 0 { &large[..] } else { b"small" };
            assert!(call.await.unwrap().body() == wanted, "call {at}");
        }
        node.kill();
    });
}

#[test]
fn an_answer_that_is_never_given_is_a_failure_and_not_a_wait() {
    run(async {
        let node = Node::start();
        let (link, _events) = connected(&node).await;
        let answer = call(&link, &request("/drop", b"x")).await.unwrap();
        assert_eq!((answer.response().status, answer.body().len()), (STATUS_DROPPED, 0));
        node.kill();
    });
}

#[test]
fn a_call_that_is_dropped_leaves_nothing_behind() {
    run(async {
        let mut node = Node::start();
        let (link, _events) = connected(&node).await;
        drop(call(&link, &request("/hold", b"")));
        assert_eq!(link.in_flight(), 1);
        node.arrived.recv().await.unwrap();
        node.order(Order::Release);
        // Answers keep their order, so the dropped one's slot is free by then.
        call(&link, &request("/", b"")).await.unwrap();
        call(&link, &request("/", b"")).await.unwrap();
        assert_eq!(link.in_flight(), 0);
        node.kill();
    });
}

#[test]
fn a_deadline_ends_the_wait_and_a_late_answer_harms_nobody() {
    run(async {
        let mut node = Node::start();
        let (link, _events) = connected(&node).await;
        let mut late = request("/hold", b"");
        late.deadline_ms = 1;
        assert_eq!(call(&link, &late).await.unwrap_err(), Loss::DeadlinePassed);
        assert_eq!(link.in_flight(), 1);
        node.arrived.recv().await.unwrap();
        node.order(Order::Release);
        while link.in_flight() != 0 {
            call(&link, &request("/", b"")).await.unwrap();
        }
        node.kill();
    });
}

#[test]
fn a_drain_loses_nothing_and_a_successor_is_found() {
    run(async {
        let mut node = Node::start();
        let (link, mut events) = connected(&node).await;
        let answered = std::rc::Rc::new(Cell::new(0));
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (call, answered) = (call(&link, &request("/hold", b"x")), answered.clone());
                spawn_local(async move {
                    call.await.unwrap();
                    answered.set(answered.get() + 1);
                })
            })
            .collect();
        for _ in 0..100 {
            node.arrived.recv().await.unwrap();
        }
        let (done, drained) = oneshot::channel();
        node.order(Order::Drain(done));
        assert_eq!(events.recv().await, Some(Event::Draining));
        assert_eq!(call(&link, &request("/", b"")).await.unwrap_err(), Loss::NotConnected);
        assert_eq!(answered.get(), 0);
        node.order(Order::Release);
        for call in calls {
            call.await.unwrap();
        }
        drained.await.unwrap();
        let addr = node.addr;
        node.kill();

        let node = Node::start_at(addr, crate::harness::identity("echo", "key"));
        while events.recv().await.unwrap() != Event::Connected {}
        call(&link, &request("/", b"")).await.unwrap();
        node.kill();
    });
}

#[test]
fn owner_maps_are_told_to_present_and_new_peers() {
    run(async {
        let node = Node::start();
        let (_link, mut events) = connected(&node).await;
        let owners = vec![(PartitionId(3), Epoch(7)), (PartitionId(4), Epoch(1 << 40))];
        node.order(Order::Own(owners.clone()));
        assert_eq!(events.recv().await, Some(Event::Owners(owners.clone())));
        let (_other, mut events) = connected(&node).await;
        assert_eq!(events.recv().await, Some(Event::Owners(owners)));
        node.kill();
    });
}
