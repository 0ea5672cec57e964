//! Whose fault it is, as far as an endpoint's breaker and estimates are concerned.
//!
//! Only an endpoint's own sheds, its lost connection and its missed checks count against it; what
//! it merely relays counts against the hop that the answer names.

use balance::Outcome;
use net::trunk::Loss;
use wire::frame::ResponseRef;

/// What an answer says of the endpoint `name` that brought it.
pub(super) fn answered(name: &str, response: &ResponseRef<'_>) -> Outcome {
    let decided_by = response.decided_by;
    match response.status {
        ..500 => Outcome::Answered,
        _ if !decided_by.is_empty() && decided_by != name => Outcome::Elsewhere,
        503 => Outcome::Shed,
        _ => Outcome::Failed,
    }
}

/// What the lack of an answer says of the endpoint that was asked.
pub(super) fn lost(loss: Loss) -> Outcome {
    match loss {
        Loss::ConnectionLost => Outcome::Lost,
        // It takes no more: as good as its own refusal.
        Loss::Full => Outcome::Shed,
        // Nothing was asked of it, or nobody waited long enough.
        Loss::NotConnected | Loss::TooLong | Loss::DeadlinePassed | Loss::Reset => {
            Outcome::Abandoned
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_is_exact() {
        for (status, decided_by, expected) in [
            (200, "gateway-1", Outcome::Answered),
            (200, "a-1", Outcome::Answered),
            (409, "a-1", Outcome::Answered),
            (404, "gateway-1", Outcome::Answered),
            (503, "gateway-1", Outcome::Shed),
            (503, "", Outcome::Shed),
            (503, "a-1", Outcome::Elsewhere),
            (504, "a-1", Outcome::Elsewhere),
            (500, "a-1", Outcome::Elsewhere),
            (504, "gateway-1", Outcome::Failed),
            (500, "gateway-1", Outcome::Failed),
            (502, "", Outcome::Failed),
        ] {
            let response = ResponseRef::new(status, decided_by, b"");
            assert_eq!(answered("gateway-1", &response), expected, "{status} by {decided_by}");
        }
        assert_eq!(lost(Loss::ConnectionLost), Outcome::Lost);
        assert_eq!(lost(Loss::DeadlinePassed), Outcome::Abandoned);
    }
}
