//! The fence: the one row of a partition through which every change of owner and every batch goes.
//!
//! This is the rule; an engine keeps the row and applies the rule within a transaction, as
//! conditional updates. The engine's tests compare what it does with what stands here.

use crate::NodeId;
use wire::{Epoch, Seq};

/// A partition's fence row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// `None`: nobody ever was.
    pub owner: Option<NodeId>,
    pub epoch: Epoch,
    /// The last committed batch.
    pub seq: Seq,
}

impl Fence {
    /// Makes `by` the owner if the epoch is still `seen`: the new epoch. `None`: somebody was
    /// faster, nothing is changed. Whether the owner in office may be deposed is the caller's to
    /// know; that its batches are let in no more is certain from here on.
    pub fn take(&mut self, by: NodeId, seen: Epoch) -> Option<Epoch> {
        if self.epoch != seen {
            return None;
        }
        self.bump(by)
    }

    /// The owner `from` names its successor, who then has to take: the new epoch. `None`: it is
    /// not the owner any more.
    pub fn give(&mut self, from: NodeId, epoch: Epoch, to: NodeId) -> Option<Epoch> {
        if self.owner != Some(from) || self.epoch != epoch {
            return None;
        }
        self.bump(to)
    }

    /// Whether a batch of this epoch, decided on the state that batch `before` left, is let in.
    pub fn admit(&mut self, by: NodeId, epoch: Epoch, before: Seq) -> bool {
        let is_let_in = self.owner == Some(by) && self.epoch == epoch && self.seq == before;
        if is_let_in {
            self.seq = before.next();
        }
        is_let_in
    }

    /// An epoch is never used twice: where there is no higher one, nobody takes any more.
    fn bump(&mut self, owner: NodeId) -> Option<Epoch> {
        let epoch = Epoch(self.epoch.0.checked_add(1)?);
        (self.owner, self.epoch) = (Some(owner), epoch);
        Some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn of_two_who_saw_the_same_one_takes() {
        let mut fence = Fence::default();
        assert_eq!(fence.take(A, Epoch(0)), Some(Epoch(1)));
        assert_eq!(fence.take(B, Epoch(0)), None);
        assert_eq!(fence.take(B, Epoch(1)), Some(Epoch(2)));
        assert_eq!(fence.take(B, Epoch(2)), Some(Epoch(3)), "a new tenure of its own");
        let mut last = Fence { epoch: Epoch(u64::MAX), ..fence };
        assert_eq!(last.take(A, Epoch(u64::MAX)), None);
        assert_eq!(last.owner, Some(B));
    }

    #[test]
    fn only_the_owner_gives_and_only_its_batches_are_let_in() {
        let mut fence = Fence::default();
        fence.take(A, Epoch(0));
        assert!(!fence.admit(B, Epoch(1), Seq(0)), "another");
        assert!(!fence.admit(A, Epoch(0), Seq(0)), "an older epoch");
        assert!(fence.admit(A, Epoch(1), Seq(0)));
        assert!(!fence.admit(A, Epoch(1), Seq(0)), "twice");
        assert_eq!(fence.give(B, Epoch(1), B), None);
        assert_eq!(fence.give(A, Epoch(1), B), Some(Epoch(2)));
        assert!(!fence.admit(A, Epoch(1), Seq(1)), "given away");
        assert!(fence.admit(B, Epoch(2), Seq(1)));
    }
}
