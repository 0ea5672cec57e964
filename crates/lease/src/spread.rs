//! Which node should own a partition: the same answer at every node that sees the same others.
//!
//! Each partition has a home, by its number and the order of the nodes in the topology file. While
//! its home is away it is dealt to those who are there, so that the partitions of a lost node go to
//! all of the others evenly and nothing else moves. A partition that was moved by hand is pinned to
//! where it was moved.

use std::sync::Arc;
use wire::PartitionId;

/// The name of the node that should own `partition`. `roster`: the service's nodes in the order of
/// the topology file. `live`: those that could own it now, in the order of the roster. `None` when
/// nobody could.
pub(crate) fn target<'a>(
    roster: &'a [Arc<str>],
    live: &[&'a str],
    pinned: Option<&str>,
    partition: PartitionId,
) -> Option<&'a str> {
    let there = |name: &str| live.iter().copied().find(|it| *it == name);
    pinned.and_then(there).or_else(|| home(roster, partition).and_then(there)).or_else(|| {
        let round = usize::from(partition.0) / roster.len().max(1);
        live.get(round % live.len().max(1)).copied()
    })
}

/// The node at which a partition is at home.
pub(crate) fn home(roster: &[Arc<str>], partition: PartitionId) -> Option<&str> {
    let place = usize::from(partition.0).checked_rem(roster.len())?;
    roster.get(place).map(|name| &**name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn roster(count: usize) -> Vec<Arc<str>> {
        (1..=count).map(|it| format!("a-{it}").into()).collect()
    }

    fn shares(roster: &[Arc<str>], live: &[&str], partitions: u16) -> BTreeMap<String, u16> {
        let mut shares = BTreeMap::new();
        for partition in (0..partitions).map(PartitionId) {
            let target = target(roster, live, None, partition).unwrap();
            *shares.entry(target.to_owned()).or_default() += 1;
        }
        shares
    }

    #[test]
    fn whoever_is_there_has_a_fair_share() {
        for count in 1..=8 {
            let roster = roster(count);
            for away in 0..1_u32 << count {
                let live: Vec<&str> =
                    (0..count).filter(|it| away & (1 << it) == 0).map(|it| &*roster[it]).collect();
                if live.is_empty() {
                    assert_eq!(target(&roster, &live, None, PartitionId(3)), None);
                    continue;
                }
                let shares = shares(&roster, &live, 64);
                let (least, most) = (shares.values().min(), shares.values().max());
                assert_eq!(shares.len(), live.len(), "everyone has some: {shares:?}");
                let lost = u16::try_from(count - live.len()).unwrap();
                assert!(most.unwrap() - least.unwrap() <= 1 + lost, "{live:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn only_what_a_lost_node_had_moves() {
        let roster = roster(3);
        for partition in (0..64).map(PartitionId) {
            let before = target(&roster, &["a-1", "a-2", "a-3"], None, partition);
            let after = target(&roster, &["a-1", "a-3"], None, partition);
            assert!(before == after || before == Some("a-2"), "{partition:?}");
        }
    }

    #[test]
    fn a_pin_holds_while_its_node_is_there() {
        let roster = roster(2);
        let at = |live: &[&'static str]| {
            target(&roster, live, Some("a-2"), PartitionId(0)).map(str::to_owned)
        };
        assert_eq!(at(&["a-1", "a-2"]).as_deref(), Some("a-2"));
        assert_eq!(at(&["a-1"]).as_deref(), Some("a-1"));
        assert_eq!(target(&[], &["a-9"], None, PartitionId(4)), Some("a-9"));
    }
}
