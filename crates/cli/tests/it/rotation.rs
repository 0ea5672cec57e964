//! Nodes leave the rotation and return to it under load, and nobody outside notices.

use crate::{
    load::under_load,
    tree::{Admin, Tree},
};
use serde_json::json;

/// Enough for every client to have been all the way through the tree several times.
const SOME: usize = 120;

#[test]
fn every_balancer_and_gateway_leaves_and_returns_and_no_request_fails() {
    let tree = Tree::up("rotation");
    let sent = under_load(&tree, |load| {
        load.answers(SOME);
        for node in ["gateway-1", "layer2-2", "gateway-2", "layer2-1", "edge"] {
            assert!(tree.ok(&["node", node, "drain"]).contains("drained"), "{node}");
            assert_eq!(tree.state(node), "drained");
            let admin = tree.admin(node);
            assert_eq!(admin.get("/readyz").status, 503, "{node}");
            let before = admin.status()["relayed"].clone();
            let slowest = load.answers(SOME);
            println!("{node} is drained: slowest of {SOME} answers {slowest} ms");
            assert_eq!(admin.status()["relayed"], before, "{node} is out of rotation");
            assert!(tree.ok(&["node", node, "drain"]).contains("already"));

            assert!(tree.ok(&["node", node, "start"]).contains("ready"));
            assert_eq!(tree.state(node), "ready");
            assert_eq!(admin.get("/readyz").status, 200, "{node}");
            let returns = || node == "edge" || admin.status()["relayed"] != before;
            for _ in 0..100 {
                load.answers(SOME);
                if returns() {
                    break;
                }
            }
            assert!(returns(), "{node} gets requests again");
        }
    });
    println!("{sent} requests");
}

#[test]
fn nodes_stop_and_start_and_die_in_the_middle_of_a_drain() {
    let tree = Tree::up("restart");
    under_load(&tree, |load| {
        load.answers(SOME);
        for node in ["gateway-1", "layer2-1"] {
            assert!(tree.ok(&["node", node, "stop"]).contains("stopped"));
            load.answers(SOME);
            tree.ok(&["node", node, "start"]);
            load.answers(SOME);
        }
        // An account node hands its partitions over before it is out, and gets some back.
        assert!(tree.ok(&["node", "a-1", "drain"]).contains("drained"));
        let admin = tree.admin("a-1");
        let before = admin.status()["relayed"].clone();
        load.answers(SOME);
        assert_eq!(admin.status()["relayed"], before, "a-1 is out of rotation");
        tree.ok(&["node", "a-1", "start"]);
        load.answers(SOME);
        // What was drained stays so when it has to be started again, and ends like any other.
        tree.ok(&["node", "gateway-2", "drain"]);
        tree.kill("gateway-2");
        tree.until("gateway-2 is back and drained", |tree| tree.state("gateway-2") == "drained");
        load.answers(SOME);
        tree.ok(&["node", "gateway-2", "stop"]);
        tree.ok(&["node", "gateway-2", "start"]);
        assert_eq!(tree.state("gateway-2"), "ready");
        load.answers(SOME);
    });
    // With nobody left behind them the tiers above are not ready either, and say that they did
    // nothing; with one back they are.
    tree.ok(&["node", "gateway-1", "drain"]);
    tree.ok(&["node", "gateway-2", "drain"]);
    for node in ["layer2-1", "layer2-2", "edge"] {
        let admin = tree.admin(node);
        tree.until("nobody is behind it", |_| admin.get("/readyz").status == 503);
    }
    let refused = tree.client().get("/v1/a/accounts/load/balance").unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{refused:?}");
    tree.ok(&["node", "gateway-1", "start"]);
    let edge = tree.admin("edge");
    tree.until("somebody is behind it", |_| edge.get("/readyz").status == 200);
    assert_eq!(tree.client().get("/v1/a/accounts/load/balance").unwrap().status, 200);

    let paused = tree.run(&["node", "b-1", "pause"]);
    assert!(paused.status.success());
    assert_eq!(tree.run(&["node", "b-1", "drain"]).status.code(), Some(1));
    tree.ok(&["node", "b-1", "resume"]);
    tree.ok(&["node", "b-1", "kill"]);
    let down = tree.run(&["node", "b-1", "drain"]);
    assert_eq!(down.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&down.stderr).contains("not running"));
}

