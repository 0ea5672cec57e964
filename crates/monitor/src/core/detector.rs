//! Notices what is missing, late or unwell: `deadline = last beat + period + grace`, on a clock
//! that stands still while the monitor does. At the deadline, and not before, a check is down.

use super::{
    arrival::Arrival,
    check::{
        Beat, Change, CheckId, Kept, Now, Opinion, Origin, Signal, State, Terms, Why, between,
    },
    contract::Pace,
    guard::{BLIND_MIN, Blind, Guard},
    rule::Ruled,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use stdx::Moment;
use wire::Timestamp;

/// A node that says for longer that it is starting is not well.
pub const START_MAX: Duration = Duration::from_secs(60);

/// What the detector wants the shell to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    Changed(Change),
    /// A late check that may be asked directly: its answer is wanted before the deadline.
    Doubted(CheckId),
    /// The node's process is another one than before.
    Restarted(CheckId),
    /// Nothing was heard of anybody in this time.
    Blind {
        from: Timestamp,
        to: Timestamp,
    },
}

/// All checks, and who is due when.
#[derive(Clone, Debug)]
pub struct Detector {
    guard: Guard,
    watches: BTreeMap<CheckId, Watch>,
    /// On the guard's clock.
    due: BTreeSet<(Moment, CheckId)>,
}

#[derive(Clone, Debug)]
struct Watch {
    terms: Terms,
    state: State,
    since: Timestamp,
    heard: Option<Heard>,
    /// Oldest first.
    runs: Vec<Run>,
    /// When it is looked at next, as in `due`.
    due: Option<Moment>,
    arrival: Arrival,
    origin: Option<Origin>,
    fails: u32,
    /// When the first of them came.
    failing_since: Option<Timestamp>,
    opinion: Option<Opinion>,
    /// The deadline has been put off once because the node answered when asked.
    is_reprieved: bool,
    /// Since when it says that it is starting.
    starting: Option<Moment>,
    /// What the rules hold against it.
    ruled: Option<Ruled>,
    /// Why it is in its state.
    why: Why,
}

/// The last beat.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Moment,
    wall: Timestamp,
    /// From the beat to the next one expected.
    expected_in: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    at: Moment,
    wall: Timestamp,
    id: Option<u128>,
}

