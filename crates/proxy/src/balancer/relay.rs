//! The trunk front: a request comes on one connection and goes on another, without a task.

use super::{
    blame,
    hop::Hop,
    limits::{
        ATTEMPTS_MAX, FULL_MAX, SPARE_BUFFER_BYTES_MAX, SPARE_BUFFERS_MAX, UNSENT_WAIT_MAX,
        WAITING_MAX, WAITING_TICK,
    },
    relay_stream::{self, StreamRelay},
    router::Router,
    verdict::{Failure, Nature, is_definite},
};
use crate::problem;
use balance::{Ask, Outcome, Ticket};
use net::{
    clock,
    trunk::{self, Handler, Loss, Refused, ReplyTo, StreamReader, Tag},
};
use std::{collections::VecDeque, rc::Rc, time::Duration};
use stdx::Moment;
use tokio::task::spawn_local;
use wire::frame::{Patch, RequestRef, ResponseRef, Target};

/// Takes requests of the tier above.
pub(super) struct TrunkFront {
    router: Rc<Router>,
}

impl TrunkFront {
    pub(super) fn new(router: Rc<Router>) -> TrunkFront {
        TrunkFront { router }
    }
}

impl Handler for TrunkFront {
    fn request(&self, request: RequestRef<'_>, reply: ReplyTo) {
        let router = &self.router;
        let now = clock::now();
        router.requested(now);
        let mut message = router.spare.borrow_mut().pop().unwrap_or_default();
        message.extend_from_slice(request.message());
        let left = Duration::from_millis(request.deadline_ms.into());
        let relay = Relay {
            router: Rc::clone(router),
            reply,
            message,
            nature: Nature::of(&request),
            expires: now + left,
            attempt: request.attempt,
            hash: router.hash_of(&request.target),
            ticket: None,
            repeated: false,
            waits_until: Moment::ZERO,
        };
        relay.dispatch(None);
    }

    fn stream(self: Rc<Self>, head: RequestRef<'_>, body: StreamReader, reply: ReplyTo) {
        let router = &self.router;
        router.requested(clock::now());
        StreamRelay::new(Rc::clone(router), &head).start(body, reply);
    }

    fn cancelled(&self, tag: Tag) {
        self.router.cancel(tag);
    }
}

/// A request on its way through.
pub(super) struct Relay {
    router: Rc<Router>,
    reply: ReplyTo,
    /// Kept in case it has to be sent again.
    message: Vec<u8>,
    nature: Nature,
    expires: Moment,
    attempt: u8,
    hash: u64,
    /// Where it was sent, while that is not answered.
    ticket: Option<Ticket>,
    /// An attempt of this hop was lost, with an unknown outcome, and this is the second.
    repeated: bool,
    waits_until: Moment,
}

impl Relay {
    /// The request as it came.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Sends it to an endpoint, or lets it wait for one.
    pub(super) fn dispatch(mut self, excluded: Option<usize>) {
        let router = Rc::clone(&self.router);
        let (mut excluded, mut fulls) = (excluded, 0);
        // An endpoint that turns out not to be connected is known as down by then, so this ends;
        // the bound holds even if it were not.
        for _ in 0..=router.len() {
            let now = clock::now();
            let left_ms = self.expires.since(now).as_millis();
            if left_ms == 0 {
                return self.fail(Failure::Late, None);
            }
            let ask = Ask { excluded, hash: self.hash };
            let Some(ticket) = router.send(now, ask) else { return self.wait(now) };
            let endpoint = ticket.choice.endpoint;
            self.ticket = Some(ticket);
            let deadline_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
            let patch = Patch { deadline_ms, attempt: self.attempt };
            let sent = router.forward(endpoint, patch, self);
            let Err(Refused { pending: Hop::Relay(relay), loss }) = sent else { return };
            self = relay;
            self.ended(blame::lost(loss));
            excluded = Some(endpoint);
            fulls += usize::from(loss == Loss::Full);
            if fulls == FULL_MAX {
                break;
            }
        }
        self.fail(Failure::Unsent, None);
    }

    /// The attempt came to its end; returns where it was made.
    fn ended(&mut self, outcome: Outcome) -> Option<usize> {
        let ticket = self.ticket.take()?;
        self.router.ended(ticket, outcome);
        Some(ticket.choice.endpoint)
    }

    pub(super) fn answered(mut self, response: ResponseRef<'_>) {
        if let Some(ticket) = self.ticket.take() {
            self.router.answered(ticket, &response);
        }
        if self.repeated && !self.nature.reads && !is_definite(response.status, response.body) {
            return self.fail(Failure::Unknown, Some(response.decided_by));
        }
        self.reply.forward(response.message());
        keep_buffer(&self.router, self.message);
    }

