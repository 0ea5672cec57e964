//! The tree and its events.

use super::{BANDS, Contender, LOAD_PERCENT, Results, Scale, server::Server};
use balance::{Ask, Budget, Outcome, Pool, Report, Spec, State, Ticket};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    num::NonZeroU32,
    time::Duration,
};
use stdx::{Moment, Rng};

const CLIENTS: usize = 100;
const EDGES: usize = 4;
const INNERS: usize = 5;
const SERVERS: usize = 50;
/// At the lowest load, not counted: limits and estimates find their place.
const WARM_UP: Duration = Duration::from_secs(3);
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// An antagonist comes after this long on average, stays this long on average, and leaves between a
/// fifth and three fifths of the cores.
const CALM_MEAN: Duration = Duration::from_secs(4);
const ANTAGONIST_MEAN: Duration = Duration::from_millis(1_500);
const ANTAGONIST_LEAVES: (f64, f64) = (0.2, 0.6);
/// A sick server fails so many of its requests, after this long.
const SICK_PERCENT: usize = 80;
const SICK_ANSWER: Duration = Duration::from_millis(1);
const SICK_FOR: Duration = Duration::from_secs(3);
const GONE_FOR: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ask {
        client: usize,
    },
    AtEdge {
        request: usize,
    },
    AtInner {
        request: usize,
    },
    AtServer {
        request: usize,
        attempt: u8,
    },
    Done {
        server: usize,
        version: u64,
    },
    /// What came of an attempt reaches the inner balancer.
    Answered {
        request: usize,
        attempt: u8,
        outcome: Outcome,
    },
    /// And then the edge.
    Returned {
        request: usize,
        outcome: Outcome,
    },
    GiveUp {
        request: usize,
    },
    Antagonist {
        server: usize,
        comes: bool,
    },
    Sick {
        server: usize,
        falls: bool,
    },
    Connection {
        server: usize,
        breaks: bool,
    },
    Report,
    ServerReports {
        server: usize,
    },
    InnerReports {
        inner: usize,
    },
}

struct Balancer {
    pool: Pool,
    budget: Budget,
    /// The server, or inner balancer, behind each endpoint.
    children: Vec<usize>,
}

struct Request {
    asked_at: Moment,
    work: Duration,
    hash: u64,
    edge: usize,
    inner: usize,
    server: usize,
    at_edge: Option<Ticket>,
    at_inner: Option<Ticket>,
    /// Where it stands in its server.
    place: Option<u64>,
    attempt: u8,
    over: bool,
}

pub(crate) struct World {
    now: Moment,
    scale: Scale,
    rng: Rng,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    sequence: u64,
    edges: Vec<Balancer>,
    inners: Vec<Balancer>,
    servers: Vec<Server>,
    requests: Vec<Request>,
    /// Reports on their way, in order of arrival, since events carry only numbers.
    reports: Vec<VecDeque<Report>>,
    /// Requests a second at full load.
    capacity: f64,
    results: Vec<Results>,
}

