//! From changes to incidents, and from incidents to notices.
//!
//! One dead node is one incident and one notice. What is only a consequence of it is not told: a
//! node below nodes that are all down, or one that reaches nothing below it because those are down.
//! Suppression keeps an incident from being opened, never from being resolved, and never keeps a
//! check from being watched: when its cause is gone and the check is still not well, its own
//! incident opens.

use super::{
    check::{Change, CheckId, Now, State, Why, between},
    flap::Flap,
    incident::{Ack, Incident, IncidentId, Kind, Member},
    notice::{Event, Notice},
    severity::Severity,
    silence::{SILENCES_MAX, Silence, matches},
    tree::Tree,
};
use std::{collections::BTreeMap, time::Duration};
use stdx::Moment;
use wire::Timestamp;

/// How long a first notice waits for company.
pub const HOLD: Duration = Duration::from_millis(700);
/// Incidents within one hold that are one mass incident: at least so many,
pub const MASS_MIN: usize = 3;
/// and at least this share of everything that was being watched, in percent.
pub const MASS_PERCENT: usize = 30;
/// How often people are told that an incident nobody cares for is still there.
pub const REMIND_EVERY: Duration = Duration::from_secs(4 * 3_600);
/// What a cut-off node waits beyond its children's deadlines before it is a case of its own.
pub const CUT_MARGIN: Duration = Duration::from_secs(2);

/// A check that is not well.
#[derive(Clone, Debug)]
struct Trouble {
    kind: Kind,
    why: String,
    since: Timestamp,
    severity: Severity,
    reach: Reach,
    /// Not before this is it a case of its own.
    not_before: Moment,
    incident: Option<IncidentId>,
    /// False while it is flapping and just now well.
    is_bad: bool,
}

/// Where the cause of a trouble can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// In the check itself; if it is silent, in what stands above it.
    Own,
    /// Only says that it reaches nothing below it, or gets no turn at its engine.
    Cut,
    /// Breaks rules that what stands below it may make it break; they look back this far.
    Ruled(Duration),
}

impl Reach {
    fn of(why: &Why) -> Reach {
        match why {
            Why::Cut(_) => Reach::Cut,
            Why::Ruled(it) if it.consequence => Reach::Ruled(it.looks_back),
            Why::Heard
            | Why::Restarted
            | Why::Silent
            | Why::Mute
            | Why::Overrun
            | Why::Failed(_)
            | Why::Ruled(_)
            | Why::Announced
            | Why::Ordered => Reach::Own,
        }
    }
}

/// How bad it is that a check is in this state.
fn severity(change: &Change) -> Severity {
    match (&change.why, change.to) {
        (Why::Ruled(it), _) => it.severity,
        (_, State::Down) => Severity::Critical,
        (_, _) => Severity::Warning,
    }
}

impl Trouble {
    /// From sick to down, or the other way, or once more: worse or better, but not over. Returns
    /// whether it was bad before.
    fn goes_on(&mut self, now: Now, change: &Change) -> bool {
        let reach = Reach::of(&change.why);
        if self.reach != Reach::Own && reach == Reach::Own {
            self.not_before = now.moment;
        }
        self.reach = reach;
        self.severity = severity(change);
        self.why = change.why.text();
        std::mem::replace(&mut self.is_bad, true)
    }
}

/// Whether what stands above a check in this state cannot rely on it.
const fn is_gone(state: State) -> bool {
    match state {
        State::Down
        | State::Sick
        | State::Starting
        | State::Draining
        | State::Stopped
        | State::Late => true,
        State::New | State::Up | State::Strained | State::Paused => false,
    }
}

/// What the shell has to keep and send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filed {
    /// The incident is new or has changed: to be stored as it is here.
    Incident(Box<Incident>),
    Notice(Notice),
}

