//! The whole tree with its books in PostgreSQL: what it promises, whatever happens to a node or to
//! the database. Where PostgreSQL is not installed these tests say so and look at nothing.

use crate::{
    cluster::{Cluster, cluster},
    failover::{all_are_at, homes, is_another, one_comes_and_all_restart, owners},
    history::judged,
    load::under_load,
    mission, money,
    tree::{Tree, free_addr},
};
use std::fs;

/// Enough for every account to have been asked several times.
const SOME: usize = 200;

/// The URL of a database of the test's own, with a password that nobody asks for.
fn database(cluster: &Cluster, name: &str) -> String {
    cluster.create(name);
    cluster.url(name).replacen("@", ":hidden@", 1)
}

#[test]
fn the_mission_holds_on_an_empty_database_and_nobody_sees_its_password() {
    let Some(cluster) = cluster() else { return };
    let url = database(cluster, "mission");
    let mut tree = Tree::up_with("pg-mission", &["--engine", &url]);
    mission::check(&tree);
    let shown = url.replace("hidden", "***");
    let database = tree.ok(&["check", tree.data.join("tollgate.toml").to_str().unwrap()]);
    assert!(database.contains(&format!("16 partitions on {shown}")), "{database}");
    assert!(tree.ok(&["partitions"]).contains("a/15"));
    tree.ok(&["status"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
    // It is remembered, and its books are not left behind by a slip.
    let refused = tree.run(&["up", "--edge", &tree.edge.to_string(), "--engine", "sqlite:here"]);
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("has the books of service a in {shown}")), "{stderr}");
    tree.start();
    let balance = tree.client().get("/v1/a/accounts/alice-0/balance").unwrap().json();
    assert_eq!(balance["posted"], 3_000, "{balance}");
    tree.ok(&["verify"]);
    assert!(!tree.logs().contains("hidden"), "{}", tree.logs());
    for name in ["tree.json", "logs"] {
        let path = tree.data.join(name);
        assert!(!fs::read_to_string(path).unwrap_or_default().contains("hidden"), "{name}");
    }
}

#[test]
fn transfers_survive_killed_nodes() {
    let Some(cluster) = cluster() else { return };
    let url = database(cluster, "transfers");
    money::transfers_while_nodes_die(&Tree::up_with("pg-transfers", &["--engine", &url]));
}

#[test]
fn a_database_that_is_not_there_is_said_so_at_the_start() {
    let folder = crate::harness::Folder::new("pg-nobody");
    let (edge, nobody) = (free_addr().to_string(), free_addr());
    let url = format!("postgres://u:hidden@{nobody}/books");
    let ran = folder.tollgate(["up", "--data", "d", "--edge", &edge, "--engine", &url]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("postgres://u:***@{nobody}/books")), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot be reached"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hidden"), "{}", ran.stderr);
}

