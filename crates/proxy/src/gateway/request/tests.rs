//! Every way in which a request can be wrong before the ledger is asked, and what a right one asks.

use super::*;
use crate::{
    gateway::guests::Meters,
    keys::{self, Key, Watch},
};
use net::{node::ClusterKey, trunk::Identity};
use std::sync::Arc;
use wire::{
    Currency, PartitionId, ServiceTag, Timestamp, TransactionId, command::KeyOrigin,
    frame::HeaderList,
};

const KEY: &str = "secret";

/// A desk of services `a` and `b` whose nodes nobody can reach: there are none.
fn desk() -> Desk {
    let identity = Identity::new("gateway-1".into(), ClusterKey(Arc::from([7; 32])));
    let service = |name: &str, partitions| {
        let nodes = Vec::new();
        let config = crate::config::ServiceConfig { name: name.to_owned(), partitions, nodes };
        Rc::new(Service::open(&config, &identity, Arc::default()))
    };
    Desk {
        guests: RefCell::new(Guests::new(KEY, keys(), Meters::default())),
        services: vec![service("a", 16), service("b", 4)],
        listening: Rc::default(),
    }
}

/// `reader` reads everywhere, `of-b` is for service `b` alone.
fn keys() -> Watch {
    let key = |text: &str, read_only: bool, services: Option<Vec<String>>| Key {
        name: text.to_owned(),
        hash: keys::hash(text.as_bytes()),
        created: Timestamp(0),
        services,
        read_only,
        expires: None,
        rate: None,
    };
    Watch::fixed(vec![key("reader", true, None), key("of-b", false, Some(vec!["b".to_owned()]))])
}

#[derive(Clone)]
struct Given<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
    key: &'a [u8],
    minted: bool,
}

fn given<'a>(method: &'a str, path: &'a str, body: &'a str) -> Given<'a> {
    let headers = vec![("authorization", "Bearer secret"), ("accept", "*/*")];
    Given { method, path, headers, body: body.as_bytes(), key: b"k1", minted: false }
}

impl<'a> Given<'a> {
    fn with(mut self, name: &'a str, value: &'a str) -> Given<'a> {
        self.headers.retain(|(it, _)| *it != name);
        self.headers.push((name, value));
        self
    }

    fn without(mut self, name: &str) -> Given<'a> {
        self.headers.retain(|(it, _)| *it != name);
        self
    }

    fn take(&self, desk: &Desk) -> Step {
        let mut list = HeaderList::new();
        for (name, value) in &self.headers {
            list.push(name, value.as_bytes()).unwrap();
        }
        desk.take(&Request {
            method: self.method,
            path: self.path,
            headers: list.as_ref(),
            body: self.body,
            key: self.key,
            minted: self.minted,
            request_id: "req_1",
            attempts: 0,
            left: Duration::from_secs(5),
            trace: "",
        })
    }

    fn job(&self) -> Job {
        match self.take(&desk()) {
            Step::Ask(job) => job,
            Step::Work(_) | Step::Listen(_) => panic!("more than one question"),
            Step::Answer(answer) => panic!("{}", String::from_utf8_lossy(&answer.body)),
        }
    }
}

/// Status, code and field of the answer, or `asks`.
#[track_caller]
fn check(given: Given<'_>, expected: &str) {
    let got = match given.take(&desk()) {
        Step::Ask(_) => "asks".to_owned(),
        Step::Listen(_) => "listens".to_owned(),
        Step::Work(_) => "asks several".to_owned(),
        Step::Answer(answer) => {
            assert_eq!(answer.content_type, "application/problem+json");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["status"], answer.status);
            assert_eq!(body["request_id"], "req_1");
            assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
            let extra = answer.header.map(|(name, value)| format!(" {name}: {value}"));
            format!(
                "{} {} {}{}",
                answer.status,
                body["code"].as_str().unwrap(),
                body["field"].as_str().unwrap_or("-"),
                extra.unwrap_or_default(),
            )
        }
    };
    assert_eq!(got, expected, "{} {}", given.method, given.path);
}

