//! What a request gets that has no answer of its endpoint's to be passed on.

use wire::Code;

/// Why a request to an HTTP service failed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Certainly nobody got it.
    Unsent,
    /// An endpoint got it, or a part of it, and its connection ended.
    Lost,
    /// An endpoint got it and did not answer within the deadline.
    Late,
    /// An endpoint answered in a way that cannot be passed on.
    Odd,
    /// The client did not bring its body to an end.
    Broken,
    /// What came cannot be a request of this protocol.
    Unfit,
}

impl Failure {
    /// The code and the sentence that a client gets. `safe`: the request asked for no change.
    pub(crate) fn verdict(self, safe: bool) -> (Code, &'static str) {
        match self {
            Failure::Unsent => (
                Code::Overloaded,
                "no endpoint of the service took the request; it was not executed",
            ),
            Failure::Broken => (Code::InvalidRequest, "the body broke off"),
            Failure::Unfit => {
                (Code::InvalidRequest, "the request cannot be passed on to the service")
            }
            // Whatever became of it, nothing was changed by it.
            Failure::Lost if safe => (Code::BadGateway, "the connection to the service was lost"),
            Failure::Odd if safe => (Code::BadGateway, "the service's answer was not sound"),
            Failure::Late => (Code::OutcomeUnknown, "the service did not answer in time"),
            Failure::Lost | Failure::Odd => (
                Code::OutcomeUnknown,
                "the service gave no sound answer; the request may have been executed",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_executed_is_never_called_unexecuted() {
        for failure in [Failure::Lost, Failure::Late, Failure::Odd] {
            assert_eq!(failure.verdict(false).0, Code::OutcomeUnknown, "{failure:?}");
        }
        assert_eq!(Failure::Unsent.verdict(false).0, Code::Overloaded);
        assert_eq!(Failure::Lost.verdict(true).0, Code::BadGateway);
    }
}
