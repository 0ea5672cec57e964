//! `tollgate account`: the account API from the terminal.

mod show;

use super::{Outcome, amount};
use crate::{
    args::{
        self, AccountVerb, Target,
        account::{Capture, PlaceHold},
    },
    data::{Data, random_id, read_key},
    error::CliError,
    http::{self, Failure, Reply},
    terminal::{Paint, say},
    topology::elements::{
        name,
        url::{self, HttpUrl},
    },
};
use http_body_util::Full;
use hyper::{Method, Request, body::Bytes};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use std::{path::Path, process::ExitCode, time::Duration};
use wire::{AccountId, Currency, HoldId, TransactionId, TransferId, limits::KEY_BYTES_MAX};

/// Longer than the tree itself takes to say that it does not know.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(40);

/// One call of the API.
#[derive(Debug)]
struct Call {
    method: Method,
    path: String,
    body: Option<String>,
    /// Of a call that changes something: what makes a repeat harmless.
    key: Option<String>,
    show: fn(&Value) -> String,
    /// The body is a file: it is printed as it came.
    is_file: bool,
}

#[derive(Serialize)]
struct Opening<'a> {
    id: &'a str,
    currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    overdraft_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Posting<'a> {
    amount: i64,
    currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
}

#[derive(Serialize)]
struct NewHold<'a> {
    amount: i64,
    currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<&'a str>,
}

#[derive(Serialize)]
struct Captured {
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
}

#[derive(Serialize)]
struct NewTransfer<'a> {
    from: Party<'a>,
    to: Party<'a>,
    amount: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct Party<'a> {
    service: &'a str,
    account: &'a str,
}

#[derive(Serialize)]
struct Nothing {}

/// Calls the API and shows its answer.
pub(super) fn account(args: &args::Account, data: &Path) -> Outcome {
    let target = &args.target;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot call the tree", &error))?;
    let find = || Tree::find(target.url.as_deref(), target.key_file.as_deref(), data);
    let currency = match unnamed_currency(&args.verb, target)? {
        Some(look) => Some(runtime.block_on(find()?.currency(&look))?),
        None => None,
    };
    let call = call_of(&args.verb, target, currency)?;
    let reply = runtime.block_on(find()?.call(&call))?;
    show(&call, &reply, target.json)
}

/// The look at the account in whose currency an amount is, where the command names none.
fn unnamed_currency(verb: &AccountVerb, target: &Target) -> Result<Option<Call>, CliError> {
    let (account, currency) = match verb {
        AccountVerb::Debit(it) | AccountVerb::Credit(it) => (&it.account, it.money.currency()),
        AccountVerb::Hold(it) => (&it.account, it.money.currency()),
        AccountVerb::Transfer(it) => (&it.from, it.money.currency()),
        AccountVerb::Capture(it) if it.amount.is_some() => (&it.account, it.currency),
        AccountVerb::Open(_)
        | AccountVerb::Show { .. }
        | AccountVerb::Capture(_)
        | AccountVerb::Release { .. }
        | AccountVerb::Reverse { .. }
        | AccountVerb::Find { .. }
        | AccountVerb::Statement { .. }
        | AccountVerb::List { .. } => return Ok(None),
    };
    if currency.is_some() {
        return Ok(None);
    }
    let (service, id) = split(account, target)?;
    Ok(Some(get(format!("/v1/{service}/accounts/{id}"), show::account)))
}