const DEBIT: &str = r#"{"amount":4500,"currency":"EUR"}"#;

#[test]
fn sound_requests_ask_the_ledger() {
    check(given("POST", "/v1/a/accounts/alice/debit", DEBIT), "asks");
    check(given("POST", "/v1/b/accounts/alice/credit?", DEBIT), "asks");
    let batch = r#"{"transactions":[{"account":"x","kind":"debit","amount":1,"currency":"EUR"}]}"#;
    check(given("POST", "/v1/a/batch", batch), "asks several");
    check(given("POST", "/v1/a/accounts", r#"{"currency":"EUR"}"#), "asks");
    check(given("PATCH", "/v1/a/accounts/alice", r#"{"status":"closed"}"#), "asks");
    check(given("GET", "/v1/a/accounts?limit=1000", ""), "asks");
    check(given("HEAD", "/v1/a/accounts/alice", ""), "asks");
    check(given("GET", "/v1/a/accounts/alice/balance", "a body that nobody reads"), "asks");
    check(given("GET", "/v1/a/accounts/alice/transactions?kind=debit", ""), "asks");
    check(given("GET", "/v1/a/trial-balance", "").with("content-type", "text/html"), "asks");
}

#[test]
fn an_unreserved_character_may_be_escaped() {
    check(given("GET", "/v1/%61/accounts/x", ""), "asks");
    check(given("POST", "/%76%31/a/accounts/%61lice/d%65bit", DEBIT), "asks");
    check(given("GET", "/v1/%61%2Faccounts/x", ""), "404 no_such_route -");
    check(given("GET", "/v1/%2561/accounts/x", ""), "404 no_such_service -");
    check(given("GET", "/v1/a/accounts/%2561", ""), "400 invalid_request id");
    // It is the same request, and a repeat of it.
    let plain = given("POST", "/v1/a/accounts/alice/debit", DEBIT);
    let escaped = Given { path: "/v1/%61/accounts/%61lice/debit", ..plain.clone() };
    assert_eq!(command_of(&escaped), command_of(&plain));
}

#[test]
fn the_first_wrong_thing_is_the_answer() {
    let wrong = given("DELETE", "/v1/z/accounts/x%2Fy?x=1", "{").with("accept", "text/html");
    let at = |path| Given { path, ..wrong.clone() };
    check(wrong.clone().without("authorization"), "401 unauthenticated - www-authenticate: Bearer");
    check(at("/v1/z"), "404 no_such_route -");
    check(wrong.clone(), "404 no_such_service -");
    let wrong = at("/v1/a/accounts/x%2Fy?x=1");
    check(wrong.clone(), "405 method_not_allowed - allow: GET, HEAD, PATCH");
    let wrong = Given { method: "PATCH", ..wrong };
    check(wrong.clone(), "400 invalid_request id");
    let wrong = Given { path: "/v1/a/accounts/x?x=1", ..wrong };
    check(wrong.clone(), "406 not_acceptable -");
    let wrong = wrong.with("accept", "application/json");
    check(wrong.clone(), "400 invalid_request x");
    let wrong = Given { path: "/v1/a/accounts/x", key: b"", ..wrong };
    check(wrong.clone(), "400 invalid_request Idempotency-Key");
    let wrong = Given { key: b"k", ..wrong }.with("content-type", "text/plain");
    check(wrong.clone(), "415 unsupported_media_type -");
    let wrong = wrong.with("content-type", "application/json; charset=utf-8");
    check(wrong.clone(), "400 invalid_request -");
    check(Given { body: br#"{"status":"open"}"#, ..wrong }, "asks");
}

#[test]
fn wrong_keys_paths_and_methods() {
    let balance = given("GET", "/v1/a/accounts/alice/balance", "");
    for authorization in ["Bearer wrong", "Basic secret", "secret", ""] {
        let unknown = "401 unauthenticated - www-authenticate: Bearer";
        check(balance.clone().with("authorization", authorization), unknown);
    }
    check(given("GET", "/", ""), "404 no_such_route -");
    check(given("GET", "/v1/a/accounts/x/y", ""), "404 no_such_route -");
    check(given("POST", "/v1/a/accounts/x/hold", "{}"), "404 no_such_route -");
    check(given("GET", "/v1/c/accounts", ""), "404 no_such_service -");
    check(given("GET", "/v1/A/accounts", ""), "404 no_such_service -");
    let path = "/v1/a/accounts/alice/debit";
    check(given("GET", path, ""), "405 method_not_allowed - allow: POST");
    let long = format!("/v1/a/accounts/{}", "x".repeat(5_000));
    check(given("GET", &long, ""), "400 invalid_request id");
    check(given("GET", "/v1/a/accounts/a%2Fb", ""), "400 invalid_request id");
}

#[test]
fn wrong_bodies() {
    let path = "/v1/a/accounts/alice/debit";
    let huge = format!("{{\"reference\":\"{}\"}}", "x".repeat(2 << 20));
    let deep = "[".repeat(100_000);
    for (body, expected) in [
        ("", "400 invalid_request -"),
        ("{\"amount\":", "400 invalid_request -"),
        (&huge, "413 body_too_large -"),
        (&deep, "400 invalid_request -"),
        (r#"{"amount":"1","currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":1e400,"currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":99999999999999999999,"currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":-1,"currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":1.5,"currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":1,"amount":1,"currency":"EUR"}"#, "400 invalid_request amount"),
        (r#"{"amount":1,"currency":"EUR","x":0}"#, "400 invalid_request x"),
        (r#"{"amount":1,"currency":"ZZZ"}"#, "400 invalid_request currency"),
    ] {
        check(given("POST", path, body), expected);
    }
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let labelled = given("POST", path, DEBIT).with("content-type", media_type);
        check(labelled, "415 unsupported_media_type -");
    }
}

#[test]
fn keys_go_as_far_as_they_are_for() {
    let debit = given("POST", "/v1/a/accounts/x/debit", DEBIT);
    let reader = |it: Given<'static>| it.with("authorization", "Bearer reader");
    check(reader(debit.clone()), "403 forbidden -");
    check(reader(given("POST", "/v1/a/batch", "{}")), "403 forbidden -");
    drop(reader(given("GET", "/v1/a/accounts/x", "")).job());
    let of_b = |it: Given<'static>| it.with("authorization", "Bearer of-b");
    check(of_b(debit), "403 forbidden -");
    // It does not learn which other services there are.
    check(of_b(given("GET", "/v1/c/accounts/x", "")), "403 forbidden -");
    let command = command_of_b(&of_b(given("POST", "/v1/b/accounts/x/debit", DEBIT)));
    let x = AccountId::parse("x").unwrap();
    assert_eq!(command.key, KeyHash::new(Caller::from_api_key("of-b"), &x, b"k1"));
}

fn command_of_b(given: &Given<'_>) -> Command {
    let Call::Execute(command) = Call::decode(given.job().ask.body()).unwrap() else { panic!() };
    command
}

#[test]
fn wrong_queries() {
    for (path, field) in [
        ("/v1/a/accounts?limit=0", "limit"),
        ("/v1/a/accounts?limit=1001", "limit"),
        ("/v1/a/accounts?kind=debit", "kind"),
        ("/v1/a/accounts?starting_after=xyz", "starting_after"),
        ("/v1/a/accounts/x/transactions?starting_after=AAAA", "starting_after"),
        ("/v1/a/accounts/x/transactions?from=now", "from"),
        ("/v1/a/accounts/x/balance?limit=5", "limit"),
        ("/v1/a/trial-balance?verbose", "verbose"),
    ] {
        check(given("GET", path, ""), &format!("400 invalid_request {field}"));
    }
    check(given("POST", "/v1/a/accounts/x/debit?dry=1", DEBIT), "400 invalid_request dry");
    check(given("GET", "/v1/a/events?after=xyz", ""), "400 invalid_request after");
    check(given("GET", "/v1/a/events?limit=5", ""), "400 invalid_request limit");
    check(given("GET", "/v1/a/events?after=now", ""), "listens");
    check(given("GET", "/v1/a/events?after=0", ""), "listens");
    let cursor = cursor::seal_events("a", &[wire::query::Mark::default(); 16]);
    check(given("GET", &format!("/v1/a/events?after={cursor}"), ""), "listens");
    check(given("GET", &format!("/v1/b/events?after={cursor}"), ""), "400 invalid_request after");
    let heard = given("GET", "/v1/a/events?after=now", "").with("last-event-id", "xyz");
    check(heard, "400 invalid_request after");
}

const TRANSFER: &str = r#"{"from":{"service":"a","account":"x"},"to":{"service":"b","account":"y"},"amount":1,"currency":"EUR"}"#;

/// The id of a hold of `account` in service `a`, if it had one.
fn hold_of(account: &str) -> HoldId {
    let partition = AccountId::parse(account).unwrap().partition(16);
    HoldId::new(Timestamp(0), ServiceTag::of("a"), partition, wire::Seq(1), 0)
}

#[test]
fn holds_ask_the_owner_of_their_account() {
    let (at, hold) = ("/v1/a/accounts/x/holds", hold_of("x"));
    let placed =
        command_of(&given("POST", at, r#"{"amount":5,"currency":"EUR","expires_in":"2h"}"#));
    let Action::Hold(place) = placed.action else { panic!("{placed:?}") };
    assert_eq!((place.amount.minor(), place.seconds), (5, 7_200));
    let path = format!("{at}/{hold}/capture");
    for (body, expected) in [("", None), ("{}", None), (r#"{"amount":3}"#, Some(3))] {
        let command = command_of(&given("POST", &path, body));
        let Action::EndHold(EndHold { how: HoldEnd::Capture(amount), .. }) = command.action else {
            panic!("{command:?}")
        };
        assert_eq!(amount.map(wire::Amount::minor), expected, "{body}");
    }
    let release = format!("{at}/{hold}/release");
    assert!(matches!(command_of(&given("POST", &release, "")).action, Action::EndHold(_)));
    check(given("POST", &release, r#"{"amount":3}"#), "400 invalid_request amount");
    check(given("POST", &path, r#"{"amount":0}"#), "400 invalid_request amount");
    let job = given("GET", &format!("{at}/{hold}"), "").job();
    let x = AccountId::parse("x").unwrap();
    assert_eq!(job.question, Question::Hold(hold.partition(), x));
    // Another account's partition, another service, no hold at all.
    let far =
        ["y", "z", "w"].into_iter().map(hold_of).find(|it| it.partition() != hold.partition());
    check(given("GET", &format!("{at}/{}", far.unwrap()), ""), "404 no_such_hold -");
    check(
        given("POST", &format!("/v1/b/accounts/x/holds/{hold}/release"), ""),
        "404 no_such_hold -",
    );
    check(given("POST", &format!("{at}/17/release"), ""), "404 no_such_hold -");
    for (body, field) in [
        (r#"{"currency":"EUR"}"#, "amount"),
        (r#"{"amount":1}"#, "currency"),
        (r#"{"amount":1,"currency":"EUR","expires_in":7}"#, "expires_in"),
        (r#"{"amount":1,"currency":"EUR","expires_in":"7"}"#, "expires_in"),
        (r#"{"amount":1,"currency":"EUR","expires_in":"0s"}"#, "expires_in"),
        (r#"{"amount":1,"currency":"EUR","expires_in":"367d"}"#, "expires_in"),
        (r#"{"amount":1,"currency":"EUR","expires_in":"99999999999d"}"#, "expires_in"),
        (r#"{"amount":1,"currency":"EUR","reference":"x"}"#, "reference"),
    ] {
        check(given("POST", at, body), &format!("400 invalid_request {field}"));
    }
}

#[test]
fn a_reversal_is_asked_of_the_partition_of_the_transaction() {
    let tag = ServiceTag::of("a");
    let id = TransactionId::new(Timestamp(0), tag, PartitionId(15), wire::Seq(1), 0);
    let path = format!("/v1/a/transactions/{id}/reverse");
    let job = given("POST", &path, "").job();
    assert_eq!(job.question, Question::Command(PartitionId(15)));
    let Call::Reverse(reversal) = Call::decode(job.ask.body()).unwrap() else { panic!() };
    let scope = AccountId::parse(&id.to_string()).unwrap();
    assert_eq!(reversal.key, KeyHash::new(Caller::from_api_key(KEY), &scope, b"k1"));
    check(given("POST", &path, r#"{"amount":1}"#), "400 invalid_request amount");
    check(given("POST", &path.replace("/a/", "/b/"), ""), "404 no_such_transaction -");
    check(given("POST", "/v1/a/transactions/tx_1/reverse", ""), "404 no_such_transaction -");
}

#[test]
fn transfers_name_two_accounts_of_known_services() {
    check(given("POST", "/v1/transfers", TRANSFER), "asks several");
    for (from, to, expected) in [
        (r#""amount":1"#, r#""amount":0"#, "400 invalid_request amount"),
        (r#""from":{"service":"a","account":"x"},"#, "", "400 invalid_request from"),
        (r#"{"service":"b","account":"y"}"#, r#""b/y""#, "400 invalid_request to"),
        (r#""account":"y""#, r#""account":"y/z""#, "400 invalid_request to.account"),
        (r#""account":"y""#, r#""id":"y""#, "400 invalid_request to.id"),
        (r#""service":"a","#, "", "400 invalid_request from.service"),
        (r#""service":"b""#, r#""service":"c""#, "404 no_such_service -"),
        (r#""currency":"EUR""#, r#""currency":"EUR","note":1"#, "400 invalid_request note"),
    ] {
        assert!(TRANSFER.contains(from), "{from}");
        check(given("POST", "/v1/transfers", &TRANSFER.replacen(from, to, 1)), expected);
    }
    check(given("POST", "/v1/transfers?dry=1", TRANSFER), "400 invalid_request dry");
    check(given("GET", "/v1/transfers", ""), "405 method_not_allowed - allow: POST");
    let with_key = |key| given("POST", "/v1/transfers", TRANSFER).with("authorization", key);
    check(with_key("Bearer reader"), "403 forbidden -");
    check(with_key("Bearer of-b"), "403 forbidden -");
    let id = |service: &str| {
        let tag = ServiceTag::of(service);
        wire::TransferId::new(Timestamp(0), tag, PartitionId(3), wire::Seq(1), 0)
    };
    let path = |service| format!("/v1/transfers/{}", id(service));
    assert_eq!(given("GET", &path("b"), "").job().question, Question::Transfer(PartitionId(3)));
    check(given("GET", &path("c"), ""), "404 no_such_transfer -");
    check(given("GET", &path("a"), "").with("authorization", "Bearer of-b"), "403 forbidden -");
}

#[test]
fn cursors_carry_their_filters() {
    let x = AccountId::parse("x").unwrap();
    let filter = Filter { kind: Some(wire::Kind::Debit), ..Default::default() };
    let cursor = cursor::seal_transactions("a", &x, &filter, 9);
    let path = |rest: &str| format!("/v1/a/accounts/x/transactions?starting_after={cursor}{rest}");
    check(given("GET", &path("&kind=credit"), ""), "400 invalid_request kind");
    for rest in ["", "&kind=debit", "&limit=7"] {
        let path = path(rest);
        let job = given("GET", &path, "").job();
        let expected = Question::Transactions { account: x.clone(), filter: filter.clone() };
        assert_eq!(job.question, expected);
    }
    let elsewhere = format!("/v1/a/accounts/y/transactions?starting_after={cursor}");
    check(given("GET", &elsewhere, ""), "400 invalid_request starting_after");
}

#[test]
fn transactions_are_looked_for_where_their_ids_say() {
    let id = |service: &str, partition| {
        let tag = ServiceTag::of(service);
        TransactionId::new(Timestamp(0), tag, PartitionId(partition), wire::Seq(1), 0)
    };
    let path = |id: TransactionId| format!("/v1/a/transactions/{id}");
    let job = given("GET", &path(id("a", 15)), "").job();
    assert_eq!(job.question, Question::Transaction(PartitionId(15)));
    check(given("GET", &path(id("a", 16)), ""), "404 no_such_transaction -");
    check(given("GET", &path(id("b", 1)), ""), "404 no_such_transaction -");
    check(given("GET", "/v1/a/transactions/tx_1", ""), "404 no_such_transaction -");
}

fn command_of(given: &Given<'_>) -> Command {
    let job = given.job();
    let Call::Execute(command) = Call::decode(job.ask.body()).unwrap() else { panic!() };
    assert_eq!(job.question, Question::Command(command.action.account().partition(16)));
    command
}

#[test]
fn a_command_bears_key_fingerprint_and_request_id() {
    let first = given("POST", "/v1/a/accounts/alice/debit", DEBIT);
    let command = command_of(&first);
    let alice = AccountId::parse("alice").unwrap();
    assert_eq!(command.key, KeyHash::new(Caller::from_api_key(KEY), &alice, b"k1"));
    assert_eq!(command.origin, KeyOrigin::Client);
    assert_eq!(&*command.request_id, "req_1");
    assert_eq!(command, command_of(&first));
    let minted = command_of(&Given { minted: true, ..first.clone() });
    assert_eq!(minted.origin, KeyOrigin::Minted);
    let ours = ids::idempotency_key();
    let returned = command_of(&Given { key: ours.as_bytes(), ..first.clone() });
    let millis = ids::minted_at(ours.as_bytes()).unwrap();
    let at = Timestamp(i64::try_from(millis).unwrap() * 1_000);
    assert_eq!(returned.origin, KeyOrigin::Returned(at));
    for other in [
        Given { path: "/v1/a/accounts/alice/credit", ..first.clone() },
        Given { body: br#"{"amount":4500, "currency":"EUR"}"#, ..first.clone() },
    ] {
        assert_eq!(command_of(&other).key, command.key);
        assert_ne!(command_of(&other).fingerprint, command.fingerprint);
    }
}

#[test]
fn an_account_without_an_id_gets_the_same_one_again() {
    let account = |path, key, body| {
        let opening = Given { key, body, ..given("POST", path, "") };
        let action = command_of(&opening).action;
        let Action::Open { account, currency, .. } = action else { panic!("{action:?}") };
        assert_eq!(currency, Currency::parse("EUR").unwrap());
        account
    };
    let body = br#"{"currency":"EUR"}"#;
    let id = account("/v1/a/accounts", b"k1", body);
    assert!(id.as_str().starts_with("acc_") && id.as_str().len() == 30, "{id}");
    assert_eq!(account("/v1/a/accounts", b"k1", body), id);
    assert_ne!(account("/v1/a/accounts", b"k2", body), id);
    assert_ne!(derived_id(Caller(1), "a", b"k1"), derived_id(Caller(2), "a", b"k1"));
    assert_ne!(derived_id(Caller(1), "a", b"k1"), derived_id(Caller(1), "b", b"k1"));
    let named = account("/v1/a/accounts", b"k1", br#"{"currency":"EUR","id":"bob"}"#);
    assert_eq!(named.as_str(), "bob");
}
