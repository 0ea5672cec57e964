//! Batches through the whole tree: every item its own outcome, in order, once.

use crate::tree::Tree;
use serde_json::{Value, json};

const BATCH: &str = "/v1/a/batch";

fn item(account: &str, kind: &str, amount: i64) -> Value {
    json!({"account": account, "kind": kind, "amount": amount, "currency": "EUR"})
}

/// Accounts acc-0 to acc-39, on all partitions.
fn opened(name: &str) -> Tree {
    let tree = Tree::up(name);
    let mut client = tree.client();
    for n in 0..40 {
        let body = json!({"id": format!("acc-{n}"), "currency": "EUR"}).to_string();
        assert_eq!(client.post("/v1/a/accounts", &body).unwrap().status, 201);
    }
    tree
}

#[test]
fn a_batch_over_all_partitions_is_answered_in_order_and_repeated_byte_for_byte() {
    let tree = opened("batch");
    let mut client = tree.client();
    let mut items: Vec<Value> =
        (0..8_190).map(|n| item(&format!("acc-{}", n % 40), "credit", 1)).collect();
    items[7]["key"] = json!("mine");
    items.push(item("acc-0", "debit", 1_000_000));
    items.push(item("nobody", "debit", 1));
    let body = json!({"transactions": items}).to_string();
    let headers = [("Idempotency-Key", "lot-1")];
    let first = client.send("POST", BATCH, &headers, body.as_bytes()).unwrap();
    assert_eq!(first.status, 200, "{}", String::from_utf8_lossy(&first.body));
    let told = first.json();
    let outcomes = told["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 8_192);
    for (n, outcome) in outcomes.iter().enumerate().take(8_190) {
        assert_eq!(outcome["status"], 201, "{outcome}");
        assert_eq!(outcome["transaction"]["account"], format!("acc-{}", n % 40));
    }
    assert_eq!((&outcomes[7]["key"], &outcomes[8]["key"]), (&json!("mine"), &json!("lot-1/8")));
    let code = |at: usize| (outcomes[at]["status"].clone(), outcomes[at]["code"].clone());
    assert_eq!(code(8_190), (json!(409), json!("insufficient_funds")));
    assert_eq!(code(8_191), (json!(404), json!("no_such_account")));
    let again = client.send("POST", BATCH, &headers, body.as_bytes()).unwrap();
    assert_eq!(again.body, first.body);
    // Another amount under the key of an item.
    let other = body.replacen("\"amount\":1,", "\"amount\":2,", 1);
    let reused = client.send("POST", BATCH, &headers, other.as_bytes()).unwrap().json();
    assert_eq!(reused["outcomes"][0]["code"], "key_reused");
    assert_eq!(reused["outcomes"][1]["status"], 201);
    // Without any key of the client's, twice is twice.
    let one = json!({"transactions": [item("acc-1", "credit", 1)]}).to_string();
    for _ in 0..2 {
        assert_eq!(client.post(BATCH, &one).unwrap().json()["outcomes"][0]["status"], 201);
    }
    let balance = client.get("/v1/a/accounts/acc-1/balance").unwrap().json();
    assert_eq!(balance["posted"], 205 + 2);
    tree.ok(&["verify"]);
}

#[test]
fn an_atomic_batch_happens_whole_or_not_at_all() {
    let tree = opened("batch-atomic");
    let mut client = tree.client();
    let partition = |id: &str| wire::AccountId::parse(id).unwrap().partition(16);
    let other = (1..40).map(|n| format!("acc-{n}")).find(|id| partition(id) == partition("acc-0"));
    let other = other.unwrap();
    let mut send = |key: &str, amount: i64| {
        let items = [item(&other, "credit", amount), item("acc-0", "debit", amount)];
        let body = json!({"atomic": true, "transactions": items}).to_string();
        client.send("POST", BATCH, &[("Idempotency-Key", key)], body.as_bytes()).unwrap()
    };
    let refused = send("one", 5);
    let told = refused.json();
    for (at, outcome) in told["outcomes"].as_array().unwrap().iter().enumerate() {
        assert_eq!(
            (&outcome["status"], &outcome["code"]),
            (&json!(409), &json!("insufficient_funds"))
        );
        let detail = outcome["detail"].as_str().unwrap();
        assert_eq!(detail.contains("item 1 of the atomic batch"), at == 0, "{detail}");
    }
    let mut funds = tree.client();
    let credit = r#"{"amount":7,"currency":"EUR"}"#;
    assert_eq!(funds.post("/v1/a/accounts/acc-0/credit", credit).unwrap().status, 201);
    assert_eq!(send("one", 5).body, refused.body, "a refusal is stored like a success");
    let done = send("two", 5);
    assert_eq!(done.json()["outcomes"][1]["transaction"]["posted_after"], 2);
    assert_eq!(send("two", 5).body, done.body);
    assert_eq!(send("two", 6).json()["outcomes"][0]["code"], "key_reused");
    let balance = funds.get(&format!("/v1/a/accounts/{other}/balance")).unwrap().json();
    assert_eq!(balance["posted"], 5);
    tree.ok(&["verify"]);
}
