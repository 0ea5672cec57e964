//! The endpoints of a service between two changes of its configuration, as one worker uses them:
//! one is chosen, asked, and judged by what comes of it.

use super::{
    body::{Arriving, Payload},
    config::{HttpEndpoint, HttpServiceConfig},
    conns::{Conns, Lease, NoLease, Want},
    head::{self, Head},
    service::{Current, EndpointBoard, WorkerBoard},
};
use crate::balancer::hashing;
use balance::{Ask, Health, Outcome, Pool, Report, Spec, State, Ticket, breaker::Phase};
use http::{Response, StatusCode};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use net::{
    clock,
    control::{EndpointState, EndpointView, Errors},
    latency::LatencyWindow,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use stdx::{Moment, Rng};
use tokio::time::timeout;
use wire::{Timestamp, frame::LoadReport};

/// Connections that may turn out to have ended before one is made for the request alone.
const STALE_MAX: usize = 2;

/// The endpoints of one worker, by their order in the configuration.
pub(super) struct Roster {
    pub(super) current: Arc<Current>,
    worker: usize,
    endpoints: Vec<Endpoint>,
    /// Shared with the roster before, where it had the same endpoints.
    pool: Rc<RefCell<Pool>>,
    rng: Rc<RefCell<Rng>>,
    /// Of the service, for this worker.
    board: Arc<WorkerBoard>,
}

#[derive(Clone)]
struct Endpoint {
    conns: Rc<Conns>,
    authority: Arc<str>,
    /// Of what it answered, to the head.
    latency: Rc<RefCell<LatencyWindow>>,
    /// When and why its state became what it is.
    changed: Rc<RefCell<Option<(Timestamp, String)>>>,
}

impl Endpoint {
    fn new(endpoint: &HttpEndpoint, service: &HttpServiceConfig) -> Endpoint {
        Endpoint {
            conns: Rc::new(Conns::new(endpoint, service, service.protocol)),
            authority: endpoint.authority().into(),
            latency: Rc::default(),
            changed: Rc::default(),
        }
    }

    fn turned(&self, why: &str) {
        self.changed.replace(Some((clock::wall(), why.to_owned())));
    }
}

/// What an endpoint answered.
pub(crate) enum Passed {
    Answered(Response<Arriving>),
    /// 101: the connection is what the client asked it to become.
    Switched(Switched),
}

/// Both ends of an upgraded connection are known.
pub(crate) struct Switched {
    pub(crate) response: Response<()>,
    pub(crate) upstream: OnUpgrade,
    pub(super) kept: Kept,
}

/// What an upgraded connection keeps until its end.
pub(super) struct Kept {
    _lease: Lease,
    _hold: Hold,
    board: Arc<WorkerBoard>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.board.tunnels.sub(1);
    }
}

/// Why an attempt came to nothing.
pub(super) enum Missed {
    Unreachable,
    Full,
    /// The connection ended after some of the request was sent.
    Broke,
    Odd(&'static str),
    Broken,
    Unfit,
    Late,
}

impl Roster {
    /// Takes over from the roster before what stays.
    pub(super) fn new(
        current: Arc<Current>,
        worker: usize,
        board: Arc<WorkerBoard>,
        rng: Rc<RefCell<Rng>>,
        before: Option<&Roster>,
    ) -> Rc<Roster> {
        let config = &current.config;
        let before = before.map(|it| (it, &it.current.config));
        let same_manner = before.filter(|(_, it)| it.shares_connections(config));
        let endpoint = |endpoint: &HttpEndpoint| {
            let kept = same_manner.and_then(|(before, of)| {
                let at = of.endpoints.iter().position(|it| it.is_same(endpoint))?;
                Some(before.endpoints[at].clone())
            });
            kept.unwrap_or_else(|| Endpoint::new(endpoint, config))
        };
        let same_pool = before.filter(|(_, it)| {
            let pairs = it.endpoints.iter().zip(&config.endpoints);
            it.policy == config.policy
                && it.endpoints.len() == config.endpoints.len()
                && pairs.into_iter().all(|(one, other)| one.is_same(other))
        });
        let pool = match same_pool {
            Some((before, _)) => Rc::clone(&before.pool),
            None => Rc::new(RefCell::new(new_pool(config))),
        };
        for (at, endpoint) in config.endpoints.iter().enumerate() {
            pool.borrow_mut().set_weight(at, endpoint.weight);
        }
        let endpoints = config.endpoints.iter().map(endpoint).collect();
        let roster = Rc::new(Roster { worker, endpoints, pool, rng, board, current });
        let healths = roster.current.health.borrow().clone();
        roster.heed(&healths);
        roster
    }

