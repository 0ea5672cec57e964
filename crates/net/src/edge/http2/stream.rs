//! One request and its answer (RFC 9113 §5.1).

use super::window::{Incoming, Outgoing};

/// A stream that both sides have begun and not both ended. `L` is what its owner keeps with it.
#[derive(Debug)]
pub(super) struct Stream<L> {
    pub(super) id: u32,
    pub(super) lane: L,
    /// What may be sent of the answer.
    pub(super) outgoing: Outgoing,
    /// What the client may send of the body.
    pub(super) incoming: Incoming,
    /// What is still to come of a body whose length was told.
    pub(super) length_left: Option<u64>,
    /// The client has sent all.
    pub(super) has_come: bool,
    /// The answer was sent to its end.
    pub(super) is_answered: bool,
    /// Nobody wants the rest of the body.
    pub(super) is_unwanted: bool,
}

impl<L> Stream<L> {
    /// Notes a part of the body, which may be the last; false when the body is not as long as its
    /// head said.
    #[must_use]
    pub(super) fn comes(&mut self, bytes: usize, is_last: bool) -> bool {
        let Some(left) = &mut self.length_left else { return true };
        let rest = u64::try_from(bytes).ok().and_then(|bytes| left.checked_sub(bytes));
        let Some(rest) = rest else { return false };
        *left = rest;
        !is_last || rest == 0
    }
}
