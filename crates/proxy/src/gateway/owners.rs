//! Who owns each partition of a service, as its nodes say: the highest epoch wins.

use wire::{Epoch, PartitionId};

/// A node's place in the service's list.
pub type NodeIndex = usize;

/// The owner map of one service, put together from what its connected nodes announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    /// The highest ever announced: what is older is never believed again.
    epoch: Epoch,
    /// `None` while nobody who is connected says that he owns it.
    owner: Option<NodeIndex>,
}

impl Owners {
    /// Nobody owns any of the `partitions` yet.
    pub fn new(partitions: u16) -> Owners {
        Owners { slots: vec![Slot::default(); usize::from(partitions)] }
    }

    /// Takes all that `node` says it owns. Returns whether a partition got another owner or lost
    /// its own. Partitions that the service does not have are passed over.
    pub fn announce(
        &mut self,
        node: NodeIndex,
        owned: impl Iterator<Item = (PartitionId, Epoch)>,
    ) -> bool {
        let before = self.slots.clone();
        self.disconnect(node);
        for (partition, epoch) in owned {
            if let Some(slot) = self.slots.get_mut(usize::from(partition.0))
                && slot.epoch <= epoch
            {
                *slot = Slot { epoch, owner: Some(node) };
            }
        }
        self.slots != before
    }

    /// Forgets what `node` owned: nothing can be asked of it. Returns whether it owned anything.
    pub fn disconnect(&mut self, node: NodeIndex) -> bool {
        let mut changed = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.owner == Some(node)) {
            slot.owner = None;
            changed = true;
        }
        changed
    }

    /// Whom to ask about `partition`.
    pub fn owner(&self, partition: PartitionId) -> Option<NodeIndex> {
        self.slots.get(usize::from(partition.0)).and_then(|slot| slot.owner)
    }

    /// The partitions that nobody owns.
    pub fn orphans(&self) -> impl Iterator<Item = PartitionId> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.owner.is_none())
            .map(|(at, _)| PartitionId(at))
    }

    /// Each owner with its first partition, in the order of these; `None` while a partition has
    /// none.
    pub fn all(&self) -> Option<Vec<(NodeIndex, PartitionId)>> {
        let mut owners: Vec<(NodeIndex, PartitionId)> = Vec::new();
        for (at, slot) in (0..).zip(&self.slots) {
            let owner = slot.owner?;
            if owners.iter().all(|(known, _)| *known != owner) {
                owners.push((owner, PartitionId(at)));
            }
        }
        Some(owners)
    }

    /// Whether these partitions are all there are, each once.
    pub fn is_cover(&self, answered: impl Iterator<Item = PartitionId>) -> bool {
        let mut seen = vec![false; self.slots.len()];
        for partition in answered {
            match seen.get_mut(usize::from(partition.0)) {
                Some(seen) if !*seen => *seen = true,
                _ => return false,
            }
        }
        seen.into_iter().all(|seen| seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(u16, u64)]) -> impl Iterator<Item = (PartitionId, Epoch)> {
        entries.iter().map(|&(partition, epoch)| (PartitionId(partition), Epoch(epoch)))
    }

    /// The owner of each partition, `-` where there is none.
    #[track_caller]
    fn check(owners: &Owners, expected: &str) {
        let count = u16::try_from(owners.slots.len()).unwrap();
        let shown: Vec<String> = (0..count)
            .map(|at| owners.owner(PartitionId(at)).map_or("-".into(), |node| node.to_string()))
            .collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn the_highest_epoch_wins() {
        let mut owners = Owners::new(3);
        check(&owners, "- - -");
        assert!(owners.announce(0, map(&[(0, 1), (2, 1)])));
        assert!(owners.announce(1, map(&[(1, 1)])));
        check(&owners, "0 1 0");
        assert!(owners.announce(1, map(&[(1, 1), (0, 2)])));
        check(&owners, "1 1 0");
        // Node 0 has not heard yet that partition 0 went.
        assert!(!owners.announce(0, map(&[(0, 1), (2, 1)])));
        check(&owners, "1 1 0");
        assert!(!owners.announce(1, map(&[(1, 1), (0, 2), (3, 9), (65_535, 9)])));
        check(&owners, "1 1 0");
    }

    #[test]
    fn an_announcement_is_the_whole_of_what_a_node_owns() {
        let mut owners = Owners::new(2);
        owners.announce(0, map(&[(0, 1), (1, 1)]));
        assert!(owners.announce(0, map(&[(1, 1)])));
        check(&owners, "- 0");
    }

    #[test]
    fn a_node_that_went_owns_nothing_until_it_says_so_again() {
        let mut owners = Owners::new(2);
        owners.announce(0, map(&[(0, 3), (1, 3)]));
        assert!(owners.disconnect(0));
        assert!(!owners.disconnect(0));
        check(&owners, "- -");
        assert!(!owners.announce(1, map(&[(0, 2)])), "an older epoch");
        check(&owners, "- -");
        assert!(owners.announce(0, map(&[(0, 3)])));
        check(&owners, "0 -");
        let orphans: Vec<_> = owners.orphans().collect();
        assert_eq!(orphans, [PartitionId(1)]);
    }

    #[test]
    fn all_owners_are_known_once_every_partition_has_one() {
        let mut owners = Owners::new(3);
        owners.announce(1, map(&[(0, 1), (1, 1)]));
        assert_eq!(owners.all(), None);
        owners.announce(0, map(&[(2, 1)]));
        assert_eq!(owners.all(), Some(vec![(1, PartitionId(0)), (0, PartitionId(2))]));
    }

    #[test]
    fn a_cover_has_each_partition_once() {
        let owners = Owners::new(2);
        let cover = |partitions: &[u16]| {
            owners.is_cover(partitions.iter().map(|&partition| PartitionId(partition)))
        };
        assert!(cover(&[1, 0]));
        assert!(!cover(&[0]));
        assert!(!cover(&[0, 0, 1]));
        assert!(!cover(&[0, 1, 2]));
    }
}
