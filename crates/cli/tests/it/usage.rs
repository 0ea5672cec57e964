//! Commands that make no sense, or not here.

use crate::harness::Folder;

#[test]
fn usage_errors_exit_2() {
    let folder = Folder::new("usage");
    for arguments in [
        ["frobnicate", "", ""],
        ["node", "a-1", "hug"],
        ["up", "--edge", "nowhere"],
        ["up", "--notify", "ftp://x"],
        ["up", "--smtp", "mail"],
        ["up", "--engine", "mysql://x"],
        ["account", "debit", "alice"],
        ["account", "show", "a/b/c"],
        ["account", "open", "--currency=ZZZ"],
    ] {
        let ran = folder.tollgate(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert_ne!(ran.stderr, "", "{arguments:?}");
    }
    assert_eq!(folder.entries(""), [""; 0]);
}

#[test]
fn the_version_is_told() {
    let ran = Folder::new("version").tollgate(["--version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout, concat!("tollgate ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn without_a_tree_there_is_a_hint() {
    let folder = Folder::new("no-tree");
    let stderr = "error: no tree is running in tollgate-data\n\n\
                  hint: start it with `tollgate up`, or name its folder with --data DIR\n";
    folder.tollgate(["status"]).fails(1, stderr);
    folder.tollgate(["node", "a-1", "kill"]).fails(1, stderr);
    folder.tollgate(["node", "a-1", "drain"]).fails(1, stderr);
    folder.tollgate(["reload"]).fails(1, stderr);
    folder.tollgate(["partitions"]).fails(1, stderr);
    folder.tollgate(["partitions", "move", "a/3", "a-1"]).fails(1, stderr);
    folder.tollgate(["account", "show", "alice"]).fails(
        1,
        "error: no tree is known in tollgate-data\n\n\
         hint: start one with `tollgate up`, or say where it is: --url URL --key-file FILE\n",
    );
    assert_eq!(folder.entries(""), [""; 0]);
}

#[test]
fn nobody_listening_is_told() {
    let folder = Folder::new("nobody");
    folder.write("key", "tg_admin_x\n");
    // An address of this test alone, where nobody listens.
    let url = "http://127.77.0.1:1";
    let ran = folder.tollgate(["account", "show", "alice", "--url", url, "--key-file", "key"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with(&format!("error: no answer from {url}: ")), "{}", ran.stderr);
}

#[test]
fn run_names_the_nodes_that_there_are() {
    let folder = Folder::new("run-unknown");
    folder.write(
        "tollgate.toml",
        "name = \"x\"\n[[nodes]]\nname = \"gate\"\nrole = \"gateway\"\nhttp = \"127.0.0.1:1\"\n",
    );
    folder
        .tollgate(["run", "gatt", "--config", "tollgate.toml"])
        .fails(1, "error: no node is called \"gatt\"\n\nhint: the nodes are gate\n");
}