    fn board_of(&self, endpoint: usize) -> &EndpointBoard {
        &self.current.boards(self.worker)[endpoint]
    }

    pub(super) fn authority(&self, endpoint: usize) -> &str {
        &self.endpoints[endpoint].authority
    }

    fn name(&self) -> &str {
        &self.current.config.name
    }

    /// Sends no request on connections that are idle now.
    pub(super) fn close_idle(&self) {
        self.endpoints.iter().for_each(|it| it.conns.close_idle());
    }

    /// Closes what has been idle or open for too long, and counts the rest.
    pub(super) fn sweep(&self, now: Moment) {
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            endpoint.conns.sweep(now);
            let open = endpoint.conns.open_count().try_into().unwrap_or(u64::MAX);
            self.board_of(at).connections.set(open);
        }
    }

    pub(super) fn choose(self: &Rc<Roster>, ask: Ask) -> Option<Flight> {
        let mut pool = self.pool.borrow_mut();
        let ticket = pool.send(clock::now(), &mut self.rng.borrow_mut(), ask).ok()?;
        let endpoint = ticket.choice.endpoint;
        let board = self.board_of(endpoint);
        board.in_flight.set(pool.in_flight(endpoint));
        board.requests.add(1);
        if ticket.choice.panic {
            self.board.panics.add(1);
        }
        let (roster, sent_at) = (Rc::clone(self), ticket.sent_at);
        Some(Flight { roster, endpoint, sent_at, ticket: Some(ticket) })
    }

    /// Asks the endpoint that was chosen.
    pub(super) async fn attempt(
        self: &Rc<Roster>,
        flight: Flight,
        head: &Head<'_>,
        payload: &mut Payload,
        expires: Moment,
    ) -> Result<Passed, Missed> {
        let sent = Cell::new(false);
        let board = self.board_of(flight.endpoint);
        let exchange = self.exchange(flight.endpoint, head, payload, &sent);
        let exchanged = timeout(expires.since(clock::now()), exchange).await;
        let missed = match exchanged {
            Ok(Ok((response, lease))) => return self.judge(flight, head, response, lease),
            Ok(Err(missed)) => missed,
            Err(_) if sent.get() => Missed::Late,
            Err(_) => Missed::Full,
        };
        let outcome = match missed {
            Missed::Unreachable => {
                board.unreachable.add(1);
                Outcome::Lost
            }
            // One connection that ended is not the endpoint gone: that shows when the next is made.
            Missed::Broke => {
                board.lost.add(1);
                Outcome::Failed
            }
            Missed::Odd(_) => {
                board.failed.add(1);
                Outcome::Failed
            }
            Missed::Late => {
                board.late.add(1);
                Outcome::Failed
            }
            // Not the endpoint's fault: it is our limit, or the client's mistake.
            Missed::Full | Missed::Broken | Missed::Unfit => Outcome::Abandoned,
        };
        flight.end(outcome);
        Err(missed)
    }

    /// Sends a request on a connection. One that ended unnoticed before any of the answer came is
    /// no failure of the endpoint's: the request goes out on a fresh one where it may.
    async fn exchange(
        &self,
        endpoint: usize,
        head: &Head<'_>,
        payload: &mut Payload,
        sent: &Cell<bool>,
    ) -> Result<(Response<Incoming>, Lease), Missed> {
        let config = &self.current.config;
        let Endpoint { conns, authority, .. } = &self.endpoints[endpoint];
        let replayable = |payload: &Payload| head.is_repeatable() && payload.is_whole();
        let mut want = if replayable(payload) { Want::Any } else { Want::Young };
        for stale in 0.. {
            let mut lease = conns.lease(want).await.map_err(|err| match err {
                NoLease::Full => Missed::Full,
                NoLease::Unreachable(err) => {
                    tracing::debug!(endpoint = &**authority, %err, "cannot connect");
                    Missed::Unreachable
                }
            })?;
            let request = head.request(config, authority);
            let request = request.map_err(|_| Missed::Unfit)?;
            let Some(body) = payload.take() else { return Err(Missed::Broke) };
            let was_sent = sent.replace(true);
            let mut err = match lease.send(request.map(|()| body)).await {
                Ok(response) => return Ok((response, lease)),
                Err(err) => err,
            };
            if let Some(request) = err.take_message() {
                payload.give_back(request.into_body());
                sent.set(was_sent);
            } else {
                let err = err.into_error();
                if err.is_user() {
                    return Err(Missed::Broken);
                }
                if err.is_parse() {
                    return Err(Missed::Odd("it is no HTTP"));
                }
                tracing::debug!(endpoint = &**authority, %err, "exchange failed");
                if is_refused(&err) && payload.is_there() {
                    sent.set(was_sent);
                } else if !lease.reused || !replayable(payload) {
                    return Err(Missed::Broke);
                }
            }
            if stale == STALE_MAX {
                return Err(if sent.get() { Missed::Broke } else { Missed::Unreachable });
            }
            self.board.stale.add(1);
            want = Want::Fresh;
        }
        unreachable!("the loop has a bound")
    }

