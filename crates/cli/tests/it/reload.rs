//! The topology file changes under a running tree, and no request fails.

use crate::{load::under_load, tree::Tree};
use serde_json::Value;
use std::{fs, path::PathBuf};

const SOME: usize = 120;
const BOTH: &str = r#"["gateway-1", "gateway-2"]"#;

/// The file of a tree, and what it was at first.
struct File {
    path: PathBuf,
    first: String,
}

impl File {
    fn of(tree: &Tree) -> File {
        let path = tree.data.join("tollgate.toml");
        let first = fs::read_to_string(&path).unwrap();
        File { path, first }
    }

    /// Writes the file as it was at first, with every `from` made `to`.
    fn change(&self, from: &str, to: &str) {
        assert!(self.first.contains(from), "{from}");
        fs::write(&self.path, self.first.replace(from, to)).unwrap();
    }

    fn restore(&self) {
        fs::write(&self.path, &self.first).unwrap();
    }

    /// The lines of a node.
    fn node(&self, name: &str) -> &str {
        let from = self.first.find(&format!("[[nodes]]\nname = \"{name}\"")).unwrap();
        let rest = &self.first[from..];
        let length = rest[1..].find("[[nodes]]").map_or(rest.len(), |it| it + 1);
        &rest[..length]
    }
}

#[test]
fn endpoints_and_nodes_come_and_go_under_load() {
    let tree = Tree::up("reload");
    let file = File::of(&tree);
    under_load(&tree, |load| {
        load.answers(SOME);
        assert_eq!(tree.ok(&["reload"]), "10 nodes unchanged\n");

        // One gateway less, but still there.
        file.change(BOTH, r#"["gateway-1"]"#);
        let told = tree.ok(&["reload"]);
        assert!(told.contains("nodes[layer2-1].endpoints: without gateway-2 at "), "{told}");
        assert!(told.contains("7 nodes unchanged"), "{told}");
        let gateway = tree.admin("gateway-2");
        tree.until("it has nothing in flight", |_| gateway.status()["in_flight"] == 0);
        let before = gateway.status()["relayed"].clone();
        load.answers(SOME);
        assert_eq!(gateway.status()["relayed"], before);
        assert_eq!(tree.admin("layer2-1").status()["config_generation"], 2);
        assert_eq!(tree.admin("layer2-1").status()["last_reload"]["ok"], true);

        // Gone altogether, and back as a new node.
        let without = file.first.replace(file.node("gateway-2"), "");
        fs::write(&file.path, without.replace(BOTH, r#"["gateway-1"]"#)).unwrap();
        let told = tree.ok(&["reload"]);
        assert!(told.contains("gateway-2\n  drained and stopped\n"), "{told}");
        assert!(!names(&tree.status()).contains(&"gateway-2".to_owned()));
        load.answers(SOME);
        file.restore();
        let told = tree.ok(&["reload"]);
        assert!(told.contains("gateway-2\n  started\n"), "{told}");
        assert!(told.contains("with gateway-2 at "), "{told}");
        tree.until("it gets requests", |tree| tree.admin("gateway-2").status()["relayed"] != 0);
        load.answers(SOME);

        // By signal, to one node alone.
        file.change("role = \"balancer\"\n", "role = \"balancer\"\ndrain = \"7s\"\n");
        let layer = tree.admin("layer2-2");
        tree.signal("layer2-2", "HUP");
        tree.until("it has reloaded", |_| {
            let told = &layer.status()["last_reload"]["changes"];
            told.as_array().is_some_and(|it| it[0] == "nodes[layer2-2].drain: 10s to 7s")
        });
        load.answers(SOME);
    });
    // As on a machine where nobody runs `up`: each node at its admin address.
    let told = tree.ok(&["reload", "--config", file.path.to_str().unwrap(), "layer2-1"]);
    assert!(told.contains("nodes[layer2-1].drain: 10s to 7s"), "{told}");
    assert!(tree.ok(&["reload", "edge"]).contains("nodes[edge].drain: 10s to 7s"));
}

#[test]
fn what_cannot_be_taken_is_refused_whole_and_the_tree_goes_on() {
    let tree = Tree::up("refused");
    let file = File::of(&tree);
    let refused = |expected: &[&str]| {
        let ran = tree.run(&["reload"]);
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{stderr}");
        for text in expected {
            assert!(stderr.contains(text), "{text}: {stderr}");
        }
    };
    under_load(&tree, |load| {
        load.answers(SOME);
        // Every mistake is told, and the good half of the change is not taken.
        file.change(BOTH, "[\"gateway-1\", \"gateway-7\"]\npolicy = \"wheel\"");
        refused(&["gateway-7", "wheel", "layer2-2", "nothing has changed"]);
        assert_eq!(tree.admin("layer2-1").post("/admin/reload", "").status, 409);
        assert_eq!(tree.admin("layer2-1").status()["last_reload"]["ok"], false);
        // A node that dies meanwhile is started with what is in force.
        tree.kill("gateway-1");
        tree.until("it is back", |tree| tree.state("gateway-1") == "ready");
        load.answers(SOME);
        file.change("partitions = 16", "partitions = 8");
        refused(&["services.a.partitions: 16 to 8 needs a restart"]);
        fs::write(&file.path, "name = ").unwrap();
        refused(&["not TOML"]);
        fs::remove_file(&file.path).unwrap();
        refused(&["No such file"]);
        load.answers(SOME);
        file.restore();
        assert_eq!(tree.ok(&["reload"]), "10 nodes unchanged\n");
        assert_eq!(tree.admin("layer2-1").status()["config_generation"], 1);
        assert_eq!(tree.run(&["reload", "gateway-9"]).status.code(), Some(1));
    });
}

/// A gateway takes another key at once, and from then on refuses the one before.
#[test]
fn a_key_is_changed_without_a_restart() {
    let tree = Tree::up("key");
    let mut client = tree.client();
    assert_eq!(client.get("/v1/a/accounts").unwrap().status, 200);
    fs::write(tree.data.join("admin.key"), "tg_admin_another\n").unwrap();
    let told = tree.ok(&["reload"]);
    assert!(told.contains("gateway-1\n  api_key: another one\n"), "{told}");
    assert_eq!(client.get("/v1/a/accounts").unwrap().status, 401);
    let key = [("Authorization", "Bearer tg_admin_another")];
    assert_eq!(client.send("GET", "/v1/a/accounts", &key, b"").unwrap().status, 200);
}

fn names(status: &Value) -> Vec<String> {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}