impl World {
    /// Plays the whole ramp; results for each of [`BANDS`].
    pub(crate) fn play(contender: Contender, scale: Scale, seed: u64) -> Vec<Results> {
        let mut world = World::new(contender, scale, seed);
        world.begin();
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            world.now = at;
            if world.end() + world.scale.deadline() < at {
                break;
            }
            world.happen(event);
        }
        world.results
    }

    fn new(contender: Contender, scale: Scale, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let servers: Vec<Server> = (0..SERVERS)
            .map(|_| {
                let cores = [2.0, 4.0, 8.0][rng.below(3)];
                Server::new(cores, [0.5, 0.75, 1.0, 1.25, 1.5, 2.0][rng.below(6)], scale.limits)
            })
            .collect();
        let power = |server: &Server| server.cores * server.speed;
        let reach = |inner: usize| -> Vec<usize> {
            (0..SERVERS).filter(|&it| it % INNERS == inner || second_inner(it) == inner).collect()
        };
        let balancer = |children: Vec<usize>, weights: Vec<f64>| {
            let mut pool = Pool::with(contender.policy);
            for (&child, &weight) in children.iter().zip(&weights) {
                let weight = if contender.weights { weight } else { 1.0 };
                let index = pool.add(Spec { key: child as u64, weight: quarters(weight) });
                pool.set_state(index, State::Connected { since: Moment::ZERO });
            }
            Balancer { pool, budget: Budget::new(200, 3), children }
        };
        let inners: Vec<Balancer> = (0..INNERS)
            .map(|inner| {
                let children = reach(inner);
                let weights = children.iter().map(|&it| power(&servers[it])).collect();
                balancer(children, weights)
            })
            .collect();
        let subtree = |inner: usize| reach(inner).iter().map(|&it| power(&servers[it])).sum();
        let subtrees: Vec<f64> = (0..INNERS).map(subtree).collect();
        let edge = || balancer((0..INNERS).collect(), subtrees.clone());
        let edges = (0..EDGES).map(|_| edge()).collect();
        let leaves = f64::midpoint(ANTAGONIST_LEAVES.0, ANTAGONIST_LEAVES.1);
        let (calm, hit) = (CALM_MEAN.as_secs_f64(), ANTAGONIST_MEAN.as_secs_f64());
        let left = (calm + hit * leaves) / (calm + hit);
        let capacity =
            servers.iter().map(power).sum::<f64>() * left / scale.work_mean.as_secs_f64();
        World {
            now: Moment::ZERO,
            scale,
            rng,
            events: BinaryHeap::new(),
            sequence: 0,
            edges,
            inners,
            servers,
            requests: Vec::new(),
            reports: vec![VecDeque::new(); SERVERS + INNERS],
            capacity,
            results: vec![Results::default(); BANDS.len()],
        }
    }

    fn begin(&mut self) {
        for client in 0..CLIENTS {
            self.after(Duration::from_millis(client as u64), Event::Ask { client });
        }
        for server in 0..SERVERS {
            let calm = self.exponential(CALM_MEAN);
            self.after(calm, Event::Antagonist { server, comes: true });
        }
        self.after(REPORT_EVERY, Event::Report);
        let misfortunes = [(10, 3, true), (30, 14, false), (50, 25, true), (70, 36, false)];
        for (percent, server, sick) in misfortunes {
            let at = WARM_UP + self.scale.ramp * percent / 100;
            let event = if sick {
                Event::Sick { server, falls: true }
            } else {
                Event::Connection { server, breaks: true }
            };
            self.after(at, event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask { client } => self.ask(client),
            Event::AtEdge { request } => self.at_edge(request),
            Event::AtInner { request } => self.at_inner(request, None),
            Event::AtServer { request, attempt } => self.at_server(request, attempt),
            Event::Done { server, version } => self.done(server, version),
            Event::Answered { request, attempt, outcome } => {
                self.answered(request, attempt, outcome);
            }
            Event::Returned { request, outcome } => self.returned(request, outcome),
            Event::GiveUp { request } => self.give_up(request),
            Event::Antagonist { server, comes } => self.antagonist(server, comes),
            Event::Sick { server, falls } => {
                self.servers[server].sick_percent = if falls { SICK_PERCENT } else { 0 };
                if falls {
                    self.after(SICK_FOR, Event::Sick { server, falls: false });
                }
            }
            Event::Connection { server, breaks } => self.connection(server, breaks),
            Event::Report => self.report_all(),
            Event::ServerReports { server } => self.server_reports(server),
            Event::InnerReports { inner } => {
                let report = self.reports[SERVERS + inner].pop_front().expect("it was sent");
                for edge in &mut self.edges {
                    edge.pool.reported(self.now, inner, report);
                }
            }
        }
    }

    fn ask(&mut self, client: usize) {
        if self.now < self.end() {
            let mean = CLIENTS as f64 / (self.capacity * self.load_percent(self.now) / 100.0);
            let pause = self.exponential(Duration::from_secs_f64(mean));
            self.after(pause, Event::Ask { client });
        }
        let work = self.exponential(self.scale.work_mean);
        let request = self.requests.len();
        self.requests.push(Request {
            asked_at: self.now,
            work,
            hash: self.rng.next(),
            edge: self.rng.below(EDGES),
            inner: 0,
            server: 0,
            at_edge: None,
            at_inner: None,
            place: None,
            attempt: 0,
            over: false,
        });
        self.hop(Event::AtEdge { request });
        self.after(self.scale.deadline(), Event::GiveUp { request });
    }

    fn at_edge(&mut self, request: usize) {
        let it = &mut self.requests[request];
        let edge = &mut self.edges[it.edge];
        let ask = Ask { excluded: None, hash: it.hash };
        match edge.pool.send(self.now, &mut self.rng, ask) {
            Ok(ticket) => {
                it.at_edge = Some(ticket);
                it.inner = edge.children[ticket.choice.endpoint];
                self.hop(Event::AtInner { request });
            }
            Err(_) => self.conclude(request, Outcome::Shed),
        }
    }

    fn at_inner(&mut self, request: usize, excluded: Option<usize>) {
        let it = &mut self.requests[request];
        if it.over {
            return;
        }
        let inner = &mut self.inners[it.inner];
        if excluded.is_none() {
            inner.budget.requested(self.now);
        }
        match inner.pool.send(self.now, &mut self.rng, Ask { excluded, hash: it.hash }) {
            Ok(ticket) => {
                it.attempt += 1;
                it.at_inner = Some(ticket);
                it.server = inner.children[ticket.choice.endpoint];
                let attempt = it.attempt;
                self.hop(Event::AtServer { request, attempt });
            }
            Err(_) => self.hop(Event::Returned { request, outcome: Outcome::Shed }),
        }
    }

    fn at_server(&mut self, request: usize, attempt: u8) {
        let it = &mut self.requests[request];
        if it.over || it.attempt != attempt || it.at_inner.is_none() {
            return;
        }
        let server = &mut self.servers[it.server];
        let answer = |outcome| Event::Answered { request, attempt, outcome };
        if !server.up {
            self.hop(answer(Outcome::Lost));
        } else if self.rng.below(100) < server.sick_percent {
            self.after(SICK_ANSWER, answer(Outcome::Failed));
        } else if let Some(place) = server.try_start(self.now, request, it.work) {
            it.place = Some(place);
            let server = it.server;
            self.foresee(server);
        } else {
            self.hop(answer(Outcome::Shed));
        }
    }

    fn done(&mut self, server: usize, version: u64) {
        if self.servers[server].version != version {
            return;
        }
        let (place, _) = self.servers[server].next_done().expect("it was foreseen");
        self.servers[server].end(self.now, &mut self.rng, place, true);
        let request = place.1;
        self.requests[request].place = None;
        let attempt = self.requests[request].attempt;
        self.hop(Event::Answered { request, attempt, outcome: Outcome::Answered });
        self.foresee(server);
    }

    fn answered(&mut self, request: usize, attempt: u8, outcome: Outcome) {
        let it = &mut self.requests[request];
        if it.over || it.attempt != attempt {
            return;
        }
        let Some(ticket) = it.at_inner.take() else { return };
        let inner = &mut self.inners[it.inner];
        inner.pool.ended(self.now, &mut self.rng, ticket, outcome);
        let server = &self.servers[it.server];
        if server.up {
            inner.pool.reported(self.now, ticket.choice.endpoint, server.report(self.now));
        }
        if outcome == Outcome::Answered {
            self.hop(Event::Returned { request, outcome });
        } else if it.attempt == 1 && inner.budget.try_retry(self.now) {
            self.at_inner(request, Some(ticket.choice.endpoint));
        } else {
            // The edge hears who is to blame: not the inner balancer.
            self.requests[request].place = None;
            let refused = outcome == Outcome::Shed;
            let outcome = if refused { Outcome::Elsewhere } else { Outcome::Failed };
            self.hop(Event::Returned { request, outcome });
        }
    }

    fn returned(&mut self, request: usize, outcome: Outcome) {
        let it = &mut self.requests[request];
        if it.over {
            return;
        }
        if let Some(ticket) = it.at_edge.take() {
            let blamed = if outcome == Outcome::Failed { Outcome::Elsewhere } else { outcome };
            let edge = &mut self.edges[it.edge];
            edge.pool.ended(self.now, &mut self.rng, ticket, blamed);
            let report = self.inners[it.inner].pool.report(self.now);
            edge.pool.reported(self.now, it.inner, report);
        }
        self.conclude(request, outcome);
    }

    fn give_up(&mut self, request: usize) {
        let it = &mut self.requests[request];
        if it.over {
            return;
        }
        if let Some(ticket) = it.at_edge.take() {
            let edge = &mut self.edges[it.edge];
            edge.pool.ended(self.now, &mut self.rng, ticket, Outcome::Abandoned);
        }
        if let Some(ticket) = it.at_inner.take() {
            let inner = &mut self.inners[it.inner];
            inner.pool.ended(self.now, &mut self.rng, ticket, Outcome::Abandoned);
        }
        let (server, place) = (it.server, it.place.take());
        if let Some(place) = place {
            self.servers[server].end(self.now, &mut self.rng, (place, request), false);
            self.foresee(server);
        }
        self.conclude(request, Outcome::Abandoned);
    }

    /// The client knows what came of it.
    fn conclude(&mut self, request: usize, outcome: Outcome) {
        let it = &mut self.requests[request];
        it.over = true;
        let asked_at = it.asked_at;
        if asked_at < Moment::ZERO + WARM_UP {
            return;
        }
        let percent = self.load_percent(asked_at);
        let is_in = |band: &(u32, u32)| f64::from(band.0) <= percent && percent < f64::from(band.1);
        let Some(band) = BANDS.iter().position(is_in) else {
            return;
        };
        let results = &mut self.results[band];
        match outcome {
            Outcome::Answered => {
                let latency = self.now.since(asked_at);
                results.latencies.push(u64::try_from(latency.as_nanos()).expect("seconds"));
            }
            Outcome::Shed | Outcome::Elsewhere => results.refused += 1,
            Outcome::Failed | Outcome::Lost => results.failed += 1,
            Outcome::Abandoned => results.timeouts += 1,
        }
    }

    fn antagonist(&mut self, server: usize, comes: bool) {
        let (low, high) = ANTAGONIST_LEAVES;
        let left = if comes { low + (high - low) * self.uniform() } else { 1.0 };
        self.servers[server].set_left(self.now, left);
        let mean = if comes { ANTAGONIST_MEAN } else { CALM_MEAN };
        let pause = self.exponential(mean);
        self.after(pause, Event::Antagonist { server, comes: !comes });
        self.foresee(server);
    }

    fn connection(&mut self, server: usize, breaks: bool) {
        if breaks {
            for request in self.servers[server].crash(self.now) {
                self.requests[request].place = None;
                let attempt = self.requests[request].attempt;
                self.hop(Event::Answered { request, attempt, outcome: Outcome::Lost });
            }
            self.after(GONE_FOR, Event::Connection { server, breaks: false });
        } else {
            self.servers[server].up = true;
        }
        for inner in &mut self.inners {
            let Some(index) = inner.children.iter().position(|&it| it == server) else { continue };
            if breaks {
                inner.pool.lost(self.now, &mut self.rng, index);
            } else {
                inner.pool.set_state(index, State::Connected { since: self.now });
            }
        }
    }

    fn report_all(&mut self) {
        for server in 0..SERVERS {
            let report = self.servers[server].report(self.now);
            self.reports[server].push_back(report);
            self.after(Duration::from_micros(200), Event::ServerReports { server });
        }
        for inner in 0..INNERS {
            let report = self.inners[inner].pool.report(self.now);
            self.reports[SERVERS + inner].push_back(report);
            self.after(Duration::from_micros(200), Event::InnerReports { inner });
        }
        self.after(REPORT_EVERY, Event::Report);
    }

    fn server_reports(&mut self, server: usize) {
        let report = self.reports[server].pop_front().expect("it was sent");
        if !self.servers[server].up {
            return;
        }
        for inner in &mut self.inners {
            if let Some(index) = inner.children.iter().position(|&it| it == server) {
                inner.pool.reported(self.now, index, report);
            }
        }
    }

    /// Sets the next completion of a server anew.
    fn foresee(&mut self, server: usize) {
        let version = self.servers[server].version;
        if let Some((_, at)) = self.servers[server].next_done() {
            self.at(at.max(self.now), Event::Done { server, version });
        }
    }

    fn hop(&mut self, event: Event) {
        let micros = 100 + self.rng.below(200) as u64;
        self.after(Duration::from_micros(micros), event);
    }

    fn after(&mut self, pause: Duration, event: Event) {
        self.at(self.now + pause, event);
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn end(&self) -> Moment {
        Moment::ZERO + WARM_UP + self.scale.ramp
    }

    fn load_percent(&self, at: Moment) -> f64 {
        let gone = at.since(Moment::ZERO + WARM_UP).as_secs_f64() / self.scale.ramp.as_secs_f64();
        let (low, high) = (f64::from(LOAD_PERCENT.0), f64::from(LOAD_PERCENT.1));
        low + (high - low) * gone.min(1.0)
    }

    fn uniform(&mut self) -> f64 {
        (self.rng.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.uniform()).ln())
    }
}

/// A weight is a whole number, and the slowest server has a power of 1.
fn quarters(power: f64) -> NonZeroU32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let weight = (power * 4.0) as u32;
    NonZeroU32::new(weight).expect("at least 4")
}

/// Every server is reached by two inner balancers: by its number, and by the number of its group.
fn second_inner(server: usize) -> usize {
    let other = server / INNERS % INNERS;
    if other == server % INNERS { (other + 1) % INNERS } else { other }
}
