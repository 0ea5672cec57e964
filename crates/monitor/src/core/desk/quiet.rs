//! Silences and maintenance windows: what nobody is told of for a while.

use super::{Away, Desk, Filed};
use crate::core::{
    check::{CheckId, Now},
    incident::{Incident, Member},
    rule::Subject,
    silence::{SILENCES_MAX, Silence, matches},
    window::{Span, Window},
};
use std::collections::BTreeMap;

/// What a silence would keep quiet now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview<'a> {
    /// Checks that match,
    pub matches: Vec<&'a str>,
    /// those of them that are not well,
    pub unwell: Vec<&'a str>,
    /// and open incidents that nobody would hear of.
    pub incidents: Vec<&'a Incident>,
}

impl Desk {
    /// The silences, those that have ended left out.
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// What a silence with this pattern would keep quiet now.
    pub fn preview(&self, pattern: &str) -> Preview<'_> {
        let is_meant = |it: &CheckId| matches(pattern, self.name(*it));
        let matching = || self.subjects.iter().filter(|(id, _)| is_meant(id));
        let quiet = |it: &&Incident| {
            let mut open = it.members.iter().filter(|it| !it.is_over);
            open.all(|it| is_meant(&it.check))
        };
        let unwell = matching().filter(|(id, _)| self.troubles.contains_key(id));
        Preview {
            matches: matching().map(|(_, it)| it.name.as_str()).collect(),
            unwell: unwell.map(|(_, it)| it.name.as_str()).collect(),
            incidents: self.open.values().filter(quiet).collect(),
        }
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

    /// Ends a silence; as it is to be stored. `None` when there is none of this id.
    pub fn end_silence(&mut self, id: u64) -> Option<Silence> {
        let at = self.silences.iter().position(|it| it.id == id)?;
        let ended = Silence { is_ended: true, ..self.silences.remove(at) };
        if self.ended.len() == SILENCES_MAX {
            self.ended.remove(0);
        }
        self.ended.push(ended.clone());
        Some(ended)
    }

    /// Silences that somebody has ended, and that would hold still.
    pub fn ended_silences(&self) -> &[Silence] {
        &self.ended
    }

    /// Goes by these maintenance windows from now on.
    pub fn set_windows(&mut self, windows: Vec<Window>) {
        self.calendar.set(windows);
        self.has_moved = true;
    }

    /// The maintenance windows.
    pub fn windows(&self) -> &[Window] {
        self.calendar.windows()
    }

    /// The window that a check is in, and from when to when.
    pub fn maintenance(&self, id: CheckId) -> Option<(&str, Span)> {
        self.away.get(&id).map(|it| (it.window.as_str(), it.span))
    }

    /// Nobody is to be told of any member now.
    pub(super) fn is_quiet(&self, now: Now, incident: &Incident) -> bool {
        let covered = |member: &Member| {
            let name = self.name(member.check);
            self.away.contains_key(&member.check)
                || self.silences.iter().any(|it| it.covers(name, now.wall))
        };
        incident.members.iter().filter(|it| !it.is_over).all(covered)
    }

    /// Finds out who is in a window, when that may have changed.
    pub(super) fn keep_calendar(&mut self, now: Now, out: &mut Vec<Filed>) {
        let has_turned = self.calendar.look(now.wall);
        if !has_turned && !std::mem::take(&mut self.has_moved) {
            return;
        }
        self.has_moved = false;
        let away = |(id, subject): (&CheckId, &Subject)| {
            let (window, span) = self.calendar.over(subject)?;
            Some((*id, Away { window: window.spec.name.clone(), span }))
        };
        let away: BTreeMap<CheckId, Away> = self.subjects.iter().filter_map(away).collect();
        for (check, was) in &self.away {
            if away.get(check) != Some(was) && now.wall < was.span.1 {
                out.push(Filed::MaintenanceEnded { check: *check, at: now.wall });
            }
        }
        for (check, is) in &away {
            if self.away.get(check) != Some(is) {
                let (window, span) = (is.window.clone(), is.span);
                out.push(Filed::Maintenance { check: *check, window, span });
            }
        }
        self.away = away;
    }
}
