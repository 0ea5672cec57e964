//! A statement has everything that was booked in its period, or there is none.

use super::*;
use wire::{Amount, Kind, Posting, ServiceTag, TransactionId, query::History};

/// Entries of accounts of the first partition, and of the second.
const ENTRIES: [u64; 2] = [10_000, 10_001];

fn entry(account: &AccountId, version: u64) -> Posting {
    let (at, left) = (Timestamp(1), i64::try_from(version).unwrap());
    Posting {
        id: TransactionId::new(at, ServiceTag::of("a"), PartitionId(0), Seq(version), 0),
        account: account.clone(),
        kind: Kind::Credit,
        amount: Amount::new(1).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        posted_after: left,
        available_after: left,
        version,
        reference: None,
        metadata: "{}".into(),
        link: None,
        reversed_by: None,
        created_at: at,
    }
}

fn page(history: &History) -> Reply {
    let History { account, before, limit, .. } = history;
    let entries = ENTRIES[usize::from(account.partition(PARTITIONS).0)];
    let newest = before.map_or(entries, |before| before - 1);
    let oldest = newest.saturating_sub(u64::from(*limit)) + 1;
    let rows = (oldest..=newest).rev().map(|version| entry(account, version)).collect();
    Reply::Transactions { rows, more: 1 < oldest }
}

#[test]
fn a_period_of_too_much_is_refused_in_every_form() {
    run(async {
        let node = Node::start("a-1", &[0, 1], |_, call, _| match call {
            Call::Query(Query::Account(id)) => Some(Reply::Account(account(id.as_str(), 1))),
            Call::Query(Query::Transactions(history)) => Some(page(&history)),
            call @ (Call::Query(_) | Call::Execute(_) | Call::Batch(_) | Call::Reverse(_)) => {
                panic!("{call:?}")
            }
        })
        .await;
        let gateway = gateway(&[&node], AMPLE);
        let [all, too_many] = accounts();
        for (format, mark) in
            [("json", "\"amount\":1,"), ("csv", ",credit,tx_"), ("camt.053", "<Ntry>")]
        {
            let at = |id| format!("/v1/a/accounts/{id}/statement?format={format}");
            let (status, body) = ask(&gateway, "GET", &at(all), "").await;
            assert_eq!((status, body.matches(mark).count()), (200, 10_000), "{}", &body[..800]);
            let (status, body) = ask(&gateway, "GET", &at(too_many), "").await;
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &problem["code"]), (400, &"invalid_request".into()));
            let detail = problem["detail"].as_str().unwrap();
            for word in ["10000 entries", "from=", "to=", "/v1/a/accounts/erin/transactions"] {
                assert!(detail.contains(&word.replace("erin", too_many)), "{detail}");
            }
        }
    });
}
