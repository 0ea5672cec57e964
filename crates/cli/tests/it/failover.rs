//! Account nodes die, hang, leave and return while clients go on: their siblings serve their
//! partitions, and no history shows it.

use crate::{
    history::judged,
    load::{Load, under_load},
    tree::{Tree, free_addr},
};
use serde_json::Value;
use std::fs;

/// Enough for every account to have been asked several times.
const SOME: usize = 200;

/// The owners of the partitions of service `a`, in order.
pub(crate) fn owners(tree: &Tree) -> Vec<String> {
    let told: Value = serde_json::from_str(&tree.ok(&["partitions", "--json"])).unwrap();
    let of_a = told["partitions"].as_array().unwrap().iter().filter(|it| it["service"] == "a");
    of_a.map(|it| it["owner"].as_str().unwrap_or("-").to_owned()).collect()
}

pub(crate) fn all_are_at(tree: &Tree, name: &str) -> bool {
    owners(tree).iter().all(|it| it == name)
}

/// Whether the node is ready again, as another process than it was.
pub(crate) fn is_another(tree: &Tree, name: &str, pid: u32) -> bool {
    let status = tree.status();
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().any(|it| it["name"] == name && it["pid"] != pid && it["state"] == "ready")
}

pub(crate) fn homes() -> Vec<&'static str> {
    ["a-1", "a-2"].into_iter().cycle().take(16).collect()
}

/// A third node comes by a changed file; then every account node of the service is stopped and
/// started, one after the other.
pub(crate) fn one_comes_and_all_restart(tree: &Tree, load: &Load) {
    let path = tree.data.join("tollgate.toml");
    let trunk = free_addr();
    let more = format!(
        "\n[[nodes]]\nname = \"a-3\"\nrole = \"account\"\nservice = \"a\"\ntrunk = \"{trunk}\"\n"
    );
    fs::write(&path, fs::read_to_string(&path).unwrap() + &more).unwrap();
    let told = tree.ok(&["reload"]);
    assert!(told.contains("a-3\n  started\n"), "{told}");
    tree.until("a-3 has its share", |tree| {
        owners(tree).iter().filter(|it| *it == "a-3").count() == 5
    });
    load.answers(SOME);
    for node in ["a-1", "a-2", "a-3"] {
        assert!(tree.ok(&["node", node, "stop"]).contains("stopped"), "{node}");
        assert!(owners(tree).iter().all(|it| it != node), "{node}: {:?}", owners(tree));
        load.answers(SOME);
        tree.ok(&["node", node, "start"]);
        println!("{node} restarted: slowest of {SOME} answers {} ms", load.answers(SOME));
    }
}

#[test]
fn a_node_comes_and_all_restart_and_nobody_notices() {
    let tree = Tree::up("newcomer");
    let sent = under_load(&tree, |load| {
        load.answers(SOME);
        one_comes_and_all_restart(&tree, load);
    });
    println!("{sent} requests, none failed");
    tree.ok(&["verify"]);
}

#[test]
fn siblings_serve_what_a_dead_a_hanging_and_a_leaving_node_had() {
    let mut tree = Tree::up("failover");
    assert_eq!(owners(&tree), homes());
    let count = judged(&tree, |load| {
        load.answers(SOME);
        // Dead, and it stays down.
        tree.ok(&["node", "a-1", "kill"]);
        load.answers(SOME);
        tree.until("a-2 has all", |tree| all_are_at(tree, "a-2"));
        load.answers(SOME);
        // It returns, and gets its share back.
        tree.ok(&["node", "a-1", "start"]);
        tree.until("a-1 has its share", |tree| owners(tree) == homes());
        load.answers(SOME);
        // It hangs, perhaps within its turn to write: its sibling ends it.
        let pid = tree.pids().into_iter().find(|(name, _)| name == "a-2").unwrap().1;
        tree.signal("a-2", "STOP");
        load.answers(SOME);
        tree.until("a-2 was ended and is started again", |tree| is_another(tree, "a-2", pid));
        load.answers(SOME);
        tree.until("a-2 has its share", |tree| owners(tree) == homes());
        load.answers(SOME);
    });
    println!("{count} requests judged");
    tree.ok(&["verify"]);
    assert!(tree.drain(), "the drain failed: {}", tree.logs());
}

#[test]
fn partitions_are_moved_and_nodes_are_drained_and_nobody_notices() {
    let tree = Tree::up("handover");
    let sent = under_load(&tree, |load| {
        load.answers(SOME);
        for node in ["a-2", "a-1", "a-2"] {
            for partition in ["a/0", "a/5", "a/11"] {
                tree.ok(&["partitions", "move", partition, node]);
            }
            println!("moved to {node}: slowest of {SOME} answers {} ms", load.answers(SOME));
            let owners = owners(&tree);
            assert_eq!([&owners[0], &owners[5], &owners[11]], [node; 3]);
        }
        for partition in ["a/0", "a/5", "a/11"] {
            tree.ok(&["partitions", "move", partition]);
        }
        for (node, other) in [("a-1", "a-2"), ("a-2", "a-1")] {
            tree.ok(&["node", node, "drain"]);
            assert!(all_are_at(&tree, other), "{:?}", owners(&tree));
            println!("{node} drained: slowest of {SOME} answers {} ms", load.answers(SOME));
            tree.ok(&["node", node, "start"]);
            tree.ok(&["node", node, "stop"]);
            println!("{node} stopped: slowest of {SOME} answers {} ms", load.answers(SOME));
            tree.ok(&["node", node, "start"]);
            tree.until("it has its share", |tree| owners(tree) == homes());
        }
    });
    println!("{sent} requests, none failed");
    let refused = tree.run(&["partitions", "move", "a/16", "a-1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("16 partitions"), "{refused:?}");
    assert_eq!(tree.run(&["partitions", "move", "a/1", "b-1"]).status.code(), Some(1));
    assert!(tree.ok(&["partitions"]).contains("last moves"));
}