/// `account_currency` is that of the account, where the command names none.
fn call_of(
    verb: &AccountVerb,
    target: &Target,
    account_currency: Option<Currency>,
) -> Result<Call, CliError> {
    let in_currency = |named: Option<Currency>| {
        named.or(account_currency).expect("what is not named was looked up")
    };
    match verb {
        AccountVerb::Open(open) => {
            let (service, id) = split(&open.account, target)?;
            let limit = |text: &String| {
                amount::parse(text, open.currency)
                    .map_err(|want| CliError::usage(format!("--overdraft {text}: {want}")))
            };
            let body = Opening {
                id: id.as_str(),
                currency: open.currency.code(),
                overdraft_limit: open.overdraft.as_ref().map(limit).transpose()?,
                metadata: open.metadata.as_deref(),
            };
            post(format!("/v1/{service}/accounts"), &body, open.key.as_deref(), show::account)
        }
        AccountVerb::Show { account } => {
            let (service, id) = split(account, target)?;
            Ok(get(format!("/v1/{service}/accounts/{id}"), show::account))
        }
        AccountVerb::Debit(it) => posting_of("debit", it, target, in_currency(it.money.currency())),
        AccountVerb::Credit(it) => {
            posting_of("credit", it, target, in_currency(it.money.currency()))
        }
        AccountVerb::Hold(it) => hold_of(it, target, in_currency(it.money.currency())),
        AccountVerb::Capture(it) => capture_of(it, target, it.currency.or(account_currency)),
        AccountVerb::Release { account, hold, key } => {
            let (service, id) = split(account, target)?;
            let hold = minted("hold", hold, HoldId::parse)?;
            let path = format!("/v1/{service}/accounts/{id}/holds/{hold}/release");
            post(path, &Nothing {}, key.as_deref(), show::hold)
        }
        AccountVerb::Reverse { transaction, key } => {
            let service = service_of(&target.service)?;
            let id = minted("transaction", transaction, TransactionId::parse)?;
            let path = format!("/v1/{service}/transactions/{id}/reverse");
            post(path, &Nothing {}, key.as_deref(), show::transaction)
        }
        AccountVerb::Transfer(it) => transfer_of(it, target, in_currency(it.money.currency())),
        AccountVerb::Find { id, account } => find(id, account.as_deref(), target),
        AccountVerb::Statement { account, from, to, format } => {
            let (service, id) = split(account, target)?;
            let query = query(&[("from", from), ("to", to), ("format", format)]);
            let path = format!("/v1/{service}/accounts/{id}/statement{query}");
            Ok(Call { is_file: format.is_some(), ..get(path, show::statement) })
        }
        AccountVerb::List { limit, starting_after } => {
            let service = service_of(&target.service)?;
            let limit = limit.map(|it| it.to_string());
            let query = query(&[("limit", &limit), ("starting_after", starting_after)]);
            Ok(get(format!("/v1/{service}/accounts{query}"), show::accounts))
        }
    }
}

fn posting_of(
    verb: &str,
    posting: &args::account::Posting,
    target: &Target,
    currency: Currency,
) -> Result<Call, CliError> {
    let (service, id) = split(&posting.account, target)?;
    let body = Posting {
        amount: minor(&posting.money.amount, currency)?,
        currency: currency.code(),
        reference: posting.reference.as_deref(),
    };
    let path = format!("/v1/{service}/accounts/{id}/{verb}");
    post(path, &body, posting.key.as_deref(), show::transaction)
}

fn hold_of(hold: &PlaceHold, target: &Target, currency: Currency) -> Result<Call, CliError> {
    let (service, id) = split(&hold.account, target)?;
    let body = NewHold {
        amount: minor(&hold.money.amount, currency)?,
        currency: currency.code(),
        expires_in: hold.expires_in.as_deref(),
    };
    let path = format!("/v1/{service}/accounts/{id}/holds");
    post(path, &body, hold.key.as_deref(), show::hold)
}

fn capture_of(
    capture: &Capture,
    target: &Target,
    currency: Option<Currency>,
) -> Result<Call, CliError> {
    let (service, id) = split(&capture.account, target)?;
    let hold = minted("hold", &capture.hold, HoldId::parse)?;
    let amount = capture.amount.as_deref().zip(currency);
    let amount = amount.map(|(amount, currency)| minor(amount, currency)).transpose()?;
    let path = format!("/v1/{service}/accounts/{id}/holds/{hold}/capture");
    post(path, &Captured { amount }, capture.key.as_deref(), show::hold)
}

fn transfer_of(
    transfer: &args::account::Transfer,
    target: &Target,
    currency: Currency,
) -> Result<Call, CliError> {
    let (from, to) = (split(&transfer.from, target)?, split(&transfer.to, target)?);
    let body = NewTransfer {
        from: Party { service: &from.0, account: from.1.as_str() },
        to: Party { service: &to.0, account: to.1.as_str() },
        amount: minor(&transfer.money.amount, currency)?,
        currency: currency.code(),
    };
    post("/v1/transfers".to_owned(), &body, transfer.key.as_deref(), show::transfer)
}

