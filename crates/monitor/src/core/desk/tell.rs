//! When an incident is told, to whom, and when again.

use super::{Desk, Filed, GROUP_MIN, GROW_WAIT, MASS_MIN, MASS_PERCENT, REMIND_EVERY, Reach};
use crate::core::{
    audience::Wanted,
    check::{CheckId, Now, State, between},
    incident::{Incident, IncidentId, Kind},
    notice::{Event, Notice},
    severity::Severity,
};
use std::collections::BTreeMap;
use wire::Timestamp;

impl Desk {
    pub(super) fn tell_what_was_held(&mut self, now: Now, out: &mut Vec<Filed>) {
        let is_due = self.held.values().any(|until| *until <= now.moment);
        if !is_due {
            return;
        }
        self.withdraw_consequences(out);
        self.merge_mass(now, out);
        self.merge_groups(now, out);
        let due: Vec<IncidentId> =
            self.held.iter().filter(|(_, until)| **until <= now.moment).map(|it| *it.0).collect();
        for id in due {
            if self.is_quiet(now, &self.open[&id]) {
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

    /// Counts a change; true when flapping begins with it, which is then told.
    pub(super) fn flapped(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) -> bool {
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
    pub(super) fn settle(&mut self, now: Now, out: &mut Vec<Filed>) {
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
    pub(super) fn recovered(&mut self, now: Now, id: CheckId, out: &mut Vec<Filed>) {
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
        self.growing.remove(&number);
        let about = self.close(number, now.wall, out);
        if was_told {
            // To everybody who knows, and to nobody else.
            let to = about.told.iter().map(|it| it.channel.clone()).collect();
            let event = Event::Resolved;
            let notice = Notice { incident: number, event, at: now.wall, about, to };
            out.push(Filed::Notice(Box::new(notice)));
        }
    }

    /// Ends an open incident.
    fn close(&mut self, id: IncidentId, at: Timestamp, out: &mut Vec<Filed>) -> Incident {
        let mut incident = self.open.remove(&id).expect("it is open");
        incident.resolved_at = Some(at);
        out.push(Filed::Incident(Box::new(incident.clone())));
        incident
    }

    pub(super) fn file(&self, id: IncidentId, out: &mut Vec<Filed>) {
        out.push(Filed::Incident(Box::new(self.open[&id].clone())));
    }

    /// Many at once are one incident.
    fn merge_mass(&mut self, now: Now, out: &mut Vec<Filed>) {
        let held = self.held.keys().filter(|it| !self.is_quiet(now, &self.open[*it]));
        let held: Vec<IncidentId> = held.copied().collect();
        let watched = self.states.values().filter(|it| **it != State::New).count();
        let members: usize = held.iter().map(|it| self.open[it].members.len()).sum();
        if members < MASS_MIN || members * 100 < watched * MASS_PERCENT {
            return;
        }
        let first = self.merge(&held, out);
        let incident = self.open.get_mut(&first).expect("it is held");
        (incident.kind, incident.severity) = (Kind::Mass, Severity::Critical);
        self.file(first, out);
    }

    /// Several under the same nodes, unwell in the same way, are one incident.
    fn merge_groups(&mut self, now: Now, out: &mut Vec<Filed>) {
        type Key = (Vec<CheckId>, Kind, bool);
        let mut groups: BTreeMap<Key, Vec<IncidentId>> = BTreeMap::new();
        for id in self.held.keys() {
            let incident = &self.open[id];
            let check = incident.first().check;
            let above = self.tree.above(check).to_vec();
            let is_single = matches!(incident.kind, Kind::Down | Kind::Sick);
            if above.is_empty() || !is_single || self.is_quiet(now, incident) {
                continue;
            }
            let reach = self.troubles.get(&check).map(|it| it.reach);
            let is_ruled = matches!(reach, Some(Reach::Ruled(_)));
            groups.entry((above, incident.kind, is_ruled)).or_default().push(*id);
        }
        for ((above, _, is_ruled), held) in groups {
            if held.len() < if is_ruled { 2 } else { GROUP_MIN } {
                continue;
            }
            let first = self.merge(&held, out);
            let of = self.tree.below(above[0]).len();
            let incident = self.open.get_mut(&first).expect("it is held");
            (incident.kind, incident.under, incident.of) = (Kind::Group, Some(above[0]), of);
            self.file(first, out);
        }
    }

    /// Makes the first of these the incident of them all.
    fn merge(&mut self, held: &[IncidentId], out: &mut Vec<Filed>) -> IncidentId {
        let (first, rest) = held.split_first().expect("at least two");
        for id in rest {
            self.held.remove(id);
            let opened_at = self.open[id].opened_at;
            let closed = self.close(*id, opened_at, out);
            for member in &closed.members {
                if let Some(trouble) = self.troubles.get_mut(&member.check) {
                    trouble.incident = Some(*first);
                }
            }
            let incident = self.open.get_mut(first).expect("it is held");
            incident.severity = incident.severity.max(closed.severity);
            incident.members.extend(closed.members);
        }
        *first
    }

    /// Says something about an incident to whoever knows of it, and to whoever wants to by now.
    fn tell(&mut self, now: Now, id: IncidentId, event: Event, out: &mut Vec<Filed>) {
        let wanted = self.wanted(now, id);
        let known = self.open[&id].told.iter().map(|it| it.channel.clone());
        let to = known.chain(wanted.into_iter().map(|it| it.channel)).collect();
        self.tell_them(now, id, event, to, out);
    }

    fn tell_them(
        &mut self,
        now: Now,
        id: IncidentId,
        event: Event,
        to: Vec<String>,
        out: &mut Vec<Filed>,
    ) {
        let incident = self.open.get_mut(&id).expect("it is open");
        incident.told_at.get_or_insert(now.wall);
        incident.reminded_at = Some(now.wall);
        (incident.told_as, incident.told_count) = (incident.grade(), incident.members.len());
        to.iter().for_each(|it| incident.tell(it, now.wall));
        let about = incident.clone();
        self.file(id, out);
        let notice = Notice { incident: id, event, at: now.wall, about, to };
        out.push(Filed::Notice(Box::new(notice)));
    }

    fn wanted(&self, now: Now, id: IncidentId) -> Vec<Wanted> {
        let incident = &self.open[&id];
        let told_at = incident.told_at.unwrap_or(now.wall);
        self.audience.wanted(incident, told_at, now.wall, |it| self.subjects.get(&it))
    }

    /// Incidents that people know of, that are quiet for no reason, and that do not flap.
    fn told(&self, now: Now) -> Vec<IncidentId> {
        let is_told = |it: &&Incident| {
            it.told_at.is_some()
                && !self.held.contains_key(&it.id)
                && !it.is_unstable
                && !self.is_quiet(now, it)
        };
        self.open.values().filter(is_told).map(|it| it.id).collect()
    }

    /// Worse than what people know, or more of it: whoever took care of it may not know either.
    pub(super) fn tell_what_got_worse(&mut self, now: Now, out: &mut Vec<Filed>) {
        for id in self.told(now) {
            let incident = self.open.get_mut(&id).expect("it is open");
            if incident.told_as < incident.grade() {
                incident.ack = None;
                self.growing.remove(&id);
                self.tell(now, id, Event::Worse, out);
            } else if incident.told_count < incident.members.len() {
                // Also what joined when the last process ended.
                let until = *self.growing.entry(id).or_insert(now.moment + GROW_WAIT);
                if until <= now.moment {
                    self.growing.remove(&id);
                    self.tell(now, id, Event::Grown, out);
                }
            }
        }
    }

    /// The next step of an escalation, and whose hours have begun.
    pub(super) fn tell_whoever_is_due(&mut self, now: Now, out: &mut Vec<Filed>) {
        for id in self.told(now) {
            let (steps, others): (Vec<Wanted>, Vec<Wanted>) =
                self.wanted(now, id).into_iter().partition(|it| it.is_escalated);
            for (event, wanted) in [(Event::Opened, others), (Event::Escalated, steps)] {
                let to: Vec<String> = wanted.into_iter().map(|it| it.channel).collect();
                if !to.is_empty() {
                    self.tell_them(now, id, event, to, out);
                }
            }
        }
    }

    /// Everybody at their own pace, for as long as nobody takes care of it.
    pub(super) fn remind(&mut self, now: Now, out: &mut Vec<Filed>) {
        for id in self.told(now) {
            let incident = &self.open[&id];
            if incident.is_acked(now.wall) {
                continue;
            }
            let is_due = |at: Timestamp, every| every <= between(at, now.wall);
            let due = incident
                .told
                .iter()
                .filter(|it| is_due(it.at, self.audience.remind_every(&it.channel)));
            let due: Vec<String> = due.map(|it| it.channel.clone()).collect();
            let is_nobodys = incident.told.is_empty()
                && incident.reminded_at.is_some_and(|it| is_due(it, REMIND_EVERY));
            if !due.is_empty() || is_nobodys {
                self.tell_them(now, id, Event::Reminder, due, out);
            }
        }
    }
}
