//! The endpoints of one worker: who may be chosen, who is, and what came of it.
//!
//! Knows no policy: it leaves a policy those endpoints that its rules let stand, and keeps the counts
//! that policies go by.

use crate::{
    breaker::{Phase, Tenure},
    endpoint::{Endpoint, Outcome, Report, Spec, State},
    estimate::OwnLatency,
    policy::{Memory, Policy, View, stands_by_hash},
    window::{Tally, Window},
};
use std::{num::NonZeroU32, time::Duration};
use stdx::{Moment, Rng};

/// To shed is no illness: an endpoint that is too busy says so, and to keep it out would only make
/// the others busier. Its breaker trips by sheds only when it sheds at least this share of at least
/// so many, while the others shed less than half.
const USELESS_PERCENT_MIN: u64 = 95;
const USELESS_REQUESTS_MIN: u64 = 20;
const OTHERS_SHED_PERCENT_MAX: u64 = 50;
const SHED_WINDOW: Duration = Duration::from_secs(10);

/// No endpoint is connected: there is nobody to send to, not even one that seems bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoneUp;

/// What is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The endpoint that just failed it: chosen again only if it alone is connected.
    pub excluded: Option<usize>,
    /// Of the header or account that decides, for [`Policy::Hash`].
    pub hash: u64,
}

/// The endpoint that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which one.
    pub endpoint: usize,
    /// All were tripped, so everyone was tried: say so in the log and in a counter.
    pub panic: bool,
    /// The request is the probe of a tripped breaker.
    pub probe: bool,
}

/// A request that counts as in flight. Give it back to [`Pool::ended`], once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Where it was sent, and why there.
    pub choice: Choice,
    /// When it was sent.
    pub sent_at: Moment,
    tenure: Tenure,
}

/// Endpoints, their states and what is in flight to each.
#[derive(Clone, Debug)]
pub struct Pool {
    policy: Policy,
    endpoints: Vec<Endpoint>,
    /// Invariant: the indices of exactly those that take new requests, ascending.
    up: Vec<usize>,
    /// Scratch: who stands for the current choice.
    candidates: Vec<usize>,
    memory: Memory,
    /// Latency of whatever was answered.
    usual: OwnLatency,
    /// Good: answered. Bad: shed.
    sheds: Window,
}

/// What the rules say of one endpoint before a choice.
enum Standing {
    Stands,
    /// On probation, and not its turn.
    Waits,
    /// Tripped and rested: the next request may be its probe.
    Rested,
    Tripped,
}

impl Pool {
    /// No endpoints yet.
    pub fn with(policy: Policy) -> Pool {
        Pool {
            policy,
            endpoints: Vec::new(),
            up: Vec::new(),
            candidates: Vec::new(),
            memory: Memory::default(),
            usual: OwnLatency::new(Moment::ZERO),
            sheds: Window::new(SHED_WINDOW),
        }
    }

