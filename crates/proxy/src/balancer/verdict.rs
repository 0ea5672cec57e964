//! What a request gets that has no answer, or not one that may be passed on.

use crate::problem::is_problem;
use wire::{
    Code,
    frame::{RequestRef, Target},
};

/// What matters about a request when an attempt at it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    /// It changes nothing.
    pub(crate) reads: bool,
    /// A second attempt cannot do more than the first.
    pub(crate) repeatable: bool,
}

impl Nature {
    pub(crate) fn of(request: &RequestRef<'_>) -> Nature {
        let reads = match request.target {
            Target::Http { method, .. } => method == "GET" || method == "HEAD",
            Target::Ledger { .. } => false,
        };
        Nature { reads, repeatable: reads || !request.key.is_empty() }
    }
}

/// Why a request failed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Every attempt certainly came to nothing.
    Unsent,
    /// An attempt may have been executed, and none could be repeated in time.
    Unknown,
    /// Nobody answered within the deadline.
    Late,
}

impl Failure {
    /// The code and the sentence that a client gets.
    pub(crate) fn verdict(self, nature: Nature) -> (Code, &'static str) {
        match self {
            Failure::Unsent => {
                (Code::Overloaded, "no endpoint could take the request; it was not executed")
            }
            // Whatever became of a read, nothing was changed by it.
            Failure::Unknown if nature.reads => {
                (Code::Overloaded, "the connection to the endpoint was lost")
            }
            Failure::Unknown => (
                Code::OutcomeUnknown,
                "the request may have been executed; repeat it with the same Idempotency-Key",
            ),
            Failure::Late => (
                Code::OutcomeUnknown,
                "no answer within the deadline; repeat the request with the same Idempotency-Key",
            ),
        }
    }
}

/// Whether an answer says what became of the request under its key, or would have been the same
/// for the first attempt. After an attempt whose outcome is unknown only such may be passed on.
pub(crate) fn is_definite(status: u16, body: &[u8]) -> bool {
    match status {
        401 | 403 | 408 | 429 | 500.. => false,
        409 => !is_problem(body, Code::KeyInUse),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn after_an_unknown_outcome_only_a_stored_one_passes() {
        let check = |code, definite| {
            let problem = Problem { code, detail: "", field: None, request_id: "r" };
            assert_eq!(is_definite(code.status(), &problem.body()), definite, "{code:?}");
        };
        for code in [Code::InsufficientFunds, Code::NoSuchAccount, Code::KeyReused] {
            check(code, true);
        }
        for code in [Code::KeyInUse, Code::Overloaded, Code::RateLimited, Code::OutcomeUnknown] {
            check(code, false);
        }
        assert!(is_definite(201, b"{}"));
    }

    #[test]
    fn a_write_that_may_have_happened_is_never_called_unexecuted() {
        let write = Nature { reads: false, repeatable: true };
        for failure in [Failure::Unknown, Failure::Late] {
            assert_eq!(failure.verdict(write).0, Code::OutcomeUnknown);
        }
        assert_eq!(Failure::Unsent.verdict(write).0, Code::Overloaded);
    }
}
