//! More than one API key: made, limited and revoked while the tree runs.

use crate::{http::Client, tree::Tree};
use serde_json::{Value, json};

const DEBIT: &str = r#"{"amount":1,"currency":"EUR"}"#;

fn create(tree: &Tree, args: &[&str]) -> String {
    let mut all = vec!["key", "create"];
    all.extend_from_slice(args);
    tree.ok(&all).trim().to_owned()
}

fn client(tree: &Tree, key: &str) -> Client {
    Client::connect(tree.edge, key).unwrap()
}

/// Waits until both gateways answer a key so: each request may come to either.
#[track_caller]
fn until(tree: &Tree, key: &str, path: &str, status: u16) {
    let mut in_a_row = 0;
    let what = format!("{status} on {path}");
    tree.until(&what, |_| {
        let is_so = client(tree, key).get(path).unwrap().status == status;
        in_a_row = if is_so { in_a_row + 1 } else { 0 };
        in_a_row == 20
    });
}

#[test]
fn keys_are_taken_and_revoked_while_the_tree_runs() {
    let tree = Tree::up("keys");
    let mut admin = tree.client();
    let open = json!({"id": "alice", "currency": "EUR"}).to_string();
    assert_eq!(admin.post("/v1/a/accounts", &open).unwrap().status, 201);
    let credit = r#"{"amount":1000,"currency":"EUR"}"#;
    assert_eq!(admin.post("/v1/a/accounts/alice/credit", credit).unwrap().status, 201);

    let shop = create(&tree, &["shop", "--service", "a"]);
    assert!(shop.starts_with("tg_key_"), "{shop}");
    until(&tree, &shop, "/v1/a/accounts/alice", 200);
    let debit = "/v1/a/accounts/alice/debit";
    let first = client(&tree, &shop).post_keyed(debit, "k", DEBIT).unwrap();
    assert_eq!(first.status, 201);
    let again = client(&tree, &shop).post_keyed(debit, "k", DEBIT).unwrap();
    assert_eq!(first.body, again.body);
    // Another caller's key of the same text is another key.
    let others = admin.post_keyed(debit, "k", DEBIT).unwrap();
    assert_ne!(first.json()["id"], others.json()["id"]);
    assert_eq!(client(&tree, &shop).get("/v1/b/accounts").unwrap().code(), "forbidden");

    let reader = create(&tree, &["reader", "--read-only"]);
    until(&tree, &reader, "/v1/b/accounts", 200);
    let refused = client(&tree, &reader).post(debit, DEBIT).unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));

    let slow = create(&tree, &["slow", "--rate", "1"]);
    until(&tree, &slow, "/v1/a/accounts/alice", 429);
    let refused = client(&tree, &slow).get("/v1/a/accounts/alice").unwrap();
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after")),
        ("rate_limited", Some("1"))
    );

    let listed: Value = serde_json::from_str(&tree.ok(&["key", "list", "--json"])).unwrap();
    let names: Vec<&str> =
        listed["keys"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop", "reader", "slow"]);
    let file = std::fs::read_to_string(tree.data.join("keys.json")).unwrap();
    assert!(!file.contains(&shop) && !file.contains("tg_key_"), "{file}");

    tree.ok(&["key", "revoke", "shop"]);
    until(&tree, &shop, "/v1/a/accounts/alice", 401);
    assert_eq!(client(&tree, &shop).post(debit, DEBIT).unwrap().code(), "unauthenticated");
    assert_eq!(client(&tree, &reader).get("/v1/b/accounts").unwrap().status, 200);
    assert_eq!(admin.get("/v1/a/accounts/alice").unwrap().json()["posted"], 998);
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let tree = Tree::up("keys-refused");
    create(&tree, &["shop"]);
    for (args, said) in [
        (&["create", "shop"][..], "there is a key shop already"),
        (&["create", "two words"], "name \"two words\": want 1 to 64 of"),
        (&["create", "x", "--service", "c"], "there is no account service \"c\""),
        (&["create", "x", "--rate", "0"], "want a number from 1 to 1000000"),
        (&["revoke", "nobody"], "there is no key \"nobody\""),
    ] {
        let mut all = vec!["key"];
        all.extend_from_slice(args);
        let output = tree.run(&all);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(said), "{args:?}: {stderr}");
    }
}