    /// Chooses by another policy from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.memory = Memory::default();
    }

    /// What is set about an endpoint.
    pub fn spec(&self, index: usize) -> Spec {
        self.endpoints[index].spec
    }

    /// One more endpoint, down; returns its index. One that goes for good stays down.
    pub fn add(&mut self, spec: Spec) -> usize {
        self.endpoints.push(Endpoint::new(spec));
        self.endpoints.len() - 1
    }

    /// Gives the index of an endpoint that went for good to another one, down; false when
    /// something is still in flight to the one that went.
    pub fn replace(&mut self, index: usize, spec: Spec) -> bool {
        let endpoint = &mut self.endpoints[index];
        let idle = endpoint.in_flight == 0;
        if idle {
            *endpoint = Endpoint::new(spec);
            self.count_up();
        }
        idle
    }

    /// How many endpoints there are, in whatever state.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are no endpoints at all.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The state of an endpoint's connection.
    pub fn state(&self, index: usize) -> State {
        self.endpoints[index].state
    }

    /// How many endpoints take new requests.
    pub fn up_count(&self) -> usize {
        self.up.len()
    }

    /// What is in flight to an endpoint from here.
    pub fn in_flight(&self, index: usize) -> u64 {
        self.endpoints[index].in_flight
    }

    /// What an endpoint's breaker does.
    pub fn phase(&self, index: usize) -> Phase {
        self.endpoints[index].breaker.phase()
    }

    /// What an endpoint said last of its load, and how long ago.
    pub fn last_report(&self, now: Moment, index: usize) -> Option<(Duration, Report)> {
        self.endpoints[index].last_report(now)
    }

    /// Takes note of a change. One that becomes connected starts slowly.
    pub fn set_state(&mut self, index: usize, state: State) {
        self.endpoints[index].set_state(state);
        self.count_up();
    }

    /// Sets the part of the work that an endpoint gets.
    pub fn set_weight(&mut self, index: usize, weight: NonZeroU32) {
        self.endpoints[index].spec.weight = weight;
    }

    /// Takes a load report.
    pub fn reported(&mut self, now: Moment, index: usize, report: Report) {
        let endpoint = &mut self.endpoints[index];
        endpoint.report(now, report);
        if endpoint.draining != report.draining {
            endpoint.draining = report.draining;
            self.count_up();
        }
    }

    /// Chooses an endpoint and counts the request as in flight to it, also while it still waits for
    /// a connection.
    pub fn send(&mut self, now: Moment, rng: &mut Rng, ask: Ask) -> Result<Ticket, NoneUp> {
        let choice = self.pick(now, rng, ask)?;
        let endpoint = &mut self.endpoints[choice.endpoint];
        endpoint.in_flight += 1;
        endpoint.ages.start(now);
        Ok(Ticket { choice, sent_at: now, tenure: endpoint.breaker.sent(now) })
    }

    /// Something goes on at an endpoint after its answer has begun, a long body or a connection that
    /// left HTTP behind: it counts as in flight until [`Pool::release`], and nothing else.
    pub fn hold(&mut self, index: usize) {
        self.endpoints[index].in_flight += 1;
    }

    /// What was held came to its end.
    pub fn release(&mut self, index: usize) {
        let endpoint = &mut self.endpoints[index];
        debug_assert!(0 < endpoint.in_flight, "somebody counts wrong");
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
    }

    /// A request came to its end. True when that trips the endpoint's breaker.
    pub fn ended(&mut self, now: Moment, rng: &mut Rng, ticket: Ticket, outcome: Outcome) -> bool {
        let index = ticket.choice.endpoint;
        let latency = now.since(ticket.sent_at);
        let endpoint = &mut self.endpoints[index];
        debug_assert!(0 < endpoint.in_flight, "somebody counts wrong");
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        endpoint.ages.end(ticket.sent_at);
        match outcome {
            Outcome::Answered => {
                endpoint.own.answered(now, latency);
                self.usual.answered(now, latency);
                count(&mut endpoint.sheds, now, true);
                count(&mut self.sheds, now, true);
            }
            Outcome::Shed => {
                endpoint.own.failed(now);
                count(&mut endpoint.sheds, now, false);
                count(&mut self.sheds, now, false);
            }
            Outcome::Failed | Outcome::Lost => endpoint.own.failed(now),
            Outcome::Elsewhere => (),
            Outcome::Abandoned => endpoint.own.unanswered(now, latency),
        }
        if outcome == Outcome::Shed && !self.is_useless(now, index)
            || matches!(outcome, Outcome::Answered | Outcome::Elsewhere)
        {
            self.works(now, ticket);
            return false;
        }
        let breaker = &mut self.endpoints[index].breaker;
        match outcome {
            Outcome::Shed => breaker.useless(now, rng, ticket.tenure),
            Outcome::Failed => breaker.failed(now, rng, ticket.tenure),
            Outcome::Lost => breaker.lost(now, rng),
            Outcome::Abandoned => {
                breaker.abandoned(now, ticket.tenure);
                false
            }
            Outcome::Answered | Outcome::Elsewhere => false, // Seen to above.
        }
    }

    /// The connection to an endpoint broke: it is down, and tripped when it comes back. True when
    /// that trips it. What was in flight ends by [`Outcome::Lost`].
    pub fn lost(&mut self, now: Moment, rng: &mut Rng, index: usize) -> bool {
        self.set_state(index, State::Down);
        self.endpoints[index].breaker.lost(now, rng)
    }

    /// An endpoint missed a health check. True when that trips it.
    pub fn missed_check(&mut self, now: Moment, rng: &mut Rng, index: usize) -> bool {
        let endpoint = &mut self.endpoints[index];
        endpoint.own.failed(now);
        endpoint.breaker.missed(now, rng)
    }

    /// What this node says of everything behind it; that it drains, when nobody behind it takes new
    /// requests. A node that itself drains says so, whatever is behind it.
    pub fn report(&self, now: Moment) -> Report {
        let usual = self.usual.mean_at(now);
        let (mut in_flight, mut limited, mut limits) = (0.0, 0.0, 0.0);
        let (mut depths, mut rates) = (0.0, 0.0);
        for endpoint in self.up.iter().map(|&index| &self.endpoints[index]) {
            let (subtree, limit) = endpoint.subtree(now);
            in_flight += subtree;
            if let Some(limit) = limit {
                limited += subtree;
                limits += limit;
            }
            let latency = endpoint.load(now, usual).latency;
            if 0.0 < latency {
                depths += subtree + 1.0;
                rates += (subtree + 1.0) / latency;
            }
        }
        let permille = if 0.0 < limits { limited / limits * 1_000.0 } else { 0.0 };
        // By Little's law: all that is in flight over all that is answered in a second. Not from our
        // own history: in a subtree that is shunned only the slowest are answered last.
        let latency = if 0.0 < rates { depths / rates } else { 0.0 };
        Report {
            in_flight: saturating(in_flight),
            latency: Duration::try_from_secs_f64(latency).unwrap_or(Duration::MAX),
            limit_permille: u16::try_from(saturating(permille)).unwrap_or(u16::MAX),
            draining: self.up.is_empty(),
        }
    }

    fn pick(&mut self, now: Moment, rng: &mut Rng, ask: Ask) -> Result<Choice, NoneUp> {
        let by_hash = self.policy == Policy::Hash;
        let rested = self.stand(now, rng, ask);
        // The first request after a rest is the probe, but a retry is not put at risk for that, and
        // by hash it must be one of the endpoint's own.
        if let Some(endpoint) = rested
            && ask.excluded.is_none()
            && !by_hash
        {
            return Ok(Choice { endpoint, panic: false, probe: true });
        }
        let panic = self.candidates.is_empty();
        if panic {
            let all = self.up.iter().copied().filter(|&index| Some(index) != ask.excluded);
            self.candidates.extend(all);
        }
        if self.candidates.is_empty() {
            let last = self.up.first().copied().ok_or(NoneUp)?;
            self.candidates.push(last);
        }
        let mut view = View {
            now,
            usual: self.usual.mean_at(now),
            endpoints: &mut self.endpoints,
            up: &self.up,
            candidates: &mut self.candidates,
        };
        let endpoint = self.policy.choose(&mut view, rng, ask.hash, &mut self.memory);
        let breaker = &self.endpoints[endpoint].breaker;
        let probe = breaker.is_rested(now);
        Ok(Choice { endpoint, panic: breaker.phase() != Phase::Passing && !probe, probe })
    }

    /// Collects who stands for a choice; returns a tripped one that has rested.
    fn stand(&mut self, now: Moment, rng: &mut Rng, ask: Ask) -> Option<usize> {
        let by_hash = (self.policy == Policy::Hash).then_some(ask.hash);
        let (mut seasoned, mut rested) = (false, None);
        self.candidates.clear();
        for &index in self.up.iter().filter(|&&index| Some(index) != ask.excluded) {
            let endpoint = &self.endpoints[index];
            let chance = endpoint.chance_permille(now);
            match standing(now, rng, endpoint, chance, by_hash) {
                Standing::Stands => {
                    seasoned |= chance == 1_000;
                    self.candidates.push(index);
                }
                Standing::Rested if by_hash.is_some() => self.candidates.push(index),
                Standing::Rested => rested = rested.or(Some(index)),
                Standing::Waits | Standing::Tripped => (),
            }
        }
        if !seasoned {
            // Where all are new, none is; and one on probation is better than none.
            let passing = |index: &usize| self.endpoints[*index].breaker.phase() == Phase::Passing;
            let others = self.up.iter().copied().filter(|&index| Some(index) != ask.excluded);
            self.candidates.retain(|index| !passing(index)); // Rested ones, by hash.
            self.candidates.extend(others.filter(passing));
            self.candidates.sort_unstable();
        }
        if self.candidates.is_empty() {
            self.candidates.extend(rested);
        }
        rested
    }

    /// It answered, well or not: it is there.
    fn works(&mut self, now: Moment, ticket: Ticket) {
        let endpoint = &mut self.endpoints[ticket.choice.endpoint];
        endpoint.prove();
        if endpoint.breaker.answered(now, ticket.tenure) {
            endpoint.renew(now);
            endpoint.prove();
        }
    }

    /// Whether an endpoint sheds nearly everything while the others do not.
    fn is_useless(&mut self, now: Moment, index: usize) -> bool {
        let (all, own) = (self.sheds.sum(now), self.endpoints[index].sheds.sum(now));
        let good = all.good.saturating_sub(own.good);
        let others = Tally { good, bad: all.bad.saturating_sub(own.bad) };
        USELESS_REQUESTS_MIN <= own.total()
            && own.total() * USELESS_PERCENT_MIN <= u64::from(own.bad) * 100
            && u64::from(others.bad) * 100 < others.total() * OTHERS_SHED_PERCENT_MAX
    }

    fn count_up(&mut self) {
        self.up.clear();
        self.up.extend((0..self.endpoints.len()).filter(|&it| self.endpoints[it].is_up()));
        self.memory.threshold.forget();
    }
}

fn standing(
    now: Moment,
    rng: &mut Rng,
    endpoint: &Endpoint,
    chance_permille: u32,
    hash: Option<u64>,
) -> Standing {
    match endpoint.breaker.phase() {
        Phase::Tripped if endpoint.breaker.is_rested(now) => return Standing::Rested,
        Phase::Tripped | Phase::Probing => return Standing::Tripped,
        Phase::Passing if chance_permille == 1_000 => return Standing::Stands,
        Phase::Passing => (),
    }
    let stands = match hash {
        Some(hash) => stands_by_hash(endpoint, hash, chance_permille),
        None => u32::try_from(rng.below(1_000)).is_ok_and(|it| it < chance_permille),
    };
    if stands { Standing::Stands } else { Standing::Waits }
}

fn count(window: &mut Window, now: Moment, good: bool) {
    let tally = window.at(now);
    let count = if good { &mut tally.good } else { &mut tally.bad };
    *count = count.saturating_add(1);
}

fn saturating(number: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let count = number.round() as u32;
    count
}

#[cfg(test)]
mod tests;
