//! What a client is told: the only place in the gateway where a status is written.

use super::{
    events,
    mistake::Mistake,
    render::{self, Page, TrialBalance},
    statement::Format,
};
use crate::problem::{self, Problem};
use wire::{AccountState, Code, Done, Hold, Outcome, Posting, Refused, Transfer, call::Failure};

/// An answer to the public API, but for the headers that every answer bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty where there is no body.
    pub(super) content_type: &'static str,
    /// `Allow`, `Retry-After` or `WWW-Authenticate`, as the status wants it.
    pub(super) header: Option<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
}

/// What the ledger told, and in which form it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Outcome(Outcome),
    Account(AccountState),
    Balance(AccountState),
    Transaction(Posting),
    Hold(Hold),
    Transfer(Transfer),
    Transactions(Page<Posting>),
    Accounts(Page<AccountState>),
    Trial(TrialBalance),
}

const JSON: &str = "application/json";
/// Room for the JSON of one account or transaction with little metadata.
const BODY_BYTES_USUAL: usize = 512;
/// Room for the JSON of what became of an item of a batch.
const ITEM_BYTES_USUAL: usize = 416;

impl Answer {
    /// What the ledger told about `service`, or why it told nothing.
    pub(super) fn of(service: &str, told: Result<Told, Failure>, request_id: &str) -> Answer {
        let told = match told {
            Ok(told) => told,
            Err(failure) => {
                let (code, detail) = meaning(failure);
                return Answer::problem(code, None, detail, request_id);
            }
        };
        let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
        let out = &mut body;
        let status = match &told {
            Told::Outcome(Outcome::Refused(Refused { refusal, request_id })) => {
                // The id of the request that was refused first: a repeat gets the same bytes.
                return Answer::problem(refusal.code(), None, &refusal.to_string(), request_id);
            }
            Told::Outcome(Outcome::Done(Done::Opened(state))) => {
                render::account(out, service, state);
                201
            }
            Told::Outcome(Outcome::Done(Done::Posted(posting))) => {
                render::transaction(out, service, posting);
                201
            }
            Told::Outcome(Outcome::Done(Done::Updated(state))) | Told::Account(state) => {
                render::account(out, service, state);
                200
            }
            Told::Outcome(Outcome::Done(Done::Held(hold))) => {
                render::hold(out, service, hold);
                201
            }
            Told::Outcome(Outcome::Done(Done::HoldEnded(hold))) | Told::Hold(hold) => {
                render::hold(out, service, hold);
                200
            }
            Told::Outcome(Outcome::Done(Done::Transferred(transfer))) => {
                render::transfer(out, transfer);
                201
            }
            Told::Transfer(transfer) => {
                render::transfer(out, transfer);
                200
            }
            // Between the owners of a transfer's ends; no client asks for it.
            Told::Outcome(Outcome::Done(Done::Delivered(_))) => {
                let (code, detail) = meaning(Failure::Malformed);
                return Answer::problem(code, None, detail, request_id);
            }
            Told::Balance(state) => {
                render::balance(out, state);
                200
            }
            Told::Transaction(posting) => {
                render::transaction(out, service, posting);
                200
            }
            Told::Transactions(page) => {
                render::page(out, page, |out, row| render::transaction(out, service, row));
                200
            }
            Told::Accounts(page) => {
                render::page(out, page, |out, row| render::account(out, service, row));
                200
            }
            Told::Trial(trial) => {
                render::trial(out, service, trial);
                200
            }
        };
        Answer { status, content_type: JSON, header: None, body }
    }

    /// What became of each item of a batch: its key and what was told.
    pub(super) fn batch<'a>(
        service: &str,
        items: impl ExactSizeIterator<Item = (&'a str, Result<Outcome, Failure>)>,
    ) -> Answer {
        let mut body = Vec::with_capacity(items.len().saturating_mul(ITEM_BYTES_USUAL));
        render::outcomes(&mut body, items, |out, told| match told {
            Ok(Outcome::Done(Done::Posted(posting))) => {
                render::posted(out, service, &posting);
            }
            Ok(Outcome::Refused(Refused { refusal, .. })) => {
                render::failed(out, refusal.code(), &refusal.to_string());
            }
            // An item asks for a posting, and gets no other outcome.
            Ok(Outcome::Done(
                Done::Opened(_)
                | Done::Updated(_)
                | Done::Held(_)
                | Done::HoldEnded(_)
                | Done::Transferred(_)
                | Done::Delivered(_),
            )) => {
                let (code, detail) = meaning(Failure::OutcomeUnknown);
                render::failed(out, code, detail);
            }
            Err(failure) => {
                let (code, detail) = meaning(failure);
                render::failed(out, code, detail);
            }
        });
        Answer { status: 200, content_type: JSON, header: None, body }
    }

    /// A statement in this form; those that are no JSON are files.
    pub(super) fn statement(format: Format, body: Vec<u8>) -> Answer {
        let (content_type, file) = match format {
            Format::Json => (JSON, None),
            Format::Csv => (
                "text/csv; charset=utf-8; header=present",
                Some("attachment; filename=statement.csv"),
            ),
            Format::Camt053 => ("application/xml", Some("attachment; filename=statement.xml")),
        };
        let header = file.map(|file| ("content-disposition", file));
        Answer { status: 200, content_type, header, body }
    }

    /// The head of an answer that goes on.
    pub(super) fn stream() -> Answer {
        let header = Some(("cache-control", "no-store"));
        Answer { status: 200, content_type: events::CONTENT_TYPE, header, body: Vec::new() }
    }

    /// A page of ours that is the same for everybody.
    pub(super) fn page(content_type: &'static str, text: &str) -> Answer {
        Answer { status: 200, content_type, header: None, body: text.into() }
    }