/// The incidents that are open, and what is held against each check.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    tree: Tree,
    names: BTreeMap<CheckId, String>,
    states: BTreeMap<CheckId, State>,
    /// How long after its last beat each node would be down.
    deadlines: BTreeMap<CheckId, Duration>,
    troubles: BTreeMap<CheckId, Trouble>,
    open: BTreeMap<IncidentId, Incident>,
    /// Incidents that wait for company, and until when.
    held: BTreeMap<IncidentId, Moment>,
    flaps: BTreeMap<CheckId, Flap>,
    silences: Vec<Silence>,
    next: u64,
    next_silence: u64,
}

impl Desk {
    /// A desk whose next incident has this number.
    pub fn new(tree: Tree, next: u64, silences: Vec<Silence>) -> Desk {
        let next_silence = silences.iter().map(|it| it.id + 1).max().unwrap_or(1);
        Desk { tree, next, next_silence, silences, ..Desk::default() }
    }

    /// Who stands above whom has changed.
    pub fn set_tree(&mut self, tree: Tree) {
        self.tree = tree;
    }

    /// Learns of a check. `deadline` is how long after its last beat it would be down.
    pub fn add(&mut self, id: CheckId, name: &str, state: State, deadline: Duration) {
        self.names.insert(id, name.to_owned());
        self.states.insert(id, state);
        self.deadlines.insert(id, deadline);
    }

    /// Forgets a check: its part in any incident is over.
    pub fn remove(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) {
        self.recovered(now, id, out);
        self.names.remove(&id);
        self.states.remove(&id);
        self.deadlines.remove(&id);
        self.flaps.remove(&id);
    }

    /// Takes back an incident that was open when the last process ended.
    pub fn restore(&mut self, now: Now, incident: Incident) {
        for member in incident.members.iter().filter(|it| !it.is_over) {
            let trouble = Trouble {
                kind: incident.kind,
                why: member.why.clone(),
                since: member.since,
                severity: incident.severity,
                reach: Reach::Own,
                not_before: now.moment,
                incident: Some(incident.id),
                is_bad: true,
            };
            let is_well = self.states.get(&member.check).is_some_and(|it| it.ends_trouble());
            if incident.is_unstable || is_well {
                self.flaps.insert(member.check, Flap::resumed(now.wall));
            }
            self.troubles.insert(member.check, Trouble { is_bad: !is_well, ..trouble });
        }
        if incident.told_at.is_none() {
            self.held.insert(incident.id, now.moment + HOLD);
        }
        self.next = self.next.max(incident.id.0 + 1);
        self.open.insert(incident.id, incident);
    }

    /// Takes back a check that was not well and had no incident of its own.
    pub fn restore_trouble(&mut self, now: Now, change: &Change) {
        if !self.troubles.contains_key(&change.check) {
            self.begin(now, change);
        }
    }

