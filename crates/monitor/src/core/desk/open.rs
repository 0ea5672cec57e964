//! Which troubles become incidents: not those that are only consequences, and those that belong
//! together as one.

use super::{
    CUT_MARGIN, Desk, Filed, GROW_WAIT, HOLD, MASS_JOIN, Reach, Trouble, is_gone, severity,
};
use crate::core::{
    check::{Change, CheckId, Now, State, between},
    incident::{Incident, IncidentId, Kind, Member},
};
use std::time::Duration;

impl Desk {
    pub(super) fn begin(&mut self, now: Now, change: &Change) {
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

    pub(super) fn open_what_is_due(&mut self, now: Now, out: &mut Vec<Filed>) {
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
        let trouble = &self.troubles[&id];
        let (kind, severity) = (trouble.kind, trouble.severity);
        let member =
            Member { check: id, why: trouble.why.clone(), since: trouble.since, is_over: false };
        let number = match self.company_of(now, id) {
            Some(number) => {
                let incident = self.open.get_mut(&number).expect("it is open");
                incident.severity = incident.severity.max(severity);
                incident.members.retain(|it| it.check != id);
                incident.members.push(member);
                if incident.told_at.is_some() {
                    self.growing.entry(number).or_insert(now.moment + GROW_WAIT);
                }
                number
            }
            None => {
                let number = IncidentId(self.next);
                self.next += 1;
                let incident = Incident::new(number, kind, member, now.wall);
                self.open.insert(number, Incident { severity, ..incident });
                self.held.insert(number, now.moment + HOLD);
                number
            }
        };
        self.troubles.get_mut(&id).expect("it is in trouble").incident = Some(number);
        self.file(number, out);
    }

    /// An incident of many that this check belongs to.
    fn company_of(&self, now: Now, id: CheckId) -> Option<IncidentId> {
        let above = self.tree.above(id);
        let fits = |it: &&Incident| match it.kind {
            Kind::Group => it.under.is_some_and(|under| above.contains(&under)),
            Kind::Mass => between(it.opened_at, now.wall) < MASS_JOIN,
            Kind::Down | Kind::Sick => false,
        };
        self.open.values().filter(|it| !it.is_unstable).find(fits).map(|it| it.id)
    }

    /// A trouble that has an incident goes on in other words, or got worse.
    pub(super) fn goes_on(&mut self, id: CheckId, out: &mut Vec<Filed>) {
        let Some(trouble) = self.troubles.get(&id) else { return };
        let Some(number) = trouble.incident else { return };
        let incident = self.open.get_mut(&number).expect("it is open");
        let is_one = incident.members.len() == 1;
        if is_one && trouble.kind == Kind::Down {
            incident.kind = Kind::Down;
        }
        incident.severity = incident.severity.max(trouble.severity);
        for member in incident.members.iter_mut().filter(|it| it.check == id) {
            member.why.clone_from(&trouble.why);
        }
        self.file(number, out);
    }

    /// What makes this check's trouble a mere consequence, if anything does.
    pub(super) fn cause(&self, id: CheckId, trouble: &Trouble) -> Option<CheckId> {
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
}
