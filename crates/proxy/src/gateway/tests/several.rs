//! Batches: what becomes of each item when the owners of some partitions do not answer, or not at
//! once.

use super::*;
use wire::{Batch, Command};

/// A batch with two items of each of the two partitions, in turn: key and code of each outcome.
async fn batch(gateway: &Front, atomic: bool) -> Vec<String> {
    let ids = if atomic { [accounts()[0]; 2] } else { accounts() };
    let item = |at: usize| {
        format!(
            r#"{{"key":"i{at}","account":"{}","kind":"debit","amount":1,"currency":"EUR"}}"#,
            ids[at % 2]
        )
    };
    let items: Vec<_> = (0..4).map(item).collect();
    let body = format!(r#"{{"atomic":{atomic},"transactions":[{}]}}"#, items.join(","));
    let (status, body) = ask(gateway, "POST", "/v1/a/batch", &body).await;
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let outcome = |it: &serde_json::Value| {
        format!("{} {} {}", it["key"].as_str().unwrap(), it["status"], it["code"].as_str().unwrap())
    };
    body["outcomes"].as_array().unwrap().iter().map(outcome).collect()
}

fn commands(call: Call) -> Vec<Command> {
    let Call::Batch(Batch { commands, .. }) = call else { panic!("{call:?}") };
    commands
}

/// The ledger's answer to each command, as good as any.
fn all_refused(call: Call) -> Option<Reply> {
    let refused = |command: Command| {
        let Command { request_id, .. } = command;
        Ok(Outcome::Refused(Refused { refusal: Refusal::AccountFrozen, request_id }))
    };
    Some(Reply::Batch(commands(call).into_iter().map(refused).collect()))
}

const FROZEN: &str = "409 account_frozen";

fn expected(even: &str, odd: &str) -> Vec<String> {
    (0..4).map(|at| format!("i{at} {}", [even, odd][at % 2])).collect()
}

#[test]
fn each_owner_is_asked_once_for_all_its_items() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| all_refused(call)).await;
        let two = Node::start("a-2", &[1], |_, call, _| all_refused(call)).await;
        let gateway = gateway(&[&one, &two], AMPLE);
        assert_eq!(batch(&gateway, false).await, expected(FROZEN, FROZEN));
        assert_eq!((one.seen.get(), two.seen.get()), (1, 1));
        assert_eq!(batch(&gateway, true).await, expected(FROZEN, FROZEN));
        assert_eq!((one.seen.get(), two.seen.get()), (2, 1));
    });
}

#[test]
fn a_partition_that_does_not_answer_costs_its_own_items_only() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| all_refused(call)).await;
        let gateway_one = gateway(&[&one], SHORT);
        let moving = "503 partition_moving";
        assert_eq!(batch(&gateway_one, false).await, expected(FROZEN, moving));
        let silent = Node::start("a-2", &[1], |_, _, _| None).await;
        let gateway = gateway(&[&one, &silent], SHORT);
        let unknown = "504 outcome_unknown";
        assert_eq!(batch(&gateway, false).await, expected(FROZEN, unknown));
    });
}

#[test]
fn what_failed_for_the_moment_is_asked_again_and_nothing_else() {
    run(async {
        let one = Node::start("a-1", &[0, 1], |node, call, _| {
            let commands = commands(call);
            let Some(Reply::Batch(mut items)) =
                all_refused(Call::Batch(Batch { atomic: false, commands: commands.clone() }))
            else {
                panic!()
            };
            // The first of two is decided at once, the second only when it comes alone.
            if commands.len() == 2 {
                items[1] = Err(Failure::NotOwner);
            }
            assert!(node.seen.get() <= 4);
            Some(Reply::Batch(items))
        })
        .await;
        let gateway = gateway(&[&one], AMPLE);
        assert_eq!(batch(&gateway, false).await, expected(FROZEN, FROZEN));
        assert_eq!(one.seen.get(), 4);
    });
}

#[test]
fn an_atomic_batch_is_asked_again_as_a_whole() {
    run(async {
        let one = Node::start("a-1", &[0, 1], |node, call, _| {
            let commands = commands(call);
            assert_eq!(commands.len(), 4);
            match node.seen.get() {
                1 => Some(Reply::Batch(vec![Err(Failure::NotOwner); 4])),
                _ => all_refused(Call::Batch(Batch { atomic: true, commands })),
            }
        })
        .await;
        let gateway = gateway(&[&one], AMPLE);
        assert_eq!(batch(&gateway, true).await, expected(FROZEN, FROZEN));
    });
}
