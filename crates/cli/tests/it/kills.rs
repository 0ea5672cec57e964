//! `kill -9` of one account node after the other in the middle of a load of clients that repeat
//! what got no answer: everything happens exactly once, and nobody is told a lie.

use crate::{
    http::{Answer, Client},
    tree::{Tree, place},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

const CLIENTS: usize = 8;
const ACCOUNTS: usize = 24;
/// In this order; twice the same one in a row, too.
const VICTIMS: [&str; 6] = ["a-1", "b-2", "a-2", "a-2", "b-1", "a-1"];
/// Acknowledged requests between two kills, and a few more, other ones each time.
const BETWEEN: usize = 150;
/// Times that a client repeats one request at the most.
const ATTEMPTS_MAX: usize = 200;

/// A request that was answered for good, perhaps after repeats.
struct Settled {
    path: String,
    body: String,
    reference: String,
    key: String,
    answer: Answer,
}

#[test]
fn account_nodes_die_one_by_one_and_everything_happens_once() {
    let mut tree = Tree::up("kills");
    let mut client = tree.client();
    for account in 0..ACCOUNTS {
        let (service, id) = place(account);
        let open = format!(r#"{{"id":"{id}","currency":"EUR","overdraft_limit":500}}"#);
        assert_eq!(client.post(&format!("/v1/{service}/accounts"), &open).unwrap().status, 201);
    }

    let settled = load_while_nodes_die(&tree);
    println!("{} requests settled", settled.len());
    for it in &settled {
        let again = client.post_keyed(&it.path, &it.key, &it.body).unwrap();
        assert_eq!((again.status, &again.body), (it.answer.status, &it.answer.body), "{}", it.key);
    }
    let booked = booked(&mut client);
    for it in &settled {
        let id = booked.get(&it.reference);
        match it.answer.status {
            201 => assert_eq!(id, it.answer.json()["id"].as_str().map(str::to_owned).as_ref()),
            _ => assert_eq!(id, None, "{} was refused, and happened", it.reference),
        }
    }
    let successes = settled.iter().filter(|it| it.answer.status == 201).count();
    assert_eq!(booked.len(), successes, "something happened that nobody was told of");
    tree.ok(&["verify"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
}

/// Kills each victim after some more acknowledged requests; what the clients settled meanwhile.
fn load_while_nodes_die(tree: &Tree) -> Vec<Settled> {
    let (acknowledged, count) = mpsc::channel();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (over, acknowledged) = (&over, acknowledged.clone());
                let (edge, key) = (tree.edge, tree.key.as_str());
                scope.spawn(move || send_until_over(number, edge, key, over, &acknowledged))
            })
            .collect();
        drop(acknowledged);
        for (turn, victim) in VICTIMS.into_iter().enumerate() {
            for _ in 0..BETWEEN + turn * 37 % 50 {
                count.recv().expect("clients go on until they are told");
            }
            kill(tree, victim);
        }
        for _ in 0..BETWEEN {
            count.recv().expect("clients go on until they are told");
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|it| it.join().unwrap()).collect()
    })
}

fn kill(tree: &Tree, victim: &str) {
    // One that is not there any more was killed by the turn before, and is being started.
    let pid = tree.status()["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|node| (node["name"] == victim).then(|| node["pid"].as_u64()));
    if let Some(pid) = pid.flatten() {
        let killed = Command::new("kill").arg("-9").arg(pid.to_string()).status().unwrap();
        assert!(killed.success());
    }
}

fn send_until_over(
    number: usize,
    edge: SocketAddr,
    api_key: &str,
    over: &AtomicBool,
    acknowledged: &mpsc::Sender<()>,
) -> Vec<Settled> {
    let mut client = Client::connect(edge, api_key).unwrap();
    let mut settled = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let turn = settled.len();
        let (service, id) = place((number * 5 + turn * 7) % ACCOUNTS);
        let (verb, amount) = if turn.is_multiple_of(3) { ("credit", 400) } else { ("debit", 300) };
        let path = format!("/v1/{service}/accounts/{id}/{verb}");
        let reference = format!("{number}-{turn}");
        let body = format!(r#"{{"amount":{amount},"currency":"EUR","reference":"{reference}"}}"#);
        // Every third leaves the key to the edge, which tells it with whatever it answers.
        let key = (!turn.is_multiple_of(3)).then(|| format!("key-{reference}"));
        let (key, answer) = settle(&mut client, &path, key, &body);
        _ = acknowledged.send(()); // Nobody counts beyond enough.
        settled.push(Settled { path, body, reference, key, answer });
    }
    settled
}

/// Sends a request until it is decided; what it was decided under, and what.
fn settle(
    client: &mut Client,
    path: &str,
    mut key: Option<String>,
    body: &str,
) -> (String, Answer) {
    for _ in 0..ATTEMPTS_MAX {
        let answer = match &key {
            Some(key) => client.post_keyed(path, key, body),
            None => client.post(path, body),
        };
        // The edge lives, so it answers.
        let answer = answer.unwrap();
        let told = answer.header("idempotency-key").unwrap().to_owned();
        assert_eq!(*key.get_or_insert_with(|| told.clone()), told);
        match answer.status {
            201 => return (told, answer),
            409 if answer.code() == "insufficient_funds" => return (told, answer),
            503 | 504 => (), // Not decided, or nobody knows: once more.
            _ => panic!("{path} {body}: {answer:?}"),
        }
    }
    panic!("{path} {body}: never decided");
}

/// Every transaction's id by its reference. None is listed twice, and each account's add up.
fn booked(client: &mut Client) -> BTreeMap<String, String> {
    let mut booked = BTreeMap::new();
    for account in 0..ACCOUNTS {
        let (service, id) = place(account);
        let base = format!("/v1/{service}/accounts/{id}");
        let (mut sum, mut page) = (0, String::new());
        loop {
            let answer = client.get(&format!("{base}/transactions?limit=200{page}")).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let list = answer.json();
            for row in list["data"].as_array().unwrap() {
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                sum +=
                    row["amount"].as_i64().unwrap() * if row["kind"] == "debit" { -1 } else { 1 };
                let twice = booked.insert(text("reference"), text("id"));
                assert_eq!(twice, None, "{} happened twice", row["reference"]);
            }
            match list["next_cursor"].as_str() {
                Some(cursor) => page = format!("&starting_after={cursor}"),
                None => break,
            }
        }
        let balance = client.get(&format!("{base}/balance")).unwrap().json();
        assert_eq!(balance["posted"].as_i64().unwrap(), sum, "{id}");
        assert!(-500 <= sum, "{id}: below its limit");
    }
    booked
}
