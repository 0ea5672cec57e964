//! Transfers: a gateway takes each step once the one before is journaled, says what it does not
//! know yet, and ends what another has left.

use super::*;
use wire::{Action, Command, Delivery, Done, TransactionId, Transfer, TransferId, transfer::Party};

fn body() -> String {
    let [from, to] = accounts();
    format!(
        r#"{{"from":{{"service":"a","account":"{from}"}},"to":{{"service":"a","account":"{to}"}},"amount":5,"currency":"EUR"}}"#
    )
}

fn pending() -> Transfer {
    let [from, to] = accounts();
    let party = |id: &str| Party { service: "a".into(), account: AccountId::parse(id).unwrap() };
    Transfer {
        id: TransferId::from_bits(7),
        from: party(from),
        to: party(to),
        amount: wire::Amount::new(5).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        end: None,
        created_at: Timestamp(1),
    }
}

fn credited() -> Delivery {
    Delivery::Credited(TransactionId::from_bits(8))
}

/// As ledgers do: sent, received, settled.
fn done(action: &Action) -> Reply {
    let done = match action {
        Action::Send(_) => Done::Transferred(pending()),
        Action::Receive(receive) => {
            assert_eq!(*receive, pending().receive());
            Done::Delivered(credited())
        }
        Action::Settle(settle) => {
            assert_eq!(*settle, pending().settle(credited()));
            Done::Transferred(Transfer { end: Some((credited(), Timestamp(2))), ..pending() })
        }
        Action::Open { .. }
        | Action::Update(_)
        | Action::Post(_)
        | Action::Hold(_)
        | Action::EndHold(_)
        | Action::Reverse(_) => panic!("{action:?}"),
    };
    Reply::Outcome(Outcome::Done(done))
}

fn action(call: Call) -> Action {
    let Call::Execute(Command { action, .. }) = call else { panic!("{call:?}") };
    action
}

async fn transfer(gateway: &Front) -> (u16, serde_json::Value) {
    let (status, answer) = ask(gateway, "POST", "/v1/transfers", &body()).await;
    (status, serde_json::from_str(&answer).unwrap())
}

#[test]
fn the_steps_follow_each_other() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| Some(done(&action(call)))).await;
        let two = Node::start("a-2", &[1], |_, call, _| Some(done(&action(call)))).await;
        let gateway = gateway(&[&one, &two], AMPLE);
        let (status, answer) = transfer(&gateway).await;
        assert_eq!((status, &answer["status"]), (201, &"completed".into()));
        assert_eq!(answer["credit"], TransactionId::from_bits(8).to_string());
        assert_eq!((one.seen.get(), two.seen.get()), (2, 1), "sent and settled, received");
    });
}

#[test]
fn what_cannot_be_delivered_in_time_is_pending_and_goes_on_with_a_repeat() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| Some(done(&action(call)))).await;
        let two = Node::start("a-2", &[1], |node, call, _| {
            // The first time nobody answers.
            (node.seen.get() != 1).then(|| done(&action(call)))
        })
        .await;
        let gateway = gateway(&[&one, &two], SHORT);
        let (status, answer) = transfer(&gateway).await;
        assert_eq!((status, &answer["status"]), (201, &"pending".into()));
        assert_eq!((&answer["credit"], &answer["completed_at"]), (&().into(), &().into()));
        let (status, again) = transfer(&gateway).await;
        assert_eq!((status, &again["status"]), (201, &"completed".into()));
        assert_eq!(again["id"], answer["id"]);
    });
}

#[test]
fn without_the_money_nothing_is_delivered() {
    run(async {
        let one = Node::start("a-1", &[0], |_, call, _| refused(call)).await;
        let two = Node::start("a-2", &[1], |_, call, _| Some(done(&action(call)))).await;
        let gateway = gateway(&[&one, &two], AMPLE);
        let (status, answer) = transfer(&gateway).await;
        assert_eq!((status, &answer["code"]), (409, &"account_frozen".into()));
        assert_eq!((one.seen.get(), two.seen.get()), (1, 0));
    });
}

#[test]
fn an_unknown_send_is_unknown() {
    run(async {
        let one = Node::start("a-1", &[0, 1], |_, _, _| None).await;
        let gateway = gateway(&[&one], SHORT);
        let (status, answer) = transfer(&gateway).await;
        assert_eq!((status, &answer["code"]), (504, &"outcome_unknown".into()));
    });
}

#[test]
fn what_another_gateway_left_is_ended() {
    run(async {
        let settled = Rc::new(Cell::new(false));
        let seen = Rc::clone(&settled);
        let node = Node::start("a-1", &[0, 1], move |_, call, _| match call {
            Call::Query(Query::Pending) if seen.get() => Some(Reply::Pending(Vec::new())),
            Call::Query(Query::Pending) => Some(Reply::Pending(vec![pending()])),
            call @ (Call::Execute(_) | Call::Query(_) | Call::Batch(_) | Call::Reverse(_)) => {
                let action = action(call);
                seen.set(seen.get() || matches!(action, Action::Settle(_)));
                Some(done(&action))
            }
        })
        .await;
        let gateway = gateway(&[&node], AMPLE);
        let services = gateway.desk.services.clone();
        let resuming = spawn_local(super::super::transfers::resume(services));
        while !settled.get() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        resuming.abort();
    });
}
