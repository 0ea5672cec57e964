//! What monitors of one tree tell each other of what people said to one of them: who takes care of
//! what, and what is to be kept quiet.
//!
//! Each of them numbers its incidents and silences itself. So an acknowledgement is told with the
//! names of the checks that it is about, and a silence is known by what it says. What was ended is
//! told as long as it would have held: whoever has not heard of it yet has it still.

use super::{
    check::{CheckId, Now},
    desk::{Desk, Filed},
    incident::{Ack, Incident, IncidentId},
    silence::Silence,
};
use serde::{Deserialize, Serialize};

/// Acknowledgements that are told, and names of one of them.
const ACKS_MAX: usize = 1_000;
const NAMES_MAX: usize = 100;

/// What one monitor tells another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    pub silences: Vec<Silence>,
    pub acks: Vec<Acked>,
}

/// Somebody takes care of these checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    pub names: Vec<String>,
    pub ack: Ack,
}

impl Desk {
    /// What the other monitors are to know.
    pub fn shared(&self, now: Now) -> Shared {
        let silences = self.silences().iter().chain(self.ended_silences());
        let open = |it: &Incident| -> Vec<String> {
            let open = it.members.iter().filter(|it| !it.is_over).take(NAMES_MAX);
            open.map(|it| self.name(it.check).to_owned()).collect()
        };
        let acks = self.open().filter(|it| it.is_acked(now.wall)).take(ACKS_MAX);
        let acks = acks.filter_map(|it| Some(Acked { names: open(it), ack: it.ack.clone()? }));
        Shared {
            silences: silences.filter(|it| now.wall < it.until).cloned().collect(),
            acks: acks.collect(),
        }
    }

    /// Takes in what another monitor knows; the silences that are to be stored.
    pub fn learn(&mut self, now: Now, shared: &Shared, out: &mut Vec<Filed>) -> Vec<Silence> {
        let mut learnt = Vec::new();
        for theirs in shared.silences.iter().filter(|it| now.wall < it.until) {
            let ended = self.ended_silences().iter().any(|it| it.is_same(theirs));
            let ours = self.silences().iter().find(|it| it.is_same(theirs)).map(|it| it.id);
            match (ours, theirs.is_ended) {
                (Some(id), true) => learnt.extend(self.end_silence(id)),
                (None, false) if !ended => {
                    let id = self.silence(now, theirs.clone());
                    learnt.extend(id.map(|id| Silence { id, ..theirs.clone() }));
                }
                (Some(_), false) | (None, _) => {}
            }
        }
        for theirs in &shared.acks {
            let ids: Vec<IncidentId> = self.open().map(|it| it.id).collect();
            ids.into_iter().for_each(|id| self.learn_ack(now, id, theirs, out));
        }
        learnt
    }

    /// It holds for an incident that is about one of the same checks, whose trouble was there when
    /// somebody took care of it, and of which we have heard nothing newer.
    fn learn_ack(&mut self, now: Now, id: IncidentId, theirs: &Acked, out: &mut Vec<Filed>) {
        let is_meant = |check: CheckId| theirs.names.iter().any(|it| it == self.name(check));
        let Some(incident) = self.incident(id) else { return };
        let at = theirs.ack.at;
        let is_about =
            incident.members.iter().any(|it| !it.is_over && it.since <= at && is_meant(it.check));
        let is_news = incident.acked_at.is_none_or(|it| it < at);
        let holds = theirs.ack.until.is_none_or(|until| now.wall < until);
        if is_about && is_news && holds {
            self.ack(id, theirs.ack.clone(), out);
        }
    }
}
