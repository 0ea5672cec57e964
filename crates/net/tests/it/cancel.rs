//! Requests that are given up.

use crate::{
    harness::{Event, link_of, request},
    local::{Pair, pattern},
};
use bytes::Bytes;
use net::trunk::{Loss, Pending, Tag, Ticket, call, open_stream};
use std::{cell::Cell, rc::Rc};
use tokio::task::{spawn_local, yield_now};
use wire::frame::ResponseRef;

#[test]
fn a_dropped_call_is_told_to_whoever_answers() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (first, second) = (call(&pair.link, &request("/", b"1")), request("/", b"2"));
        let (reply, _) = pair.request().await;
        assert!(reply.is_wanted());
        drop(first);
        reply.cancelled().await;
        assert!(!reply.is_wanted());
        // The slot is kept until the server is through with it, and the late answer meets nobody.
        assert_eq!(pair.link.in_flight(), 1);
        let answer = call(&pair.link, &second);
        let (other, _) = pair.request().await;
        assert!(other.is_wanted());
        reply.send(ResponseRef::new(200, "echo", b"late"));
        other.send(ResponseRef::new(200, "echo", b"second"));
        assert_eq!(answer.await.unwrap().body(), "second");
        pair.settled().await;
    });
}

#[test]
fn an_answer_that_crosses_its_cancellation_frees_the_slot_once() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        for round in 0_u32..200 {
            let doomed = call(&pair.link, &request("/", b"doomed"));
            let (reply, _) = pair.request().await;
            reply.send(ResponseRef::new(200, "echo", b"doomed"));
            // Before it can have been read.
            drop(doomed);
            let body = round.to_le_bytes();
            let answer = call(&pair.link, &request("/", &body));
            let (reply, got) = pair.request().await;
            reply.send(ResponseRef::new(200, "echo", &got));
            assert_eq!(answer.await.unwrap().body(), &body[..]);
        }
        pair.settled().await;
    });
}

#[test]
fn a_deadline_is_told_as_well() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let mut late = request("/", b"");
        late.deadline_ms = 1;
        let answer = call(&pair.link, &late);
        let (reply, _) = pair.request().await;
        assert_eq!(answer.await.unwrap_err(), Loss::DeadlinePassed);
        reply.cancelled().await;
        drop(reply);
        pair.settled().await;
    });
}

#[test]
fn a_lost_connection_gives_up_what_came_on_it() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let answer = call(&pair.link, &request("/", b""));
        let (reply, _) = pair.request().await;
        pair.link.close();
        assert!(reply.is_wanted(), "a closed link waits for its answers");
        pair.server.drain(std::time::Duration::ZERO).await;
        reply.cancelled().await;
        assert_eq!(answer.await.unwrap_err(), Loss::ConnectionLost);
    });
}

#[test]
fn a_stream_that_is_dropped_is_given_up_in_both_directions() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        // Its writer.
        let (mut up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (mut reader, reply, _) = pair.stream().await;
        up.send(Bytes::from("part")).await.unwrap();
        drop(up);
        assert_eq!(exchange.answer().await.unwrap_err(), Loss::Reset);
        assert_eq!(reader.next().await.unwrap(), Err(Loss::Reset));
        reply.cancelled().await;
        drop(reply);

        // The future of its answer.
        let (mut up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (mut reader, reply, _) = pair.stream().await;
        drop(exchange);
        assert_eq!(reader.next().await.unwrap(), Err(Loss::Reset));
        assert_eq!(up.closed().await, Loss::Reset);
        assert_eq!(up.send(Bytes::from("x")).await, Err(Loss::Reset));
        drop(reply);

        // The reader of its answer, in the middle of megabytes.
        let (up, exchange) = open_stream(&pair.link, &request("/", b"")).unwrap();
        let (_, reply, _) = pair.stream().await;
        let mut down = reply.begin(ResponseRef::new(200, "echo", b"")).unwrap();
        let writing = spawn_local(async move { down.send(pattern(1 << 22).into()).await });
        let (_, body) = exchange.answer().await.unwrap();
        let mut body = body.unwrap();
        body.next().await.unwrap().unwrap();
        drop(body);
        assert_eq!(writing.await.unwrap(), Err(Loss::Reset));
        drop(up);
        pair.settled().await;
    });
}

#[test]
fn a_call_is_given_up_while_its_long_answer_comes_in() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let answer = call(&pair.link, &request("/", b""));
        let (reply, _) = pair.request().await;
        let mut down = reply.begin(ResponseRef::new(200, "echo", b"")).unwrap();
        down.send(Bytes::from("part")).await.unwrap();
        for _ in 0..10 {
            yield_now().await;
        }
        drop(answer);
        assert_eq!(down.closed().await, Loss::Reset);
        drop(down);
        pair.settled().await;
    });
}

/// Whoever passes requests on without a task says what it passed them on as.
#[test]
fn a_handler_without_tasks_hears_by_tag() {
    crate::harness::run(async {
        let mut pair = Pair::start().await;
        let (link, ticket) = (pair.link.clone(), Rc::<Cell<Option<Ticket>>>::default());
        let first = call(&link, &request("/", b"first"));
        let (reply, _) = pair.request().await;
        let lost = Rc::<Cell<Option<Loss>>>::default();
        let onward = Onward { ticket: Rc::clone(&ticket), lost: Rc::clone(&lost) };
        let (relays, mut connected) = link_of::<Onward>(pair.addr, "key");
        assert_eq!(connected.recv().await, Some(Event::Connected));
        relays.send(&request("/", b"onward"), onward).unwrap();
        let (behind, _) = pair.request().await;
        let tag = Tag { way: 7, ticket: ticket.get().unwrap() };
        reply.on_cancel(tag);
        drop(first);
        while pair.desk.cancelled.borrow().is_empty() {
            yield_now().await;
        }
        assert_eq!(pair.desk.cancelled.take(), [tag]);
        relays.cancel(tag.ticket);
        assert_eq!(lost.get(), Some(Loss::Reset));
        relays.cancel(tag.ticket);
        behind.cancelled().await;
        drop((reply, behind));
        while relays.in_flight() != 0 {
            yield_now().await;
        }
        pair.settled().await;
    });
}

#[derive(Debug)]
struct Onward {
    ticket: Rc<Cell<Option<Ticket>>>,
    lost: Rc<Cell<Option<Loss>>>,
}

impl Pending for Onward {
    fn sent(&self, ticket: Ticket) {
        self.ticket.set(Some(ticket));
    }

    fn answered(self, _: ResponseRef<'_>) {
        panic!("nobody answers");
    }

    fn lost(self, loss: Loss) {
        assert_eq!(self.lost.replace(Some(loss)), None);
    }
}
