//! What a request and its answer look like after the way through the tree.

use crate::harness::{Balancer, Leaf, PATIENCE};
use std::sync::mpsc;

fn tree() -> (Balancer, Balancer, Leaf) {
    let leaf = Leaf::start("leaf", mpsc::channel().0);
    let layer = Balancer::start("layer", std::slice::from_ref(&leaf.endpoint), PATIENCE);
    let edge = Balancer::start("edge", &[layer.endpoint()], PATIENCE);
    (edge, layer, leaf)
}

#[test]
fn a_write_without_id_and_key_gets_both() {
    let (edge, layer, leaf) = tree();
    let answer = edge
        .ask("POST /v1/a/accounts?x=1\nx-two: b\nx-two: c\nconnection: x-hop\nx-hop: 1\nte: x\n");
    assert_eq!(answer.status, 200);
    let (id, key) = (answer.header("x-request-id"), answer.header("idempotency-key"));
    assert!(id.starts_with("req_") && id.len() == 30, "{id}");
    assert!(key.starts_with("tgk_") && key.len() == 30, "{key}");
    assert_eq!(
        answer.body,
        format!(
            "leaf POST /v1/a/accounts?x=1 attempt=0 key={key} minted=true trace=\n\
             host: a\nx-two: b\nx-two: c\nx-request-id: {id}\nx-forwarded-for: 127.0.0.1\n"
        )
    );
    drop((edge, layer, leaf));
}

#[test]
fn what_the_client_chose_is_kept_if_it_may() {
    let (edge, layer, leaf) = tree();
    let answer = edge.ask(
        "PATCH /x\nX-Request-Id: mine\nIdempotency-Key: order 17\ntraceparent: 00-a-b-01\n\
         X-Forwarded-For: 10.0.0.1\n",
    );
    assert_eq!(answer.header("x-request-id"), "mine");
    assert_eq!(answer.header("idempotency-key"), "order 17");
    assert!(answer.body.contains("key=order 17 minted=false trace=00-a-b-01\n"), "{answer:?}");
    assert!(answer.body.contains("x-request-id: mine\nx-forwarded-for: 10.0.0.1, 127.0.0.1\n"));

    let answer = edge.ask(&format!("GET /x\nX-Request-Id: {}\n", "x".repeat(65)));
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert_eq!(answer.header("idempotency-key"), "");
    drop((edge, layer, leaf));
}

#[test]
fn a_bad_key_is_refused_by_name() {
    let (edge, layer, leaf) = tree();
    let long = "k".repeat(256);
    for key in ["\u{e9}", "", long.as_str(), "a\nIdempotency-Key: b"] {
        let answer = edge.ask(&format!("POST /x\nIdempotency-Key: {key}\n"));
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{key:?}");
        assert!(answer.body.contains("\"field\": \"Idempotency-Key\""), "{answer:?}");
        assert!(!answer.header("x-request-id").is_empty());
    }
    drop((edge, layer, leaf));
}

#[test]
fn a_refusal_of_the_edge_is_a_problem_too() {
    let (edge, layer, leaf) = tree();
    let answer = edge.ask(&format!("POST /{}\nX-Request-Id: mine\n", "x".repeat(9_000)));
    assert_eq!((answer.status, answer.code().as_str()), (414, "uri_too_long"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("x-request-id"), "mine");
    drop((edge, layer, leaf));
}
