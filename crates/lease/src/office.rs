//! What a node is to one partition: a state machine from news to deeds.
//!
//! Every reply that a deed waits for bears the epoch it is about, so one that comes late, or
//! twice, is told from the one that is waited for. Only `Serving` answers clients, and the only way
//! into it is a bump of one's own that was acknowledged, and a load that began after it (I3).

use crate::NodeId;
use wire::Epoch;

/// One partition, seen from one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Office {
    /// Nothing.
    #[default]
    Out,
    /// The take is under way. It may have happened.
    Taking { seen: Epoch },
    /// The bump is acknowledged; the state is being loaded.
    Loading { epoch: Epoch },
    /// It answers.
    Serving { epoch: Epoch },
    /// No new command is let in; a batch may still be in the engine's hands.
    Closing { epoch: Epoch, to: NodeId },
    /// Nothing of ours is under way; the successor is being named.
    Giving { epoch: Epoch, to: NodeId },
}

/// What a node hears about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum News {
    /// It is to be taken, if its epoch is still this one.
    Claim { seen: Epoch },
    /// What the take came to: the new epoch, or somebody was faster.
    Took { seen: Epoch, epoch: Option<Epoch> },
    /// The state was loaded for this tenure.
    Loaded { epoch: Epoch },
    /// It is to go to this node.
    Release { to: NodeId },
    /// The tenure is closed: every command that was let in was answered, and none is in the
    /// engine's hands.
    Closed { epoch: Epoch },
    /// The giving has ended, this way or that.
    Gave { epoch: Epoch },
    /// Somebody else is the owner, or nobody can tell: this tenure is over.
    Over { epoch: Epoch },
    /// The deed of this moment could not be done, or nobody knows whether it was.
    Failed,
}

/// What a node is to do about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deed {
    /// Take it at the fence, then tell [`News::Took`].
    Take { seen: Epoch },
    /// Load its state, in a read that begins now, then tell [`News::Loaded`].
    Load { epoch: Epoch },
    /// Answer from now on.
    Serve { epoch: Epoch },
    /// Let nothing in any more, answer everything, then tell [`News::Closed`].
    Close { epoch: Epoch },
    /// Name the successor at the fence, then tell [`News::Gave`].
    Give { epoch: Epoch, to: NodeId },
}

impl Office {
    /// Takes in what was heard. What does not fit the state is old news, and changes nothing.
    pub fn hear(&mut self, news: News) -> Option<Deed> {
        let (next, deed) = match (*self, news) {
            (Office::Out, News::Claim { seen }) => {
                (Office::Taking { seen }, Some(Deed::Take { seen }))
            }
            (Office::Taking { seen }, News::Took { seen: of, epoch }) if seen == of => {
                match epoch {
                    Some(epoch) => (Office::Loading { epoch }, Some(Deed::Load { epoch })),
                    None => (Office::Out, None),
                }
            }
            (Office::Loading { epoch }, News::Loaded { epoch: of }) if epoch == of => {
                (Office::Serving { epoch }, Some(Deed::Serve { epoch }))
            }
            (Office::Serving { epoch }, News::Release { to }) => {
                (Office::Closing { epoch, to }, Some(Deed::Close { epoch }))
            }
            (Office::Closing { epoch, to }, News::Closed { epoch: of }) if epoch == of => {
                (Office::Giving { epoch, to }, Some(Deed::Give { epoch, to }))
            }
            (Office::Giving { epoch, .. }, News::Gave { epoch: of }) if epoch == of => {
                (Office::Out, None)
            }
            // What serves has to be closed all the same: others wait for their answers.
            (Office::Serving { epoch }, News::Over { epoch: of }) if epoch == of => {
                (Office::Out, Some(Deed::Close { epoch }))
            }
            (office, News::Over { epoch: of }) if office.epoch() == Some(of) => (Office::Out, None),
            // The row says what became of it; whoever looks there next sees what to do.
            (
                Office::Taking { .. } | Office::Loading { .. } | Office::Giving { .. },
                News::Failed,
            ) => (Office::Out, None),
            (office, _) => (office, None),
        };
        *self = next;
        deed
    }

    /// The epoch of the tenure in hand.
    pub fn epoch(self) -> Option<Epoch> {
        match self {
            Office::Out | Office::Taking { .. } => None,
            Office::Loading { epoch }
            | Office::Serving { epoch }
            | Office::Closing { epoch, .. }
            | Office::Giving { epoch, .. } => Some(epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: NodeId = NodeId(2);

    #[test]
    fn a_tenure_from_claim_to_gift() {
        let epoch = Epoch(4);
        let mut office = Office::Out;
        let steps = [
            (News::Claim { seen: Epoch(3) }, Some(Deed::Take { seen: Epoch(3) })),
            (News::Took { seen: Epoch(3), epoch: Some(epoch) }, Some(Deed::Load { epoch })),
            (News::Loaded { epoch }, Some(Deed::Serve { epoch })),
            (News::Release { to: TO }, Some(Deed::Close { epoch })),
            (News::Closed { epoch }, Some(Deed::Give { epoch, to: TO })),
            (News::Gave { epoch }, None),
        ];
        for (news, deed) in steps {
            assert_eq!(office.hear(news), deed, "{news:?}");
        }
        assert_eq!(office, Office::Out);
    }

    #[test]
    fn old_news_changes_nothing() {
        let (old, epoch) = (Epoch(4), Epoch(6));
        let stale = [
            News::Took { seen: Epoch(3), epoch: Some(old) },
            News::Loaded { epoch: old },
            News::Closed { epoch: old },
            News::Gave { epoch: old },
            News::Over { epoch: old },
        ];
        let offices = [
            Office::Out,
            Office::Taking { seen: Epoch(5) },
            Office::Loading { epoch },
            Office::Serving { epoch },
            Office::Closing { epoch, to: TO },
            Office::Giving { epoch, to: TO },
        ];
        for office in offices {
            for news in stale {
                let mut after = office;
                assert_eq!((after.hear(news), after), (None, office), "{news:?}");
            }
        }
    }

    #[test]
    fn a_tenure_that_is_over_ends_in_every_state() {
        let epoch = Epoch(6);
        for office in [
            Office::Loading { epoch },
            Office::Serving { epoch },
            Office::Closing { epoch, to: TO },
            Office::Giving { epoch, to: TO },
        ] {
            let mut after = office;
            let deed = after.hear(News::Over { epoch });
            assert_eq!(after, Office::Out);
            assert_eq!(deed.is_some(), office == Office::Serving { epoch });
        }
    }
}
