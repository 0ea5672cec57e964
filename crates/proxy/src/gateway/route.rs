//! From method and path to what is asked for. Knows no service by name and reads no body.

use super::{
    body,
    mistake::{Mistake, clip},
};
use crate::escapes::{percent_decode, unescaped};
use wire::{AccountId, Code, HoldId, Kind, TransactionId, TransferId, limits};

/// What a request asks of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Change(Change),
    /// Many changes in one request.
    Batch,
    Read(Read),
    /// What was booked in a period, between two balances.
    Statement(AccountId),
    /// What is journaled, as it happens.
    Events,
}

/// What a request asks that is of no single service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// Money is to go from an account to another.
    Transfer,
    Show(TransferId),
}

/// Something is to change: the request bears an idempotency key and has a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Open,
    Update(AccountId),
    Post(Kind, AccountId),
    Hold(AccountId),
    Capture(AccountId, HoldId),
    Release(AccountId, HoldId),
    Reverse(TransactionId),
}

/// Something is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A page of accounts.
    Accounts,
    Account(AccountId),
    Balance(AccountId),
    /// A page of an account's transactions.
    Transactions(AccountId),
    Transaction(TransactionId),
    Hold(AccountId, HoldId),
    Trial,
}

/// A path of the account API, its variable parts as they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    OfService(OfService<'a>),
    Transfers(Transfers<'a>),
}

/// A path of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OfService<'a> {
    pub(super) service: &'a str,
    resource: Resource<'a>,
}

