//! Brings the keys of the views to the partitions that were taken over, part by part.
//!
//! One pass over the views is for all partitions that wait when it begins. A partition that leaves
//! in between, or is taken anew, gets nothing more of that pass.

use engine::KeyMark;
use std::collections::BTreeSet;
use wire::PartitionId;

/// A part of the keys that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub partitions: Vec<PartitionId>,
    pub from: Option<KeyMark>,
}

/// Where the passes are.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Those that the present pass is for.
    bringing: BTreeSet<PartitionId>,
    /// Those that the next one will be for.
    waiting: BTreeSet<PartitionId>,
    at: At,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Idle,
    /// The part from here on is to be asked for.
    Due(KeyMark),
    /// A part was asked for.
    Asked,
}

impl Scan {
    /// A partition begins anew. `wants`: there are keys to be brought.
    pub(crate) fn arrived(&mut self, partition: PartitionId, wants: bool) {
        self.bringing.remove(&partition);
        if wants {
            self.waiting.insert(partition);
        }
    }

    /// The next part to be read, if there is one.
    pub(crate) fn take(&mut self) -> Option<Part> {
        let from = match std::mem::take(&mut self.at) {
            At::Idle if self.waiting.is_empty() => return None,
            At::Idle => {
                self.bringing = std::mem::take(&mut self.waiting);
                None
            }
            At::Due(mark) => Some(mark),
            At::Asked => {
                self.at = At::Asked;
                return None;
            }
        };
        self.at = At::Asked;
        Some(Part { partitions: self.bringing.iter().copied().collect(), from })
    }

    /// Whether the present pass is for this partition.
    pub(crate) fn is_for(&self, partition: PartitionId) -> bool {
        self.bringing.contains(&partition)
    }

    /// A part was read, and the next one begins there. Returns the partitions that have all of
    /// theirs now.
    pub(crate) fn read(&mut self, next: Option<KeyMark>) -> BTreeSet<PartitionId> {
        match next {
            Some(mark) if !self.bringing.is_empty() => {
                self.at = At::Due(mark);
                BTreeSet::new()
            }
            Some(_) | None => {
                self.at = At::Idle;
                std::mem::take(&mut self.bringing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::KeyHash;

    #[test]
    fn who_comes_during_a_pass_waits_for_the_next() {
        let (first, second) = (PartitionId(1), PartitionId(2));
        let mark = |number| KeyMark { day: 3, partition: first, key: KeyHash(number) };
        let part = |partitions: &[_], from| Some(Part { partitions: partitions.to_vec(), from });
        let mut scan = Scan::default();
        assert_eq!(scan.take(), None);
        scan.arrived(first, true);
        scan.arrived(PartitionId(7), false);
        assert_eq!((scan.take(), scan.take()), (part(&[first], None), None));
        scan.arrived(second, true);
        assert!(scan.is_for(first) && !scan.is_for(second));
        assert!(scan.read(Some(mark(5))).is_empty());
        assert_eq!((scan.take(), scan.take()), (part(&[first], Some(mark(5))), None));
        // Taken anew: what this pass has brought was for the tenure before.
        scan.arrived(first, true);
        assert!(scan.read(Some(mark(6))).is_empty());
        assert_eq!(scan.take(), part(&[first, second], None));
        assert_eq!(scan.read(None), BTreeSet::from([first, second]));
        assert_eq!(scan.take(), None);
    }
}
