//! Asks the owner of a partition, and again if need be, until the deadline.

use super::{
    attempts::{Asking, Attempt, Attempts, Next},
    owners::NodeIndex,
    service::Service,
};
use net::{clock, trunk};
use std::cell::Cell;
#[cfg(debug_assertions)]
use stdx::fault::Mutant;
use stdx::{
    Moment,
    fault::{self, Point},
};
use wire::{
    Call, PartitionId, Reply,
    call::Failure,
    frame::{RequestRef, Target},
};

/// What all attempts of one request share.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) asking: Asking,
    /// The encoded [`Call`].
    body: Vec<u8>,
    pub(super) deadline: Moment,
    /// Attempts of the tiers in front.
    pub(super) attempts_before: u8,
    trace: Box<str>,
    blamed: Cell<Blame>,
}

/// Who is to blame when there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// This gateway, as far as it knows.
    Here,
    /// The service: nobody owns the partition, or too much waits for it.
    Service,
    /// The account node that was asked last.
    Node(NodeIndex),
}

/// Room for the call of a debit.
const BODY_BYTES_USUAL: usize = 256;

impl Ask {
    /// Nothing is sent yet.
    pub(super) fn new(call: &Call, deadline: Moment, attempts_before: u8, trace: &str) -> Ask {
        let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
        call.encode(&mut body);
        let asking = match call {
            Call::Execute(_) | Call::Batch(_) | Call::Reverse(_) => Asking::Command,
            Call::Query(_) => Asking::Query,
        };
        let blamed = Cell::new(Blame::Here);
        Ask { asking, body, deadline, attempts_before, trace: trace.into(), blamed }
    }

    /// To change something: `body` is an encoded [`Call`] that does.
    pub(super) fn change(body: Vec<u8>, deadline: Moment, before: u8, trace: &str) -> Ask {
        let (asking, blamed) = (Asking::Command, Cell::new(Blame::Here));
        Ask { asking, body, deadline, attempts_before: before, trace: trace.into(), blamed }
    }

    /// The encoded [`Call`].
    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Who is to blame if there was no outcome.
    pub(super) fn blamed(&self) -> Blame {
        self.blamed.get()
    }

    pub(super) fn blame(&self, blame: Blame) {
        self.blamed.set(blame);
    }

    /// Asks the owner of `partition`.
    pub(super) async fn owner(
        &self,
        service: &Service,
        partition: PartitionId,
    ) -> Result<Reply, Failure> {
        let mut attempts = Attempts::new(self.asking, self.attempts_before);
        let mut now = clock::now();
        if self.deadline <= now {
            return Err(Failure::Overloaded);
        }
        self.blame(Blame::Service);
        let Some(_entered) = service.enter(partition) else {
            return Err(Failure::Overloaded);
        };
        service.requested(now);
        while now < self.deadline {
            let version = service.owners_version();
            let Some(node) = service.owner(partition) else {
                service.owners_changed(version, self.deadline).await;
                now = clock::now();
                continue;
            };
            self.blame(Blame::Node(node));
            #[cfg(debug_assertions)]
            let attempt = {
                let rekeyed = self.rekeyed(attempts.count());
                let ask = rekeyed.as_ref().unwrap_or(self);
                ask.once(service, node, partition, attempts.count()).await
            };
            #[cfg(not(debug_assertions))]
            let attempt = self.once(service, node, partition, attempts.count()).await;
            match attempts.judge(attempt) {
                Next::Report(result) => return result,
                Next::Again { pause, denied } => {
                    if !service.may_repeat() {
                        return Err(denied);
                    }
                    let until = self.deadline.min(clock::now() + pause);
                    service.owners_changed(version, until).await;
                    now = clock::now();
                }
            }
        }
        Err(attempts.give_up())
    }

    /// A negative control: a repeat is another request, with a key of its own.
    #[cfg(debug_assertions)]
    fn rekeyed(&self, attempts: u8) -> Option<Ask> {
        let number = self.attempts_before.saturating_add(attempts);
        if number == 0 || !fault::has(Mutant::RetryWithoutKey) {
            return None;
        }
        let Ok(Call::Execute(mut command)) = Call::decode(&self.body) else { return None };
        command.key.0 ^= u128::from(number) << 64;
        let call = Call::Execute(command);
        Some(Ask::new(&call, self.deadline, self.attempts_before, &self.trace))
    }

    /// Sends the call to one node, right now, and returns what will come of it.
    pub(super) fn once(
        &self,
        service: &Service,
        node: NodeIndex,
        partition: PartitionId,
        attempts: u8,
    ) -> impl Future<Output = Attempt> + use<> {
        let partitions = service.partitions;
        let target = Target::Ledger { service: &service.name, partition, partitions };
        let now = clock::now();
        let left = self.deadline.since(now).as_millis();
        let deadline_ms = u32::try_from(left).unwrap_or(u32::MAX);
        let mut request = RequestRef::new(target, deadline_ms, &self.body);
        request.attempt = self.attempts_before.saturating_add(attempts);
        request.trace = &self.trace;
        let seen = service.seen(node);
        seen.asked();
        let answer = trunk::call(&service.link(node), &request);
        async move {
            match answer.await {
                Ok(answer) => {
                    fault::passed(Point::AfterReply);
                    seen.answered(now);
                    read(&answer)
                }
                Err(loss) => {
                    seen.lost(loss);
                    Attempt::Lost(loss)
                }
            }
        }
    }
}

fn read(answer: &trunk::Answer) -> Attempt {
    let response = answer.response();
    match response.status {
        200 => match Reply::decode(response.body) {
            Ok(reply) => Attempt::Replied(reply),
            Err(flaw) => {
                tracing::error!(node = response.decided_by, %flaw, "a reply makes no sense");
                Attempt::Garbled
            }
        },
        503 => Attempt::TurnedAway,
        status => {
            tracing::warn!(node = response.decided_by, status, "an account node gave no reply");
            Attempt::Garbled
        }
    }
}
