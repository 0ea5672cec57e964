//! One rule on one check: from numbers to a verdict that does not flap.
//!
//! Time is counted only while readings come in: what happened while the node was silent or the
//! monitor stood still was seen by nobody and makes nothing worse or better.

use super::{Measure, Rule, Sum, Vote, burn::Burn};
use crate::core::{availability::Mark, reading::Reading, severity::Severity};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};
use stdx::Moment;

/// A number that nobody has told for so long makes its rule fall silent; the rule for absence is
/// another one.
pub const STALE_AFTER: Duration = Duration::from_secs(600);
/// Each time that it begins anew within this time, it has to be over for twice as long to be over,
pub const CALM: Duration = Duration::from_secs(3_600);
/// but for no more than so many doublings.
const DOUBLINGS_MAX: usize = 4;
/// Steps of one window: one for each beat would be too many for long windows.
const STEPS_MAX: usize = 128;

/// What a rule knows of a check. Outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    /// How long it has been watched.
    clock: Duration,
    /// When the last reading came, by this process's clock.
    #[serde(skip)]
    last_at: Option<Moment>,
    counted: Option<Counted>,
    /// Growth of the counters within the window, oldest first.
    window: VecDeque<Step>,
    votes: VecDeque<(bool, bool)>,
    phase: Phase,
    /// When it began, the last few times.
    begun: VecDeque<Duration>,
    /// When there was a number last.
    told: Duration,
    burn: Option<Box<Burn>>,
    severity: Severity,
    value: f64,
}

/// The counters at the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    boot: u64,
    part: f64,
    whole: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    /// Until when it reaches, and how long it is.
    at: Duration,
    length: Duration,
    part: f64,
    whole: f64,
}

/// Where the rule is, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Phase {
    #[default]
    Well,
    /// Bad, and not for long enough.
    Doubted(Duration),
    Broken,
    /// Good again, and not for long enough.
    Mending(Duration),
}

impl Tracker {
    /// How badly the rule is broken now, if it is.
    pub fn verdict(&self) -> Option<Severity> {
        matches!(self.phase, Phase::Broken | Phase::Mending(_)).then_some(self.severity)
    }

    /// What was measured last.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Takes the numbers of one beat in. A gap of more than `gap_max` between two of them was an
    /// outage, and counts as that much.
    pub fn observe(&mut self, rule: &Rule, at: Moment, gap_max: Duration, reading: &Reading) {
        let length = self.advance(at, gap_max);
        let vote = match &rule.measure {
            Measure::Value { metric, bound } => reading.sum(metric).map(|value| {
                self.value = value;
                bound.judge(value)
            }),
            Measure::Rate { metric, over, bound } => {
                self.grow(reading, metric, metric, length, *over);
                let (part, _, seen) = self.window_sum();
                (*over <= seen + length.unwrap_or_default()).then(|| {
                    self.value = part / seen.as_secs_f64().max(f64::MIN_POSITIVE);
                    bound.judge(self.value)
                })
            }
            Measure::Share { part, whole, over, least, bound } => {
                self.grow(reading, part, whole, length, *over);
                let (part, whole, _) = self.window_sum();
                // Too little traffic is no trouble, and ends none before it has moved on.
                (*least <= whole && 0.0 < whole).then(|| {
                    self.value = part / whole;
                    bound.judge(self.value)
                })
            }
            Measure::Absent { metric } => {
                let is_bad = reading.sum(metric).is_none();
                Some(Vote { is_bad, is_beyond: is_bad })
            }
            Measure::Burn { part, whole, least, allowed } => {
                let grown = self.growth(reading, part, whole);
                self.burnt(grown, *allowed, *least)
            }
            Measure::BurnTime { .. } => return,
        };
        self.count(rule, vote);
    }

    /// Takes in how the check counted since the last time; for rules over time only.
    pub fn pass(&mut self, rule: &Rule, at: Moment, gap_max: Duration, mark: Mark) {
        let Measure::BurnTime { allowed } = &rule.measure else { return };
        let Some(length) = self.advance(at, gap_max) else { return };
        let seconds = length.as_secs_f64();
        let grown = match mark {
            Mark::Up => (0.0, seconds),
            Mark::Down => (seconds, seconds),
            Mark::Unknown | Mark::Away | Mark::Maintenance => (0.0, 0.0),
        };
        let vote = self.burnt(Some(grown), *allowed, 0.0);
        self.count(rule, vote);
    }

    /// Moves the clock on; the time since the last reading, `None` when that cannot be told.
    fn advance(&mut self, at: Moment, gap_max: Duration) -> Option<Duration> {
        let gap = self.last_at.replace(at).map(|last| at.since(last));
        let length = gap.map(|gap| gap.min(gap_max));
        self.clock += length.unwrap_or_default();
        length.filter(|_| gap <= Some(gap_max))
    }