#[test]
fn no_history_shows_that_an_owner_died_or_hung_or_that_the_database_was_away() {
    // Of this test alone: it stops it.
    let Some(cluster) = Cluster::start(&[], &[]) else { return };
    let url = database(&cluster, "faults");
    let mut tree = Tree::up_with("pg-faults", &["--engine", &url]);
    assert_eq!(owners(&tree), homes());
    let count = judged(&tree, |load| {
        load.answers(SOME);
        // Dead, and it stays down.
        tree.ok(&["node", "a-1", "kill"]);
        load.answers(SOME);
        tree.until("a-2 has all", |tree| all_are_at(tree, "a-2"));
        tree.ok(&["node", "a-1", "start"]);
        tree.until("a-1 has its share", |tree| owners(tree) == homes());
        load.answers(SOME);
        // It hangs, and is deposed by time alone: nobody can end it from elsewhere.
        let pid = tree.pids().into_iter().find(|(name, _)| name == "a-2").unwrap().1;
        tree.signal("a-2", "STOP");
        tree.until("a-1 has all", |tree| all_are_at(tree, "a-1"));
        load.answers(SOME);
        // It goes on, finds out, and joins anew.
        tree.signal("a-2", "CONT");
        tree.until("a-2 was started again", |tree| is_another(tree, "a-2", pid));
        tree.until("a-2 has its share", |tree| owners(tree) == homes());
        load.answers(SOME);
        // The database crashes, and comes back.
        cluster.stop();
        tree.until("it is said that the engine is away", |tree| {
            let answer = tree.client().get("/v1/a/accounts/acc-0/balance").unwrap();
            answer.status == 503 && answer.code() == "engine_unavailable"
        });
        cluster.restart();
        load.answers(SOME);
    });
    println!("{count} requests judged");
    tree.ok(&["verify"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
}

#[test]
fn partitions_move_and_nodes_come_and_go_and_no_request_fails() {
    let Some(cluster) = cluster() else { return };
    let url = database(cluster, "moves");
    let tree = Tree::up_with("pg-moves", &["--engine", &url]);
    let sent = under_load(&tree, |load| {
        load.answers(SOME);
        for node in ["a-2", "a-1"] {
            for partition in ["a/0", "a/5"] {
                tree.ok(&["partitions", "move", partition, node]);
            }
            println!("moved to {node}: slowest of {SOME} answers {} ms", load.answers(SOME));
        }
        for partition in ["a/0", "a/5"] {
            tree.ok(&["partitions", "move", partition]);
        }
        tree.ok(&["node", "a-1", "drain"]);
        assert!(all_are_at(&tree, "a-2"), "{:?}", owners(&tree));
        println!("a-1 drained: slowest of {SOME} answers {} ms", load.answers(SOME));
        tree.ok(&["node", "a-1", "start"]);
        one_comes_and_all_restart(&tree, load);
    });
    println!("{sent} requests, none failed");
    tree.ok(&["verify"]);
}

/// A small tree whose one service is kept in these databases.
fn on(urls: &[String], edge: std::net::SocketAddr) -> String {
    let engines: Vec<String> = urls.iter().map(|it| format!("{it:?}")).collect();
    let addrs: Vec<_> = (0..4).map(|_| free_addr()).collect();
    let account = |name: &str, trunk| {
        format!(
            "[[nodes]]\nname = \"{name}\"\nrole = \"account\"\nservice = \"a\"\ntrunk = \"{trunk}\"\n"
        )
    };
    format!(
        "name = \"spread\"\n[services.a]\nengine = [{}]\npartitions = 8\n\
         [[nodes]]\nname = \"edge\"\nrole = \"gateway\"\nhttp = \"{edge}\"\n{}{}",
        engines.join(", "),
        account("a-1", addrs[0]),
        account("a-2", addrs[1]),
    )
}

#[test]
fn a_service_on_two_databases_is_one_service() {
    let Some(cluster) = cluster() else { return };
    let urls = ["one", "two"].map(|name| database(cluster, name));
    let mut tree = Tree::of("pg-two", |edge| on(&urls, edge));
    let mut client = tree.client();
    let mut ids: Vec<String> = Vec::new();
    for number in 0..40 {
        let open = format!(r#"{{"id":"acc-{number}","currency":"EUR"}}"#);
        assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
        ids.insert(0, format!("acc-{number}"));
        let credit = r#"{"amount":100,"currency":"EUR"}"#;
        let path = format!("/v1/a/accounts/acc-{number}/credit");
        assert_eq!(client.post(&path, credit).unwrap().status, 201);
    }
    // One list, newest first, in pages.
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/a/accounts?limit=7{after}")).unwrap().json();
        let rows = page["data"].as_array().unwrap();
        listed.extend(rows.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        if page["has_more"] != true {
            break;
        }
        after = format!("&starting_after={}", page["next_cursor"].as_str().unwrap());
    }
    assert_eq!(listed, ids);
    let trial = client.get("/v1/a/trial-balance").unwrap().json();
    assert_eq!((&trial["balanced"], trial["heads"].as_object().unwrap().len()), (&true.into(), 8));
    assert_eq!(trial["currencies"][0]["credits"], 4_000, "{trial}");
    // Each database has the records of its own partitions, and of no other.
    for (name, remainder) in [("one", 0), ("two", 1)] {
        let sql = "SELECT count(*), min(partition % 2), max(partition % 2) FROM tollgate_a.journal";
        let found = cluster.psql(name, sql);
        assert!(found.ends_with(&format!("|{remainder}|{remainder}")), "{name}: {found}");
    }
    tree.ok(&["node", "a-1", "kill"]);
    for number in 0..40 {
        let balance = client.get(&format!("/v1/a/accounts/acc-{number}/balance")).unwrap().json();
        assert_eq!(balance["posted"], 100, "{balance}");
    }
    tree.ok(&["verify"]);
    tree.ok(&["node", "a-1", "start"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
    // Another list would look for accounts where they are not.
    let file = tree.config.clone().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let second = format!(", {:?}", urls[1]);
    assert!(text.contains(&second));
    fs::write(&file, text.replacen(&second, "", 1)).unwrap();
    let refused = tree.run(&["up", "--config", file.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    let told = "place among the service's engines \"1 of 2\", and is opened with \"1 of 1\"";
    assert!(stderr.contains(told), "{stderr}");
}
