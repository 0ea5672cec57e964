//! From changes to incidents, and from incidents to notices.
//!
//! One dead node is one incident and one notice. What is only a consequence of it is not told: a
//! node below nodes that are all down, or one that reaches nothing below it because those are down.
//! Suppression keeps an incident from being opened, never from being resolved, and never keeps a
//! check from being watched: when its cause is gone and the check is still not well, its own
//! incident opens.

mod open;
mod quiet;
mod tell;

use super::{
    audience::Audience,
    check::{Change, CheckId, Now, State, Why},
    flap::Flap,
    incident::{Ack, Incident, IncidentId, Kind},
    notice::Notice,
    rule::Subject,
    severity::Severity,
    silence::Silence,
    tree::Tree,
    window::{Calendar, Span},
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
/// Checks under the same nodes that are one incident if they become unwell within one hold; two
/// that break a rule are enough.
pub const GROUP_MIN: usize = 3;
/// How long further members of a group are waited for before they are told.
pub const GROW_WAIT: Duration = Duration::from_secs(10);
/// How long after a mass incident began stragglers belong to it.
pub const MASS_JOIN: Duration = Duration::from_secs(30);
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
        self.kind = if change.to == State::Down { Kind::Down } else { Kind::Sick };
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
    Notice(Box<Notice>),
    /// A check is in a maintenance window from here to there.
    Maintenance {
        check: CheckId,
        window: String,
        span: Span,
    },
    /// The window was struck out before its end.
    MaintenanceEnded {
        check: CheckId,
        at: Timestamp,
    },
}

/// A check within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Away {
    window: String,
    span: Span,
}

/// The incidents that are open, and what is held against each check.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    tree: Tree,
    audience: Audience,
    subjects: BTreeMap<CheckId, Subject>,
    states: BTreeMap<CheckId, State>,
    /// How long after its last beat each node would be down.
    deadlines: BTreeMap<CheckId, Duration>,
    troubles: BTreeMap<CheckId, Trouble>,
    open: BTreeMap<IncidentId, Incident>,
    /// Incidents that wait for company, and until when.
    held: BTreeMap<IncidentId, Moment>,
    flaps: BTreeMap<CheckId, Flap>,
    /// Groups that have grown since they were told of, and when that is told.
    growing: BTreeMap<IncidentId, Moment>,
    silences: Vec<Silence>,
    /// Those that were ended before their time.
    ended: Vec<Silence>,
    calendar: Calendar,
    /// Checks within a maintenance window.
    away: BTreeMap<CheckId, Away>,
    /// Checks came or went since the calendar was held against them.
    has_moved: bool,
    next: u64,
    next_silence: u64,
}

impl Desk {
    /// A desk whose next incident has this number.
    pub fn new(tree: Tree, next: u64, silences: Vec<Silence>) -> Desk {
        let next_silence = silences.iter().map(|it| it.id + 1).max().unwrap_or(1);
        let (ended, silences) = silences.into_iter().partition(|it| it.is_ended);
        Desk { tree, next, next_silence, silences, ended, ..Desk::default() }
    }

    /// Who stands above whom has changed.
    pub fn set_tree(&mut self, tree: Tree) {
        self.tree = tree;
    }

    /// Learns of a check. `deadline` is how long after its last beat it would be down.
    pub fn add(&mut self, id: CheckId, name: &str, state: State, deadline: Duration) {
        let subject = Subject { name: name.to_owned(), ..Subject::default() };
        self.subjects.entry(id).or_insert_with(|| subject).name = name.to_owned();
        self.has_moved = true;
        self.states.insert(id, state);
        self.deadlines.insert(id, deadline);
    }

    /// Says what a check is, for whoever asks for more than its name.
    pub fn describe(&mut self, id: CheckId, subject: Subject) {
        self.subjects.insert(id, subject);
        self.has_moved = true;
    }

    /// Who is told from now on.
    pub fn set_audience(&mut self, audience: Audience) {
        self.audience = audience;
    }

    /// Who is told.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Forgets a check: its part in any incident is over.
    pub fn remove(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) {
        self.recovered(now, id, out);
        self.subjects.remove(&id);
        self.away.remove(&id);
        self.states.remove(&id);
        self.deadlines.remove(&id);
        self.flaps.remove(&id);
    }

    /// Takes back an incident that was open when the last process ended.
    pub fn restore(&mut self, now: Now, mut incident: Incident) {
        incident.not_after(now.wall);
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
        self.subjects.get(&id).map_or("?", |it| it.name.as_str())
    }

    /// A check that is not well and for which nobody is told: the check that is the cause.
    pub fn suppressed_by(&self, id: CheckId) -> Option<CheckId> {
        let trouble = self.troubles.get(&id)?;
        if trouble.incident.is_some() { None } else { self.cause(id, trouble) }
    }

    /// Somebody takes care of an incident. False when it is not open.
    pub fn ack(&mut self, id: IncidentId, ack: Ack, out: &mut Vec<Filed>) -> bool {
        let Some(incident) = self.open.get_mut(&id) else { return false };
        incident.acked_at = Some(ack.at);
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
                Some(trouble) => {
                    let was_bad = trouble.goes_on(now, change);
                    self.goes_on(id, out);
                    was_bad
                }
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

    /// Opens, tells, reminds and settles whatever has waited long enough.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Filed>) {
        self.silences.retain(|it| now.wall < it.until);
        self.ended.retain(|it| now.wall < it.until);
        self.keep_calendar(now, out);
        self.open_what_is_due(now, out);
        self.tell_what_was_held(now, out);
        self.tell_what_got_worse(now, out);
        self.tell_whoever_is_due(now, out);
        self.remind(now, out);
        self.settle(now, out);
    }
}

#[cfg(test)]
mod tests;
