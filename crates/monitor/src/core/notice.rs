//! What is to be said about an incident, before any channel gives it a form.

use super::incident::{Incident, IncidentId};
use serde::{Deserialize, Serialize};
use wire::Timestamp;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It began.
    Opened,
    /// It is still so, and nobody has said that they take care of it.
    Reminder,
    /// It keeps changing: nothing more will be said until it is steady.
    Unstable,
    /// Nobody has taken care of it: further people are told.
    Escalated,
    /// It is worse than what people were told.
    Worse,
    /// More of the same.
    Grown,
    /// It has been steady for a while, and is not well.
    Steady,
    /// It is over.
    Resolved,
    /// Nothing happened: somebody tests the channel.
    Test,
}

impl Event {
    /// The word for it.
    pub const fn text(self) -> &'static str {
        match self {
            Event::Opened => "opened",
            Event::Reminder => "reminder",
            Event::Unstable => "unstable",
            Event::Escalated => "escalated",
            Event::Worse => "worse",
            Event::Grown => "grown",
            Event::Steady => "steady",
            Event::Resolved => "resolved",
            Event::Test => "test",
        }
    }

    /// The event of this word.
    pub fn parse(text: &str) -> Option<Event> {
        [
            Event::Opened,
            Event::Reminder,
            Event::Unstable,
            Event::Escalated,
            Event::Worse,
            Event::Grown,
            Event::Steady,
            Event::Resolved,
            Event::Test,
        ]
        .into_iter()
        .find(|it| it.text() == text)
    }

    /// Whether whoever has heard this knows of the problem.
    pub const fn tells_of_trouble(self) -> bool {
        match self {
            Event::Opened
            | Event::Reminder
            | Event::Unstable
            | Event::Escalated
            | Event::Worse
            | Event::Grown
            | Event::Steady => true,
            Event::Resolved | Event::Test => false,
        }
    }
}

/// To be said over some channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub incident: IncidentId,
    pub event: Event,
    #[serde(with = "super::stamp")]
    pub at: Timestamp,
    /// The incident as it was then.
    pub about: Incident,
    /// The channels.
    #[serde(skip)]
    pub to: Vec<String>,
}
