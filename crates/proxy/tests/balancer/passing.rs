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
    let (first, headers) = answer.body.split_once('\n').expect("the leaf shows the headers");
    let head = format!("leaf POST /v1/a/accounts?x=1 attempt=0 key={key} minted=true trace=00-");
    assert!(first.starts_with(&head), "{first}");
    assert_eq!(
        headers,
        format!(
            "host: a\nx-two: b\nx-two: c\nvia: {}\nx-forwarded-for: 127.0.0.1\n\
             forwarded: for=127.0.0.1;proto=http\nx-forwarded-proto: http\n\
             x-forwarded-host: a\nx-request-id: {id}\n",
            answer.header("via")
        )
    );
    drop((edge, layer, leaf));
}

#[test]
fn what_the_client_chose_is_kept_if_it_may() {
    let (edge, layer, leaf) = tree();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = edge.ask(&format!(
        "PATCH /x\nX-Request-Id: mine\nIdempotency-Key: order 17\n\
         traceparent: 00-{trace}-00f067aa0ba902b7-01\nX-Forwarded-For: 10.0.0.1\n",
    ));
    assert_eq!(answer.header("x-request-id"), "mine");
    assert_eq!(answer.header("idempotency-key"), "order 17");
    let traced = format!("key=order 17 minted=false trace=00-{trace}-");
    assert!(answer.body.contains(&traced), "{answer:?}");
    // What a client that is not trusted says of whom it speaks for is not passed on.
    assert!(answer.body.contains("\nx-forwarded-for: 127.0.0.1\n"), "{answer:?}");
    assert!(answer.body.contains("\nx-request-id: mine\n"), "{answer:?}");

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
