//! The way from one worker to the endpoints, and the choice between them.

mod views;

use super::{
    blame,
    board::WorkerCounters,
    hashing,
    hop::{Hop, Sent},
    limits::WAITING_MAX,
    limits::{ENDPOINTS_MAX, PANIC_TOLD_EVERY, RETRY_FLOOR_PER_SECOND, RETRY_SHARE_PERMILLE},
    relay::Relay,
    way::Way,
};
use crate::config::{BalancerConfig, EndpointConfig, HashBy};
use balance::{Ask, Budget, Outcome, Policy, Pool, Report, Spec, State, Ticket, breaker::Phase};
use net::{
    clock, ids,
    trunk::{
        Answer, Exchange, Identity, LinkEvents, Loss, Refused, StreamReader, StreamWriter, Tag,
    },
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use stdx::{Moment, Rng};
use tokio::sync::Notify;
use wire::frame::{LoadReport, Patch, RequestRef, ResponseRef, Target};

pub(super) struct Router {
    /// Itself: links hold it for their events.
    me: Weak<Router>,
    pub(super) node: Arc<str>,
    pub(super) deadline: Cell<Duration>,
    pub(super) counters: Arc<WorkerCounters>,
    identity: Identity,
    policy: Cell<Policy>,
    hash: RefCell<HashBy>,
    pool: RefCell<Pool>,
    rng: RefCell<Rng>,
    budget: RefCell<Budget>,
    /// By the pool's indices.
    ways: RefCell<Vec<Way>>,
    /// Relays that wait for an endpoint.
    pub(super) waiting: RefCell<VecDeque<Relay>>,
    /// Tasks that wait for an endpoint, and how many they are.
    returned: Notify,
    tasks_waiting: Cell<usize>,
    /// Called when there is an endpoint to send to and there was none, or the other way round.
    on_turn: RefCell<Option<Rc<dyn Fn()>>>,
    /// From when on the panic rule is told again.
    panic_told_until: Cell<Moment>,
    /// Buffers to copy relayed requests into.
    pub(super) spare: RefCell<Vec<Vec<u8>>>,
}

/// Something that goes on at an endpoint after its answer has begun.
pub(super) struct Held {
    router: Rc<Router>,
    endpoint: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.router.pool.borrow_mut().release(self.endpoint);
        self.router.show_in_flight(self.endpoint);
    }
}

impl Router {
    /// Starts to connect to every endpoint of the configuration.
    pub(super) fn open(
        config: &BalancerConfig,
        identity: &Identity,
        counters: Arc<WorkerCounters>,
    ) -> Rc<Router> {
        let router = Rc::new_cyclic(|me| Router {
            me: Weak::clone(me),
            node: Arc::clone(&config.node.name),
            deadline: Cell::new(config.deadline),
            counters,
            identity: identity.clone(),
            policy: Cell::new(config.policy),
            hash: RefCell::new(config.hash.clone()),
            pool: RefCell::new(Pool::with(config.policy)),
            rng: RefCell::new(Rng::new(ids::seed())),
            budget: RefCell::new(Budget::new(RETRY_SHARE_PERMILLE, RETRY_FLOOR_PER_SECOND)),
            ways: RefCell::default(),
            waiting: RefCell::default(),
            returned: Notify::new(),
            tasks_waiting: Cell::new(0),
            on_turn: RefCell::default(),
            panic_told_until: Cell::new(Moment::ZERO),
            spare: RefCell::default(),
        });
        router.set_endpoints(&config.endpoints);
        router
    }

    /// Makes the endpoints those of the list: connects to new ones, lets go of those that are not
    /// in it. One that stays, by name and reach, keeps its index, its connection and what is known
    /// of it, and takes the weight and the drain of the list.
    pub(super) fn set_endpoints(&self, list: &[EndpointConfig]) {
        let mut ways = self.ways.borrow_mut();
        for (index, way) in ways.iter_mut().enumerate().filter(|(_, way)| !way.gone) {
            let stays =
                |it: &&EndpointConfig| it.name == way.config.name && it.reach == way.config.reach;
            match list.iter().find(stays) {
                Some(config) => {
                    if way.config.drained != config.drained {
                        let turn = if config.drained { "out of" } else { "back in" };
                        way.note(format!("{turn} rotation by order"));
                    } else if way.config.weight != config.weight {
                        way.note(format!("weight {} by order", config.weight));
                    }
                    way.config.clone_from(config);
                    self.pool.borrow_mut().set_weight(index, config.weight);
                }
                None => {
                    way.gone = true;
                    way.close();
                    self.counters.forget(&way.counters);
                }
            }
            self.show_state(index, way);
        }
        for config in list {
            let is_there = |way: &Way| !way.gone && way.config.name == config.name;
            if !ways.iter().any(is_there) {
                self.add(&mut ways, config);
            }
        }
        drop(ways);
        self.release();
    }

