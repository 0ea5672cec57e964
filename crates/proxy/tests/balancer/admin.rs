//! What a balancer tells about itself.

use crate::harness::{Balancer, Leaf, PATIENCE, ask};
use std::sync::mpsc;

#[test]
fn the_admin_address_tells_readiness_and_counts() {
    let (arrivals, _arrived) = mpsc::channel();
    let leaf = Leaf::start("leaf", arrivals);
    let edge = Balancer::start("edge", std::slice::from_ref(&leaf.endpoint), PATIENCE);
    assert_eq!(edge.ask("GET /x").status, 200);
    assert_eq!(ask(edge.admin, "GET /healthz").status, 200);
    assert_eq!(ask(edge.admin, "GET /readyz").status, 200);
    let metrics = ask(edge.admin, "GET /metrics").body;
    assert!(metrics.contains("\nbalancer_requests_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nbalancer_endpoint_up{endpoint=\"leaf\"} 1\n"), "{metrics}");
    let status = ask(edge.admin, "GET /admin/status").body;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["endpoints"][0]["name"], "leaf");
    assert_eq!(ask(edge.admin, "GET /nothing").status, 404);
    assert_eq!(ask(edge.admin, "POST /metrics").status, 405);
    leaf.kill();
    let answer = edge.ask("GET /x");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert_eq!(ask(edge.admin, "GET /readyz").status, 503);
    edge.drain();
}