    /// The incidents that are open.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// An open incident.
    pub fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.open.get(&id)
    }

    /// The name of a check.
    pub fn name(&self, id: CheckId) -> &str {
        self.names.get(&id).map_or("?", String::as_str)
    }

    /// A check that is not well and for which nobody is told: the check that is the cause.
    pub fn suppressed_by(&self, id: CheckId) -> Option<CheckId> {
        let trouble = self.troubles.get(&id)?;
        if trouble.incident.is_some() { None } else { self.cause(id, trouble) }
    }

    /// The silences, those that have ended left out.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Names of the checks that a pattern matches now.
    pub fn preview(&self, pattern: &str) -> Vec<&str> {
        self.names.values().map(String::as_str).filter(|it| matches(pattern, it)).collect()
    }

    /// Adds a silence; its id, or `None` when there are too many.
    pub fn silence(&mut self, now: Now, mut silence: Silence) -> Option<u64> {
        self.silences.retain(|it| now.wall < it.until);
        if SILENCES_MAX <= self.silences.len() {
            return None;
        }
        silence.id = self.next_silence;
        self.next_silence += 1;
        let id = silence.id;
        self.silences.push(silence);
        Some(id)
    }

    /// Ends a silence. False when there is none of this id.
    pub fn end_silence(&mut self, id: u64) -> bool {
        let before = self.silences.len();
        self.silences.retain(|it| it.id != id);
        self.silences.len() != before
    }

    /// Somebody takes care of an incident. False when it is not open.
    pub fn ack(&mut self, id: IncidentId, ack: Ack, out: &mut Vec<Filed>) -> bool {
        let Some(incident) = self.open.get_mut(&id) else { return false };
        incident.ack = Some(ack);
        self.file(id, out);
        true
    }

    /// Takes a change of a check in.
    pub fn change(&mut self, now: Now, change: &Change, out: &mut Vec<Filed>) {
        let id = change.check;
        self.states.insert(id, change.to);
        if change.to.is_trouble() {
            let was_bad = match self.troubles.get_mut(&id) {
                Some(trouble) => trouble.goes_on(now, change),
                None => {
                    self.begin(now, change);
                    false
                }
            };
            if !was_bad {
                self.flapped(now, id, out);
            }
            self.open_what_is_due(now, out);
        } else if change.to.ends_trouble()
            && let Some(trouble) = self.troubles.get_mut(&id)
        {
            trouble.is_bad = false;
            if self.flapped(now, id, out) || self.flaps.get(&id).is_some_and(Flap::is_flapping) {
                return; // Told when it is steady.
            }
            self.recovered(now, id, out);
        }
    }

    fn begin(&mut self, now: Now, change: &Change) {
        let reach = Reach::of(&change.why);
        let trouble = Trouble {
            kind: if change.to == State::Down { Kind::Down } else { Kind::Sick },
            why: change.why.text(),
            since: change.since,
            severity: severity(change),
            reach,
            not_before: now.moment + self.first_wait(change.check, reach),
            incident: None,
            is_bad: true,
        };
        self.troubles.insert(change.check, trouble);
    }

    /// Long enough for those below to be found dead, if that is what is behind it.
    fn first_wait(&self, id: CheckId, reach: Reach) -> Duration {
        let beneath = match reach {
            Reach::Own => return Duration::ZERO,
            Reach::Cut => self.tree.below(id).to_vec(),
            Reach::Ruled(_) => self.tree.beneath(id),
        };
        let suspects = beneath.iter().chain(self.tree.peers(id));
        let longest = suspects.filter_map(|it| self.deadlines.get(it)).max();
        longest.copied().unwrap_or_default() + CUT_MARGIN
    }

    /// How long a check may stay unwell once the cause is gone.
    fn next_wait(&self, id: CheckId, reach: Reach) -> Duration {
        let looks_back = match reach {
            Reach::Own | Reach::Cut => Duration::ZERO,
            Reach::Ruled(looks_back) => looks_back,
        };
        self.first_wait(id, reach) + looks_back
    }

    /// Opens, tells, reminds and settles whatever has waited long enough.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Filed>) {
        self.silences.retain(|it| now.wall < it.until);
        self.open_what_is_due(now, out);
        self.tell_what_was_held(now, out);
        self.remind(now, out);
        self.settle(now, out);
    }

    fn open_what_is_due(&mut self, now: Now, out: &mut Vec<Filed>) {
        let waiting = self.troubles.iter().filter(|(_, it)| it.incident.is_none());
        let waiting: Vec<(CheckId, Reach)> = waiting.map(|(id, it)| (*id, it.reach)).collect();
        for (id, reach) in waiting {
            let trouble = &self.troubles[&id];
            let is_due = trouble.not_before <= now.moment;
            if reach == Reach::Own && !is_due {
                continue;
            }
            if self.cause(id, trouble).is_none() {
                if is_due {
                    self.open_one(now, id, out);
                }
            } else if reach != Reach::Own {
                // From when the cause is gone, it gets time to find its way.
                let until = now.moment + self.next_wait(id, reach);
                self.troubles.get_mut(&id).expect("it is there").not_before = until;
            }
        }
    }

    fn open_one(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) {
        let trouble = self.troubles.get_mut(&id).expect("it is in trouble");
        let number = IncidentId(self.next);
        self.next += 1;
        trouble.incident = Some(number);
        let member =
            Member { check: id, why: trouble.why.clone(), since: trouble.since, is_over: false };
        let (kind, severity) = (trouble.kind, trouble.severity);
        let incident = Incident { severity, ..Incident::new(number, kind, member, now.wall) };
        self.open.insert(number, incident);
        self.held.insert(number, now.moment + HOLD);
        self.file(number, out);
    }

    /// What makes this check's trouble a mere consequence, if anything does.
    fn cause(&self, id: CheckId, trouble: &Trouble) -> Option<CheckId> {
        let state = |id: &CheckId| self.states.get(id).copied().unwrap_or(State::New);
        let silent = |id: &&CheckId| matches!(state(id), State::Down | State::Late);
        let silent_peer = || self.tree.peers(id).iter().find(silent).copied();
        match trouble.reach {
            Reach::Cut => {
                let below = self.tree.below(id).iter().find(|it| is_gone(state(it)));
                return below.copied().or_else(silent_peer);
            }
            Reach::Ruled(_) => {
                let unwell = |it: &CheckId| is_gone(state(it)) || self.troubles.contains_key(it);
                let below = self.tree.beneath(id).into_iter().find(unwell);
                return below.or_else(silent_peer);
            }
            Reach::Own => {}
        }
        if trouble.kind == Kind::Sick {
            return None; // It speaks for itself.
        }
        let above = self.tree.above(id);
        let all_down = !above.is_empty() && above.iter().all(|it| state(it) == State::Down);
        all_down.then(|| above[0])
    }

    fn tell_what_was_held(&mut self, now: Now, out: &mut Vec<Filed>) {
        let is_due = self.held.values().any(|until| *until <= now.moment);
        if !is_due {
            return;
        }
        self.withdraw_consequences(out);
        self.merge_mass(now, out);
        let due: Vec<IncidentId> =
            self.held.iter().filter(|(_, until)| **until <= now.moment).map(|it| *it.0).collect();
        for id in due {
            if self.is_silenced(now, &self.open[&id]) {
                continue; // Told when the silence ends, if it is still there.
            }
            self.held.remove(&id);
            self.tell(now, id, Event::Opened, out);
        }
    }

    /// A cause may be found a moment after its consequence.
    fn withdraw_consequences(&mut self, out: &mut Vec<Filed>) {
        let held: Vec<IncidentId> = self.held.keys().copied().collect();
        for id in held {
            let check = self.open[&id].first().check;
            let is_consequence =
                self.troubles.get(&check).is_some_and(|it| self.cause(check, it).is_some());
            if is_consequence && self.open[&id].members.len() == 1 {
                self.held.remove(&id);
                self.troubles.get_mut(&check).expect("it is in trouble").incident = None;
                let opened_at = self.open[&id].opened_at;
                self.close(id, opened_at, out);
            }
        }
    }

    /// Many at once are one incident.
    fn merge_mass(&mut self, now: Now, out: &mut Vec<Filed>) {
        let held = self.held.keys().filter(|it| !self.is_silenced(now, &self.open[*it]));
        let held: Vec<IncidentId> = held.copied().collect();
        let watched = self.states.values().filter(|it| **it != State::New).count();
        let members: usize = held.iter().map(|it| self.open[it].members.len()).sum();
        if members < MASS_MIN || members * 100 < watched * MASS_PERCENT {
            return;
        }
        let (first, rest) = held.split_first().expect("at least three");
        for id in rest {
            self.held.remove(id);
            let opened_at = self.open[id].opened_at;
            let moved = self.close(*id, opened_at, out).members;
            for member in &moved {
                if let Some(trouble) = self.troubles.get_mut(&member.check) {
                    trouble.incident = Some(*first);
                }
            }
            self.open.get_mut(first).expect("it is held").members.extend(moved);
        }
        let incident = self.open.get_mut(first).expect("it is held");
        (incident.kind, incident.severity) = (Kind::Mass, Severity::Critical);
        self.file(*first, out);
    }

    fn is_silenced(&self, now: Now, incident: &Incident) -> bool {
        let covered = |member: &Member| {
            let name = self.name(member.check);
            self.silences.iter().any(|it| it.covers(name, now.wall))
        };
        incident.members.iter().filter(|it| !it.is_over).all(covered)
    }

    fn tell(&mut self, now: Now, id: IncidentId, event: Event, out: &mut Vec<Filed>) {
        let incident = self.open.get_mut(&id).expect("it is open");
        incident.told_at.get_or_insert(now.wall);
        incident.reminded_at = Some(now.wall);
        let about = incident.clone();
        self.file(id, out);
        out.push(Filed::Notice(Notice { incident: id, event, at: now.wall, about }));
    }

    fn remind(&mut self, now: Now, out: &mut Vec<Filed>) {
        let is_due = |incident: &&Incident| {
            let told = incident.reminded_at;
            told.is_some_and(|told| REMIND_EVERY <= between(told, now.wall))
                && !incident.is_acked(now.wall)
                && !incident.is_unstable
                && !self.is_silenced(now, incident)
        };
        let due: Vec<IncidentId> = self.open.values().filter(is_due).map(|it| it.id).collect();
        due.into_iter().for_each(|id| self.tell(now, id, Event::Reminder, out));
    }

    /// Counts a change; true when flapping begins with it, which is then told.
    fn flapped(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) -> bool {
        if !self.flaps.entry(id).or_default().changed(now.wall) {
            return false;
        }
        self.open_what_is_due(now, out);
        let Some(incident) = self.troubles.get(&id).and_then(|it| it.incident) else {
            return false;
        };
        self.held.remove(&incident);
        self.open.get_mut(&incident).expect("it is open").is_unstable = true;
        self.tell(now, incident, Event::Unstable, out);
        true
    }

    /// What has been steady for a while is told as it is.
    fn settle(&mut self, now: Now, out: &mut Vec<Filed>) {
        let mut steady = Vec::new();
        for (id, flap) in &mut self.flaps {
            if flap.settles(now.wall) {
                steady.push(*id);
            }
        }
        for id in steady {
            self.flaps.remove(&id);
            let Some(incident) = self.troubles.get(&id).and_then(|it| it.incident) else {
                continue;
            };
            self.open.get_mut(&incident).expect("it is open").is_unstable = false;
            match self.states.get(&id).is_some_and(|it| it.is_trouble()) {
                true => self.tell(now, incident, Event::Steady, out),
                false => self.recovered(now, id, out),
            }
        }
    }

    /// The check is well again, or away on purpose: its part in any incident is over.
    fn recovered(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) {
        let Some(trouble) = self.troubles.remove(&id) else { return };
        let Some(number) = trouble.incident else { return };
        let incident = self.open.get_mut(&number).expect("it is open");
        for member in incident.members.iter_mut().filter(|it| it.check == id) {
            member.is_over = true;
        }
        if incident.open_count() != 0 {
            self.file(number, out);
            return;
        }
        let was_told = self.held.remove(&number).is_none();
        let about = self.close(number, now.wall, out);
        if was_told {
            out.push(Filed::Notice(Notice {
                incident: number,
                event: Event::Resolved,
                at: now.wall,
                about,
            }));
        }
    }

    /// Ends an open incident.
    fn close(&mut self, id: IncidentId, at: Timestamp, out: &mut Vec<Filed>) -> Incident {
        let mut incident = self.open.remove(&id).expect("it is open");
        incident.resolved_at = Some(at);
        out.push(Filed::Incident(Box::new(incident.clone())));
        incident
    }

    fn file(&self, id: IncidentId, out: &mut Vec<Filed>) {
        out.push(Filed::Incident(Box::new(self.open[&id].clone())));
    }
}

#[cfg(test)]
mod tests;