    fn add(&self, ways: &mut Vec<Way>, config: &EndpointConfig) {
        let spec = Spec { key: hashing::of_name(&config.name), weight: config.weight };
        let mut pool = self.pool.borrow_mut();
        // The place of one that went and has nothing in flight any more, or a new one.
        let free = (0..ways.len()).find(|&at| ways[at].gone && pool.replace(at, spec));
        if free.is_none() && ENDPOINTS_MAX <= ways.len() {
            tracing::error!(endpoint = &*config.name, "too many endpoints: it gets no requests");
            return;
        }
        let index = free.unwrap_or_else(|| pool.add(spec));
        let counters = self.counters.endpoint(&config.name);
        let Some(me) = self.me.upgrade() else { return };
        let way = Way::open(config.clone(), index, &self.identity, counters, me);
        if index < ways.len() {
            ways[index] = way;
        } else {
            ways.push(way);
        }
    }

    /// Sets what is to be done when the first endpoint comes up or the last one goes.
    pub(super) fn on_turn(&self, told: Rc<dyn Fn()>) {
        self.on_turn.replace(Some(told));
    }

    /// Tells that somebody is up again, or nobody any more, if `were_up` says that this is new.
    fn tell_turn(&self, were_up: usize) {
        if (were_up == 0) != (self.pool.borrow().up_count() == 0) {
            let told = self.on_turn.borrow().clone();
            if let Some(told) = told {
                told();
            }
        }
    }

    /// Asks the endpoints nothing more.
    pub(super) fn close(&self) {
        self.on_turn.take();
        self.ways.borrow().iter().for_each(Way::close);
    }

    /// Places for endpoints; some may be of endpoints that went.
    pub(super) fn len(&self) -> usize {
        self.ways.borrow().len()
    }

    pub(super) fn name(&self, endpoint: usize) -> Arc<str> {
        Arc::clone(self.ways.borrow()[endpoint].name())
    }

    /// What decides where a request goes, where the policy asks for it.
    pub(super) fn hash_of(&self, target: &Target<'_>) -> u64 {
        match self.policy.get() {
            Policy::Hash => hashing::of_request(&self.hash.borrow(), target),
            Policy::LeastLoad | Policy::LeastRequests | Policy::RoundRobin | Policy::Weighted => 0,
        }
    }

    /// Counts a request that came in.
    pub(super) fn requested(&self, now: Moment) {
        self.counters.requests.add(1);
        self.budget.borrow_mut().requested(now);
    }

    /// Whether one more attempt may be made at a request, now that one was lost.
    pub(super) fn may_repeat(&self) -> bool {
        let granted = self.budget.borrow_mut().try_retry(clock::now());
        let counter = if granted { &self.counters.repeats } else { &self.counters.denied };
        counter.add(1);
        granted
    }

    /// Chooses an endpoint; the request counts as in flight there until [`Router::ended`].
    pub(super) fn send(&self, now: Moment, ask: Ask) -> Option<Ticket> {
        let mut pool = self.pool.borrow_mut();
        let ticket = pool.send(now, &mut self.rng.borrow_mut(), ask).ok()?;
        let index = ticket.choice.endpoint;
        let in_flight = pool.in_flight(index);
        drop(pool);
        let counters = &self.ways.borrow()[index].counters;
        counters.in_flight.set(in_flight);
        counters.requests.add(1);
        if ticket.choice.probe {
            counters.probes.add(1);
            self.show_phase(index);
        }
        if ticket.choice.panic {
            self.panicked(now);
        }
        Some(ticket)
    }

    fn panicked(&self, now: Moment) {
        self.counters.panics.add(1);
        if self.panic_told_until.get() <= now {
            self.panic_told_until.set(now + PANIC_TOLD_EVERY);
            tracing::warn!("every endpoint is tripped: all of them are tried");
        }
    }

