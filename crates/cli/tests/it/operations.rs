//! What an operator does: look, kill, start, drain; and accounts from the terminal.

use crate::{metrics, tree::Tree};
use serde_json::Value;
use std::{fs, os::unix::fs::MetadataExt, path::Path, thread};

#[test]
fn the_tree_is_seen_broken_and_mended_from_the_terminal() {
    let mut tree = Tree::up("operations");
    let status = tree.status();
    let names: Vec<_> =
        status["nodes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [
            "a-1",
            "a-2",
            "b-1",
            "b-2",
            "edge",
            "gateway-1",
            "gateway-2",
            "layer2-1",
            "layer2-2",
            "monitor"
        ]
    );
    assert!(tree.ok(&["status"]).contains("gateway-2"));
    metrics::are_as_documented(
        &tree,
        &[
            ("edge", &["endpoints", "balancer"]),
            ("gateway-1", &["endpoints", "gateway"]),
            ("a-1", &["account"]),
            ("monitor", &["monitor"]),
        ],
    );

    // Kill: down, and stays down; killing it again changes nothing.
    tree.ok(&["node", "a-1", "kill"]);
    assert_eq!(state(&tree.status(), "a-1")["pid"], Value::Null);
    tree.ok(&["node", "a-1", "kill"]);
    // What waits for its partitions succeeds once it is back.
    let mut client = tree.client();
    let opening = thread::spawn(move || {
        (0..8)
            .map(|number| {
                let body = format!(r#"{{"id":"late-{number}","currency":"EUR"}}"#);
                client.post("/v1/a/accounts", &body).unwrap().status
            })
            .collect::<Vec<_>>()
    });
    tree.ok(&["node", "a-1", "start"]);
    tree.ok(&["node", "a-1", "start"]);
    assert!(state(&tree.status(), "a-1")["pid"].is_u64());
    assert_eq!(opening.join().unwrap(), [201; 8]);
    let unknown = tree.run(&["node", "a-9", "kill"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("a-1"));
    let again = tree.run(&["up"]);
    assert_eq!(again.status.code(), Some(1), "a second tree on the same folder: {again:?}");
    // What the API takes the terminal sends and shows as it is, numbers as they are written.
    tree.ok(&["account", "open", "odd", "--metadata", r#"{"n":1.50,"a":1}"#]);
    assert!(tree.ok(&["account", "show", "odd"]).contains(r#"{"n":1.50,"a":1}"#));
    assert!(tree.ok(&["account", "list"]).contains("odd"));
    assert_private(&tree.data);
    assert!(tree.drain());
    // A drained tree left nothing half done, and starts again with what it had.
    tree.ok(&["verify"]);
    tree.start();
    let listed = tree.client().get("/v1/a/accounts").unwrap().json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 9);
}

/// Books, keys and logs are for nobody but their owner.
fn assert_private(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        // A node may have removed it since.
        let Ok(meta) = entry.metadata() else { continue };
        assert_eq!(meta.mode() & 0o077, 0, "{}", entry.path().display());
        if meta.is_dir() {
            assert_private(&entry.path());
        }
    }
}

fn state<'a>(status: &'a Value, name: &str) -> &'a Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["name"] == name).unwrap()
}

/// A gateway, and a layer-2 balancer, killed under load: they have siblings, and every request
/// has a key, so nobody notices.
#[test]
fn a_killed_tier_with_a_sibling_fails_nobody() {
    let tree = Tree::up("sibling");
    let mut client = tree.client();
    client.post("/v1/a/accounts", r#"{"id":"alice","currency":"EUR"}"#).unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| tree.client()).collect();
    thread::scope(|scope| {
        let load: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    for _ in 0..150 {
                        let credit = r#"{"amount":1,"currency":"EUR"}"#;
                        let answer = client.post("/v1/a/accounts/alice/credit", credit).unwrap();
                        assert_eq!(answer.status, 201, "{answer:?}");
                    }
                })
            })
            .collect();
        tree.ok(&["node", "gateway-1", "kill"]);
        tree.ok(&["node", "layer2-2", "kill"]);
        load.into_iter().for_each(|it| it.join().unwrap());
    });
    let balance = client.get("/v1/a/accounts/alice/balance").unwrap().json();
    assert_eq!(balance["posted"], 8 * 150, "{balance}");
}

#[test]
fn accounts_from_the_terminal() {
    let tree = Tree::up("terminal");
    tree.ok(&["account", "open", "a/alice", "--currency", "EUR"]);
    tree.ok(&["account", "credit", "a/alice", "75.00", "EUR"]);
    tree.ok(&["account", "debit", "a/alice", "4500", "EUR"]);
    let refused = tree.run(&["account", "debit", "a/alice", "4500", "EUR"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("insufficient_funds"));
    let shown: Value =
        serde_json::from_str(&tree.ok(&["account", "show", "a/alice", "--json"])).unwrap();
    assert_eq!((&shown["posted"], &shown["version"]), (&3_000.into(), &2.into()), "{shown}");
    assert!(tree.ok(&["account", "list"]).contains("alice"));
}
