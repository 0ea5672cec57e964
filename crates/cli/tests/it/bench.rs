//! `tollgate bench` through a whole tree: it measures, asks again about what a kill left open, and
//! finds the books right.

use crate::{harness::Folder, tree::Tree};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

#[test]
fn a_run_with_a_kill_in_it_ends_with_books_that_are_right() {
    survives_kills("bench", "--rate 200 --workload mixed");
}

#[test]
fn batches_with_a_kill_among_them_end_with_books_that_are_right() {
    survives_kills("bench-batch", "--rate 20 --workload batch --batch 40");
}

fn survives_kills(name: &str, load: &str) {
    let tree = Tree::up(name);
    let page = tree.data.join("report.html");
    let arguments = format!(
        "bench {load} --duration 2s --warm-up 0s --window 100ms --accounts 20 --service a,b \
         --lines --html"
    );
    let arguments: Vec<&str> =
        arguments.split_whitespace().chain([page.to_str().unwrap()]).collect();
    let mut bench = tree.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bench.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(first["at_ms"], 0);
    // Under load, so what it had been given is asked for again.
    tree.ok(&["node", "gateway-1", "kill"]);
    tree.ok(&["node", "a-1", "kill"]);
    tree.ok(&["node", "a-1", "start"]);
    tree.ok(&["node", "gateway-1", "start"]);
    let report: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    assert!(bench.wait().unwrap().success(), "{report}");
    let audit = &report["audit"];
    assert_eq!(audit["faults_count"], 0, "{audit}");
    assert_eq!(audit["gaps"].as_array().unwrap().len(), 0, "{audit}");
    assert_eq!(audit["histories"], 20);
    let entries = audit["entries"].as_u64().unwrap();
    let writes = audit["writes"].as_u64().unwrap();
    assert_eq!(entries, 20 + writes, "the credits of the set-up, and what was acknowledged");
    assert!(fs::read_to_string(page).unwrap().contains("<svg"));
    tree.ok(&["verify"]);
}

#[test]
fn generators_side_by_side_make_one_report() {
    let tree = Tree::up("bench-processes");
    let arguments = "bench --processes 3 --rate 90 --connections 6 --duration 1s --warm-up 0s \
                     --accounts 12 --service a,b --fail-on errors --json -";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let report: Value = serde_json::from_str(&tree.ok(&arguments)).unwrap();
    assert_eq!(
        (&report["asked"]["rate"], &report["asked"]["connections"]),
        (&90.into(), &6.into())
    );
    assert_eq!(report["counts"]["ok"], 90, "{report}");
    assert_eq!(report["latency"]["count"], 90);
    assert_eq!(
        (&report["audit"]["histories"], &report["audit"]["faults_count"]),
        (&12.into(), &0.into())
    );
}

#[test]
fn a_bench_that_makes_no_sense_is_refused_before_it_begins() {
    let folder = Folder::new("bench-usage");
    for arguments in [
        ["bench", "--workload", "dance"],
        ["bench", "--duration", "10"],
        ["bench", "--fail-on", "p98=1s"],
        ["bench", "--compare", "one.json"],
        ["bench", "--processes", "65"],
    ] {
        assert_eq!(folder.tollgate(arguments).code, Some(2), "{arguments:?}");
    }
    folder.write("one.json", "{}");
    let ran = folder.tollgate(["bench", "--compare", "one.json", "one.json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("missing field"), "{}", ran.stderr);
    let ran = folder.tollgate(["bench"]);
    assert!(ran.stderr.contains("no tree is known"), "{}", ran.stderr);
}
