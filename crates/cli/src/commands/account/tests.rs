//! What commands become, before anything is sent.

use super::*;
use crate::args::Cli;
use clap::Parser;

#[track_caller]
fn check(line: &str, expected: &str) {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let args::Command::Account(args) = cli.command else { panic!("{line}") };
    let text = match call_of(&args.verb, &args.target, None) {
        Ok(Call { method, path, body, .. }) => {
            let body = body.map(|it| format!(" {it}")).unwrap_or_default();
            format!("{method} {path}{body}")
        }
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(text, expected, "{line}");
}

#[test]
fn commands_become_calls() {
    check("tollgate account open alice", r#"POST /v1/a/accounts {"id":"alice","currency":"EUR"}"#);
    check(
        r#"tollgate account open b/bob --currency JPY --overdraft 50 --metadata {"x":1e400,"a":1.0}"#,
        r#"POST /v1/b/accounts {"id":"bob","currency":"JPY","overdraft_limit":50,"metadata":{"x":1e400,"a":1.0}}"#,
    );
    check(
        "tollgate account debit alice 45.00 EUR --service b --reference order17",
        r#"POST /v1/b/accounts/alice/debit {"amount":4500,"currency":"EUR","reference":"order17"}"#,
    );
    check(
        "tollgate account credit a/alice 7500 EUR",
        r#"POST /v1/a/accounts/alice/credit {"amount":7500,"currency":"EUR"}"#,
    );
    check(
        "tollgate account hold alice 10.00 EUR --expires-in 15m",
        r#"POST /v1/a/accounts/alice/holds {"amount":1000,"currency":"EUR","expires_in":"15m"}"#,
    );
    let hold = "hold_00000000000000000000000001";
    let at = format!("/v1/a/accounts/alice/holds/{hold}");
    check(
        &format!("tollgate account capture alice {hold} 6.00 EUR"),
        &format!(r#"POST {at}/capture {{"amount":600}}"#),
    );
    check(&format!("tollgate account release alice {hold}"), &format!("POST {at}/release {{}}"));
    check(&format!("tollgate account find {hold} --account alice"), &format!("GET {at}"));
    let transaction = "tx_00000000000000000000000001";
    check(
        &format!("tollgate account reverse {transaction} --service b"),
        &format!("POST /v1/b/transactions/{transaction}/reverse {{}}"),
    );
    check(
        "tollgate account transfer alice b/bob 5.00 EUR",
        r#"POST /v1/transfers {"from":{"service":"a","account":"alice"},"to":{"service":"b","account":"bob"},"amount":500,"currency":"EUR"}"#,
    );
    let transfer = "tr_00000000000000000000000001";
    check(&format!("tollgate account find {transfer}"), &format!("GET /v1/transfers/{transfer}"));
    check("tollgate account show alice", "GET /v1/a/accounts/alice");
    check(
        "tollgate account statement b/bob --from 2026-11-01T00:00:00+01:00 --format csv",
        "GET /v1/b/accounts/bob/statement?from=2026-11-01T00%3A00%3A00%2B01%3A00&format=csv",
    );
    check(
        "tollgate account list --service b --limit 5 --starting-after a+/=",
        "GET /v1/b/accounts?limit=5&starting_after=a%2B%2F%3D",
    );
}

#[test]
fn what_cannot_be_meant_is_refused_here() {
    check("tollgate account show a/b/c", "account \"a/b/c\": want SERVICE/ID or ID");
    check("tollgate account show A/b", "service \"A\": want a name of 1 to 32 of a-z, 0-9 and -");
    check(
        "tollgate account debit alice 45.0 EUR",
        "amount 45.0: want minor units, as in 4500, or exactly 2 digits after a point, as in 45.00",
    );
    check("tollgate account reverse 17", "transaction \"17\": want the id as it was answered");
    check(
        "tollgate account find hold_00000000000000000000000001",
        "a hold is found by its account, too: --account ID",
    );
    let long = format!("tollgate account debit alice 1 EUR --key {}", "k".repeat(256));
    check(&long, "--key: want 1 to 255 printable ASCII characters");
}

#[test]
fn refusals_are_told_with_code_and_hint() {
    let call = get("/".to_owned(), show::account);
    let body = serde_json::json!({ "code": "no_such_account", "detail": "alice" });
    assert_eq!(
        refused(&call, 404, Some(&body)).to_string(),
        "no_such_account: alice\n\nhint: open it with `tollgate account open`"
    );
    let error = refused(&call, 502, None).to_string();
    assert!(error.starts_with("the answer is no answer of the API (status 502)"), "{error}");
}