#[test]
fn endpoints_are_drained_and_weighted_by_post() {
    let tree = Tree::up("endpoints");
    let (edge, gateway) = (tree.admin("edge"), tree.admin("gateway-1"));
    under_load(&tree, |load| {
        load.answers(SOME);
        let asked = edge.post("/admin/endpoints/layer2-1", r#"{"state":"drain","weight":3}"#);
        assert_eq!(asked.status, 200);
        let told = asked.json();
        assert_eq!((&told["state"], &told["weight"]), (&json!("draining"), &json!(3)), "{told}");
        tree.until("it has nothing in flight", |_| edge.endpoint("layer2-1")["in_flight"] == 0);
        let requests = edge.endpoint("layer2-1")["requests"].clone();
        load.answers(SOME);
        assert_eq!(edge.endpoint("layer2-1")["requests"], requests);
        assert_eq!(edge.endpoint("layer2-2")["state"], "passing");
        assert!(edge.endpoint("layer2-2")["latency"]["p99_us"].as_u64().unwrap() > 0);
        assert!(edge.endpoint("layer2-2")["load"]["age_ms"].is_u64());

        let asked = edge.post("/admin/endpoints/layer2-1", r#"{"state":"active"}"#);
        assert_ne!(asked.json()["state"], "draining");
        tree.until("it gets requests", |_| edge.endpoint("layer2-1")["requests"] != requests);
    });
    // What the terminal shows of all this.
    let top = tree.ok(&["top"]);
    assert!(top.contains("REQUESTS/S") && top.contains("layer2-2"), "{top}");
    let status = tree.status();
    assert!(status["nodes"][0]["in_flight"].is_u64(), "{status}");
    assert!(status["nodes"][0]["load"]["latency_us"].is_u64(), "{status}");
    let metrics = String::from_utf8(edge.get("/metrics").body).unwrap();
    assert!(metrics.contains("endpoint_state{endpoint=\"layer2-1\",state=\"passing\"} "));
    assert!(metrics.contains("endpoint_weight{endpoint=\"layer2-1\"} 3\n"), "{metrics}");
    assert!(metrics.contains("\nconfig_generation 1\n"), "{metrics}");
    // What is not understood, and who may not ask.
    for (path, body, status, field) in [
        ("/admin/endpoints/layer2-1", r#"{"state":"off"}"#, 400, json!("state")),
        ("/admin/endpoints/layer2-1", r#"{"weight":0}"#, 400, json!("weight")),
        ("/admin/endpoints/layer2-1", r#"{"wait":1}"#, 400, json!("wait")),
        ("/admin/endpoints/layer2-1", "{}", 400, json!(null)),
        ("/admin/endpoints/layer2-9", r#"{"weight":1}"#, 404, json!(null)),
    ] {
        let told = edge.post(path, body);
        assert_eq!((told.status, &told.json()["field"]), (status, &field), "{path} {body}");
    }
    let owners = ["a-1", "a-2"].map(|name| gateway.endpoint(name));
    assert!(owners.iter().any(|it| it["requests"].as_u64().unwrap() > 0), "{owners:?}");
    for owner in owners {
        assert_eq!((&owner["state"], &owner["errors"]["lost"]), (&json!("passing"), &json!(0)));
        assert!(owner["load"].is_object(), "{owner}");
    }
    let owner = gateway.post("/admin/endpoints/a-1", r#"{"state":"drain"}"#);
    assert_eq!(owner.status, 409, "an owner cannot be passed over: {owner:?}");
    for header in [("Origin", "http://evil.example"), ("Host", "evil.example")] {
        assert_eq!(edge.send("POST", "/admin/drain", &[header]).status, 403, "{header:?}");
    }
    assert_eq!(edge.send("GET", "/admin/drain", &[]).status, 405);
    assert_eq!(edge.get("/readyz").status, 200);
}

impl Admin {
    /// What the node says of one of its endpoints.
    fn endpoint(&self, name: &str) -> serde_json::Value {
        let told = self.get(&format!("/admin/endpoints/{name}"));
        assert_eq!(told.status, 200, "{name}: {told:?}");
        told.json()
    }
}