    fn judge(
        self: &Rc<Roster>,
        flight: Flight,
        head: &Head<'_>,
        mut response: Response<Incoming>,
        mut lease: Lease,
    ) -> Result<Passed, Missed> {
        let endpoint = flight.endpoint;
        let board = self.board_of(endpoint);
        if let Some(why) = head::oddity(&response, head.upgrade.is_some()) {
            board.failed.add(1);
            flight.end(Outcome::Failed);
            return Err(Missed::Odd(why));
        }
        let sent_at = flight.sent_at;
        flight.end(match response.status() {
            StatusCode::SERVICE_UNAVAILABLE => {
                board.shed.add(1);
                Outcome::Shed
            }
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                board.failed.add(1);
                Outcome::Failed
            }
            _ => {
                let now = clock::now();
                self.endpoints[endpoint].latency.borrow_mut().record(now, now.since(sent_at));
                Outcome::Answered
            }
        });
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upstream = hyper::upgrade::on(&mut response);
            self.board.tunnels.add(1);
            let board = Arc::clone(&self.board);
            let kept = Kept { _lease: lease, _hold: self.hold(endpoint), board };
            let response = response.map(drop);
            return Ok(Passed::Switched(Switched { response, upstream, kept }));
        }
        if let Some(granted) = head::keeps_for(response.headers()) {
            lease.kept_for(granted);
        }
        let bodiless = head.method == "HEAD" || response.status() == StatusCode::NOT_MODIFIED;
        head::strip(response.headers_mut(), bodiless);
        let (parts, incoming) = response.into_parts();
        let body = Arriving::new(incoming, lease, || self.hold(endpoint));
        Ok(Passed::Answered(Response::from_parts(parts, body)))
    }

    /// Counts what goes on after the head of an answer.
    fn hold(self: &Rc<Roster>, endpoint: usize) -> Hold {
        let mut pool = self.pool.borrow_mut();
        pool.hold(endpoint);
        self.note(&pool, endpoint);
        Hold { roster: Rc::clone(self), endpoint }
    }

    /// Takes note of what the checks say, and of who is out of rotation. When nobody else is well
    /// everybody in rotation is tried.
    pub(super) fn heed(&self, healths: &[Health]) {
        let now = clock::now();
        let in_rotation = || {
            let pairs = healths.iter().zip(&self.current.config.endpoints);
            pairs.filter(|(_, endpoint)| !endpoint.drained).map(|(health, _)| *health)
        };
        let panic = in_rotation().all(|it| it == Health::Sick);
        if panic && in_rotation().next().is_some() {
            tracing::warn!(service = self.name(), "all endpoints fail their checks: all are tried");
        }
        let mut pool = self.pool.borrow_mut();
        for (at, health) in healths.iter().enumerate() {
            let present = pool.state(at);
            let state = if self.current.config.endpoints[at].drained {
                State::Draining
            } else if *health == Health::Sick && !panic {
                State::Down
            } else if matches!(present, State::Connected { .. }) {
                present
            } else {
                State::Connected { since: now }
            };
            let was_up = matches!(present, State::Connected { .. });
            pool.set_state(at, state);
            match state {
                State::Draining if present != state => {
                    self.endpoints[at].turned("taken out by order");
                }
                State::Down if present != state => self.endpoints[at].turned("its checks fail"),
                State::Connected { .. } if !was_up => self.endpoints[at].turned("in rotation"),
                State::Connected { .. } | State::Draining | State::Down => (),
            }
            if !matches!(state, State::Connected { .. }) {
                self.endpoints[at].conns.close_idle();
            }
        }
    }

    /// Every endpoint as it stands.
    pub(super) fn views(&self) -> Vec<EndpointView> {
        let health = self.current.health.borrow().clone();
        let endpoints = self.current.config.endpoints.iter().zip(health).enumerate();
        endpoints.map(|(at, (endpoint, health))| self.view(at, endpoint, health)).collect()
    }

    fn view(&self, at: usize, config: &HttpEndpoint, health: Health) -> EndpointView {
        let (pool, board) = (self.pool.borrow(), self.board_of(at));
        let Endpoint { authority, latency, changed, .. } = &self.endpoints[at];
        let (state, breaker) = match pool.phase(at) {
            Phase::Passing => (EndpointState::Passing, "passing"),
            Phase::Probing => (EndpointState::Probing, "probing"),
            Phase::Tripped => (EndpointState::Tripped, "tripped"),
        };
        let state = match (config.drained, health) {
            (true, _) => EndpointState::Draining,
            (false, Health::Sick) => EndpointState::Down,
            (false, Health::Unknown | Health::Well) => state,
        };
        EndpointView {
            name: Arc::clone(authority),
            addr: format!("{}://{authority}", self.current.config.scheme()),
            kind: "http",
            state,
            weight: config.weight.get(),
            in_flight: pool.in_flight(at),
            load: None,
            latency: latency.borrow().counts(clock::now()),
            requests: board.requests.get(),
            errors: Errors {
                lost: board.unreachable.get() + board.lost.get(),
                shed: board.shed.get(),
                failed: board.failed.get(),
                late: board.late.get(),
            },
            breaker: Some(breaker),
            changed: changed.borrow().clone(),
        }
    }

    /// What the tier above is told of everything behind this worker.
    pub(super) fn report(&self) -> LoadReport {
        let Report { in_flight, latency, limit_permille, draining } =
            self.pool.borrow().report(clock::now());
        LoadReport { in_flight, latency_us: 0, limit_permille, draining }.with_latency(latency)
    }

    fn note(&self, pool: &Pool, endpoint: usize) {
        let board = self.board_of(endpoint);
        board.in_flight.set(pool.in_flight(endpoint));
        board.tripped.set(u64::from(pool.phase(endpoint) != Phase::Passing));
    }
}

