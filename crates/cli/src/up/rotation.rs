//! Whether a node that runs gets requests: drained nodes stay up and get none.

use super::{child::Word, supervisor::Supervisor};
use crate::{ops, terminal::tell};
use std::time::Duration;

/// Where a node is between getting requests and getting none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// It gets its share.
    #[default]
    In,
    /// It was told to leave, and finishes what it has.
    Leaving,
    /// It has nothing to do.
    Out,
    /// It was told to come back.
    Returning,
    /// It did not do what it was told.
    Stuck(String),
}

/// A node's rotation, as ordered and as reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Rotation {
    pub(super) place: Place,
    /// Counts orders: what comes of an earlier one is of no interest any more.
    turn: u64,
}

impl Rotation {
    /// In one word; `None` when it is as any node is.
    pub(super) fn text(&self) -> Option<&'static str> {
        match self.place {
            Place::In | Place::Returning => None,
            Place::Leaving | Place::Stuck(_) => Some("draining"),
            Place::Out => Some("drained"),
        }
    }

    /// Whether the node is to get no requests.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.place, Place::Leaving | Place::Out)
    }

    /// A node that ends, or is started anew, is as any other again.
    pub(super) fn reset(&mut self) {
        self.place = Place::In;
        self.turn += 1;
    }

    fn turned(&mut self, turn: u64, result: Result<(), String>) {
        if turn != self.turn {
            return;
        }
        self.place = match (result, &self.place) {
            (Ok(()), Place::Leaving) => Place::Out,
            (Ok(()), Place::Returning) => Place::In,
            (Ok(()), place @ (Place::In | Place::Out | Place::Stuck(_))) => place.clone(),
            (Err(why), _) => Place::Stuck(why),
        };
    }
}

impl Supervisor {
    /// Tells a running node to leave the rotation, or to come back. What comes of it is a
    /// [`Word::Turned`].
    pub(super) fn turn(&mut self, index: usize, out: bool) {
        let node = &mut self.nodes[index];
        let rotation = &mut node.rotation;
        rotation.turn += 1;
        rotation.place = if out { Place::Leaving } else { Place::Returning };
        let (turn, words) = (rotation.turn, self.word_sender.clone());
        let Some(admin) = node.announced.admin else {
            rotation.place = Place::Stuck("it has no admin address".to_owned());
            return;
        };
        let time_max = self.drain_max(index);
        tokio::spawn(async move {
            let result = match out {
                true => within(time_max, ops::drain(admin)).await,
                false => ops::undrain(admin).await,
            };
            // Without a receiver `up` itself is at its end.
            drop(words.send((index, Word::Turned(turn, result))).await);
        });
    }

    /// What came of [`Supervisor::turn`].
    pub(super) fn turned(&mut self, index: usize, turn: u64, result: Result<(), String>) {
        let node = &mut self.nodes[index];
        if let (true, Err(why)) = (turn == node.rotation.turn, &result) {
            tell!("{}: {why}", node.name);
        }
        node.rotation.turned(turn, result);
    }
}

async fn within(
    time_max: Duration,
    drain: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let late = || Err(format!("it has not finished what it has within {time_max:?}"));
    tokio::time::timeout(time_max, drain).await.unwrap_or_else(|_| late())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_order_counts() {
        let mut rotation = Rotation { place: Place::Leaving, turn: 2 };
        rotation.turned(1, Err("late".to_owned()));
        assert_eq!(rotation.text(), Some("draining"));
        rotation.turned(2, Ok(()));
        assert_eq!((rotation.text(), rotation.is_out()), (Some("drained"), true));
        rotation.reset();
        rotation.turned(2, Err("late".to_owned()));
        assert_eq!(rotation.place, Place::In);
        let mut rotation = Rotation { place: Place::Returning, turn: 1 };
        rotation.turned(1, Err("no".to_owned()));
        assert_eq!(rotation.place, Place::Stuck("no".to_owned()));
    }
}
