//! Holds, reversals and transfers through the whole tree, and transfers while nodes are killed.

use crate::{
    http::{Answer, Client},
    tree::Tree,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, thread, time::Duration};

fn open(client: &mut Client, service: &str, id: &str, amount: i64) {
    let body = json!({"id": id, "currency": "EUR"}).to_string();
    assert_eq!(client.post(&format!("/v1/{service}/accounts"), &body).unwrap().status, 201);
    let path = format!("/v1/{service}/accounts/{id}/credit");
    assert_eq!(client.post(&path, &money(amount)).unwrap().status, 201);
}

fn money(amount: i64) -> String {
    json!({"amount": amount, "currency": "EUR"}).to_string()
}

/// Posted, held and available.
#[track_caller]
fn balance(client: &mut Client, service: &str, id: &str) -> (i64, i64, i64) {
    let answer = client.get(&format!("/v1/{service}/accounts/{id}/balance")).unwrap().json();
    let number = |field: &str| answer[field].as_i64().unwrap_or_else(|| panic!("{answer}"));
    (number("posted"), number("held"), number("available"))
}

#[track_caller]
fn done(answer: &Answer, status: u16) -> Value {
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{said}");
    answer.json()
}

#[test]
fn what_is_held_cannot_be_spent() {
    let tree = Tree::up("holds");
    let mut client = tree.client();
    open(&mut client, "a", "alice", 7_500);
    let holds = "/v1/a/accounts/alice/holds";
    let hold = done(&client.post_keyed(holds, "h1", &money(6_000)).unwrap(), 201);
    let again = done(&client.post_keyed(holds, "h1", &money(6_000)).unwrap(), 201);
    assert_eq!((&hold["status"], &again["id"]), (&"active".into(), &hold["id"]));
    assert_eq!(balance(&mut client, "a", "alice"), (7_500, 6_000, 1_500));
    let debit = "/v1/a/accounts/alice/debit";
    assert_eq!(client.post(debit, &money(4_500)).unwrap().code(), "insufficient_funds");
    assert_eq!(client.post(holds, &money(4_500)).unwrap().code(), "insufficient_funds");

    let at = format!("{holds}/{}", hold["id"].as_str().unwrap());
    assert_eq!(done(&client.get(&at).unwrap(), 200), hold);
    let captured = done(&client.post(&format!("{at}/capture"), r#"{"amount":5000}"#).unwrap(), 200);
    assert_eq!((&captured["status"], &captured["captured"]), (&"captured".into(), &5_000.into()));
    assert_eq!(balance(&mut client, "a", "alice"), (2_500, 0, 2_500));
    let id = captured["transaction"].as_str().unwrap();
    let transaction = done(&client.get(&format!("/v1/a/transactions/{id}")).unwrap(), 200);
    assert_eq!((&transaction["hold"], &transaction["amount"]), (&hold["id"], &5_000.into()));
    assert_eq!(client.post(&format!("{at}/release"), "").unwrap().code(), "hold_not_active");

    let released = done(&client.post(holds, &money(2_500)).unwrap(), 201);
    let path = format!("{holds}/{}/release", released["id"].as_str().unwrap());
    assert_eq!(done(&client.post(&path, "").unwrap(), 200)["status"], "released");
    let body = json!({"amount": 2_500, "currency": "EUR", "expires_in": "1s"}).to_string();
    let short = done(&client.post(holds, &body).unwrap(), 201);
    let at = format!("{holds}/{}", short["id"].as_str().unwrap());
    tree.until("the hold has expired", |tree| {
        tree.client().get(&at).unwrap().json()["status"] == "expired"
    });
    assert_eq!(balance(&mut client, "a", "alice"), (2_500, 0, 2_500));
    let other = at.replace("alice", "bob");
    assert_eq!(client.get(&other).unwrap().code(), "no_such_hold");
    assert!(tree.ok(&["verify"]).contains('a'));
}

#[test]
fn a_transaction_is_reversed_once() {
    let tree = Tree::up("reversals");
    let mut client = tree.client();
    open(&mut client, "a", "alice", 1_000);
    let debit = client.post("/v1/a/accounts/alice/debit", &money(400)).unwrap().json();
    let id = debit["id"].as_str().unwrap();
    let path = format!("/v1/a/transactions/{id}/reverse");
    let reversal = done(&client.post_keyed(&path, "r1", "").unwrap(), 201);
    assert_eq!((&reversal["kind"], &reversal["reverses"]), (&"credit".into(), &debit["id"]));
    assert_eq!(done(&client.post_keyed(&path, "r1", "").unwrap(), 201), reversal);
    assert_eq!(client.post_keyed(&path, "r2", "").unwrap().code(), "already_reversed");
    let shown = done(&client.get(&format!("/v1/a/transactions/{id}")).unwrap(), 200);
    assert_eq!(shown["reversed_by"], reversal["id"]);
    assert_eq!(balance(&mut client, "a", "alice"), (1_000, 0, 1_000));
    let again = format!("/v1/a/transactions/{}/reverse", reversal["id"].as_str().unwrap());
    assert_eq!(client.post(&again, "").unwrap().code(), "invalid_request");
    tree.ok(&["verify"]);
}

fn transfer(from: (&str, &str), to: (&str, &str), amount: i64) -> String {
    json!({
        "from": {"service": from.0, "account": from.1},
        "to": {"service": to.0, "account": to.1},
        "amount": amount, "currency": "EUR",
    })
    .to_string()
}

#[test]
fn a_transfer_arrives_or_comes_back() {
    let tree = Tree::up("transfers");
    let mut client = tree.client();
    open(&mut client, "a", "alice", 1_000);
    open(&mut client, "b", "bob", 1_000);
    let (alice, bob) = (("a", "alice"), ("b", "bob"));
    let body = transfer(alice, bob, 300);
    let sent = done(&client.post_keyed("/v1/transfers", "t1", &body).unwrap(), 201);
    assert_eq!((&sent["status"], &sent["reason"]), (&"completed".into(), &Value::Null));
    let again = done(&client.post_keyed("/v1/transfers", "t1", &body).unwrap(), 201);
    assert_eq!(again, sent);
    let path = format!("/v1/transfers/{}", sent["id"].as_str().unwrap());
    assert_eq!(done(&client.get(&path).unwrap(), 200), sent);
    let credit = format!("/v1/b/transactions/{}", sent["credit"].as_str().unwrap());
    assert_eq!(done(&client.get(&credit).unwrap(), 200)["transfer"], sent["id"]);
    assert_eq!(balance(&mut client, "a", "alice").0, 700);
    assert_eq!(balance(&mut client, "b", "bob").0, 1_300);

    let back =
        done(&client.post("/v1/transfers", &transfer(alice, ("b", "nobody"), 300)).unwrap(), 201);
    assert_eq!((&back["status"], &back["reason"]), (&"returned".into(), &"no_such_account".into()));
    assert_eq!(balance(&mut client, "a", "alice").0, 700);
    for (to, amount, code) in [
        (bob, 701, "insufficient_funds"),
        (("c", "carol"), 1, "no_such_service"),
        (bob, 0, "invalid_request"),
    ] {
        let answer = client.post("/v1/transfers", &transfer(alice, to, amount)).unwrap();
        assert_eq!(answer.code(), code, "{to:?}");
    }
    let shown = tree.ok(&["account", "transfer", "alice", "b/bob", "1.00"]);
    assert!(shown.contains("completed") && shown.contains("b/bob"), "{shown}");
    let back = tree.run(&["account", "transfer", "alice", "b/nobody", "100", "EUR"]);
    assert_eq!(back.status.code(), Some(1), "{back:?}");
    assert!(String::from_utf8_lossy(&back.stdout).contains("returned"), "{back:?}");
    assert!(String::from_utf8_lossy(&back.stderr).contains("no_such_account"), "{back:?}");
    balanced(&tree);
}

/// Accounts plus transit sum to zero against the outside, in both services together.
#[track_caller]
fn balanced(tree: &Tree) {
    let mut client = tree.client();
    for service in ["a", "b"] {
        let trial = client.get(&format!("/v1/{service}/trial-balance")).unwrap().json();
        assert_eq!(trial["balanced"], true, "{trial}");
    }
    tree.ok(&["verify"]);
}

const PAIRS: usize = 4;
const TRANSFERS: usize = 50;
const START: i64 = 10_000;

/// Asks until there is an answer that says what became of it: the id.
fn persist(edge: SocketAddr, key: &str, name: &str, body: &str) -> String {
    loop {
        let answer = Client::connect(edge, key)
            .and_then(|mut client| client.post_keyed("/v1/transfers", name, body));
        match answer {
            Ok(answer) if answer.status == 201 => {
                return answer.json()["id"].as_str().unwrap().to_owned();
            }
            Ok(answer) => assert!(
                matches!(answer.status, 503 | 504) || answer.code() == "key_in_use",
                "{}",
                String::from_utf8_lossy(&answer.body)
            ),
            Err(_) => (),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn transfers_survive_killed_nodes() {
    transfers_while_nodes_die(&Tree::up("transfers-killed"));
}

/// Fifty transfers at once, back and forth, while owners and gateways die: none is lost, none
/// happens twice, none stays on its way.
pub(crate) fn transfers_while_nodes_die(tree: &Tree) {
    let mut client = tree.client();
    for pair in 0..PAIRS {
        open(&mut client, "a", &format!("a{pair}"), START);
        open(&mut client, "b", &format!("b{pair}"), START);
    }
    let (edge, key) = (tree.edge, tree.key.clone());
    let asking: Vec<_> = (0..TRANSFERS)
        .map(|at| {
            let key = key.clone();
            thread::spawn(move || {
                let (a, b) = (format!("a{}", at % PAIRS), format!("b{}", at / 3 % PAIRS));
                let (from, to) = (("a", a.as_str()), ("b", b.as_str()));
                let (from, to) = if at % 2 == 0 { (from, to) } else { (to, from) };
                let body = transfer(from, to, 7);
                let first = persist(edge, &key, &format!("t{at}"), &body);
                assert_eq!(persist(edge, &key, &format!("t{at}"), &body), first);
                first
            })
        })
        .collect();
    for node in ["a-1", "gateway-1", "b-2", "b-1", "gateway-2", "a-2"] {
        tree.kill(node);
        tree.until("it is ready again", |tree| tree.state(node) == "ready");
    }
    let ids: Vec<String> = asking.into_iter().map(|it| it.join().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), TRANSFERS);
    tree.until("no transfer is on its way", |tree| {
        let mut client = tree.client();
        ids.iter().all(|id| {
            let answer = client.get(&format!("/v1/transfers/{id}")).unwrap();
            answer.status == 200 && answer.json()["status"] == "completed"
        })
    });
    let mut client = tree.client();
    let mut sum = |service: &str| -> i64 {
        (0..PAIRS).map(|it| balance(&mut client, service, &format!("{service}{it}")).0).sum()
    };
    // As many go as come: every even one is of a.
    let each = START * i64::try_from(PAIRS).unwrap();
    assert_eq!((sum("a"), sum("b")), (each, each));
    balanced(tree);
}