    /// What counters have grown by since the last reading.
    fn growth(&mut self, reading: &Reading, part: &Sum, whole: &Sum) -> Option<(f64, f64)> {
        let whole = reading.sum(whole)?;
        // What was never counted is not told by every role: none of it has happened.
        let part = reading.sum(part).unwrap_or(0.0);
        let counted = Counted { boot: reading.boot, part, whole };
        let last = self.counted.replace(counted)?;
        let since = |last: f64, now: f64, is_same: bool| match is_same {
            true => (now - last).max(0.0),
            // Another process: it has counted from 0.
            false => now,
        };
        let is_same = last.boot == reading.boot;
        Some((since(last.part, part, is_same), since(last.whole, whole, is_same)))
    }

    fn grow(
        &mut self,
        reading: &Reading,
        part: &Sum,
        whole: &Sum,
        length: Option<Duration>,
        over: Duration,
    ) {
        let grown = self.growth(reading, part, whole);
        if let (Some((part, whole)), Some(length)) = (grown, length) {
            let shortest = over / u32::try_from(STEPS_MAX).unwrap_or(u32::MAX);
            match self.window.back_mut() {
                Some(step) if step.length < shortest => {
                    step.at = self.clock;
                    step.length += length;
                    step.part += part;
                    step.whole += whole;
                }
                Some(_) | None => {
                    self.window.push_back(Step { at: self.clock, length, part, whole });
                }
            }
        }
        let clock = self.clock;
        while self.window.front().is_some_and(|it| it.at + over <= clock) {
            self.window.pop_front();
        }
    }

    fn window_sum(&self) -> (f64, f64, Duration) {
        self.window.iter().fold((0.0, 0.0, Duration::ZERO), |(part, whole, length), it| {
            (part + it.part, whole + it.whole, length + it.length)
        })
    }

    fn burnt(&mut self, grown: Option<(f64, f64)>, allowed: f64, least: f64) -> Option<Vote> {
        let (part, whole) = grown?;
        let clock = self.clock;
        let burn = self.burn.get_or_insert_default();
        burn.add(clock, part, whole);
        let burning = burn.judge(clock, allowed, least);
        self.value = burning.speed;
        // While it lasts it only gets worse: an end of the fast burn is no news.
        let is_broken = self.verdict().is_some();
        self.severity = if is_broken { self.severity } else { Severity::Warning };
        self.severity = self.severity.max(burning.severity);
        Some(burning.vote)
    }

    /// What the votes come to.
    fn count(&mut self, rule: &Rule, vote: Option<Vote>) {
        if !matches!(rule.measure, Measure::Burn { .. } | Measure::BurnTime { .. }) {
            self.severity = rule.severity;
        }
        let Some(vote) = vote else {
            if STALE_AFTER <= self.clock.saturating_sub(self.told) {
                self.votes.clear();
                self.phase = Phase::Well;
            }
            return;
        };
        self.told = self.clock;
        self.votes.push_back((vote.is_bad, vote.is_beyond));
        while usize::try_from(rule.of).unwrap_or(1).max(1) < self.votes.len() {
            self.votes.pop_front();
        }
        let hits = self.votes.iter().filter(|(is_bad, _)| *is_bad).count();
        let is_bad = usize::try_from(rule.hits).unwrap_or(1).max(1) <= hits;
        let is_good = !self.votes.iter().any(|(_, is_beyond)| *is_beyond);
        self.step(rule, is_bad, is_good);
    }

    fn step(&mut self, rule: &Rule, is_bad: bool, is_good: bool) {
        let now = self.clock;
        self.phase = match self.phase {
            Phase::Well if is_bad => Phase::Doubted(now),
            Phase::Doubted(_) if !is_bad => Phase::Well,
            Phase::Broken if is_good => Phase::Mending(now),
            Phase::Mending(_) if !is_good => Phase::Broken,
            Phase::Well | Phase::Doubted(_) | Phase::Broken | Phase::Mending(_) => self.phase,
        };
        self.phase = match self.phase {
            Phase::Doubted(since) if rule.hold <= now - since => {
                self.begun.push_back(now);
                while DOUBLINGS_MAX < self.begun.len() {
                    self.begun.pop_front();
                }
                Phase::Broken
            }
            Phase::Mending(since) if self.recover(rule, now) <= now - since => Phase::Well,
            Phase::Well | Phase::Doubted(_) | Phase::Broken | Phase::Mending(_) => self.phase,
        };
    }

    /// Longer each time that it came back soon.
    fn recover(&self, rule: &Rule, now: Duration) -> Duration {
        let lately = self.begun.iter().filter(|it| now - **it <= CALM).count();
        rule.recover * (1 << lately.saturating_sub(1).min(DOUBLINGS_MAX))
    }
}

#[cfg(test)]
mod tests;
