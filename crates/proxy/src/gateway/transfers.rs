//! A transfer on its way, driven by the gateway that was asked for it: the money leaves the source,
//! reaches the target or is refused there, and the source is told which.
//!
//! The account nodes of a service know nobody of another service; the gateways know all. Each step
//! is journaled by the owner of its account under the transfer's id, so whoever takes a step again
//! changes nothing: a gateway that dies leaves the rest to any other ([`resume`]), and several that
//! resume the same transfer do no harm.

use super::{
    answer::{Answer, Told},
    ask::Ask,
    attempts::Attempt,
    limits::{RESUMED_AT_ONCE_MAX, STEP_TIME_MAX},
    request::Request,
    service::Service,
};
use net::clock;
use std::{rc::Rc, time::Duration};
use stdx::Moment;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use wire::{
    Action, Call, Command, Done, Fingerprint, KeyHash, Outcome, Reply, Text, Timestamp, Transfer,
    call::Failure, command::KeyOrigin, query::Query,
};

/// How often a gateway looks for transfers that nobody drives any more.
const RESUME_EVERY: Duration = Duration::from_secs(1);
/// How old such a transfer is: whoever was asked for it has mostly ended it long before.
const RESUME_AGE_MICROS: i64 = 2_000_000;

/// A transfer that a client asked for.
pub(super) struct Transferring {
    driver: Driver,
    send: Command,
    request_id: Box<str>,
}

/// Takes steps of transfers.
struct Driver {
    services: Vec<Rc<Service>>,
    deadline: Moment,
    attempts: u8,
    trace: Box<str>,
}

impl Transferring {
    /// Nothing is sent yet. `send` is of [`Action::Send`], between two of these services.
    pub(super) fn new(
        services: Vec<Rc<Service>>,
        send: Command,
        deadline: Moment,
        request: &Request<'_>,
    ) -> Transferring {
        let driver =
            Driver { services, deadline, attempts: request.attempts, trace: request.trace.into() };
        Transferring { driver, send, request_id: request.request_id.into() }
    }

    /// Sends, and sees the transfer to its end if there is time for it; answers by the deadline.
    pub(super) async fn answer(self) -> Answer {
        let Action::Send(send) = &self.send.action else {
            let failed = Err(Failure::Malformed);
            return Answer::of("", failed, &self.request_id);
        };
        let service = send.from.service.clone();
        let told = match self.driver.take(&service, self.send.clone()).await {
            // The answer under a key is that of the first time: how it stands now is yet to be seen.
            Ok(Outcome::Done(Done::Transferred(transfer))) => {
                let transfer = self.driver.finish(transfer).await;
                Ok(Told::Outcome(Outcome::Done(Done::Transferred(transfer))))
            }
            told => told.map(Told::Outcome),
        };
        Answer::of(&service, told, &self.request_id)
    }
}

impl Driver {
    /// The transfer as it stands once nothing is left to do, or nothing more can be done in time:
    /// then it is on its way, and stays so until somebody goes on.
    async fn finish(&self, transfer: Transfer) -> Transfer {
        if transfer.end.is_some() {
            return transfer;
        }
        match self.steps(&transfer).await {
            Ok(ended) => ended,
            Err(failure) => {
                tracing::debug!(id = %transfer.id, ?failure, "a transfer stays on its way");
                transfer
            }
        }
    }

    async fn steps(&self, transfer: &Transfer) -> Result<Transfer, Failure> {
        let receive = step("receive", transfer, Action::Receive(transfer.receive()));
        let delivery = match self.take(&transfer.to.service, receive).await? {
            Outcome::Done(Done::Delivered(delivery)) => delivery,
            outcome @ (Outcome::Done(_) | Outcome::Refused(_)) => {
                return Err(odd(transfer, &outcome));
            }
        };
        let settle = step("settle", transfer, Action::Settle(transfer.settle(delivery)));
        match self.take(&transfer.from.service, settle).await? {
            Outcome::Done(Done::Transferred(ended)) => Ok(ended),
            outcome @ (Outcome::Done(_) | Outcome::Refused(_)) => Err(odd(transfer, &outcome)),
        }
    }

    /// Has a command executed by the owner of its account.
    async fn take(&self, service: &str, command: Command) -> Result<Outcome, Failure> {
        let known = self.services.iter().find(|it| *it.name == *service);
        // It was known when the money was sent; this gateway's file says otherwise.
        let Some(service) = known else { return Err(Failure::EngineUnavailable) };
        let partition = command.action.account().partition(service.partitions);
        let call = Call::Execute(command);
        let ask = Ask::new(&call, self.deadline, self.attempts, &self.trace);
        let Reply::Outcome(outcome) = ask.owner(service, partition).await? else {
            return Err(Failure::OutcomeUnknown);
        };
        Ok(outcome)
    }
}

/// A step of a transfer. What makes it happen once is the transfer's id, whoever takes it and when;
/// each try has a key of its own, for a key that we mint is not used again once it is forgotten.
fn step(purpose: &str, transfer: &Transfer, action: Action) -> Command {
    let (bits, minted_at) = (transfer.id.bits(), clock::wall());
    Command {
        key: KeyHash::own(&format!("{purpose} {}", minted_at.0), bits),
        origin: KeyOrigin::Minted,
        minted_at,
        fingerprint: Fingerprint::new(purpose, "", &bits.to_le_bytes()),
        request_id: Text::default(),
        action,
    }
}

/// No owner says such a thing of a step: two builds, or a bug. The transfer stays on its way.
fn odd(transfer: &Transfer, outcome: &Outcome) -> Failure {
    tracing::error!(id = %transfer.id, ?outcome, "a step of a transfer came to something odd");
    Failure::Malformed
}

/// Ends what others have begun, for as long as the worker lives: transfers whose gateway died, or
/// whose target could not be reached in time. A time-out never returns money.
pub(super) async fn resume(services: Vec<Rc<Service>>) {
    let mut interval = interval(RESUME_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for service in &services {
            let pending = pending(service).await;
            let driver = Rc::new(driver(&services));
            for some in pending.chunks(RESUMED_AT_ONCE_MAX) {
                let mut going = JoinSet::new();
                for transfer in some.iter().cloned() {
                    let driver = Rc::clone(&driver);
                    drop(going.spawn_local(async move { driver.finish(transfer).await }));
                }
                while going.join_next().await.is_some() {}
            }
        }
    }
}

fn driver(services: &[Rc<Service>]) -> Driver {
    let deadline = clock::now() + STEP_TIME_MAX;
    Driver { services: services.to_vec(), deadline, attempts: 0, trace: Box::default() }
}

/// Transfers that a service has sent a while ago and not settled, as far as its owners say.
async fn pending(service: &Rc<Service>) -> Vec<Transfer> {
    let deadline = clock::now() + STEP_TIME_MAX;
    let ask = Ask::new(&Call::Query(Query::Pending), deadline, 0, "");
    let owners = service.owners().all().unwrap_or_default();
    let asked: Vec<_> =
        owners.into_iter().map(|(node, partition)| ask.once(service, node, partition, 0)).collect();
    let mut pending = Vec::new();
    for answer in asked {
        if let Attempt::Replied(Reply::Pending(some)) = answer.await {
            pending.extend(some);
        }
    }
    let old = Timestamp(clock::wall().0.saturating_sub(RESUME_AGE_MICROS));
    pending.retain(|transfer| transfer.created_at <= old);
    pending
}
