//! `/openapi.json` and `/docs` of a running tree: every call that is described is there, and does
//! what is said of it.

use crate::{http::Answer, tree::Tree};
use serde_json::{Value, json};

const STRANGER: (&str, &str) = ("Authorization", "none");

#[test]
fn every_call_of_the_description_can_be_made() {
    let tree = Tree::up("description");
    let mut client = tree.client();
    let description = client.send("GET", "/openapi.json", &[STRANGER], b"").unwrap();
    assert_eq!(description.header("content-type"), Some("application/json"));
    let description = description.json();
    let open = json!({"id": "alice", "currency": "EUR"}).to_string();
    assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
    let posting = json!({"amount": 4500, "currency": "EUR"}).to_string();
    let credited = client.post("/v1/a/accounts/alice/credit", &posting).unwrap();
    let id = |answer: Answer| answer.json()["id"].as_str().unwrap().to_owned();
    let transaction = id(credited);
    let holding = json!({"amount": 100, "currency": "EUR"}).to_string();
    let hold = id(client.post("/v1/a/accounts/alice/holds", &holding).unwrap());
    let (from, to) =
        (json!({"service": "a", "account": "alice"}), json!({"service": "b", "account": "x"}));
    let moving = json!({"from": from, "to": to, "amount": 1, "currency": "EUR"}).to_string();
    let transfer = id(client.post("/v1/transfers", &moving).unwrap());
    for (path, operations) in description["paths"].as_object().unwrap() {
        if path.ends_with("/events") {
            continue; // It never ends.
        }
        for (method, operation) in operations.as_object().unwrap() {
            let there = path
                .replace("{service}", "a")
                .replace("{id}", "alice")
                .replace("{transaction}", &transaction)
                .replace("{hold}", &hold)
                .replace("{transfer}", &transfer);
            let body = body_of(&description, operation);
            let method = method.to_ascii_uppercase();
            let stranger = client.send(&method, &there, &[STRANGER], body.as_bytes()).unwrap();
            assert_eq!(stranger.status, 401, "{method} {there}");
            let answer = client.send(&method, &there, &[], body.as_bytes()).unwrap();
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let status = answer.status.to_string();
            let described = &operation["responses"][&status];
            // The account of the example is there already.
            let is_known = described.is_object() || answer.status == 409;
            assert!(is_known, "{method} {there} {body}: {status} {said}");
        }
    }
    let page = client.send("GET", "/docs", &[STRANGER], b"").unwrap();
    assert_eq!(page.status, 200);
    assert!(String::from_utf8(page.body).unwrap().contains("/v1/{service}/batch"));
}

/// The example of the schema of a body, of little consequence for the calls that follow.
fn body_of(description: &Value, operation: &Value) -> String {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let Some(schema) = schema.as_str().and_then(|it| it.strip_prefix('#')) else {
        return String::new();
    };
    let example = &description.pointer(schema).unwrap()["example"];
    match example["status"].as_str() {
        Some(_) => json!({"status": "open"}).to_string(),
        None => example.to_string(),
    }
}
