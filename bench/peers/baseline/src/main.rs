//! An account service as a good team would write it in a week: axum, a pool of connections to
//! PostgreSQL, one transaction for a debit, a unique key that makes a repeat harmless.
//!
//! ```text
//! baseline LISTEN DATABASE [REDIS]
//! ```
//!
//! Without REDIS a debit is one statement, so one round trip: a conditional update that takes the
//! row's lock, and the entry, together or not at all. With REDIS it takes a lock there first
//! (SET NX PX, released by a script that compares the token), then reads, decides and writes, as
//! services do that keep their rules out of the database.

mod lock;
mod store;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use lock::Locks;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Outcome, Store};

struct Service {
    store: Store,
    locks: Option<Locks>,
}

#[derive(Deserialize)]
struct Opening {
    id: String,
    currency: String,
}

#[derive(Deserialize)]
struct Posting {
    amount: i64,
    currency: String,
}

#[derive(Serialize)]
struct Transaction {
    id: String,
    account: String,
    kind: &'static str,
    amount: i64,
    currency: String,
    posted_after: i64,
    version: i64,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    detail: String,
}

fn problem(status: StatusCode, code: &'static str, detail: impl ToString) -> Response {
    (status, Json(Problem { code, detail: detail.to_string() })).into_response()
}

async fn open(State(service): State<Arc<Service>>, Json(it): Json<Opening>) -> Response {
    match service.store.open(&it.id, &it.currency).await {
        Ok(true) => (StatusCode::CREATED, "{}").into_response(),
        Ok(false) => problem(StatusCode::CONFLICT, "account_exists", it.id),
        Err(err) => problem(StatusCode::SERVICE_UNAVAILABLE, "engine_unavailable", err),
    }
}

async fn debit(
    State(service): State<Arc<Service>>,
    Path((_, account)): Path<(String, String)>,
    headers: HeaderMap,
    Json(posting): Json<Posting>,
) -> Response {
    move_money(&service, account, &headers, posting, "debit").await
}

async fn credit(
    State(service): State<Arc<Service>>,
    Path((_, account)): Path<(String, String)>,
    headers: HeaderMap,
    Json(posting): Json<Posting>,
) -> Response {
    move_money(&service, account, &headers, posting, "credit").await
}

async fn move_money(
    service: &Service,
    account: String,
    headers: &HeaderMap,
    Posting { amount, currency }: Posting,
    kind: &'static str,
) -> Response {
    if amount < 1 {
        return problem(StatusCode::BAD_REQUEST, "invalid_request", "amount: at least 1");
    }
    let key = headers.get("idempotency-key").and_then(|it| it.to_str().ok());
    let key = key.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let change = if kind == "debit" { -amount } else { amount };
    let done = match &service.locks {
        None => service.store.change(&account, &currency, &key, change).await,
        Some(locks) => match locks.take(&account).await {
            Ok(token) => {
                let done = service.store.change_in_steps(&account, &currency, &key, change).await;
                // A lock that could not be given back ends by itself.
                locks.release(&account, &token).await.ok();
                done
            }
            Err(err) => return problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", err),
        },
    };
    match done {
        Ok(Outcome::Done { id, balance, version }) => {
            let id = format!("tx_{id}");
            let transaction =
                Transaction { id, account, kind, amount, currency, posted_after: balance, version };
            (StatusCode::CREATED, Json(transaction)).into_response()
        }
        Ok(Outcome::Refused) => {
            problem(StatusCode::CONFLICT, "insufficient_funds", "not enough, or no such account")
        }
        Err(err) => problem(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", err),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "baseline LISTEN DATABASE [REDIS]";
    let (listen, database) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let locks = match arguments.next() {
        Some(url) => Some(Locks::connect(&url).await?),
        None => None,
    };
    let service = Arc::new(Service { store: Store::connect(&database).await?, locks });
    let router = Router::new()
        .route("/v1/{service}/accounts", post(open))
        .route("/v1/{service}/accounts/{id}/debit", post(debit))
        .route("/v1/{service}/accounts/{id}/credit", post(credit))
        .with_state(service);
    axum::serve(tokio::net::TcpListener::bind(listen).await?, router).await?;
    Ok(())
}