impl Detector {
    /// Watches nothing yet.
    pub fn new(now: Moment) -> Detector {
        Detector { guard: Guard::new(now), watches: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Watches a check from now on, as it was kept. `blind` is how long nobody watched it: a check
    /// whose beat was expected in that time may have been heard by nobody, and is excused.
    pub fn add(&mut self, now: Now, id: CheckId, terms: Terms, kept: Kept, blind: Duration) {
        self.remove(id);
        let active = self.guard.active(now.moment);
        let ago = |wall: Timestamp| {
            // Kept times count from the moment at which watching ended.
            between(wall, Timestamp(now.wall.0.saturating_sub(super::check::micros(blind))))
        };
        let back = |age: Duration| {
            let ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            Moment::from_nanos(active.as_nanos().saturating_sub(ns))
        };
        let heard = kept.heard.map(|wall| {
            let expected_in = terms.contract.expected_in(wall);
            let age = ago(wall);
            let was_deaf = BLIND_MIN <= blind && age < expected_in && expected_in < age + blind;
            let excuse = if was_deaf { age } else { Duration::ZERO };
            Heard { at: back(age), wall, expected_in: expected_in + excuse }
        });
        let run = |(wall, id)| Run { at: back(ago(wall)), wall, id };
        let runs = kept.runs.into_iter().map(run).collect();
        let watch = Watch {
            terms,
            state: kept.state,
            since: kept.since,
            heard,
            runs,
            due: None,
            arrival: Arrival::default(),
            origin: kept.origin,
            fails: 0,
            failing_since: None,
            opinion: None,
            is_reprieved: false,
            starting: (kept.state == State::Starting).then_some(active),
            ruled: None,
            why: Why::Heard,
        };
        self.watches.insert(id, watch);
        self.arm(id);
    }

    /// Stops watching a check.
    pub fn remove(&mut self, id: CheckId) {
        if let Some(watch) = self.watches.remove(&id)
            && let Some(due) = watch.due
        {
            self.due.remove(&(due, id));
        }
    }

    /// Changes what was agreed; what was heard so far is judged by it.
    pub fn set_terms(&mut self, id: CheckId, terms: Terms) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        if let Some(heard) = &mut watch.heard {
            heard.expected_in = terms.contract.expected_in(heard.wall);
        }
        watch.terms = terms;
        self.arm(id);
    }

    /// The state of a check; `None` of one that is not watched.
    pub fn state(&self, id: CheckId) -> Option<State> {
        self.watches.get(&id).map(|it| it.state)
    }

    /// Since when it is in its state.
    pub fn since(&self, id: CheckId) -> Option<Timestamp> {
        self.watches.get(&id).map(|it| it.since)
    }

    /// A grace that would have fitted its beats so far.
    pub fn suggested_grace(&self, id: CheckId) -> Option<Duration> {
        let watch = self.watches.get(&id)?;
        match &watch.terms.contract.pace {
            Pace::Every(period) => watch.arrival.suggested_grace(*period),
            Pace::At(_) => None,
        }
    }

    /// How far a check is on its way to the deadline: time since the last beat, and from that
    /// beat to the deadline. `None` when it has none.
    pub fn progress(&self, now: Moment, id: CheckId) -> Option<(Duration, Duration)> {
        let watch = self.watches.get(&id)?;
        let at = watch.heard?.at;
        let deadline = watch.deadline()?;
        Some((self.guard.active(now).since(at), deadline.since(at)))
    }

    /// What has to outlive the process. Its times are by this process's clock, and its own pauses
    /// and what was there before it are left out of them.
    pub fn kept(&self, now: Now, id: CheckId) -> Option<Kept> {
        let watch = self.watches.get(&id)?;
        let active = self.guard.active(now.moment);
        Some(Kept {
            state: watch.state,
            since: watch.since,
            heard: watch.heard.map(|it| now.wall_before(active.since(it.at))),
            runs: watch.runs.iter().map(|it| (it.wall, it.id)).collect(),
            origin: watch.origin,
        })
    }

    /// When [`Detector::tick`] should be called again at the latest; the guard wants it sooner.
    pub fn due(&self) -> Option<Moment> {
        self.due.first().map(|(active, _)| self.guard.real(*active))
    }

    /// Takes a beat in. Returns false when it is older than one that was heard already.
    pub fn hear(&mut self, now: Now, id: CheckId, beat: &Beat, out: &mut Vec<Noticed>) -> bool {
        self.look(now, out);
        let active = self.guard.active(now.moment);
        let Some(watch) = self.watches.get_mut(&id) else { return false };
        if let (Some(new), Some(old)) = (beat.origin, watch.origin) {
            if new.boot == old.boot && new.seq <= old.seq {
                return false;
            }
            if new.boot != old.boot {
                out.push(Noticed::Restarted(id));
            }
        }
        let is_restart = watch.origin.map(|it| it.boot) != beat.origin.map(|it| it.boot);
        watch.origin = beat.origin.or(watch.origin);
        if watch.state == State::Paused {
            return true; // Kept for the record; it is watched again when somebody says so.
        }
        if let Some((state, why)) = watch.judge(active, now.wall, beat) {
            let why = if is_restart && state == State::Up && watch.state != State::New {
                Why::Restarted
            } else {
                why
            };
            // An outage began with the first bad beat, however many it took to believe it.
            let since = watch.failing_since.filter(|_| watch.fails != 0).unwrap_or(now.wall);
            watch.enter(id, state, why, now.wall, since, out);
        }
        self.arm(id);
        true
    }

    /// What a late node answered when it was asked.
    pub fn opinion(&mut self, id: CheckId, opinion: Opinion) {
        if let Some(watch) = self.watches.get_mut(&id)
            && watch.state == State::Late
        {
            watch.opinion = Some(opinion);
        }
    }

    /// What the rules say of a check now. One that is well but for them is in the state that they
    /// give it; what is worse than that is not touched by them.
    pub fn set_ruled(
        &mut self,
        now: Now,
        id: CheckId,
        ruled: Option<Ruled>,
        out: &mut Vec<Noticed>,
    ) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.ruled = ruled;
        let is_sick_itself = watch.terms.fails_min <= watch.fails;
        match watch.state {
            State::Up | State::Strained => {}
            State::Sick if !is_sick_itself => {}
            State::Sick
            | State::New
            | State::Starting
            | State::Late
            | State::Down
            | State::Draining
            | State::Stopped
            | State::Paused => return,
        }
        let (state, why) = watch.well();
        watch.enter(id, state, why, now.wall, now.wall, out);
        self.arm(id);
    }

