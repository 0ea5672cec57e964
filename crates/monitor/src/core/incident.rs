//! Incidents: what people are told of, from the first doubt to the end.

use super::{check::CheckId, severity::Severity};
use serde::{Deserialize, Serialize};
use std::fmt;
use wire::Timestamp;

/// Names an incident for good; people see `i-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IncidentId(pub u64);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i-{}", self.0)
    }
}

impl IncidentId {
    /// Reads `i-17`.
    pub fn parse(text: &str) -> Option<IncidentId> {
        let digits = text.strip_prefix("i-")?;
        digits.bytes().all(|it| it.is_ascii_digit()).then_some(())?;
        digits.parse().ok().map(IncidentId)
    }
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One check is silent or reported a failure.
    Down,
    /// One check is alive and not well.
    Sick,
    /// Many fell silent at once: the network or the monitor itself may be at fault.
    Mass,
    /// Several under the same nodes.
    Group,
}

impl Kind {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Kind::Down => "down",
            Kind::Sick => "sick",
            Kind::Mass => "mass",
            Kind::Group => "group",
        }
    }

    /// The kind of this word.
    pub fn parse(text: &str) -> Option<Kind> {
        [Kind::Down, Kind::Sick, Kind::Mass, Kind::Group].into_iter().find(|it| it.text() == text)
    }
}

/// Somebody has taken care of it: no repeats. Ends with the incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub by: String,
    pub note: String,
    #[serde(with = "super::stamp")]
    pub at: Timestamp,
    /// After that it is as if nobody had.
    #[serde(with = "super::stamp::maybe")]
    pub until: Option<Timestamp>,
}

/// One check's part in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub check: CheckId,
    /// In the words of [`super::check::Why`].
    pub why: String,
    /// When its trouble began.
    #[serde(with = "super::stamp")]
    pub since: Timestamp,
    /// It is well again.
    pub is_over: bool,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub id: IncidentId,
    pub kind: Kind,
    /// Of its worst member.
    #[serde(default)]
    pub severity: Severity,
    /// The first one is what it is named after. Never empty.
    pub members: Vec<Member>,
    #[serde(with = "super::stamp")]
    pub opened_at: Timestamp,
    #[serde(with = "super::stamp::maybe")]
    pub resolved_at: Option<Timestamp>,
    /// When people were told first. `None` while they have not been.
    #[serde(with = "super::stamp::maybe")]
    pub told_at: Option<Timestamp>,
    /// When they were last told that it is still so.
    #[serde(with = "super::stamp::maybe")]
    pub reminded_at: Option<Timestamp>,
    pub ack: Option<Ack>,
    /// When somebody last took care of it, whether that still holds or not.
    #[serde(default, with = "super::stamp::maybe")]
    pub acked_at: Option<Timestamp>,
    /// It keeps changing: told once, and again when it is steady.
    pub is_unstable: bool,
    /// Of a group: what they stand under, and how many there are.
    #[serde(default)]
    pub under: Option<CheckId>,
    #[serde(default)]
    pub of: usize,
    /// The channels that know of it.
    #[serde(default)]
    pub told: Vec<Told>,
    /// How bad it was, and how many members it had, when people were last told.
    #[serde(default)]
    pub told_as: u8,
    #[serde(default)]
    pub told_count: usize,
}

/// A channel that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub channel: String,
    /// When it was last.
    #[serde(with = "super::stamp")]
    pub at: Timestamp,
}

impl Incident {
    /// One that begins at `at` with one member, and that nobody was told of yet.
    pub fn new(id: IncidentId, kind: Kind, member: Member, at: Timestamp) -> Incident {
        Incident {
            id,
            kind,
            severity: if kind == Kind::Sick { Severity::Warning } else { Severity::Critical },
            members: vec![member],
            opened_at: at,
            resolved_at: None,
            told_at: None,
            reminded_at: None,
            ack: None,
            acked_at: None,
            is_unstable: false,
            under: None,
            of: 0,
            told: Vec::new(),
            told_as: 0,
            told_count: 0,
        }
    }

    /// Whether this channel knows of it.
    pub fn has_told(&self, channel: &str) -> bool {
        self.told.iter().any(|it| it.channel == channel)
    }

    /// Remembers that this channel was told.
    pub fn tell(&mut self, channel: &str, at: Timestamp) {
        match self.told.iter_mut().find(|it| it.channel == channel) {
            Some(it) => it.at = at,
            None => self.told.push(Told { channel: channel.to_owned(), at }),
        }
    }

    /// Takes times that are still to come, because the clock was set back, for now: nothing is to
    /// wait for as long as that.
    pub(super) fn not_after(&mut self, now: Timestamp) {
        let times = [self.told_at.as_mut(), self.reminded_at.as_mut()];
        let told = self.told.iter_mut().map(|it| &mut it.at);
        for at in times.into_iter().flatten().chain(told) {
            *at = now.min(*at);
        }
    }

    /// How bad it is: a higher number is news even to whoever knows of it.
    pub fn grade(&self) -> u8 {
        let severity = match self.severity {
            Severity::Warning => 0,
            Severity::Critical => 2,
        };
        severity + u8::from(self.kind == Kind::Down)
    }

    /// The check that it is named after.
    pub fn first(&self) -> &Member {
        self.members.first().expect("an incident has a member")
    }

    /// Members that are not well yet.
    pub fn open_count(&self) -> usize {
        self.members.iter().filter(|it| !it.is_over).count()
    }

    /// Whether somebody takes care of it now.
    pub fn is_acked(&self, now: Timestamp) -> bool {
        self.ack.as_ref().is_some_and(|ack| ack.until.is_none_or(|until| now < until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_written() {
        assert_eq!(IncidentId::parse(&IncidentId(17).to_string()), Some(IncidentId(17)));
        for bad in ["", "17", "i-", "i-+1", "i-x", "i-99999999999999999999"] {
            assert_eq!(IncidentId::parse(bad), None, "{bad}");
        }
    }
}
