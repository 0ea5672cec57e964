//! A batch on its way: each partition's items go to its owner, and again what was refused for the
//! moment, until the deadline; the answers are put together in the order of the items.

use super::{
    answer::Answer,
    ask::Ask,
    attempts::{Attempt, Attempts, Next},
    batch::Batch,
    request::Request,
    service::Service,
};
use net::clock;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};
use stdx::Moment;
use tokio::task::JoinSet;
use wire::{Call, Outcome, PartitionId, Reply, call::Failure};

/// What became of an item.
pub(super) type Told = Result<Outcome, Failure>;

/// One batch.
pub(super) struct Several {
    service: Rc<Service>,
    batch: Batch,
    /// Of the item at the same place, once it is known.
    told: RefCell<Vec<Option<Told>>>,
    deadline: Moment,
    attempts_before: u8,
    trace: Box<str>,
    request_id: Box<str>,
}

impl Several {
    /// Nothing is sent yet.
    pub(super) fn new(
        service: &Rc<Service>,
        batch: Batch,
        deadline: Moment,
        request: &Request<'_>,
    ) -> Rc<Several> {
        Rc::new(Several {
            service: Rc::clone(service),
            told: RefCell::new(vec![None; batch.len()]),
            batch,
            deadline,
            attempts_before: request.attempts,
            trace: request.trace.into(),
            request_id: request.request_id.into(),
        })
    }

    /// Asks all owners at once; answers by the deadline.
    pub(super) async fn answer(self: &Rc<Several>) -> Answer {
        let mut parts: BTreeMap<PartitionId, Vec<usize>> = BTreeMap::new();
        for (at, partition) in self.batch.partitions().enumerate() {
            parts.entry(partition).or_default().push(at);
        }
        // Dropped with this future, the set gives up what is still asked.
        let mut asking = JoinSet::new();
        for (partition, places) in parts {
            let several = Rc::clone(self);
            drop(asking.spawn_local(async move { several.part(partition, places).await }));
        }
        while asking.join_next().await.is_some() {}
        let told = self.told.take();
        let told = told.into_iter().map(|it| it.unwrap_or(Err(Failure::OutcomeUnknown)));
        Answer::batch(&self.service.name, self.batch.keys().zip(told))
    }

    /// Has the items at these places decided by the owner of their partition.
    async fn part(&self, partition: PartitionId, places: Vec<usize>) {
        let Err((failure, places)) = self.ask(partition, places).await else { return };
        self.tell(places, failure);
    }

    fn tell(&self, places: Vec<usize>, failure: Failure) {
        let (code, request_id) = (failure, &self.request_id);
        tracing::debug!(%request_id, ?code, items = places.len(), "no outcome");
        let mut told = self.told.borrow_mut();
        places.into_iter().for_each(|at| told[at] = Some(Err(failure)));
    }

    /// What failed in the end, and for which of the places; the others were told.
    async fn ask(
        &self,
        partition: PartitionId,
        mut places: Vec<usize>,
    ) -> Result<(), (Failure, Vec<usize>)> {
        let service = &*self.service;
        let mut ask = self.asking(&places);
        let mut attempts = Attempts::new(ask.asking, self.attempts_before);
        let Some(_entered) = service.enter(partition) else {
            return Err((Failure::Overloaded, places));
        };
        service.requested(clock::now());
        while clock::now() < self.deadline {
            let version = service.owners_version();
            let Some(node) = service.owner(partition) else {
                service.owners_changed(version, self.deadline).await;
                continue;
            };
            let attempt = match ask.once(service, node, partition, attempts.count()).await {
                Attempt::Replied(Reply::Batch(items)) if items.len() == places.len() => {
                    let Some(rest) = self.take(&mut places, items, &attempts) else {
                        return Ok(());
                    };
                    ask = self.asking(&places);
                    Attempt::Replied(Reply::Failed(rest))
                }
                // Of one command, not of these.
                Attempt::Replied(Reply::Outcome(_) | Reply::Batch(_)) => Attempt::Garbled,
                attempt @ (Attempt::Replied(_)
                | Attempt::TurnedAway
                | Attempt::Garbled
                | Attempt::Lost(_)) => attempt,
            };
            match attempts.judge(attempt) {
                Next::Report(Ok(_)) => return Err((Failure::OutcomeUnknown, places)),
                Next::Report(Err(failure)) => return Err((failure, places)),
                Next::Again { pause, denied } => {
                    if !service.may_repeat() {
                        return Err((denied, places));
                    }
                    let until = self.deadline.min(clock::now() + pause);
                    service.owners_changed(version, until).await;
                }
            }
        }
        Err((attempts.give_up(), places))
    }

    fn asking(&self, places: &[usize]) -> Ask {
        let commands = || places.iter().map(|&at| self.batch.command(at));
        let length: usize = commands().map(<[u8]>::len).sum();
        let mut body = Vec::with_capacity(length.saturating_add(HEAD_BYTES_MAX));
        Call::encode_batch_head(self.batch.atomic, places.len(), &mut body);
        commands().for_each(|command| body.extend_from_slice(command));
        Ask::change(body, self.deadline, self.attempts_before, &self.trace)
    }

    /// Notes what is decided, and keeps the places that may be asked about again: for the worst of
    /// their failures.
    fn take(
        &self,
        places: &mut Vec<usize>,
        items: Vec<Told>,
        attempts: &Attempts,
    ) -> Option<Failure> {
        let mut told = self.told.borrow_mut();
        let (mut rest, mut worst) = (Vec::new(), None);
        // An atomic batch is asked about as a whole or not at all.
        let whole = self.batch.atomic && items.iter().any(Result::is_err);
        for (&at, item) in places.iter().zip(items) {
            match item {
                Err(failure @ (Failure::NotOwner | Failure::Overloaded)) => {
                    worst = worst.or(Some(failure));
                    rest.push(at);
                }
                Err(Failure::OutcomeUnknown) => {
                    worst = Some(Failure::OutcomeUnknown);
                    rest.push(at);
                }
                Ok(_) | Err(_) if whole => rest.push(at),
                Err(failure) => told[at] = Some(Err(attempts.failed(failure))),
                Ok(outcome) => told[at] = Some(Ok(outcome)),
            }
        }
        *places = rest;
        match worst {
            // A whole that failed for good.
            None if !places.is_empty() => Some(Failure::EngineUnavailable),
            worst => worst,
        }
    }
}

/// Room for what a batch begins with.
const HEAD_BYTES_MAX: usize = 8;
