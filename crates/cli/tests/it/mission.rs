//! What the product is for: money that cannot be spent twice, whoever asks at the same moment.

use crate::{
    http::Client,
    tree::{Tree, place},
};
use std::{sync::Barrier, thread};

/// Balance 75.00 EUR, three debits of 45.00 at the same moment over three connections.
#[test]
fn of_three_debits_at_the_same_moment_one_succeeds() {
    let tree = Tree::up("mission");
    check(&tree);
    assert!(tree.ok(&["verify"]).contains("EUR"));
}

/// One of three debits succeeds, again and again.
pub(crate) fn check(tree: &Tree) {
    let mut client = tree.client();
    for round in 0..20 {
        let account = format!("/v1/a/accounts/alice-{round}");
        let open = format!(r#"{{"id":"alice-{round}","currency":"EUR"}}"#);
        assert_eq!(client.post("/v1/a/accounts", &open).unwrap().status, 201);
        let credit = r#"{"amount":7500,"currency":"EUR"}"#;
        assert_eq!(client.post(&format!("{account}/credit"), credit).unwrap().status, 201);

        let start = Barrier::new(3);
        let codes: Vec<(u16, String)> = thread::scope(|scope| {
            let debits: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = tree.client();
                        start.wait();
                        let debit = r#"{"amount":4500,"currency":"EUR"}"#;
                        let answer = client.post(&format!("{account}/debit"), debit).unwrap();
                        (answer.status, answer.code())
                    })
                })
                .collect();
            debits.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let mut codes = codes;
        codes.sort();
        let refused = (409, "insufficient_funds".to_owned());
        assert_eq!(codes, [(201, "-".to_owned()), refused.clone(), refused]);
        let balance = client.get(&format!("{account}/balance")).unwrap().json();
        assert_eq!(balance["posted"], 3_000, "{balance}");
        assert_eq!(balance["available"], 3_000, "{balance}");
        assert_eq!(balance["version"], 2, "{balance}");
    }
}

const CLIENTS: usize = 50;
const ACCOUNTS: usize = 1_000;

/// 50 clients on 1,000 accounts of both services: each account gets 75.00 and three debits of
/// 45.00 from three different clients; one each succeeds, and the books sum to zero.
#[test]
fn fifty_clients_on_a_thousand_accounts_leave_books_that_sum_to_zero() {
    let tree = Tree::up("fifty");
    each_client(&tree, |number, client| {
        for account in (number..ACCOUNTS).step_by(CLIENTS) {
            let (service, id) = place(account);
            let open = format!(r#"{{"id":"{id}","currency":"EUR"}}"#);
            let answer = client.post(&format!("/v1/{service}/accounts"), &open).unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
            let credit = r#"{"amount":7500,"currency":"EUR"}"#;
            let path = format!("/v1/{service}/accounts/{id}/credit");
            assert_eq!(client.post(&path, credit).unwrap().status, 201);
        }
        0
    });
    let successes = each_client(&tree, |number, client| {
        let mut successes = 0;
        // Three clients come to each account, at about the same time.
        for account in (0..ACCOUNTS).filter(|it| (number + CLIENTS - it % CLIENTS) % CLIENTS < 3) {
            let (service, id) = place(account);
            let path = format!("/v1/{service}/accounts/{id}/debit");
            let answer = client.post(&path, r#"{"amount":4500,"currency":"EUR"}"#).unwrap();
            match answer.status {
                201 => successes += 1,
                _ => assert_eq!(answer.code(), "insufficient_funds", "{answer:?}"),
            }
        }
        successes
    });
    assert_eq!(successes, ACCOUNTS);
    let mut client = tree.client();
    for account in 0..ACCOUNTS {
        let (service, id) = place(account);
        let balance = client.get(&format!("/v1/{service}/accounts/{id}/balance")).unwrap().json();
        assert_eq!(balance["posted"], 3_000, "{balance}");
    }
    for service in ["a", "b"] {
        let trial = client.get(&format!("/v1/{service}/trial-balance")).unwrap().json();
        assert_eq!(trial["balanced"], true, "{trial}");
        let euro = &trial["currencies"][0];
        assert_eq!((&euro["currency"], &euro["sum"]), (&"EUR".into(), &0.into()), "{trial}");
        assert_eq!(euro["credits"], 3_000 * ACCOUNTS / 2, "{trial}");
        assert_eq!(euro["debits"], euro["credits"], "{trial}");
    }
    tree.ok(&["verify"]);
}

fn each_client(tree: &Tree, work: impl Fn(usize, &mut Client) -> usize + Sync) -> usize {
    let work = &work;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || work(number, &mut tree.client())))
            .collect();
        clients.into_iter().map(|it| it.join().unwrap()).sum()
    })
}
