//! `kill -9` of every process in the middle of a load: what was acknowledged is there exactly once,
//! and every key gives the answer that it gave.

use crate::{
    http::{Answer, Client},
    tree::{Tree, place},
};
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::mpsc,
    thread,
};

const CLIENTS: usize = 16;
const ACCOUNTS: usize = 40;
/// Acknowledged requests after which everything is killed.
const ENOUGH: usize = 1_500;
/// Requests of one client at the most, should the kill never come.
const REQUESTS_MAX: usize = 20_000;

/// One request and what came of it.
struct Sent {
    account: usize,
    path: String,
    body: String,
    /// The client's, or the one that the edge minted; `None` when no answer told it.
    key: Option<String>,
    /// `None`: anything may have happened.
    answer: Option<Answer>,
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let mut tree = Tree::up("crash");
    let mut client = tree.client();
    for account in 0..ACCOUNTS {
        let (service, id) = place(account);
        let open = format!(r#"{{"id":"{id}","currency":"EUR","overdraft_limit":500}}"#);
        assert_eq!(client.post(&format!("/v1/{service}/accounts"), &open).unwrap().status, 201);
    }

    let mut sent = load_until_killed(&mut tree);
    let unknown = sent.iter().filter(|it| it.answer.is_none()).count();
    assert!(ENOUGH <= sent.len() - unknown, "{} sent, {unknown} unknown", sent.len());
    println!("{} sent, {unknown} without an answer", sent.len());

    tree.start();
    let mut client = tree.client();
    // Without a key nobody can ask what became of it: one that was never acknowledged may be there
    // or not. All others are settled now.
    let (settled, keyless): (Vec<_>, Vec<_>) = sent.drain(..).partition(|it| it.key.is_some());
    assert!(keyless.iter().all(|it| it.answer.is_none()));
    let mut booked: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for request in &settled {
        let key = request.key.as_deref().unwrap();
        let first = client.post_keyed(&request.path, key, &request.body).unwrap();
        if let Some(answer) = &request.answer {
            assert_eq!((first.status, &first.body), (answer.status, &answer.body), "{key}");
        }
        let second = client.post_keyed(&request.path, key, &request.body).unwrap();
        assert_eq!((first.status, &first.body), (second.status, &second.body), "{key}");
        match first.status {
            201 => {
                let id = first.json()["id"].as_str().unwrap().to_owned();
                booked.entry(request.account).or_default().push(id);
            }
            _ => assert_eq!(first.code(), "insufficient_funds", "{first:?}"),
        }
    }
    check_books(&mut client, &booked, &keyless);
    tree.ok(&["verify"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
    a_flipped_bit_is_found(&tree);
}

/// Clients send until their connection breaks under them; what they sent, in no order.
fn load_until_killed(tree: &mut Tree) -> Vec<Sent> {
    let (edge, key) = (tree.edge, tree.key.clone());
    let (acknowledged, count) = mpsc::channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (key, acknowledged) = (key.clone(), acknowledged.clone());
            thread::spawn(move || send_until_broken(number, edge, &key, &acknowledged))
        })
        .collect();
    drop(acknowledged);
    for _ in 0..ENOUGH {
        count.recv().expect("clients go on until they are cut off");
    }
    tree.kill_everything();
    clients.into_iter().flat_map(|it| it.join().unwrap()).collect()
}

fn send_until_broken(
    number: usize,
    edge: SocketAddr,
    api_key: &str,
    acknowledged: &mpsc::Sender<()>,
) -> Vec<Sent> {
    let mut client = Client::connect(edge, api_key).unwrap();
    let mut sent = Vec::new();
    for turn in 0..REQUESTS_MAX {
        let account = (number * 7 + turn * 3) % ACCOUNTS;
        let (service, id) = place(account);
        let (verb, amount) = if turn.is_multiple_of(3) { ("credit", 400) } else { ("debit", 300) };
        let path = format!("/v1/{service}/accounts/{id}/{verb}");
        let body =
            format!(r#"{{"amount":{amount},"currency":"EUR","reference":"{number}-{turn}"}}"#);
        // Every fourth request leaves the key to the edge.
        let key = (!turn.is_multiple_of(4)).then(|| format!("key-{number}-{turn}"));
        let answer = match &key {
            Some(key) => client.post_keyed(&path, key, &body),
            None => client.post(&path, &body),
        };
        match answer {
            Ok(answer) if answer.status == 201 || answer.status == 409 => {
                let key = answer.header("idempotency-key").map(str::to_owned);
                assert!(key.is_some(), "{answer:?}");
                _ = acknowledged.send(()); // Nobody counts beyond enough.
                sent.push(Sent { account, path, body, key, answer: Some(answer) });
            }
            // The tree was dying: a 5xx, or the connection itself.
            Ok(_) | Err(_) => {
                sent.push(Sent { account, path, body, key, answer: None });
                return sent;
            }
        }
    }
    panic!("nobody was killed");
}

/// Each account's history holds what was booked, once each, and adds up to its balance.
fn check_books(client: &mut Client, booked: &BTreeMap<usize, Vec<String>>, keyless: &[Sent]) {
    for account in 0..ACCOUNTS {
        let (service, id) = place(account);
        let base = format!("/v1/{service}/accounts/{id}");
        let (mut ids, mut sum, mut page) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("{base}/transactions?limit=100{page}");
            let answer = client.get(&path).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let list = answer.json();
            for row in list["data"].as_array().unwrap() {
                let sign = if row["kind"] == "debit" { -1 } else { 1 };
                sum += sign * row["amount"].as_i64().unwrap();
                ids.push(row["id"].as_str().unwrap().to_owned());
            }
            match list["next_cursor"].as_str() {
                Some(cursor) => page = format!("&starting_after={cursor}"),
                None => break,
            }
        }
        let known: BTreeSet<_> = booked.get(&account).into_iter().flatten().collect();
        let found: BTreeSet<_> = ids.iter().collect();
        assert_eq!(found.len(), ids.len(), "{id}: a transaction is listed twice");
        assert!(known.is_subset(&found), "{id}: {:?} is lost", known.difference(&found));
        let excused = keyless.iter().filter(|it| it.account == account).count();
        assert!(found.len() <= known.len() + excused, "{id}: something happened twice");
        let balance = client.get(&format!("{base}/balance")).unwrap().json();
        assert_eq!(balance["posted"].as_i64().unwrap(), sum, "{id}");
        assert!(-500 <= sum, "{id}: below its limit");
    }
}

/// One bit of a record at rest, in the first, a middle and the last record of the journal.
fn a_flipped_bit_is_found(tree: &Tree) {
    let journal = tree.data.join("a").join("journal.db");
    let open = || Connection::open(&journal).unwrap();
    let ids: Vec<i64> = {
        let db = open();
        let mut rows = db.prepare("SELECT number FROM journal ORDER BY number").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let write = |id: i64, record: &[u8]| {
        let changed =
            open().execute("UPDATE journal SET record = ?2 WHERE number = ?1", (id, record));
        assert_eq!(changed.unwrap(), 1);
    };
    for (number, id) in [ids[0], ids[ids.len() / 2], ids[ids.len() - 1]].into_iter().enumerate() {
        let honest: Vec<u8> = open()
            .query_row("SELECT record FROM journal WHERE number = ?1", [id], |it| it.get(0))
            .unwrap();
        let mut flipped = honest.clone();
        let at = (number * 37 + 11) % flipped.len();
        flipped[at] ^= 1 << (number % 8);
        write(id, &flipped);
        let verdict = tree.run(&["verify"]);
        assert_eq!(verdict.status.code(), Some(1), "record {id}, byte {at}: {verdict:?}");
        write(id, &honest);
    }
    tree.ok(&["verify"]);
}
