//! Many listen, and one asks.

use super::{super::looks, *};
use wire::query::Mark;

fn mark(seq: u64) -> Mark {
    Mark { seq: Seq(seq), items: 0 }
}

/// As many as this listen at the same place.
const LISTENERS: usize = 8;

/// What each of them hears to go on from.
async fn heard(service: Rc<Service>, from: Mark) -> Vec<Option<Mark>> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..LISTENERS {
        let service = Rc::clone(&service);
        drop(asking.spawn_local(async move {
            let look = looks::look(&service, PartitionId(0), from).await;
            match look.answer() {
                Some(Ok(Reply::Events { next, .. })) => Some(*next),
                Some(_) | None => None,
            }
        }));
    }
    asking.join_all().await
}

/// Says where it goes on to whoever asks the node next.
async fn release(node: &Node, seq: u64) {
    while node.unanswered.borrow().is_empty() {
        tokio::task::yield_now().await;
    }
    let mut body = Vec::new();
    Reply::Events { rows: Vec::new(), next: mark(seq) }.encode(&mut body);
    for reply in node.unanswered.take() {
        reply.send(ResponseRef::new(200, node.name, &body));
    }
}

#[test]
fn those_who_listen_at_one_place_share_a_question() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, _, _| None).await;
        let gateway = gateway(&[&node], AMPLE);
        let service = &gateway.desk.services[0];
        for asked in 1..=2 {
            let all = heard(Rc::clone(service), mark(1));
            let (answers, ()) = tokio::join!(all, release(&node, 3));
            assert_eq!((answers, node.seen.get()), (vec![Some(mark(3)); LISTENERS], asked));
        }
    });
}

#[test]
fn whoever_asks_for_all_may_leave() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, _, _| None).await;
        let gateway = gateway(&[&node], AMPLE);
        let service = &gateway.desk.services[0];
        let asks = |count| {
            let node = Rc::clone(&node);
            async move {
                while node.seen.get() < count {
                    tokio::task::yield_now().await;
                }
            }
        };
        let first = async {
            tokio::select! {
                _ = looks::look(service, PartitionId(0), mark(1)) => panic!("nobody answered"),
                () = asks(1) => (),
            }
            drop(node.unanswered.take());
        };
        let rest = heard(Rc::clone(service), mark(1));
        let answered = async {
            asks(2).await;
            release(&node, 3).await;
        };
        let ((), answers, ()) = tokio::join!(first, rest, answered);
        assert_eq!((answers, node.seen.get()), (vec![Some(mark(3)); LISTENERS], 2));
    });
}
