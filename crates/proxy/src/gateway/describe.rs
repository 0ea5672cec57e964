//! The description of the account API: `/openapi.json` for programs, `/docs` for people. Everybody
//! may read them: they tell nothing of a tree or its accounts.
//!
//! One table of calls; a test holds it against the routes, both ways.

use super::{answer::Answer, route::NotAsked};
use net::openapi::{self, Api, Body, Call};
use serde_json::Value;
use std::sync::LazyLock;
use wire::Code;

const ACCOUNTS: &str = "/v1/{service}/accounts";
const ACCOUNT: &str = "/v1/{service}/accounts/{id}";
const ABOUT: &str = "The account API of this tree. Every call wants Authorization: Bearer and an \
    API key. Money is an integer of minor units: 4500 EUR is 45.00 euro.\n\n\
    Send an Idempotency-Key with whatever changes something. After a 504 outcome_unknown, or no \
    answer at all, repeat the request with the same key: nothing is ever booked twice. 429, 503 \
    and, but for key_in_use, 409 are definite: nothing was executed.";

const CALLS: &[Call] = &[
    change("post", ACCOUNTS, "Open an account", Body::Schema("Opening"), 201, "Account"),
    read(ACCOUNTS, "List the accounts", &["limit", "starting_after"], "AccountPage"),
    read(ACCOUNT, "Show an account", &[], "Account"),
    change("patch", ACCOUNT, "Freeze, close, change", Body::Schema("Change"), 200, "Account"),
    read("/v1/{service}/accounts/{id}/balance", "Show an account's balance", &[], "Balance"),
    change(
        "post",
        "/v1/{service}/accounts/{id}/debit",
        "Take money from an account",
        Body::Schema("Posting"),
        201,
        "Transaction",
    ),
    change(
        "post",
        "/v1/{service}/accounts/{id}/credit",
        "Put money into an account",
        Body::Schema("Posting"),
        201,
        "Transaction",
    ),
    read(
        "/v1/{service}/accounts/{id}/transactions",
        "List an account's transactions",
        &["limit", "starting_after", "from", "to", "kind", "reference"],
        "TransactionPage",
    ),
    Call {
        answer: openapi::Answer::Media {
            schema: "Statement",
            others: &["text/csv", "application/xml"],
        },
        ..read(
            "/v1/{service}/accounts/{id}/statement",
            "Balances at the start and the end of a period, and what was booked between them",
            &["from", "to", "format"],
            "Statement",
        )
    },
    change(
        "post",
        "/v1/{service}/accounts/{id}/holds",
        "Set money aside: it is no longer available, and not gone yet",
        Body::Schema("NewHold"),
        201,
        "Hold",
    ),
    read("/v1/{service}/accounts/{id}/holds/{hold}", "Show a hold", &[], "Hold"),
    change(
        "post",
        "/v1/{service}/accounts/{id}/holds/{hold}/capture",
        "Debit what was set aside, or a part of it, and let the rest go",
        Body::Schema("Capture"),
        200,
        "Hold",
    ),
    change(
        "post",
        "/v1/{service}/accounts/{id}/holds/{hold}/release",
        "Let what was set aside go",
        Body::None,
        200,
        "Hold",
    ),
    change(
        "post",
        "/v1/{service}/transactions/{transaction}/reverse",
        "Book the opposite of a transaction, once",
        Body::None,
        201,
        "Transaction",
    ),
    change(
        "post",
        "/v1/transfers",
        "Move money from an account to another, of any services",
        Body::Schema("NewTransfer"),
        201,
        "Transfer",
    ),
    read("/v1/transfers/{transfer}", "Show a transfer", &[], "Transfer"),
    read("/v1/{service}/transactions/{transaction}", "Show a transaction", &[], "Transaction"),
    change(
        "post",
        "/v1/{service}/batch",
        "Many debits and credits at once",
        Body::Schema("Batch"),
        200,
        "Outcomes",
    ),
    Call {
        schemes: &["bearer"],
        ..Call::read(
            "/v1/{service}/events",
            "Server-sent events of what is journaled, from the beginning, from a cursor or from now",
            &["after"],
        )
    },
    read("/v1/{service}/trial-balance", "Sum the books", &[], "TrialBalance"),
];

const fn read(
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    schema: &'static str,
) -> Call {
    let answer = openapi::Answer::Json { status: 200, schema };
    Call { schemes: &["bearer"], answer, ..Call::read(path, summary, query) }
}

const fn change(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    body: Body,
    status: u16,
    schema: &'static str,
) -> Call {
    let answer = openapi::Answer::Json { status, schema };
    let headers = &["Idempotency-Key"];
    Call { method, headers, body, answer, ..read(path, summary, &[], schema) }
}

/// Both forms, made when somebody asks for the first time.
static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let api = api();
    Written { document: openapi::document(&api).to_string(), page: openapi::page(&api) }
});

struct Written {
    document: String,
    page: String,
}

fn api() -> Api {
    let mut components: Value = serde_json::from_str(include_str!("describe/components.json"))
        .expect("a test has read the file that is built in");
    let codes = Code::ALL.iter().map(|code| Value::from(code.text()));
    components["schemas"]["Problem"]["properties"]["code"]["enum"] = codes.collect();
    Api {
        title: "Tollgate",
        version: env!("CARGO_PKG_VERSION"),
        about: ABOUT,
        calls: CALLS,
        components,
    }
}

/// The answer to a request for one of the two; `None` for other paths.
pub(super) fn answer(method: &str, path: &str) -> Option<Result<Answer, NotAsked>> {
    let make: fn() -> Answer = match path {
        "/openapi.json" => || Answer::page("application/json", &WRITTEN.document),
        "/docs" => || Answer::page("text/html; charset=utf-8", &WRITTEN.page),
        _ => return None,
    };
    Some(match method {
        "GET" | "HEAD" => Ok(make()),
        _ => Err(NotAsked::Method("GET, HEAD")),
    })
}

#[cfg(test)]
mod tests;
