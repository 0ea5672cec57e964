//! One worker's way to an HTTP service: who is asked, and whether somebody else is asked again.

use super::{
    body::Payload,
    checker::{self, Checking},
    config::HttpServiceConfig,
    failure::Failure,
    head::Head,
    limits::{ATTEMPTS_MAX, REPEATS_FLOOR, REPEATS_PERMILLE, SWEEP_EVERY},
    roster::{Missed, Passed, Roster},
    service::{Current, HttpService, WorkerBoard},
};
use crate::balancer::hashing;
use balance::{Ask, Budget, Policy};
use net::{clock, control::EndpointView, ids};
use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::Arc,
};
use stdx::{Moment, Rng};
use tokio::{sync::watch, task::spawn_local, time::interval};
use wire::frame::{LoadReport, Target};

/// One worker's way to a service.
pub(crate) struct Group {
    service: Arc<HttpService>,
    worker: usize,
    /// Replaced when the configuration changes; requests keep the one they began with.
    roster: RefCell<Rc<Roster>>,
    /// Of the first worker.
    checking: RefCell<Option<Checking>>,
    budget: RefCell<Budget>,
    rng: Rc<RefCell<Rng>>,
    board: Arc<WorkerBoard>,
}

impl Group {
    /// Begins to use a service on this thread. The first worker also checks its endpoints.
    pub(crate) fn open(service: &Arc<HttpService>, worker: usize) -> Rc<Group> {
        let mut changes = service.current.subscribe();
        let current = Arc::clone(&changes.borrow_and_update());
        let rng = Rc::new(RefCell::new(Rng::new(ids::seed())));
        let board = service.worker(worker);
        let roster = Roster::new(current, worker, Arc::clone(&board), Rc::clone(&rng), None);
        let group = Rc::new(Group {
            service: Arc::clone(service),
            worker,
            roster: RefCell::new(roster),
            checking: RefCell::default(),
            budget: RefCell::new(Budget::new(REPEATS_PERMILLE, REPEATS_FLOOR)),
            rng,
            board,
        });
        group.check();
        drop(spawn_local(follow(Rc::downgrade(&group), changes)));
        drop(spawn_local(sweep(Rc::downgrade(&group))));
        group
    }

    /// The service.
    pub(crate) fn service(&self) -> &Arc<HttpService> {
        &self.service
    }

    /// Sends no request on connections that are idle now.
    pub(crate) fn close(&self) {
        self.roster().close_idle();
    }

    /// Goes by the present configuration, at once.
    pub(crate) fn refresh(&self) {
        let current = Arc::clone(&self.service.current.borrow());
        self.adopt(current);
    }

    /// Every endpoint as it stands.
    pub(crate) fn views(&self) -> Vec<EndpointView> {
        self.roster().views()
    }

    /// What the tier above is told of everything behind this worker.
    pub(crate) fn report(&self) -> LoadReport {
        self.roster().report()
    }

    fn roster(&self) -> Rc<Roster> {
        Rc::clone(&self.roster.borrow())
    }

    /// Goes by another configuration from now on.
    fn adopt(&self, current: Arc<Current>) {
        let before = self.roster();
        if Arc::ptr_eq(&before.current, &current) {
            return; // An order was faster than the news of it.
        }
        let (board, rng) = (Arc::clone(&self.board), Rc::clone(&self.rng));
        let roster = Roster::new(current, self.worker, board, rng, Some(&before));
        self.roster.replace(roster);
        self.check();
    }

    /// Checks the endpoints there are now, and no others.
    fn check(&self) {
        if self.worker == 0 {
            self.checking.replace(Some(checker::start(&self.roster().current)));
        }
    }

    /// Sends a request to an endpoint, and under the rules to another; not after `expires`.
    pub(crate) async fn pass(
        self: &Rc<Group>,
        head: &Head<'_>,
        mut payload: Payload,
        expires: Moment,
    ) -> Result<Passed, Failure> {
        self.board.requests.add(1);
        self.budget.borrow_mut().requested(clock::now());
        let passed = self.attempts(head, &mut payload, expires).await;
        match passed {
            Ok(_) | Err(Failure::Broken | Failure::Unfit) => (),
            Err(Failure::Unsent) => self.board.unsent.add(1),
            Err(Failure::Lost | Failure::Late | Failure::Odd) => self.board.failed.add(1),
        }
        passed
    }

    async fn attempts(
        self: &Rc<Group>,
        head: &Head<'_>,
        payload: &mut Payload,
        expires: Moment,
    ) -> Result<Passed, Failure> {
        let roster = self.roster();
        let hash = hash_of(&roster.current.config, head);
        let (mut excluded, mut failure) = (None, Failure::Unsent);
        for attempt in 0..ATTEMPTS_MAX {
            if attempt != 0 {
                if !self.budget.borrow_mut().try_retry(clock::now()) {
                    break;
                }
                self.board.repeats.add(1);
            }
            let Some(flight) = roster.choose(Ask { excluded, hash }) else { break };
            let endpoint = flight.endpoint;
            excluded = Some(endpoint);
            let missed = match roster.attempt(flight, head, payload, expires).await {
                Ok(passed) => return Ok(passed),
                Err(missed) => missed,
            };
            // What may have been executed is not called unexecuted because a repeat was not.
            failure = match (missed, failure) {
                (Missed::Unreachable | Missed::Full, earlier) => earlier,
                (Missed::Broke, _) => Failure::Lost,
                (Missed::Odd(why), _) => {
                    let endpoint = roster.authority(endpoint);
                    tracing::warn!(service = self.service.name(), endpoint, why, "unsound answer");
                    return Err(Failure::Odd);
                }
                (Missed::Late, _) => return Err(Failure::Late),
                (Missed::Broken, _) => return Err(Failure::Broken),
                (Missed::Unfit, _) => return Err(Failure::Unfit),
            };
            let may_repeat = failure == Failure::Unsent || head.is_repeatable();
            if !may_repeat || !payload.is_there() {
                break;
            }
        }
        Err(failure)
    }
}

fn hash_of(config: &HttpServiceConfig, head: &Head<'_>) -> u64 {
    let Head { method, path, headers, .. } = *head;
    match config.policy {
        Policy::Hash => hashing::of_request(&config.hash, &Target::Http { method, path, headers }),
        Policy::LeastLoad | Policy::LeastRequests | Policy::RoundRobin | Policy::Weighted => 0,
    }
}

/// Heeds the checks and the configuration as they change.
async fn follow(group: Weak<Group>, mut changes: watch::Receiver<Arc<Current>>) {
    let mut health = changes.borrow().health.subscribe();
    loop {
        tokio::select! {
            changed = changes.changed() => {
                let (Ok(()), Some(group)) = (changed, group.upgrade()) else { return };
                let current = Arc::clone(&changes.borrow_and_update());
                health = current.health.subscribe();
                group.adopt(current);
            }
            changed = health.changed() => {
                let (Ok(()), Some(group)) = (changed, group.upgrade()) else { return };
                let healths = health.borrow_and_update().clone();
                group.roster().heed(&healths);
            }
        }
    }
}

async fn sweep(group: Weak<Group>) {
    let mut ticks = interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let Some(group) = group.upgrade() else { return };
        group.roster().sweep(clock::now());
    }
}
