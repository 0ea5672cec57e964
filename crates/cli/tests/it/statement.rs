//! Statements through the whole tree, in each of their forms.

use crate::tree::Tree;
use serde_json::{Value, json};

/// More than a page of history holds.
const ENTRIES: usize = 1_100;

#[test]
fn a_statement_adds_up_in_every_form() {
    let tree = Tree::up("statement");
    let mut client = tree.client();
    let open = json!({"id": "alice", "currency": "EUR"}).to_string();
    assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
    let at = "/v1/a/accounts/alice/statement";
    let empty = client.get(at).unwrap().json();
    assert_eq!((&empty["opening_balance"], &empty["entries"]), (&json!(0), &json!([])));

    let credit = r#"{"amount":7500,"currency":"EUR","reference":"a <b> & \"c\", d"}"#;
    let first = client.post("/v1/a/accounts/alice/credit", credit).unwrap().json();
    let items: Vec<Value> = (0..ENTRIES)
        .map(|_| json!({"account": "alice", "kind": "debit", "amount": 1, "currency": "EUR"}))
        .collect();
    let batch = json!({"transactions": items}).to_string();
    assert_eq!(client.post("/v1/a/batch", &batch).unwrap().status, 200);

    let all = client.get(at).unwrap().json();
    assert_eq!((&all["opening_balance"], &all["closing_balance"]), (&json!(0), &json!(6_400)));
    assert_eq!(all["debits"], json!({"count": ENTRIES, "sum": ENTRIES}));
    let entries = all["entries"].as_array().unwrap();
    assert_eq!(entries.len(), ENTRIES + 1);
    assert_eq!(entries[0]["id"], first["id"]);
    let versions: Vec<u64> = entries.iter().map(|it| it["version"].as_u64().unwrap()).collect();
    assert!(versions.is_sorted(), "oldest first");

    let end = first["created_at"].as_str().unwrap();
    let before = client.get(&format!("{at}?to={end}")).unwrap().json();
    assert_eq!((&before["closing_balance"], &before["entries"]), (&json!(0), &json!([])));
    let after = client.get(&format!("{at}?from=2999-01-01T00:00:00Z")).unwrap().json();
    assert_eq!(
        (&after["opening_balance"], &after["closing_balance"]),
        (&json!(6_400), &json!(6_400))
    );

    let csv =
        client.send("GET", &format!("{at}?format=csv"), &[("Accept", "text/csv")], b"").unwrap();
    assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
    let csv = String::from_utf8(csv.body).unwrap();
    assert_eq!(
        csv.split("\r\n").count(),
        ENTRIES + 1 + 4,
        "head, two balances, the last line's end"
    );
    assert!(csv.contains("\"a <b> & \"\"c\"\", d\""), "{}", &csv[..600]);
    let camt = client.get(&format!("{at}?format=camt.053")).unwrap();
    assert_eq!(camt.header("content-type"), Some("application/xml"));
    let camt = String::from_utf8(camt.body).unwrap();
    assert!(camt.contains("<Ustrd>a &lt;b&gt; &amp; \"c\", d</Ustrd>"), "{}", &camt[..2_000]);

    for (query, code) in [
        ("?format=pdf", "invalid_request"),
        ("?limit=5", "invalid_request"),
        ("?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "invalid_request"),
    ] {
        assert_eq!(client.get(&format!("{at}{query}")).unwrap().code(), code, "{query}");
    }
    let nobody = client.get("/v1/a/accounts/nobody/statement?format=csv").unwrap();
    assert_eq!((nobody.status, nobody.code().as_str()), (404, "no_such_account"));
    let html = client.send("GET", at, &[("Accept", "text/html")], b"").unwrap();
    assert_eq!(html.code(), "not_acceptable");

    let table = tree.ok(&["account", "statement", "alice"]);
    assert!(table.contains("opening") && table.contains("64.00"), "{table}");
    let file = tree.ok(&["account", "statement", "a/alice", "--format", "csv"]);
    assert_eq!(file.lines().count(), ENTRIES + 4);
}
