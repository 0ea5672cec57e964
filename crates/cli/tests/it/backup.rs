//! A backup of a tree under load, and the tree that is made of it.

use crate::tree::Tree;
use serde_json::{Value, json};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

fn open(tree: &Tree, service: &str, id: &str) {
    let mut client = tree.client();
    let body = json!({"id": id, "currency": "EUR"}).to_string();
    assert_eq!(client.post(&format!("/v1/{service}/accounts"), &body).unwrap().status, 201);
    let path = format!("/v1/{service}/accounts/{id}/credit");
    let body = json!({"amount": 1_000_000, "currency": "EUR"}).to_string();
    assert_eq!(client.post(&path, &body).unwrap().status, 201);
}

fn posted(tree: &Tree, service: &str, id: &str) -> i64 {
    let path = format!("/v1/{service}/accounts/{id}");
    tree.client().get(&path).unwrap().json()["posted"].as_i64().unwrap()
}

#[test]
fn a_backup_under_load_becomes_a_tree_again() {
    let mut tree = Tree::up("backup");
    open(&tree, "a", "alice");
    open(&tree, "b", "bob");
    let to = tree.data.with_extension("backup");
    let path = to.to_str().unwrap().to_owned();
    drop(fs::remove_dir_all(&to));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Money goes back and forth all the time: in no cut there may be more or less of it.
        for client in 0..4 {
            let (tree, over) = (&tree, &over);
            scope.spawn(move || {
                let mut http = tree.client();
                let party = |service: &str, id: &str| json!({"service": service, "account": id});
                let ends = [party("a", "alice"), party("b", "bob")];
                let mut at = client;
                while !over.load(Ordering::Relaxed) {
                    let (from, to) = (&ends[at % 2], &ends[(at + 1) % 2]);
                    let body = json!({"from": from, "to": to, "amount": 3, "currency": "EUR"});
                    let answer = http.post("/v1/transfers", &body.to_string()).unwrap();
                    assert_eq!(answer.status, 201, "{answer:?}");
                    at += 1;
                }
            });
        }
        let said = tree.run(&["backup", &path, "--json"]);
        over.store(true, Ordering::Relaxed);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    });
    let again = tree.run(&["backup", &path]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
    let running = tree.run(&["restore", &path]);
    assert!(String::from_utf8_lossy(&running.stderr).contains("is not empty"));

    // What happened after the backup is not in it.
    open(&tree, "a", "later");
    assert!(tree.drain());
    fs::remove_dir_all(&tree.data).unwrap();
    tree.ok(&["restore", &path]);
    tree.ok(&["verify"]);
    tree.start();
    assert_eq!(tree.client().get("/v1/a/accounts/later").unwrap().status, 404);
    // What was on its way in the cut arrives: then all of the money is there.
    tree.until("all that was on its way has arrived", |tree| {
        posted(tree, "a", "alice") + posted(tree, "b", "bob") == 2_000_000
    });
    open(&tree, "a", "carol");
    tree.ok(&["verify"]);
    fs::remove_dir_all(&to).unwrap();
}

#[test]
fn an_export_has_every_transaction() {
    let tree = Tree::up("export");
    open(&tree, "a", "alice");
    let mut client = tree.client();
    let body = json!({"amount": 5, "currency": "EUR", "reference": "x, \"y\""}).to_string();
    let debit = client.post("/v1/a/accounts/alice/debit", &body).unwrap();
    let lines = tree.ok(&["export"]);
    let rows: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!((rows.len(), &rows[1]), (2, &debit.json()));
    let csv = tree.ok(&["export", "--format", "csv"]);
    let mut csv = csv.split("\r\n");
    assert!(csv.next().unwrap().starts_with("service,account,time,"));
    assert!(csv.nth(1).unwrap().contains("\"x, \"\"y\"\"\""));
    assert_eq!(tree.ok(&["export", "--from", "2999-01-01T00:00:00Z"]), "");
    assert!(!tree.run(&["export", "--service", "c"]).status.success());
}
