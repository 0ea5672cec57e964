//! Requests that find no room wait for it.

use super::*;

const READ: &str = "GET /v1/a/accounts/alice HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    authorization: Bearer secret\r\n\r\n";

/// Answers what the node was asked and said nothing to.
fn release(node: &Node) {
    let mut body = Vec::new();
    Reply::Account(account("alice", 1)).encode(&mut body);
    for reply in node.unanswered.take() {
        reply.send(ResponseRef::new(200, node.name, &body));
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_request_beyond_the_limit_waits_and_is_served() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, _, _| None).await;
        let one = LimitSettings { min: 1, initial: 1, max: 1 };
        let gateway = limited(&[&node], AMPLE, one);
        let board = Arc::clone(&gateway.board);
        let addr = served(gateway).await;
        let mut refused = 0;
        loop {
            let first = spawn_local(http(addr, READ.to_owned()));
            until(|| node.unanswered.borrow().len() == 1).await;
            let second = spawn_local(http(addr, READ.to_owned()));
            until(|| board.line.waiting.get() == 1).await;
            assert_eq!(node.unanswered.borrow().len(), 1, "there is room for one");
            release(&node);
            until(|| !node.unanswered.borrow().is_empty() || second.is_finished()).await;
            release(&node);
            let [first, second] = [first.await.unwrap().0, second.await.unwrap().0];
            assert!(first.starts_with("http/1.1 200"), "{first}");
            assert_eq!((board.line.waiting.get(), board.shed.get()), (0, refused));
            if second.starts_with("http/1.1 200") {
                break;
            }
            // Where nothing runs for a tenth of a second it waits in vain.
            assert!(second.starts_with("http/1.1 503"), "{second}");
            refused += 1;
        }
        assert_eq!(board.line.let_in.get(), 1);
    });
}