fn find(id: &str, account: Option<&str>, target: &Target) -> Result<Call, CliError> {
    if let Some(transfer) = TransferId::parse(id) {
        return Ok(get(format!("/v1/transfers/{transfer}"), show::transfer));
    }
    if let Some(hold) = HoldId::parse(id) {
        let account = account
            .ok_or_else(|| CliError::usage("a hold is found by its account, too: --account ID"))?;
        let (service, account) = split(account, target)?;
        return Ok(get(format!("/v1/{service}/accounts/{account}/holds/{hold}"), show::hold));
    }
    let transaction = minted("id", id, TransactionId::parse)?;
    let service = service_of(&target.service)?;
    Ok(get(format!("/v1/{service}/transactions/{transaction}"), show::transaction))
}

/// An id that a tree has minted.
fn minted<T>(what: &str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T, CliError> {
    parse(text).ok_or_else(|| {
        CliError::usage(format!("{what} {text:?}: want the id as it was answered"))
            .hint("as in tx_…, hold_… or tr_… and 26 digits and letters")
    })
}

fn minor(amount: &str, currency: Currency) -> Result<i64, CliError> {
    amount::parse(amount, currency)
        .map_err(|want| CliError::usage(format!("amount {amount}: {want}")))
}

fn get(path: String, show: fn(&Value) -> String) -> Call {
    Call { method: Method::GET, path, body: None, key: None, show, is_file: false }
}

fn post(
    path: String,
    body: &impl Serialize,
    key: Option<&str>,
    show: fn(&Value) -> String,
) -> Result<Call, CliError> {
    let key = match key {
        Some(key) => key.to_owned(),
        None => random_id().map_err(|error| CliError::io("cannot make a key", &error))?,
    };
    let is_printable = key.bytes().all(|it| it.is_ascii_graphic() || it == b' ');
    if !is_printable || !(1..=KEY_BYTES_MAX).contains(&key.len()) || key.trim() != key {
        let want = format!("--key: want 1 to {KEY_BYTES_MAX} printable ASCII characters");
        return Err(CliError::usage(want));
    }
    let body = serde_json::to_string(body).expect("our own bodies have string keys");
    Ok(Call { method: Method::POST, path, body: Some(body), key: Some(key), show, is_file: false })
}

/// `SERVICE/ID`, or `ID` of the service that --service names.
fn split(account: &str, target: &Target) -> Result<(String, AccountId), CliError> {
    let (service, id) = account.split_once('/').unwrap_or((&target.service, account));
    let id = AccountId::parse(id).ok_or_else(|| {
        CliError::usage(format!("account {account:?}: want SERVICE/ID or ID"))
            .hint("an id is 1 to 128 of A-Z a-z 0-9 . _ : -")
    })?;
    Ok((service_of(service)?, id))
}

fn service_of(service: &str) -> Result<String, CliError> {
    name::parse(service)
        .map_err(|want| CliError::usage(format!("service {service:?}: want {want}")))
}

/// The query of those that are given.
fn query(parameters: &[(&str, &Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let given: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// Percent-encoding for a query's value.
fn encoded(text: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
    text.bytes()
        .map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") })
        .collect()
}

/// Where the tree is, and what it knows us by.
pub(super) struct Tree {
    pub(super) url: HttpUrl,
    pub(super) key: String,
}

impl Tree {
    /// As named on the command line, else as recorded in the data folder.
    pub(super) fn find(
        url: Option<&str>,
        key_file: Option<&Path>,
        data: &Path,
    ) -> Result<Tree, CliError> {
        let data = Data::at(data);
        let recorded = data.read_tree()?;
        let url = url.map(str::to_owned).or_else(|| recorded.and_then(|it| it.edge));
        let url = url.ok_or_else(|| {
            CliError::failed(format!("no tree is known in {}", data.root.display()))
                .hint("start one with `tollgate up`, or say where it is: --url URL --key-file FILE")
        })?;
        let url = url::parse_plain(&url)
            .map_err(|want| CliError::usage(format!("--url {url}: want {want}")))?;
        let file = match key_file {
            Some(file) => file.to_owned(),
            None => data.api_key_in_force()?,
        };
        Ok(Tree { url, key: read_key(&file)? })
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.path)
            .header("host", format!("{}:{}", self.url.host, self.url.port))
            .header("authorization", format!("Bearer {}", self.key));
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        let body = match &call.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Full::new(Bytes::from(body.clone()))
            }
            None => Full::default(),
        };
        request.body(body).expect("path, key and API key were checked to be printable")
    }

    /// Calls, and once more under the same key when the connection broke.
    async fn call(&self, call: &Call) -> Result<Reply, CliError> {
        let first = match http::call(&self.url, None, self.request(call), ANSWER_TIME_MAX).await {
            Ok(reply) => return Ok(reply),
            Err(Failure::Unsent(why)) => return Err(self.unreachable(&why)),
            Err(Failure::Unanswered(why)) => why,
        };
        match http::call(&self.url, None, self.request(call), ANSWER_TIME_MAX).await {
            Ok(reply) => Ok(reply),
            Err(Failure::Unsent(_) | Failure::Unanswered(_)) => Err(unknown(call, &first)),
        }
    }

    /// The currency of the account that `look` shows.
    async fn currency(&self, look: &Call) -> Result<Currency, CliError> {
        let reply = self.call(look).await?;
        let body = show::read(&reply.body);
        let currency = || Currency::parse(body.as_ref()?.get("currency")?.as_str()?);
        match (reply.status, currency()) {
            (200, Some(currency)) => Ok(currency),
            (status, _) => Err(refused(look, status, body.as_ref())),
        }
    }

    pub(super) fn unreachable(&self, why: &str) -> CliError {
        let address = format!("http://{}:{}", self.url.host, self.url.port);
        CliError::failed(format!("no answer from {address}: {why}"))
            .hint("is the tree running? see `tollgate status`; start it with `tollgate up`")
    }
}

/// Sent, and not answered. Only its key can tell what came of it.
fn unknown(call: &Call, why: &str) -> CliError {
    let error = CliError::failed(format!("the connection broke before the answer came: {why}"));
    match &call.key {
        Some(key) => error.hint(format!(
            "it may or may not have been booked; repeat it with --key {key} to find out: \
             it is never booked twice"
        )),
        None => error.hint("nothing was changed: ask again"),
    }
}

fn show(call: &Call, reply: &Reply, is_json: bool) -> Outcome {
    let is_done = (200..=299).contains(&reply.status);
    if call.is_file && is_done {
        say(&String::from_utf8_lossy(&reply.body));
        return Ok(ExitCode::SUCCESS);
    }
    let body = show::read(&reply.body);
    if is_json {
        say(&format!("{}\n", String::from_utf8_lossy(&reply.body).trim_end()));
    }
    match (reply.status, body) {
        (200..=299, Some(body)) => {
            if !is_json {
                say(&(call.show)(&body));
            }
            end_of(call, &body)
        }
        (status, body) => Err(refused(call, status, body.as_ref())),
    }
}

/// A transfer that came back is no success of the command that sent it.
fn end_of(call: &Call, body: &Value) -> Outcome {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    if call.method != Method::POST || text("status") != Some("returned") {
        return Ok(ExitCode::SUCCESS);
    }
    let reason = show::printable(text("reason").unwrap_or_default());
    let reason = Paint::stderr().bold(&format!("{reason}:"));
    Err(CliError::failed(format!("{reason} the target refused it, and the source has it back")))
}

fn refused(call: &Call, status: u16, body: Option<&Value>) -> CliError {
    let text = |key: &str| body.and_then(|it| it.get(key)).and_then(Value::as_str);
    let Some(code) = text("code") else {
        return CliError::failed(format!("the answer is no answer of the API (status {status})"))
            .hint("is this the address of a tree?");
    };
    let detail = show::printable(text("detail").unwrap_or_default());
    let code = show::printable(code);
    let error = CliError::failed(format!("{} {detail}", Paint::stderr().bold(&format!("{code}:"))));
    match (hint(&code), &call.key) {
        (_, Some(key)) if code == "outcome_unknown" => error.hint(format!(
            "it may or may not have been booked; repeat it with --key {key} to find out"
        )),
        (Some(hint), _) => error.hint(hint),
        (None, _) => error,
    }
}

/// What to do about a refusal, where that is not plain from its detail.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "no_such_account" => "open it with `tollgate account open`",
        "account_exists" => "look at it with `tollgate account show`",
        "no_such_service" => "name a service of the tree: SERVICE/ID, or --service SERVICE",
        "unauthenticated" => "name the file of the tree's key: --key-file FILE",
        "key_reused" => "this key belongs to another request: leave --key out for a new one",
        "overloaded" | "partition_moving" | "engine_unavailable" => {
            "nothing was booked: try again in a moment"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
