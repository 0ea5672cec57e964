//! Requests that are to be done once each, however often they must be sent: the set-up, the
//! questions about unknown outcomes, the reading of the books.

use crate::{
    driver::{self, Bounds},
    error::RunError,
    job::{End, Job, Next},
    limits::{ERRAND_ATTEMPTS_MAX, ERRAND_LANES, ERRAND_PAUSE, UNCONNECTED_MAX},
    plan::Plan,
};
use std::collections::VecDeque;
use stdx::Moment;

/// What an answer comes to.
pub(crate) enum After<E> {
    Done,
    /// One more request follows from it.
    Then(E),
    /// Not now: the same again after a pause.
    Again(E),
    /// The run cannot go on.
    Failed(String),
}

/// A list of errands and what their answers mean.
pub(crate) trait Errands {
    /// One request.
    type Errand;

    /// The next one that has not been begun.
    fn next(&mut self) -> Option<Self::Errand>;

    fn write(&self, errand: &Self::Errand, out: &mut Vec<u8>);

    fn answered(
        &mut self,
        errand: Self::Errand,
        now: Moment,
        status: u16,
        body: &[u8],
    ) -> After<Self::Errand>;

    /// Sent as often as may be, and never answered.
    fn gave_up(&mut self, errand: Self::Errand) -> Result<(), String>;

    /// Called now and then.
    fn tell(&mut self);
}

/// Runs all errands over a few connections.
pub(crate) fn run<E: Errands>(plan: &Plan, errands: &mut E) -> Result<(), RunError> {
    let connections = ERRAND_LANES.min(plan.connections);
    let bounds = Bounds {
        addr: plan.target.addr,
        connections,
        streams: plan.streams.map(|it| it.min(ERRAND_LANES.div_ceil(connections))),
        answer_time_max: plan.answer_time_max,
        connection_requests: None,
    };
    let mut round = Round {
        errands,
        in_flight: (0..bounds.lanes()).map(|_| None).collect(),
        again: VecDeque::new(),
        is_exhausted: false,
        failed: None,
        unconnected: 0,
    };
    driver::drive(bounds, &mut round)?;
    match round.failed {
        Some(why) => Err(RunError::Refused(why)),
        None => Ok(()),
    }
}

/// An errand and how often it has been sent.
type Sent<E> = (<E as Errands>::Errand, u32);

struct Round<'a, E: Errands> {
    errands: &'a mut E,
    in_flight: Vec<Option<Sent<E>>>,
    /// In the order of when they may be sent again: every pause is as long as the others.
    again: VecDeque<(Moment, Sent<E>)>,
    is_exhausted: bool,
    failed: Option<String>,
    /// Failed attempts to connect since the last answer.
    unconnected: u32,
}

impl<E: Errands> Round<'_, E> {
    fn repeat(&mut self, now: Moment, sent: Sent<E>, why: &str) {
        let (errand, attempts) = sent;
        if attempts < ERRAND_ATTEMPTS_MAX {
            self.again.push_back((now + ERRAND_PAUSE, (errand, attempts)));
        } else if let Err(what) = self.errands.gave_up(errand) {
            self.failed = Some(format!("{what}: {why}, {attempts} times"));
        }
    }
}

impl<E: Errands> Job for Round<'_, E> {
    fn next(&mut self, lane: usize, now: Moment, out: &mut Vec<u8>) -> Next {
        let is_due = self.again.front().is_some_and(|(at, _)| *at <= now);
        let again = if is_due { self.again.pop_front() } else { None };
        let sent = match again {
            Some((_, sent)) => Some(sent),
            None => self.errands.next().map(|errand| (errand, 0)),
        };
        let Some((errand, attempts)) = sent else {
            self.is_exhausted = true;
            return self.again.front().map_or(Next::Wait, |(at, _)| Next::At(*at));
        };
        self.errands.write(&errand, out);
        self.in_flight[lane] = Some((errand, attempts + 1));
        Next::Send
    }

    fn ended(&mut self, lane: usize, now: Moment, end: End<'_>) {
        let Some(sent) = self.in_flight[lane].take() else { return };
        let answer = match end {
            End::Answer(answer) => answer,
            End::Lost | End::Unsent => return self.repeat(now, sent, "the connection broke"),
            End::TimedOut => return self.repeat(now, sent, "no answer in time"),
            End::Garbled(why) => return self.repeat(now, sent, why),
        };
        self.unconnected = 0;
        let (errand, attempts) = sent;
        match self.errands.answered(errand, now, answer.status, &answer.body) {
            After::Done => (),
            After::Then(errand) => self.again.push_front((now, (errand, 0))),
            After::Again(errand) => {
                self.repeat(now, (errand, attempts), &format!("status {}", answer.status));
            }
            After::Failed(why) => self.failed = Some(why),
        }
    }

    fn tick(&mut self, _now: Moment) {
        self.errands.tell();
    }

    fn unconnected(&mut self, why: Option<&'static str>) {
        self.unconnected += 1;
        if self.unconnected == UNCONNECTED_MAX {
            let why = why.map_or_else(String::new, |it| format!(": {it}"));
            self.failed = Some(format!("the tree takes no connection{why}"));
        }
    }

    fn is_done(&self, _now: Moment) -> bool {
        let is_empty = self.again.is_empty() && self.in_flight.iter().all(Option::is_none);
        self.failed.is_some() || (self.is_exhausted && is_empty)
    }
}
