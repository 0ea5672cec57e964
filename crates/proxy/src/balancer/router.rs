//! The way from one worker to the endpoints: links, and the choice between them.

use super::{board::WorkerCounters, limits::WAITING_MAX, relay::Relay};
use crate::config::BalancerConfig;
use balance::{Pool, State};
use net::{
    clock, ids,
    trunk::{CallSlot, Identity, Link, LinkConfig, LinkEvents, Loss, Pending},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use stdx::Rng;
use tokio::sync::Notify;
use wire::frame::ResponseRef;

/// What waits for an answer from an endpoint.
pub(super) enum Hop {
    /// A task of the HTTP front.
    Call(CallSlot),
    /// A request of the trunk front.
    Relay(Relay),
}

impl From<CallSlot> for Hop {
    fn from(slot: CallSlot) -> Hop {
        Hop::Call(slot)
    }
}

impl Hop {
    /// The request that a relay keeps; a call keeps it in its task.
    pub(super) fn message(&self) -> &[u8] {
        match self {
            Hop::Relay(relay) => relay.message(),
            Hop::Call(_) => &[],
        }
    }
}

impl Pending for Hop {
    fn answered(self, response: ResponseRef<'_>) {
        match self {
            Hop::Call(slot) => slot.answered(response),
            Hop::Relay(relay) => relay.answered(response),
        }
    }

    fn lost(self, loss: Loss) {
        match self {
            Hop::Call(slot) => slot.lost(loss),
            Hop::Relay(relay) => relay.lost(loss),
        }
    }
}

pub(super) struct Router {
    pub(super) node: Arc<str>,
    pub(super) deadline: Duration,
    pub(super) counters: Arc<WorkerCounters>,
    pool: RefCell<Pool>,
    rng: RefCell<Rng>,
    links: OnceCell<Vec<Link<Hop>>>,
    /// Relays that wait for an endpoint.
    pub(super) waiting: RefCell<VecDeque<Relay>>,
    /// Tasks that wait for an endpoint, and how many they are.
    connected: Notify,
    tasks_waiting: Cell<usize>,
    /// Buffers to copy relayed requests into.
    pub(super) spare: RefCell<Vec<Vec<u8>>>,
}

impl Router {
    /// Starts to connect to every endpoint.
    pub(super) fn open(
        config: &BalancerConfig,
        identity: &Identity,
        counters: Arc<WorkerCounters>,
    ) -> Rc<Router> {
        let router = Rc::new(Router {
            node: Arc::clone(&config.node.name),
            deadline: config.deadline,
            counters,
            pool: RefCell::new(Pool::new(config.endpoints.len())),
            rng: RefCell::new(Rng::new(ids::seed())),
            links: OnceCell::new(),
            waiting: RefCell::default(),
            connected: Notify::new(),
            tasks_waiting: Cell::new(0),
            spare: RefCell::default(),
        });
        let links = config.endpoints.iter().enumerate().map(|(index, endpoint)| {
            let identity = identity.clone();
            let config = LinkConfig { identity, endpoint: endpoint.clone(), index };
            Link::open(config, Rc::clone(&router) as Rc<dyn LinkEvents>)
        });
        let links = links.collect();
        assert!(router.links.set(links).is_ok());
        router
    }

    /// Asks the endpoints nothing more.
    pub(super) fn close(&self) {
        self.links().iter().for_each(Link::close);
    }

    fn links(&self) -> &[Link<Hop>] {
        self.links.get().expect("set before the first request")
    }

    pub(super) fn link(&self, endpoint: usize) -> &Link<Hop> {
        &self.links()[endpoint]
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.links().len()
    }

    /// An endpoint, counted as having one more in flight until [`Router::finished`].
    pub(super) fn choose(&self, excluded: Option<usize>) -> Option<usize> {
        let mut pool = self.pool.borrow_mut();
        let endpoint = pool.choose(clock::now(), &mut self.rng.borrow_mut(), excluded).ok()?;
        pool.started(endpoint);
        let counters = &self.counters.endpoints[endpoint];
        counters.in_flight.set(pool.in_flight(endpoint));
        counters.requests.add(1);
        Some(endpoint)
    }

    /// What was sent to the endpoint is answered or lost.
    pub(super) fn finished(&self, endpoint: usize) {
        let mut pool = self.pool.borrow_mut();
        pool.finished(endpoint);
        self.counters.endpoints[endpoint].in_flight.set(pool.in_flight(endpoint));
    }

    /// Returns once an endpoint is connected; false when too many wait for that already.
    pub(super) async fn any_connected(&self) -> bool {
        if WAITING_MAX <= self.tasks_waiting.get() {
            return false;
        }
        let _waiting = WaitingTask::new(self);
        while self.pool.borrow().up_count() == 0 {
            self.connected.notified().await;
        }
        true
    }

    fn set_state(&self, index: usize, state: State) {
        self.pool.borrow_mut().set_state(index, state);
        let is_up = matches!(state, State::Connected { .. });
        self.counters.endpoints[index].up.set(u64::from(is_up));
    }

    pub(super) fn count_waiting(&self) {
        let waiting = self.tasks_waiting.get() + self.waiting.borrow().len();
        self.counters.waiting.set(u64::try_from(waiting).expect("a count fits 64 bits"));
    }
}

/// Counts a task that waits for as long as it does.
struct WaitingTask<'a> {
    router: &'a Router,
}

impl WaitingTask<'_> {
    fn new(router: &Router) -> WaitingTask<'_> {
        router.tasks_waiting.set(router.tasks_waiting.get() + 1);
        router.count_waiting();
        WaitingTask { router }
    }
}

impl Drop for WaitingTask<'_> {
    fn drop(&mut self) {
        self.router.tasks_waiting.set(self.router.tasks_waiting.get() - 1);
        self.router.count_waiting();
    }
}

impl LinkEvents for Router {
    fn connected(&self, index: usize) {
        self.set_state(index, State::Connected { since: clock::now() });
        self.connected.notify_waiters();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        self.count_waiting();
        for relay in waiting {
            relay.dispatch(None);
        }
    }

    fn draining(&self, index: usize) {
        self.set_state(index, State::Draining);
    }

    fn disconnected(&self, index: usize) {
        self.set_state(index, State::Down);
    }
}