/// A request that counts as in flight until its answer begins. One that is dropped before was given
/// up by its client.
pub(super) struct Flight {
    roster: Rc<Roster>,
    pub(super) endpoint: usize,
    sent_at: Moment,
    ticket: Option<Ticket>,
}

impl Flight {
    fn end(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some(ticket) = self.ticket.take() else { return };
        let roster = &self.roster;
        let mut pool = roster.pool.borrow_mut();
        if pool.ended(clock::now(), &mut roster.rng.borrow_mut(), ticket, outcome) {
            roster.endpoints[self.endpoint].turned("requests failed");
            let endpoint = &*roster.endpoints[self.endpoint].authority;
            tracing::warn!(service = roster.name(), endpoint, ?outcome, "breaker tripped");
        }
        roster.note(&pool, self.endpoint);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

/// The rest of an answer, or an upgraded connection: counts as in flight, and says nothing of how
/// long an answer takes.
pub(super) struct Hold {
    roster: Rc<Roster>,
    endpoint: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut pool = self.roster.pool.borrow_mut();
        pool.release(self.endpoint);
        self.roster.note(&pool, self.endpoint);
    }
}

/// An HTTP/2 server refused the stream before it did anything (RFC 9113 §8.7).
fn is_refused(err: &hyper::Error) -> bool {
    let cause = std::error::Error::source(err).and_then(|it| it.downcast_ref::<h2::Error>());
    cause.is_some_and(|it| it.is_remote() && it.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn new_pool(config: &HttpServiceConfig) -> Pool {
    let mut pool = Pool::with(config.policy);
    for endpoint in &config.endpoints {
        let key = hashing::of_name(&endpoint.authority());
        pool.add(Spec { key, weight: endpoint.weight });
    }
    pool
}