    /// This node has no room for the request.
    pub(super) fn overloaded(request_id: &str) -> Answer {
        let (code, detail) = meaning(Failure::Overloaded);
        Answer::problem(code, None, detail, request_id)
    }

    /// What is wrong with the request.
    pub(super) fn mistake(mistake: &Mistake, request_id: &str) -> Answer {
        let field = mistake.field.as_deref();
        Answer::problem(mistake.code, field, &mistake.detail, request_id)
    }

    /// The path is known, the method is not; `allow` lists those that are.
    pub(super) fn method_not_allowed(allow: &'static str, request_id: &str) -> Answer {
        let detail = format!("this path takes {allow}");
        let answer = Answer::problem(Code::MethodNotAllowed, None, &detail, request_id);
        Answer { header: Some(("allow", allow)), ..answer }
    }

    /// What a path takes, told to whoever asks just that.
    pub(super) fn options(allow: &'static str) -> Answer {
        Answer { status: 204, content_type: "", header: Some(("allow", allow)), body: Vec::new() }
    }

    fn problem(code: Code, field: Option<&str>, detail: &str, request_id: &str) -> Answer {
        let header = if code == Code::Unauthenticated {
            Some(("www-authenticate", "Bearer"))
        } else {
            problem::retry_after(code).map(|seconds| ("retry-after", seconds))
        };
        Answer {
            status: code.status(),
            content_type: problem::CONTENT_TYPE,
            header,
            body: Problem { code, detail, field, request_id }.body(),
        }
    }
}

/// What it means to a client that the ledger gave no outcome.
fn meaning(failure: Failure) -> (Code, &'static str) {
    match failure {
        Failure::NotOwner => (
            Code::PartitionMoving,
            "no account node could be reached that owns this partition; nothing was executed",
        ),
        Failure::Overloaded => {
            (Code::Overloaded, "there was no room or no time for the request; nothing was executed")
        }
        Failure::EngineUnavailable => {
            (Code::EngineUnavailable, "the engine gave no answer; nothing was executed")
        }
        Failure::KeyInUse => {
            (Code::KeyInUse, "the first request with this Idempotency-Key is still being executed")
        }
        Failure::OutcomeUnknown => (
            Code::OutcomeUnknown,
            "the request was sent and no answer came: it may have been executed; \
             repeat it with the same Idempotency-Key",
        ),
        Failure::NoSuchAccount => (Code::NoSuchAccount, "there is no account of this id"),
        Failure::NoSuchTransaction => {
            (Code::NoSuchTransaction, "there is no transaction of this id")
        }
        Failure::NoSuchHold => (Code::NoSuchHold, "there is no hold of this id"),
        Failure::NoSuchTransfer => (Code::NoSuchTransfer, "there is no transfer of this id"),
        Failure::NotReversible => {
            (Code::InvalidRequest, "a leg of a transfer, or a reversal itself, cannot be reversed")
        }
        // Two nodes of different builds, or a bug: the client is not to blame and may try again,
        // since nothing was executed. None of the codes for clients says that better.
        Failure::Malformed => (
            Code::EngineUnavailable,
            "the account node and the gateway do not understand each other; nothing was executed",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{Currency, Refusal};

    fn told(failure: Failure) -> Answer {
        Answer::of("a", Err(failure), "req_now")
    }

    #[test]
    fn failures_have_their_codes() {
        for (failure, status, code) in [
            (Failure::NotOwner, 503, "partition_moving"),
            (Failure::Overloaded, 503, "overloaded"),
            (Failure::EngineUnavailable, 503, "engine_unavailable"),
            (Failure::KeyInUse, 409, "key_in_use"),
            (Failure::OutcomeUnknown, 504, "outcome_unknown"),
            (Failure::NoSuchAccount, 404, "no_such_account"),
            (Failure::NoSuchTransaction, 404, "no_such_transaction"),
            (Failure::NoSuchHold, 404, "no_such_hold"),
            (Failure::NoSuchTransfer, 404, "no_such_transfer"),
            (Failure::NotReversible, 400, "invalid_request"),
            (Failure::Malformed, 503, "engine_unavailable"),
        ] {
            let answer = told(failure);
            assert_eq!(answer.status, status, "{failure:?}");
            assert_eq!(answer.content_type, "application/problem+json");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()));
            assert_eq!(body["request_id"], "req_now");
            let retry = (status == 503).then_some(("retry-after", "1"));
            assert_eq!(answer.header, retry);
        }
    }

    #[test]
    fn a_refusal_bears_the_id_of_the_first_request() {
        let currency = Currency::parse("EUR").unwrap();
        let refusal = Refusal::InsufficientFunds { available: 3_000, asked: 4_500, currency };
        let refused = Refused { refusal, request_id: "req_first".into() };
        let outcome = Ok(Told::Outcome(Outcome::Refused(refused)));
        let answer = Answer::of("a", outcome, "req_now");
        assert_eq!((answer.status, answer.header), (409, None));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["request_id"], "req_first");
        assert_eq!(body["detail"], "available 3000 EUR minor units, asked 4500");
        assert!(body["field"].is_null());
    }

    #[test]
    fn some_statuses_want_a_header() {
        let answer = Answer::method_not_allowed("GET, HEAD", "r");
        assert_eq!((answer.status, answer.header), (405, Some(("allow", "GET, HEAD"))));
        let answer = Answer::options("GET, HEAD");
        assert_eq!((answer.status, answer.header), (204, Some(("allow", "GET, HEAD"))));
        let answer = Answer::mistake(&Mistake::new(Code::Unauthenticated, "no"), "r");
        assert_eq!((answer.status, answer.header), (401, Some(("www-authenticate", "Bearer"))));
    }
}
