//! Long requests and answers on their way through: part by part, each hop granting its window as
//! the next one takes what came, so that a balancer holds a window of each and not the message.

use super::{
    blame,
    hop::Hop,
    limits::{FULL_MAX, UNSENT_WAIT_MAX},
    relay::request_id,
    router::Router,
    verdict::{Failure, Nature},
};
use crate::problem;
use balance::{Ask, Ticket};
use net::{
    clock,
    trunk::{Exchange, Loss, ReplyTo, StreamReader, StreamWriter},
};
use std::{rc::Rc, time::Duration};
use stdx::Moment;
use tokio::{task::spawn_local, time::timeout};
use wire::frame::{Patch, RequestRef};

/// Passes a message on until its end or until nobody wants more of it. Whichever end is dropped
/// tells its side that the message broke off.
pub(super) async fn pipe(mut from: StreamReader, mut to: StreamWriter) {
    loop {
        let chunk = tokio::select! {
            chunk = from.next() => chunk,
            _ = to.closed() => return,
        };
        match chunk {
            Some(Ok(bytes)) => {
                if to.send(bytes).await.is_err() {
                    return;
                }
            }
            Some(Err(_)) => return,
            None => return to.finish(),
        }
    }
}

/// Has `send` send the first part of a request to an endpoint, with the milliseconds that it may
/// take, or waits for one.
pub(super) async fn open(
    router: &Router,
    expires: Moment,
    hash: u64,
    send: impl Fn(usize, u32) -> Result<(StreamWriter, Exchange<Hop>), Loss>,
) -> Result<(Ticket, StreamWriter, Exchange<Hop>), Failure> {
    let (mut excluded, mut refusals, mut fulls) = (None, 0, 0);
    loop {
        let now = clock::now();
        let left = expires.since(now);
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        if deadline_ms == 0 {
            return Err(Failure::Unsent);
        }
        let Some(ticket) = router.send(now, Ask { excluded, hash }) else {
            let patience = left.min(UNSENT_WAIT_MAX);
            if !timeout(patience, router.any_up()).await.unwrap_or(false) {
                return Err(Failure::Unsent);
            }
            continue;
        };
        let endpoint = ticket.choice.endpoint;
        match send(endpoint, deadline_ms) {
            Ok((writer, exchange)) => return Ok((ticket, writer, exchange)),
            Err(loss) => {
                router.ended(ticket, blame::lost(loss));
                excluded = Some(endpoint);
                fulls += usize::from(loss == Loss::Full);
                refusals += 1;
                if fulls == FULL_MAX || router.len() < refusals {
                    return Err(Failure::Unsent);
                }
            }
        }
    }
}

/// A long request on its way through. It is sent once: what has been passed on of it is not kept.
pub(super) struct StreamRelay {
    router: Rc<Router>,
    /// The request's first part as it came.
    part: Vec<u8>,
    nature: Nature,
    expires: Moment,
    attempt: u8,
    hash: u64,
}

impl StreamRelay {
    pub(super) fn new(router: Rc<Router>, head: &RequestRef<'_>) -> StreamRelay {
        StreamRelay {
            part: head.message().to_vec(),
            nature: Nature::of(head),
            expires: clock::now() + Duration::from_millis(head.deadline_ms.into()),
            attempt: head.attempt,
            hash: router.hash_of(&head.target),
            router,
        }
    }

    /// Passes the request and its answer on, from a task of its own.
    pub(super) fn start(self, body: StreamReader, reply: ReplyTo) {
        drop(spawn_local(async move {
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = reply.cancelled() => return,
            };
            match opened {
                Ok((ticket, writer, exchange)) => {
                    drop(spawn_local(pipe(body, writer)));
                    self.bring_back(ticket, exchange, reply).await;
                }
                Err(failure) => self.fail(failure, None, reply),
            }
        }));
    }

    /// Sends the first part to an endpoint, or waits for one.
    async fn open(&self) -> Result<(Ticket, StreamWriter, Exchange<Hop>), Failure> {
        let send = |endpoint, deadline_ms| {
            let patch = Patch { deadline_ms, attempt: self.attempt };
            self.router.forward_stream(endpoint, patch, &self.part)
        };
        open(&self.router, self.expires, self.hash, send).await
    }

    /// Passes the answer back.
    async fn bring_back(&self, ticket: Ticket, exchange: Exchange<Hop>, reply: ReplyTo) {
        let router = &self.router;
        let answered = tokio::select! {
            answered = exchange.answer() => answered,
            () = reply.cancelled() => Err(Loss::Reset),
        };
        match answered {
            Ok((answer, more)) => {
                let response = answer.response();
                router.answered(ticket, &response);
                match more {
                    None => reply.forward(response.message()),
                    Some(more) => {
                        let _held = router.hold(ticket.choice.endpoint);
                        if let Some(writer) = reply.begin_forward(response.message()) {
                            pipe(more, writer).await;
                        }
                    }
                }
            }
            Err(loss) => {
                router.ended(ticket, blame::lost(loss));
                let name = router.name(ticket.choice.endpoint);
                let failure = match loss {
                    Loss::NotConnected | Loss::Full | Loss::TooLong => Failure::Unsent,
                    Loss::DeadlinePassed => Failure::Late,
                    Loss::ConnectionLost | Loss::Reset => Failure::Unknown,
                };
                if reply.is_wanted() {
                    self.fail(failure, Some(&name), reply);
                }
            }
        }
    }

    fn fail(&self, failure: Failure, blamed: Option<&str>, reply: ReplyTo) {
        let counters = &self.router.counters;
        match failure {
            Failure::Unsent => counters.unsent.add(1),
            Failure::Unknown | Failure::Late => counters.unknown.add(1),
        }
        let (code, detail) = failure.verdict(self.nature);
        let node = blamed.unwrap_or(&self.router.node);
        problem::send(reply, node, code, detail, request_id(&self.part));
    }
}