    /// Stops or resumes the watch over a check, because somebody said so.
    pub fn set_paused(&mut self, now: Now, id: CheckId, paused: bool, out: &mut Vec<Noticed>) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        if paused == (watch.state == State::Paused) {
            return;
        }
        let state = if paused { State::Paused } else { State::New };
        (watch.heard, watch.fails) = (None, 0);
        watch.runs.clear();
        watch.enter(id, state, Why::Ordered, now.wall, now.wall, out);
        self.arm(id);
    }

    /// Deals with everybody whose time has come.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Noticed>) {
        self.look(now, out);
        let active = self.guard.active(now.moment);
        while let Some((due, id)) = self.due.first().copied()
            && due <= active
        {
            self.due.remove(&(due, id));
            let watch = self.watches.get_mut(&id).expect("only what is watched is due");
            watch.due = None;
            watch.overdue(id, active, now.wall, out);
            self.arm(id);
        }
    }

    fn look(&mut self, now: Now, out: &mut Vec<Noticed>) {
        let Some(blind) = self.guard.look(now.moment) else { return };
        let length = blind.to.since(blind.from);
        if BLIND_MIN <= length {
            out.push(Noticed::Blind { from: now.wall_before(length), to: now.wall });
            self.excuse(now, blind);
        }
    }

    /// Whoever was expected while nobody listened may have been there.
    fn excuse(&mut self, now: Now, blind: Blind) {
        let length = blind.to.since(blind.from);
        let active = self.guard.active(now.moment);
        let mut excused = Vec::new();
        for (id, watch) in &mut self.watches {
            let Some(heard) = &mut watch.heard else { continue };
            let age = active.since(heard.at);
            if age < heard.expected_in && heard.expected_in < age + length {
                heard.expected_in = age + watch.terms.contract.expected_in(now.wall);
                excused.push(*id);
            }
        }
        excused.into_iter().for_each(|id| self.arm(id));
    }

    /// Puts a check in its place among those that are due.
    fn arm(&mut self, id: CheckId) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let next = watch.next_due();
        if next == watch.due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut watch.due, next) {
            self.due.remove(&(old, id));
        }
        if let Some(next) = next {
            self.due.insert((next, id));
        }
    }
}

