//! `tollgate up` where it refuses, or gives up.

use crate::harness::Folder;
use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
};

#[test]
fn a_foreign_folder_is_left_alone() {
    let folder = Folder::new("up-foreign");
    fs::create_dir(folder.path.join("photos")).unwrap();
    folder.write("photos/cat.png", "");
    folder.write("file", "");
    folder.tollgate(["up", "--data", "photos"]).fails(
        1,
        "error: photos is not empty and no data folder of tollgate\n\n\
         hint: name a folder that is empty or does not exist yet: --data DIR\n",
    );
    assert_eq!(folder.entries("photos"), ["cat.png"]);
    folder.tollgate(["up", "--data", "file"]).fails(1, "error: file is not a folder\n");
}

#[test]
fn an_address_in_use_is_refused_with_its_holder() {
    let folder = Folder::new("up-busy");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = folder.tollgate(["up", "--edge", &address]);
    let holder = format!("error: {address} is in use by process {} (", std::process::id());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with(&holder), "{}", ran.stderr);
    assert!(
        ran.stderr.ends_with("\n\nhint: name another address for clients: --edge ADDR\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(folder.entries("."), [""; 0], "nothing is left behind");
    // Nor in a folder that was there, and not above one that was not.
    fs::create_dir(folder.path.join("empty")).unwrap();
    let tree = format!(
        "name = \"x\"\n[services.a]\nhttp = [\"http://127.0.0.1:9\"]\n[[nodes]]\nname = \"edge\"\n\
         role = \"balancer\"\nhttp = \"{address}\"\nendpoints = [\"a\"]\n"
    );
    folder.write("tree.toml", &tree);
    for data in ["empty", "some/where"] {
        for given in [["--edge", &address], ["--config", "tree.toml"]] {
            let ran = folder.tollgate(["up", "--data", data, given[0], given[1]]);
            assert!(ran.code == Some(1) && ran.stderr.starts_with(&holder), "{ran:?}");
        }
    }
    assert_eq!(folder.entries("."), ["empty", "tree.toml"]);
    assert_eq!(folder.entries("empty"), [""; 0]);
}

#[test]
fn a_data_folder_in_use_is_refused_with_its_holder() {
    let folder = Folder::new("up-locked");
    fs::create_dir(folder.path.join("d")).unwrap();
    let mut lock = File::create(folder.path.join("d/up.lock")).unwrap();
    lock.lock().unwrap();
    writeln!(lock, "{}", std::process::id()).unwrap();
    let ran = folder.tollgate(["up", "--data", "d", "--edge", "127.0.0.1:0"]);
    let holder = format!("error: d is in use by process {} (", std::process::id());
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with(&holder), "{}", ran.stderr);
    assert_eq!(folder.entries("d"), ["up.lock"]);
}

#[test]
fn a_node_that_ends_at_once_ends_the_start_with_its_log() {
    let folder = Folder::new("up-hopeless");
    fs::create_dir(folder.path.join("no-key")).unwrap();
    // A folder where a key should be: the gateway cannot read it, whatever else works.
    folder.write(
        "tree.toml",
        "name = \"x\"\napi_key = \"no-key\"\n[[nodes]]\nname = \"gate\"\nrole = \"gateway\"\n\
         http = \"127.77.0.2:7000\"\n", // An address of this test alone.
    );
    let ran = folder.tollgate(["up", "--config", "tree.toml", "--data", "d"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let told = "error: gate ends as soon as it is started; the end of d/logs/gate.log:\n\n";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot read the key"), "{}", ran.stderr);
    let mode = |name: &str| fs::metadata(folder.path.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("cluster.key") & 0o777, 0o600);
    assert_eq!(mode("d/ping.key") & 0o777, 0o600);
    let key = fs::read_to_string(folder.path.join("cluster.key")).unwrap();
    assert!(key.starts_with("tg_cluster_") && key.ends_with('\n'), "{key:?}");
}