    /// Sends a request to where its ticket says, and returns what will come of it. With `streams` a
    /// long answer comes with a reader for what is not in its first part.
    pub(super) fn call(
        self: &Rc<Router>,
        ticket: Ticket,
        request: &RequestRef<'_>,
        streams: bool,
    ) -> impl Future<Output = Result<(Answer, Option<StreamReader>), Loss>> + use<> {
        let sent = Sent::new(Rc::clone(self), ticket);
        let way = &self.ways.borrow()[ticket.choice.endpoint];
        way.call(request, streams, move |slot| Hop::call(slot, sent))
    }

    /// Sends a request that was received to the endpoint.
    pub(super) fn forward(
        &self,
        endpoint: usize,
        patch: Patch,
        relay: Relay,
    ) -> Result<(), Refused<Hop>> {
        self.ways.borrow()[endpoint].forward(patch, Hop::Relay(relay))
    }

    /// Sends the head of a request whose body is to follow to the endpoint.
    pub(super) fn open_stream(
        &self,
        endpoint: usize,
        request: &RequestRef<'_>,
    ) -> Result<(StreamWriter, Exchange<Hop>), Loss> {
        self.ways.borrow()[endpoint].open_stream(request)
    }

    /// Sends the first part of a request that was received to the endpoint.
    pub(super) fn forward_stream(
        &self,
        endpoint: usize,
        patch: Patch,
        part: &[u8],
    ) -> Result<(StreamWriter, Exchange<Hop>), Loss> {
        self.ways.borrow()[endpoint].forward_stream(patch, part)
    }

    /// A request was given up that was passed on as `tag` says.
    pub(super) fn cancel(&self, tag: Tag) {
        let ways = self.ways.borrow();
        if let Some(way) = usize::try_from(tag.way).ok().and_then(|at| ways.get(at)) {
            way.cancel(tag.ticket);
        }
    }

    /// What was sent came to its end.
    pub(super) fn ended(&self, ticket: Ticket, outcome: Outcome) {
        let (now, index) = (clock::now(), ticket.choice.endpoint);
        let mut pool = self.pool.borrow_mut();
        let before = pool.phase(index);
        pool.ended(now, &mut self.rng.borrow_mut(), ticket, outcome);
        let (after, in_flight) = (pool.phase(index), pool.in_flight(index));
        drop(pool);
        let ways = self.ways.borrow();
        let counters = &ways[index].counters;
        counters.in_flight.set(in_flight);
        counters.count(outcome);
        if outcome == Outcome::Answered {
            ways[index].latency.borrow_mut().record(now, now.since(ticket.sent_at));
        }
        if before != after {
            self.turned(&ways[index], before, after, "requests failed");
        }
    }

    /// Counts something as in flight to an endpoint that goes on after its answer has begun, until
    /// what is returned is dropped.
    pub(super) fn hold(self: &Rc<Router>, endpoint: usize) -> Held {
        self.pool.borrow_mut().hold(endpoint);
        self.show_in_flight(endpoint);
        Held { router: Rc::clone(self), endpoint }
    }

    fn show_in_flight(&self, endpoint: usize) {
        let in_flight = self.pool.borrow().in_flight(endpoint);
        self.ways.borrow()[endpoint].counters.in_flight.set(in_flight);
    }

    /// What was sent was answered.
    pub(super) fn answered(&self, ticket: Ticket, response: &ResponseRef<'_>) {
        self.ended(ticket, self.blame(ticket.choice.endpoint, response));
    }

    /// What an answer says of the endpoint that brought it.
    pub(super) fn blame(&self, endpoint: usize, response: &ResponseRef<'_>) -> Outcome {
        blame::answered(self.ways.borrow()[endpoint].name(), response)
    }

    /// Tells of a breaker that changed its phase.
    fn turned(&self, way: &Way, before: Phase, after: Phase, cause: &str) {
        way.counters.set_phase(after);
        way.note(match after {
            Phase::Passing => "its breaker passes again".to_owned(),
            Phase::Probing => "its breaker probes".to_owned(),
            Phase::Tripped => format!("its breaker tripped: {cause}"),
        });
        let endpoint = &**way.name();
        match (before, after) {
            (Phase::Passing, Phase::Tripped) => {
                way.counters.trips.add(1);
                tracing::warn!(endpoint, cause, "breaker tripped");
            }
            (Phase::Tripped | Phase::Probing, Phase::Passing) => {
                tracing::info!(endpoint, "breaker passes again");
            }
            (Phase::Passing | Phase::Tripped | Phase::Probing, _) => (),
        }
    }