impl Watch {
    /// What a beat makes of the check. `None` leaves its state.
    fn judge(&mut self, at: Moment, wall: Timestamp, beat: &Beat) -> Option<(State, Why)> {
        match &beat.signal {
            Signal::Log => return None,
            Signal::Start => {
                self.runs.retain(|it| it.id != beat.run);
                self.runs.push(Run { at, wall, id: beat.run });
                if super::check::RUNS_MAX < self.runs.len() {
                    self.runs.remove(0);
                }
                // A job that was never heard of is watched from its first run on.
                return (self.state == State::New).then_some((State::Up, Why::Heard));
            }
            Signal::Success
            | Signal::Fail(_)
            | Signal::Starting
            | Signal::Sick(_)
            | Signal::Cut(_)
            | Signal::Draining
            | Signal::Stopped => {}
        }
        self.remember(at, wall);
        let ended = self.end_run(beat);
        if beat.signal != Signal::Starting {
            self.starting = None;
        }
        match &beat.signal {
            Signal::Start | Signal::Log => None,
            Signal::Success => {
                let length = ended.map(|run| at.since(run.at));
                if let Some(length) = length.filter(|it| *it < self.terms.run_min) {
                    let (took, least) = (length.as_secs_f64(), self.terms.run_min.as_secs_f64());
                    let words = format!("took {took:.1} s, and never takes less than {least} s");
                    return self.failed(wall, State::Down, Why::Failed(words));
                }
                self.fails = 0;
                Some(self.well())
            }
            Signal::Fail(words) => self.failed(wall, State::Down, Why::Failed(words.clone())),
            Signal::Sick(words) => self.failed(wall, State::Sick, Why::Failed(words.clone())),
            Signal::Cut(words) => self.failed(wall, State::Sick, Why::Cut(words.clone())),
            Signal::Starting => {
                let since = *self.starting.get_or_insert(at);
                if START_MAX <= at.since(since) {
                    let words = format!("does not get ready in {} s", START_MAX.as_secs());
                    return self.failed(wall, State::Sick, Why::Failed(words));
                }
                self.fails = 0;
                Some((State::Starting, Why::Announced))
            }
            Signal::Draining => Some((State::Draining, Why::Announced)),
            Signal::Stopped => Some((State::Stopped, Why::Announced)),
        }
    }

    /// The state of a check that passes its own checks.
    fn well(&self) -> (State, Why) {
        match &self.ruled {
            Some(ruled) => (ruled.state(), Why::Ruled(ruled.clone())),
            None => (State::Up, Why::Heard),
        }
    }

    fn remember(&mut self, at: Moment, wall: Timestamp) {
        if let (Some(heard), Pace::Every(period)) = (&self.heard, &self.terms.contract.pace) {
            self.arrival.learn(at.since(heard.at), *period + self.terms.contract.grace);
        }
        let expected_in = self.terms.contract.expected_in(wall);
        self.heard = Some(Heard { at, wall, expected_in });
        self.opinion = None;
        self.is_reprieved = false;
    }

    /// A run ends with the beat that bears its id, or the last one that has none; all of them end
    /// with a beat without an id, and with a failure that belongs to none. Returns the one that
    /// the beat speaks of.
    fn end_run(&mut self, beat: &Beat) -> Option<Run> {
        let own = self.runs.iter().rposition(|it| beat.run.is_some() && it.id == beat.run);
        let unnamed = || self.runs.iter().rposition(|it| it.id.is_none());
        match (beat.run, own.or_else(unnamed)) {
            (Some(_), Some(at)) => Some(self.runs.remove(at)),
            (Some(_), None) if !matches!(beat.signal, Signal::Fail(_)) => None,
            (Some(_) | None, _) => std::mem::take(&mut self.runs).pop(),
        }
    }

    /// Failures count once there are enough in a row.
    fn failed(&mut self, at: Timestamp, state: State, why: Why) -> Option<(State, Why)> {
        if self.fails == 0 {
            self.failing_since = Some(at);
        }
        self.fails = self.fails.saturating_add(1);
        if self.terms.fails_min <= self.fails || self.state == state {
            return Some((state, why));
        }
        // Alive at least: what was late or silent is heard again.
        match self.state {
            State::Late | State::New => Some(self.well()),
            State::Starting
            | State::Up
            | State::Down
            | State::Sick
            | State::Strained
            | State::Draining
            | State::Stopped
            | State::Paused => None,
        }
    }

