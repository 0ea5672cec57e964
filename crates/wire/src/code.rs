//! The closed list of codes that an answer may bear, each with its HTTP status, in one table.

/// What an answer means, for programs. The text form and the status never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    InsufficientFunds = 1,
    AccountFrozen = 2,
    AccountClosed = 3,
    AccountNotEmpty = 4,
    AccountExists = 5,
    BalanceOverflow = 6,
    CurrencyMismatch = 7,
    HoldNotActive = 8,
    AlreadyReversed = 9,
    KeyInUse = 10,
    KeyReused = 11,
    NoSuchAccount = 12,
    NoSuchTransaction = 13,
    NoSuchHold = 14,
    NoSuchTransfer = 15,
    NoSuchService = 16,
    NoSuchRoute = 17,
    MethodNotAllowed = 18,
    NotAcceptable = 19,
    InvalidRequest = 20,
    RequestTimeout = 21,
    BodyTooLarge = 22,
    UriTooLong = 23,
    UnsupportedMediaType = 24,
    HeadersTooLarge = 25,
    Unauthenticated = 26,
    Forbidden = 27,
    RateLimited = 28,
    Overloaded = 29,
    PartitionMoving = 30,
    EngineUnavailable = 31,
    OutcomeUnknown = 32,
    BadGateway = 33,
    ExpectationFailed = 40,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Code; 34] = [
        Code::InsufficientFunds,
        Code::AccountFrozen,
        Code::AccountClosed,
        Code::AccountNotEmpty,
        Code::AccountExists,
        Code::BalanceOverflow,
        Code::CurrencyMismatch,
        Code::HoldNotActive,
        Code::AlreadyReversed,
        Code::KeyInUse,
        Code::KeyReused,
        Code::NoSuchAccount,
        Code::NoSuchTransaction,
        Code::NoSuchHold,
        Code::NoSuchTransfer,
        Code::NoSuchService,
        Code::NoSuchRoute,
        Code::MethodNotAllowed,
        Code::NotAcceptable,
        Code::InvalidRequest,
        Code::RequestTimeout,
        Code::BodyTooLarge,
        Code::UriTooLong,
        Code::UnsupportedMediaType,
        Code::ExpectationFailed,
        Code::HeadersTooLarge,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::RateLimited,
        Code::Overloaded,
        Code::PartitionMoving,
        Code::EngineUnavailable,
        Code::OutcomeUnknown,
        Code::BadGateway,
    ];

    /// HTTP status, `code`, `title`.
    #[rustfmt::skip] // One code, one line.
    pub const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Code::InsufficientFunds => (409, "insufficient_funds", "Insufficient funds"),
            Code::AccountFrozen => (409, "account_frozen", "Account frozen"),
            Code::AccountClosed => (409, "account_closed", "Account closed"),
            Code::AccountNotEmpty => (409, "account_not_empty", "Account not empty"),
            Code::AccountExists => (409, "account_exists", "Account exists"),
            Code::BalanceOverflow => (409, "balance_overflow", "Balance overflow"),
            Code::CurrencyMismatch => (409, "currency_mismatch", "Currency mismatch"),
            Code::HoldNotActive => (409, "hold_not_active", "Hold not active"),
            Code::AlreadyReversed => (409, "already_reversed", "Already reversed"),
            Code::KeyInUse => (409, "key_in_use", "Idempotency key in use"),
            Code::KeyReused => (422, "key_reused", "Idempotency key reused"),
            Code::NoSuchAccount => (404, "no_such_account", "No such account"),
            Code::NoSuchTransaction => (404, "no_such_transaction", "No such transaction"),
            Code::NoSuchHold => (404, "no_such_hold", "No such hold"),
            Code::NoSuchTransfer => (404, "no_such_transfer", "No such transfer"),
            Code::NoSuchService => (404, "no_such_service", "No such service"),
            Code::NoSuchRoute => (404, "no_such_route", "No such route"),
            Code::MethodNotAllowed => (405, "method_not_allowed", "Method not allowed"),
            Code::NotAcceptable => (406, "not_acceptable", "Not acceptable"),
            Code::InvalidRequest => (400, "invalid_request", "Invalid request"),
            Code::RequestTimeout => (408, "request_timeout", "Request timeout"),
            Code::BodyTooLarge => (413, "body_too_large", "Body too large"),
            Code::UriTooLong => (414, "uri_too_long", "URI too long"),
            Code::UnsupportedMediaType => (415, "unsupported_media_type", "Unsupported media type"),
            Code::ExpectationFailed => (417, "expectation_failed", "Expectation failed"),
            Code::HeadersTooLarge => (431, "headers_too_large", "Headers too large"),
            Code::Unauthenticated => (401, "unauthenticated", "Unauthenticated"),
            Code::Forbidden => (403, "forbidden", "Forbidden"),
            Code::RateLimited => (429, "rate_limited", "Rate limited"),
            Code::Overloaded => (503, "overloaded", "Overloaded"),
            Code::PartitionMoving => (503, "partition_moving", "Partition moving"),
            Code::EngineUnavailable => (503, "engine_unavailable", "Engine unavailable"),
            Code::OutcomeUnknown => (504, "outcome_unknown", "Outcome unknown"),
            Code::BadGateway => (502, "bad_gateway", "Bad gateway"),
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The `code` field, as in `insufficient_funds`.
    pub const fn text(self) -> &'static str {
        self.row().1
    }

    /// The `title` field.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether it is the ledger that says no with such a code.
    pub const fn is_refusal(self) -> bool {
        matches!(self.status(), 404 | 409 | 422)
    }

    /// Reads the number that [`Code`] is cast to.
    pub fn from_number(number: u8) -> Option<Code> {
        Code::ALL.into_iter().find(|code| *code as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_texts_are_unique() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::from_number(code as u8), Some(code));
        }
        assert_eq!(Code::from_number(0), None);
    }
}
