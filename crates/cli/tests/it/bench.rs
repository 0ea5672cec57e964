//! `tollgate bench` through a whole tree: it measures, asks again about what a kill left open, and
//! finds the books right.

use crate::{harness::Folder, http::Client, tree::Tree};
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
    let load = format!("{load} --html {}", page.display());
    let (is_right, report) = while_it_runs(&tree, &load, |_| {
        // Under load, so what it had been given is asked for again.
        for (node, verb) in
            [("gateway-1", "kill"), ("a-1", "kill"), ("a-1", "start"), ("gateway-1", "start")]
        {
            tree.ok(&["node", node, verb]);
        }
    });
    assert!(is_right, "{report}");
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
fn transfers_with_kills_among_them_end_with_books_that_are_right() {
    let tree = Tree::up("bench-transfers");
    let load = "--rate 60 --workload transfers --connections 64";
    let (is_right, report) = while_it_runs(&tree, load, |_| {
        for verb in ["kill", "start"] {
            for node in ["gateway-1", "b-1", "a-1"] {
                tree.ok(&["node", node, verb]);
            }
        }
    });
    let (counts, audit) = (&report["counts"], &report["audit"]);
    assert!(is_right, "{audit}");
    assert_eq!((&audit["unknown"], &audit["gaps"]), (&0.into(), &serde_json::json!([])), "{audit}");
    let transfers = audit["transfers"].as_u64().unwrap();
    let done = counts["ok"].as_u64().unwrap() + audit["settled_executed"].as_u64().unwrap();
    assert!(0 < transfers && transfers == done, "{counts}");
    assert_eq!(audit["entries"], 20 + 2 * transfers, "{audit}");
    tree.ok(&["verify"]);
}

#[test]
fn an_entry_that_nobody_of_the_bench_asked_for_is_found() {
    let tree = Tree::up("bench-stranger");
    for load in ["--workload debits", "--workload batch --batch 10", "--workload transfers"] {
        let (is_right, report) = while_it_runs(&tree, &format!("{load} --rate 20"), |client| {
            let accounts = client.get("/v1/a/accounts").unwrap().json();
            let account = accounts["data"][0]["id"].as_str().unwrap();
            let path = format!("/v1/a/accounts/{account}/debit");
            let answer = client.post(&path, r#"{"amount":1234567,"currency":"EUR"}"#).unwrap();
            assert_eq!(answer.status, 201);
        });
        let faults = report["audit"]["faults"].to_string();
        assert!(!is_right && faults.contains("nobody may have asked for"), "{load}: {faults}");
        assert!(faults.contains("1234567"), "{load}: {faults}");
    }
}

/// Two seconds of this load on twenty accounts of both services, and something that is done once it
/// has begun: whether the bench was content, and its report.
fn while_it_runs(tree: &Tree, load: &str, act: impl FnOnce(&mut Client)) -> (bool, Value) {
    let arguments = format!(
        "bench {load} --duration 2s --warm-up 0s --window 100ms --accounts 20 --service a,b --lines"
    );
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let mut bench = tree.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(bench.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(first["at_ms"], 0);
    act(&mut tree.client());
    let report = serde_json::from_str(&lines.last().unwrap()).unwrap();
    (bench.wait().unwrap().success(), report)
}

#[test]
fn many_requests_on_few_connections_of_http2_end_with_books_that_are_right() {
    let tree = Tree::up("bench-http2");
    for (load, of_each) in [
        // More streams than the edge takes, and batches longer than its windows.
        ("--closed --workload debits --connections 2 --streams 120", 1),
        ("--rate 10 --workload batch --batch 2000 --connections 3 --streams 4", 2_000),
        ("--rate 200 --workload mixed --keys minted --connections 4 --connection-requests 20", 1),
    ] {
        let (is_right, report) = while_it_runs(&tree, &format!("{load} --http2"), |_| ());
        assert!(is_right, "{load}: {report}");
        assert_eq!(report["asked"]["protocol"], "HTTP/2");
        let (counts, audit) = (&report["counts"], &report["audit"]);
        assert_eq!(counts["unknown"].as_u64().unwrap() + counts["failed"].as_u64().unwrap(), 0);
        assert_eq!((&audit["faults_count"], &audit["gaps"]), (&0.into(), &serde_json::json!([])));
        let entries = audit["entries"].as_u64().unwrap();
        assert!(20 + of_each <= entries, "{load}: {audit}");
    }
    tree.ok(&["verify"]);
}

#[test]
fn generators_side_by_side_make_one_report() {
    let tree = Tree::up("bench-processes");
    let arguments = "bench --processes 3 --rate 90 --connections 6 --duration 1s --warm-up 0s \
                     --accounts 12 --service a,b --json -";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let report: Value = serde_json::from_str(&tree.ok(&arguments)).unwrap();
    assert_eq!(
        (&report["asked"]["rate"], &report["asked"]["connections"]),
        (&90.into(), &6.into())
    );
    // On a machine so slow that some never went out, those are told.
    let ok = report["counts"]["ok"].as_u64().unwrap();
    assert_eq!(ok + report["unsent"].as_u64().unwrap(), 90, "{report}");
    assert_eq!(report["latency"]["count"], ok);
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
        ["bench", "--rate=5", "--compare=one.json"],
        ["bench", "--processes", "65"],
        ["bench", "--streams", "4"],
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