    fn show_phase(&self, index: usize) {
        let phase = self.pool.borrow().phase(index);
        self.ways.borrow()[index].counters.set_phase(phase);
    }

    /// Tells the tier above of everything that this worker knows behind it.
    pub(super) fn report(&self) -> LoadReport {
        let Report { in_flight, latency, limit_permille, draining } =
            self.pool.borrow().report(clock::now());
        LoadReport { in_flight, latency_us: 0, limit_permille, draining }.with_latency(latency)
    }

    /// Returns once an endpoint takes requests; false when too many wait for that already.
    pub(super) async fn any_up(&self) -> bool {
        if WAITING_MAX <= self.tasks_waiting.get() {
            return false;
        }
        let _waiting = WaitingTask::new(self);
        while self.pool.borrow().up_count() == 0 {
            self.returned.notified().await;
        }
        true
    }

    /// Gives the pool the state that an endpoint's connection and its drain make together.
    fn show_state(&self, index: usize, way: &Way) {
        let mut pool = self.pool.borrow_mut();
        let were_up = pool.up_count();
        let state = match (way.connected.get(), way.config.drained || way.gone) {
            (true, false) => match pool.state(index) {
                state @ State::Connected { .. } => state,
                State::Draining | State::Down => State::Connected { since: clock::now() },
            },
            (true, true) => State::Draining,
            (false, _) => State::Down,
        };
        pool.set_state(index, state);
        drop(pool);
        self.tell_turn(were_up);
        way.counters.up.set(u64::from(matches!(state, State::Connected { .. })));
        way.counters.drained.set(u64::from(way.config.drained));
        way.counters.weight.set(u64::from(way.config.weight.get()));
    }

    fn set_connected(&self, index: usize, connected: bool) {
        let ways = self.ways.borrow();
        let Some(way) = ways.get(index).filter(|way| !way.gone) else { return };
        way.connected.set(connected);
        way.note(if connected { "connected" } else { "it is going away" });
        self.show_state(index, way);
    }

    /// Sends what waited, if there is anybody to send it to.
    fn release(&self) {
        if self.pool.borrow().up_count() == 0 {
            return;
        }
        self.returned.notify_waiters();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        self.count_waiting();
        for relay in waiting {
            relay.dispatch(None);
        }
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
        self.set_connected(index, true);
        self.release();
    }

    fn draining(&self, index: usize) {
        self.set_connected(index, false);
    }

    fn disconnected(&self, index: usize) {
        let (now, ways) = (clock::now(), self.ways.borrow());
        let Some(way) = ways.get(index).filter(|way| !way.gone) else { return };
        way.connected.set(false);
        way.note("its connection was lost");
        let before = self.pool.borrow().phase(index);
        let were_up = self.pool.borrow().up_count();
        self.pool.borrow_mut().lost(now, &mut self.rng.borrow_mut(), index);
        self.tell_turn(were_up);
        let after = self.pool.borrow().phase(index);
        self.show_state(index, way);
        if before != after {
            self.turned(way, before, after, "its connection was lost");
        }
    }

    fn load_report(&self, index: usize, report: LoadReport) {
        let ways = self.ways.borrow();
        let Some(way) = ways.get(index).filter(|way| !way.gone) else { return };
        way.counters.reported(report);
        if way.said_draining.replace(report.draining) != report.draining {
            let what = if report.draining { "drains" } else { "takes requests again" };
            way.note(format!("it says that it {what}"));
        }
        drop(ways);
        let LoadReport { in_flight, limit_permille, draining, .. } = report;
        let report = Report { in_flight, latency: report.latency(), limit_permille, draining };
        let mut pool = self.pool.borrow_mut();
        let were_up = pool.up_count();
        pool.reported(clock::now(), index, report);
        let are_up = pool.up_count();
        drop(pool);
        self.tell_turn(were_up);
        if were_up == 0 && are_up != 0 {
            self.release();
        }
    }

    fn missed_check(&self, index: usize) {
        let ways = self.ways.borrow();
        let Some(way) = ways.get(index).filter(|way| !way.gone) else { return };
        way.counters.missed.add(1);
        let before = self.pool.borrow().phase(index);
        self.pool.borrow_mut().missed_check(clock::now(), &mut self.rng.borrow_mut(), index);
        let after = self.pool.borrow().phase(index);
        if before != after {
            self.turned(way, before, after, "it does not answer pings");
        }
    }
}