    /// The request is on its way, and is given up there when it is given up here.
    pub(super) fn sent(&self, ticket: trunk::Ticket) {
        let Some(endpoint) = self.ticket.map(|it| it.choice.endpoint) else { return };
        let way = u32::try_from(endpoint).expect("endpoints are few");
        self.reply.on_cancel(Tag { way, ticket });
    }

    /// The answer is long: it is passed on as it comes.
    pub(super) fn streamed(mut self, head: ResponseRef<'_>, body: StreamReader) {
        if let Some(ticket) = self.ticket.take() {
            self.router.answered(ticket, &head);
        }
        if self.repeated && !self.nature.reads && !is_definite(head.status, head.body) {
            return self.fail(Failure::Unknown, Some(head.decided_by));
        }
        if let Some(writer) = self.reply.begin_forward(head.message()) {
            drop(spawn_local(relay_stream::pipe(body, writer)));
        }
        keep_buffer(&self.router, self.message);
    }

    pub(super) fn lost(mut self, loss: Loss) {
        let endpoint = self.ended(blame::lost(loss));
        let name = endpoint.map(|endpoint| self.router.name(endpoint));
        match loss {
            Loss::DeadlinePassed => self.fail(Failure::Late, name.as_deref()),
            Loss::NotConnected | Loss::Full | Loss::TooLong => self.fail(Failure::Unsent, None),
            // Nobody hears what is answered to a request that was given up.
            Loss::Reset if !self.reply.is_wanted() => keep_buffer(&self.router, self.message),
            // The endpoint gave up in the middle of its answer.
            Loss::Reset => self.fail(Failure::Unknown, name.as_deref()),
            Loss::ConnectionLost => {
                let may_repeat = self.nature.repeatable && !self.repeated;
                if !may_repeat || ATTEMPTS_MAX <= self.attempt + 1 || !self.router.may_repeat() {
                    return self.fail(Failure::Unknown, name.as_deref());
                }
                self.repeated = true;
                self.attempt += 1;
                self.dispatch(endpoint);
            }
        }
    }

    /// Waits until an endpoint is connected, for a while.
    fn wait(mut self, now: Moment) {
        let router = Rc::clone(&self.router);
        let mut waiting = router.waiting.borrow_mut();
        if WAITING_MAX <= waiting.len() {
            drop(waiting);
            return self.fail(Failure::Unsent, None);
        }
        let patience = if self.repeated { self.expires } else { now + UNSENT_WAIT_MAX };
        self.waits_until = patience.min(self.expires);
        if waiting.is_empty() {
            drop(spawn_local(give_up_in_time(Rc::clone(&router))));
        }
        waiting.push_back(self);
        drop(waiting);
        router.count_waiting();
    }

    /// Answers what could not be relayed. The fault is this node's, or that of `blamed` behind it.
    fn fail(self, failure: Failure, blamed: Option<&str>) {
        let counters = &self.router.counters;
        // Once an attempt may have been executed, no later refusal makes that undone.
        let undone = failure == Failure::Unsent && self.repeated;
        let failure = if undone { Failure::Unknown } else { failure };
        match failure {
            Failure::Unsent => counters.unsent.add(1),
            Failure::Unknown | Failure::Late => counters.unknown.add(1),
        }
        let (code, detail) = failure.verdict(self.nature);
        let node = blamed.unwrap_or(&self.router.node);
        problem::send(self.reply, node, code, detail, request_id(&self.message));
        keep_buffer(&self.router, self.message);
    }
}

/// The id of a request; empty when it has none.
pub(super) fn request_id(message: &[u8]) -> &str {
    let id = match RequestRef::read(message).map(|request| request.target) {
        Ok(Target::Http { headers, .. }) => headers.get("x-request-id").unwrap_or_default(),
        Ok(Target::Ledger { .. }) | Err(_) => &[],
    };
    std::str::from_utf8(id).unwrap_or_default()
}

/// Gives the memory of a finished relay to the next one.
fn keep_buffer(router: &Router, mut message: Vec<u8>) {
    let mut spare = router.spare.borrow_mut();
    if spare.len() < SPARE_BUFFERS_MAX && message.capacity() <= SPARE_BUFFER_BYTES_MAX {
        message.clear();
        spare.push(message);
    }
}

/// Refuses what has waited for too long, until nothing waits any more.
async fn give_up_in_time(router: Rc<Router>) {
    while !router.waiting.borrow().is_empty() {
        tokio::time::sleep(WAITING_TICK).await;
        let now = clock::now();
        let waiting = std::mem::take(&mut *router.waiting.borrow_mut());
        let (over, still): (VecDeque<Relay>, _) =
            waiting.into_iter().partition(|relay| relay.waits_until <= now);
        router.waiting.replace(still);
        router.count_waiting();
        for relay in over {
            let late = relay.expires <= now;
            relay.fail(if late { Failure::Late } else { Failure::Unsent }, None);
        }
    }
}
