//! What stands for a request on the connection to its endpoint until it is answered.

use super::{blame, relay::Relay, router::Router};
use balance::{Outcome, Ticket};
use net::trunk::{self, CallSlot, Loss, Pending, StreamReader};
use std::rc::Rc;
use wire::frame::ResponseRef;

/// What waits for an answer from an endpoint.
pub(super) enum Hop {
    /// A task of the HTTP front.
    Call(Call),
    /// A request of the trunk front.
    Relay(Relay),
}

/// What waits for the answer to a call, in front of its task: its end is counted when the answer
/// is read, before any load report behind it, and when the client has hung up, too.
pub(super) struct Call {
    slot: CallSlot,
    /// `None` for one whose task counts its end.
    sent: Option<Sent>,
}

impl From<CallSlot> for Hop {
    fn from(slot: CallSlot) -> Hop {
        Hop::Call(Call { slot, sent: None })
    }
}

/// The duty to count the end of what was sent.
pub(super) struct Sent {
    router: Rc<Router>,
    /// `None` once it is counted.
    ticket: Option<Ticket>,
}

impl Call {
    fn answered(self, response: ResponseRef<'_>) {
        self.sent.into_iter().for_each(|it| it.answered(&response));
        self.slot.answered(response);
    }

    fn streamed(self, head: ResponseRef<'_>, body: StreamReader) {
        self.sent.into_iter().for_each(|it| it.answered(&head));
        self.slot.streamed(head, body);
    }

    fn lost(self, loss: Loss) {
        self.sent.into_iter().for_each(|it| it.lost(loss));
        self.slot.lost(loss);
    }
}

impl Sent {
    pub(super) fn new(router: Rc<Router>, ticket: Ticket) -> Sent {
        Sent { router, ticket: Some(ticket) }
    }

    pub(super) fn answered(mut self, response: &ResponseRef<'_>) {
        if let Some(ticket) = self.ticket.take() {
            self.router.answered(ticket, response);
        }
    }

    pub(super) fn lost(mut self, loss: Loss) {
        if let Some(ticket) = self.ticket.take() {
            self.router.ended(ticket, blame::lost(loss));
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.router.ended(ticket, Outcome::Abandoned);
        }
    }
}

impl Hop {
    /// A call whose end `sent` counts.
    pub(super) fn call(slot: CallSlot, sent: Sent) -> Hop {
        Hop::Call(Call { slot, sent: Some(sent) })
    }

    /// The request that a relay keeps; a call keeps it in its task.
    pub(super) fn message(&self) -> &[u8] {
        match self {
            Hop::Relay(relay) => relay.message(),
            Hop::Call(_) => &[],
        }
    }
}

impl Pending for Hop {
    fn sent(&self, ticket: trunk::Ticket) {
        match self {
            Hop::Call(call) => call.slot.sent(ticket),
            Hop::Relay(relay) => relay.sent(ticket),
        }
    }

    fn streamed(self, head: ResponseRef<'_>, body: StreamReader) {
        match self {
            Hop::Call(call) => call.streamed(head, body),
            Hop::Relay(relay) => relay.streamed(head, body),
        }
    }

    fn answered(self, response: ResponseRef<'_>) {
        match self {
            Hop::Call(call) => call.answered(response),
            Hop::Relay(relay) => relay.answered(response),
        }
    }

    fn lost(self, loss: Loss) {
        match self {
            Hop::Call(call) => call.lost(loss),
            Hop::Relay(relay) => relay.lost(loss),
        }
    }
}