    /// The moment at which it is down unless it is heard before.
    fn deadline(&self) -> Option<Moment> {
        let grace = self.terms.contract.grace;
        let silent = self.heard.map(|heard| {
            let reprieve =
                if self.is_reprieved { heard.expected_in + grace } else { Duration::ZERO };
            heard.at + heard.expected_in + grace + reprieve
        });
        let overrun = self.overrun();
        match self.state {
            State::New | State::Starting | State::Up | State::Late | State::Draining => {
                silent.into_iter().chain(overrun).min()
            }
            State::Sick | State::Strained => silent,
            State::Down | State::Stopped | State::Paused => None,
        }
    }

    /// When the first of the runs has taken too long.
    fn overrun(&self) -> Option<Moment> {
        let most = self.terms.run_max.unwrap_or(self.terms.contract.grace);
        self.runs.iter().map(|run| run.at + most).min()
    }

    fn next_due(&self) -> Option<Moment> {
        let deadline = self.deadline()?;
        match (self.state, self.heard) {
            (State::Up, Some(heard)) => Some(deadline.min(heard.at + self.late_after(heard))),
            (
                State::Up
                | State::New
                | State::Starting
                | State::Late
                | State::Draining
                | State::Sick
                | State::Strained
                | State::Down
                | State::Stopped
                | State::Paused,
                _,
            ) => Some(deadline),
        }
    }

    fn late_after(&self, heard: Heard) -> Duration {
        match &self.terms.contract.pace {
            // Put off or cut short by a pause of ours: the statistics do not fit.
            Pace::Every(period) if self.terms.is_statistical && heard.expected_in == *period => {
                self.arrival.late_after(*period, self.terms.contract.grace)
            }
            Pace::Every(_) | Pace::At(_) => heard.expected_in,
        }
    }

    /// Its time has come: late, or down.
    fn overdue(&mut self, id: CheckId, active: Moment, wall: Timestamp, out: &mut Vec<Noticed>) {
        let Some(deadline) = self.deadline() else { return };
        if active < deadline {
            if self.state == State::Up {
                self.enter(id, State::Late, Why::Silent, wall, wall, out);
                if self.terms.is_probed {
                    out.push(Noticed::Doubted(id));
                }
            }
            return;
        }
        let grace = self.terms.contract.grace;
        let has_overrun = self.overrun().is_some_and(|it| it <= active);
        let is_alive = self.opinion == Some(Opinion::Alive);
        match self.state {
            State::Draining => {
                // It said that it would go, and is gone.
                return self.enter(id, State::Stopped, Why::Silent, wall, wall, out);
            }
            State::Late if is_alive && !self.is_reprieved && !has_overrun => {
                self.is_reprieved = true;
                return;
            }
            State::New
            | State::Starting
            | State::Up
            | State::Late
            | State::Down
            | State::Sick
            | State::Strained
            | State::Stopped
            | State::Paused => {}
        }
        let why = match (has_overrun, is_alive) {
            (true, _) => Why::Overrun,
            (false, true) => Why::Mute,
            (false, false) => Why::Silent,
        };
        // The outage began when the beat that is missing was expected, a grace ago.
        let since =
            Timestamp(wall.0.saturating_sub(super::check::micros(active.since(deadline) + grace)));
        self.enter(id, State::Down, why, wall, since, out);
    }

    fn enter(
        &mut self,
        check: CheckId,
        to: State,
        why: Why,
        at: Timestamp,
        since: Timestamp,
        out: &mut Vec<Noticed>,
    ) {
        // A trouble of another kind is news, even if the state has the same name.
        if to == self.state && (!to.is_trouble() || self.why.is_like(&why)) {
            return;
        }
        self.why = why.clone();
        let from = std::mem::replace(&mut self.state, to);
        self.since = since.max(self.since);
        let since = self.since;
        out.push(Noticed::Changed(Change { check, from, to, why, at, since }));
    }
}

#[cfg(test)]
mod tests;
