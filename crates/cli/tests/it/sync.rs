//! Commits are synced: seen from outside, by the system calls of the account node.

use crate::tree::Tree;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const DEBITS: usize = 20;

/// One debit after the other, so each is a commit of its own: at least one fdatasync each, before
/// its answer.
#[test]
fn every_commit_calls_fdatasync() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let tree = Tree::up("sync");
    let mut client = tree.client();
    client.post("/v1/a/accounts", r#"{"id":"alice","currency":"EUR"}"#).unwrap();
    let pids: Vec<_> = tree.pids().into_iter().filter(|(name, _)| name.starts_with("a-")).collect();
    assert_eq!(pids.len(), 2);
    let trace = tree.data.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
    for (_, pid) in &pids {
        strace.arg("-p").arg(pid.to_string());
    }
    let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
    let mut words = BufReader::new(strace.stderr.take().unwrap()).lines();
    for _ in &pids {
        let line = words.next().and_then(Result::ok).unwrap_or_default();
        if !line.contains("attached") {
            drop(strace.kill());
            drop(strace.wait());
            println!("skipped: strace may not attach here: {line}");
            return;
        }
    }
    for _ in 0..DEBITS {
        let credit = r#"{"amount":1,"currency":"EUR"}"#;
        assert_eq!(client.post("/v1/a/accounts/alice/credit", credit).unwrap().status, 201);
    }
    let stopped = Command::new("kill").arg("-INT").arg(strace.id().to_string()).status().unwrap();
    assert!(stopped.success());
    strace.wait().unwrap();
    let calls = fs::read_to_string(&trace).unwrap();
    let synced = calls.lines().filter(|line| line.contains("fdatasync(")).count();
    assert!(DEBITS <= synced, "{synced} calls for {DEBITS} commits:\n{calls}");
}