/// A path of transfers, which go from service to service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfers<'a> {
    All,
    One(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource<'a> {
    Accounts,
    Account(&'a str),
    Balance(&'a str),
    Post(Kind, &'a str),
    Batch,
    Transactions(&'a str),
    Statement(&'a str),
    Holds(&'a str),
    Hold(&'a str, &'a str),
    Capture(&'a str, &'a str),
    Release(&'a str, &'a str),
    Reverse(&'a str),
    Transaction(&'a str),
    Trial,
    Events,
}

/// Longest body of a request to this path.
pub(crate) fn body_bytes_max(path: &str) -> usize {
    let path = unescaped(path);
    // Few paths end like it, and all are asked.
    match path.ends_with("/batch").then(|| Route::of(&path)).flatten() {
        Some(Route::OfService(OfService { resource: Resource::Batch, .. })) => {
            limits::BATCH_BODY_BYTES_MAX
        }
        Some(_) | None => limits::BODY_BYTES_MAX,
    }
}

/// A method that the path does not know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAsked {
    /// The value of `Allow`.
    Method(&'static str),
    Mistake(Mistake),
}

impl From<Mistake> for NotAsked {
    fn from(mistake: Mistake) -> NotAsked {
        NotAsked::Mistake(mistake)
    }
}

impl<'a> Route<'a> {
    /// Reads a path without its query, as [`unescaped`] makes it; `None` when the API has no such path.
    pub(super) fn of(path: &'a str) -> Option<Route<'a>> {
        let path = path.strip_prefix("/v1/")?;
        match path.split_once('/') {
            None if path == "transfers" => Some(Route::Transfers(Transfers::All)),
            None | Some(("", _)) => None,
            Some((service, rest)) => match Resource::of(rest) {
                Some(resource) => Some(Route::OfService(OfService { service, resource })),
                // A service may be called so, too: none of its paths looks like an id.
                None if service == "transfers" && !rest.is_empty() && !rest.contains('/') => {
                    Some(Route::Transfers(Transfers::One(rest)))
                }
                None => None,
            },
        }
    }
}

impl Transfers<'_> {
    /// What `method` asks of this path.
    pub(super) fn asked(self, method: &str) -> Result<Between, NotAsked> {
        match (self, method) {
            (Transfers::All, "POST") => Ok(Between::Transfer),
            (Transfers::One(id), "GET" | "HEAD") => Ok(Between::Show(transfer_id(id)?)),
            (Transfers::All, _) => Err(NotAsked::Method("POST")),
            (Transfers::One(_), _) => Err(NotAsked::Method("GET, HEAD")),
        }
    }
}

impl OfService<'_> {
    /// What `method` asks of this path.
    pub(super) fn asked(self, method: &str) -> Result<Asked, NotAsked> {
        // HEAD is GET to everybody but the writer of the socket, who leaves out the body.
        let method = if method == "HEAD" { "GET" } else { method };
        Ok(match (self.resource, method) {
            (Resource::Accounts, "GET") => Asked::Read(Read::Accounts),
            (Resource::Accounts, "POST") => Asked::Change(Change::Open),
            (Resource::Account(id), "GET") => Asked::Read(Read::Account(account_id(id)?)),
            (Resource::Account(id), "PATCH") => Asked::Change(Change::Update(account_id(id)?)),
            (Resource::Balance(id), "GET") => Asked::Read(Read::Balance(account_id(id)?)),
            (Resource::Post(kind, id), "POST") => {
                Asked::Change(Change::Post(kind, account_id(id)?))
            }
            (Resource::Batch, "POST") => Asked::Batch,
            (Resource::Transactions(id), "GET") => Asked::Read(Read::Transactions(account_id(id)?)),
            (Resource::Statement(id), "GET") => Asked::Statement(account_id(id)?),
            (Resource::Transaction(id), "GET") => {
                Asked::Read(Read::Transaction(transaction_id(id)?))
            }
            (Resource::Holds(id), "POST") => Asked::Change(Change::Hold(account_id(id)?)),
            (Resource::Hold(id, hold), "GET") => {
                Asked::Read(Read::Hold(account_id(id)?, hold_id(hold)?))
            }
            (Resource::Capture(id, hold), "POST") => {
                Asked::Change(Change::Capture(account_id(id)?, hold_id(hold)?))
            }
            (Resource::Release(id, hold), "POST") => {
                Asked::Change(Change::Release(account_id(id)?, hold_id(hold)?))
            }
            (Resource::Reverse(id), "POST") => Asked::Change(Change::Reverse(transaction_id(id)?)),
            (Resource::Events, "GET") => Asked::Events,
            (Resource::Trial, "GET") => Asked::Read(Read::Trial),
            (resource, _) => return Err(NotAsked::Method(resource.allow())),
        })
    }
}

impl<'a> Resource<'a> {
    fn of(path: &'a str) -> Option<Resource<'a>> {
        let mut parts = path.split('/');
        let (first, id, rest) = (parts.next()?, parts.next(), parts.next());
        let (part, verb) = (parts.next(), parts.next());
        if parts.next().is_some() || id == Some("") || part == Some("") {
            return None;
        }
        if let (Some(part), "accounts", Some(id), Some("holds")) = (part, first, id, rest) {
            return match verb {
                None => Some(Resource::Hold(id, part)),
                Some("capture") => Some(Resource::Capture(id, part)),
                Some("release") => Some(Resource::Release(id, part)),
                Some(_) => None,
            };
        }
        if part.is_some() {
            return None;
        }
        Some(match (first, id, rest) {
            ("accounts", None, None) => Resource::Accounts,
            ("accounts", Some(id), None) => Resource::Account(id),
            ("accounts", Some(id), Some("balance")) => Resource::Balance(id),
            ("accounts", Some(id), Some("debit")) => Resource::Post(Kind::Debit, id),
            ("accounts", Some(id), Some("credit")) => Resource::Post(Kind::Credit, id),
            ("accounts", Some(id), Some("transactions")) => Resource::Transactions(id),
            ("accounts", Some(id), Some("statement")) => Resource::Statement(id),
            ("accounts", Some(id), Some("holds")) => Resource::Holds(id),
            ("batch", None, None) => Resource::Batch,
            ("transactions", Some(id), None) => Resource::Transaction(id),
            ("transactions", Some(id), Some("reverse")) => Resource::Reverse(id),
            ("trial-balance", None, None) => Resource::Trial,
            ("events", None, None) => Resource::Events,
            _ => return None,
        })
    }

    fn allow(self) -> &'static str {
        match self {
            Resource::Accounts => "GET, HEAD, POST",
            Resource::Account(_) => "GET, HEAD, PATCH",
            Resource::Post(..)
            | Resource::Batch
            | Resource::Holds(_)
            | Resource::Capture(..)
            | Resource::Release(..)
            | Resource::Reverse(_) => "POST",
            Resource::Balance(_)
            | Resource::Transactions(_)
            | Resource::Transaction(_)
            | Resource::Statement(_)
            | Resource::Hold(..)
            | Resource::Events
            | Resource::Trial => "GET, HEAD",
        }
    }
}

fn account_id(part: &str) -> Result<AccountId, Mistake> {
    let decoded = percent_decode(part, false)
        .ok_or_else(|| Mistake::in_field("id", "a % in the path begins no sound escape"))?;
    body::account_id(&decoded)
}

fn transaction_id(part: &str) -> Result<TransactionId, Mistake> {
    minted_id(part, TransactionId::parse, (Code::NoSuchTransaction, "a transaction's id, tx_"))
}

fn hold_id(part: &str) -> Result<HoldId, Mistake> {
    minted_id(part, HoldId::parse, (Code::NoSuchHold, "a hold's id, hold_"))
}

fn transfer_id(part: &str) -> Result<TransferId, Mistake> {
    minted_id(part, TransferId::parse, (Code::NoSuchTransfer, "a transfer's id, tr_"))
}

/// An id of ours; what is none names nothing that there is.
fn minted_id<T>(
    part: &str,
    parse: fn(&str) -> Option<T>,
    (code, what): (Code, &str),
) -> Result<T, Mistake> {
    let decoded = percent_decode(part, false);
    decoded.as_deref().and_then(parse).ok_or_else(|| {
        let text = clip(decoded.as_deref().unwrap_or(part));
        Mistake::new(code, format!("{text:?} is not of the form of {what} and 26 digits"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expected: &str) {
        let asked = |route: Route<'_>| match route {
            Route::OfService(of) => of.asked(method).map(|asked| match asked {
                Asked::Change(change) => format!("{} {change:?}", of.service),
                Asked::Read(read) => format!("{} {read:?}", of.service),
                Asked::Batch | Asked::Statement(_) | Asked::Events => {
                    format!("{} {asked:?}", of.service)
                }
            }),
            Route::Transfers(of) => of.asked(method).map(|asked| format!("{asked:?}")),
        };
        let got = match Route::of(path) {
            None => "404 no_such_route".to_owned(),
            Some(route) => match asked(route) {
                Ok(asked) => asked,
                Err(NotAsked::Method(allow)) => format!("405 {allow}"),
                Err(NotAsked::Mistake(mistake)) => {
                    let field = mistake.field.unwrap_or_default();
                    format!("{} {field}: {}", mistake.code.text(), mistake.detail)
                }
            },
        };
        assert_eq!(got, expected, "{method} {path}");
    }

    #[test]
    fn finds_what_is_asked() {
        check("GET", "/v1/a/accounts", "a Accounts");
        check("HEAD", "/v1/a/accounts", "a Accounts");
        check("POST", "/v1/a/accounts", "a Open");
        check("GET", "/v1/a/accounts/alice", "a Account(AccountId(\"alice\"))");
        check("PATCH", "/v1/b/accounts/alice", "b Update(AccountId(\"alice\"))");
        check("GET", "/v1/a/accounts/al%69ce/balance", "a Balance(AccountId(\"alice\"))");
        check("POST", "/v1/a/accounts/x/debit", "a Post(Debit, AccountId(\"x\"))");
        check("POST", "/v1/a/batch", "a Batch");
        check("GET", "/v1/a/batch", "405 POST");
        check("POST", "/v1/a/batch/x", "404 no_such_route");
        check("POST", "/v1/a/accounts/x/credit", "a Post(Credit, AccountId(\"x\"))");
        check("GET", "/v1/a/accounts/x/transactions", "a Transactions(AccountId(\"x\"))");
        check("GET", "/v1/a/accounts/x/statement", "a Statement(AccountId(\"x\"))");
        check("GET", "/v1/a/trial-balance", "a Trial");
        check("GET", "/v1/a/events", "a Events");
        let hold = "hold_00000000000000000000000001";
        let at = format!("/v1/a/accounts/x/holds/{hold}");
        check("POST", "/v1/a/accounts/x/holds", "a Hold(AccountId(\"x\"))");
        check("GET", &at, "a Hold(AccountId(\"x\"), HoldId(1))");
        check("POST", &format!("{at}/capture"), "a Capture(AccountId(\"x\"), HoldId(1))");
        check("POST", &format!("{at}/release"), "a Release(AccountId(\"x\"), HoldId(1))");
        check("POST", "/v1/transfers", "Transfer");
        check("GET", "/v1/transfers", "405 POST");
        let transfer = "/v1/transfers/tr_00000000000000000000000001";
        check("GET", transfer, "Show(TransferId(1))");
        check("GET", "/v1/transfers/accounts", "transfers Accounts");
        let not_its = "no_such_transfer : \"17\" is not of the form of a transfer's id, tr_";
        check("GET", "/v1/transfers/17", &format!("{not_its} and 26 digits"));
        let id = "tx_00000000000000000000000001";
        let reverse = format!("/v1/a/transactions/{id}/reverse");
        check("POST", &reverse, "a Reverse(TransactionId(1))");
        check("GET", &format!("/v1/a/transactions/{id}"), "a Transaction(TransactionId(1))");
    }

    #[test]
    fn other_paths_are_no_routes() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/a",
            "/v1/a/",
            "/v1//accounts",
            "/v2/a/accounts",
            "/v1/a/accounts/",
            "/v1/a/accounts//balance",
            "/v1/a/accounts/x/",
            "/v1/a/accounts/x/y/balance",
            "/v1/a/accounts/x/balance/",
            "/v1/a/accounts/x/holds/",
            "/v1/a/accounts/x/holds/y/",
            "/v1/a/accounts/x/holds/y/capture/z",
            "/v1/a/accounts/x/debit/y",
            "/v1/a/transactions/x/reverse/y",
            "/v1/a/transactions",
            "/v1/a/trial-balance/x",
            "/v1/a/batches",
            "/v1/transfers/",
            "/V1/a/accounts",
            "/openapi.json",
        ] {
            check("GET", path, "404 no_such_route");
        }
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        check("DELETE", "/v1/a/accounts", "405 GET, HEAD, POST");
        check("PUT", "/v1/a/accounts/x", "405 GET, HEAD, PATCH");
        check("POST", "/v1/a/accounts/x/balance", "405 GET, HEAD");
        check("GET", "/v1/a/accounts/x/debit", "405 POST");
        check("get", "/v1/a/trial-balance", "405 GET, HEAD");
    }

    #[test]
    fn ids_in_paths_keep_the_rule() {
        let wanted = "1 to 128 of A-Z a-z 0-9 . _ : - are wanted, and not . or .. alone";
        let refused = |path: &str, found: &str| {
            check("GET", path, &format!("invalid_request id: {found}; {wanted}"));
        };
        refused("/v1/a/accounts/x%2Fy", "\"x/y\" has '/' in it");
        refused("/v1/a/accounts/x%00", "\"x\\0\" has '\\0' in it");
        refused("/v1/a/accounts/%C3%A9", "\"é\" has 'é' in it");
        refused("/v1/a/accounts/..", "\"..\" is no account id");
        refused("/v1/a/accounts/%2e", "\".\" is no account id");
        refused(&format!("/v1/a/accounts/{}", "x".repeat(5_000)), "an account id of 5000 bytes");
        for path in
            ["/v1/a/accounts/%", "/v1/a/accounts/%4", "/v1/a/accounts/%zz", "/v1/a/accounts/%ff"]
        {
            check("GET", path, "invalid_request id: a % in the path begins no sound escape");
        }
    }

    #[test]
    fn a_batch_may_be_long_however_it_is_written() {
        for path in ["/v1/a/batch", "/v1/%61/b%61tch", "/%761/a/%62atch"] {
            assert_eq!(body_bytes_max(path), limits::BATCH_BODY_BYTES_MAX, "{path}");
        }
        for path in ["/v1/a/accounts", "/v1%2Fa/batch", "/v1/a/batch/%"] {
            assert_eq!(body_bytes_max(path), limits::BODY_BYTES_MAX, "{path}");
        }
    }

    #[test]
    fn a_transaction_of_another_form_does_not_exist() {
        check(
            "GET",
            "/v1/a/transactions/17",
            "no_such_transaction : \"17\" is not of the form of a transaction's id, tx_ and 26 digits",
        );
    }
}
