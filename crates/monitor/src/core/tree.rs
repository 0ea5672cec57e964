//! Who stands above whom: the topology is the graph of what depends on what.

use super::check::CheckId;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes and the nodes below them.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    below: BTreeMap<CheckId, Vec<CheckId>>,
    above: BTreeMap<CheckId, Vec<CheckId>>,
    peers: BTreeMap<CheckId, Vec<CheckId>>,
}

impl Tree {
    /// Says that `child` stands below `parent`. Saying it again changes nothing.
    pub fn link(&mut self, parent: CheckId, child: CheckId) {
        let children = self.below.entry(parent).or_default();
        if !children.contains(&child) {
            children.push(child);
            self.above.entry(child).or_default().push(parent);
        }
    }

    /// Says that all of these write to one engine: one that stops in the middle holds up the rest.
    pub fn group(&mut self, peers: &[CheckId]) {
        for id in peers {
            let others = peers.iter().copied().filter(|it| it != id).collect();
            self.peers.insert(*id, others);
        }
    }

    /// The nodes that share an engine with `id`.
    pub fn peers(&self, id: CheckId) -> &[CheckId] {
        self.peers.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The nodes that `id` sends to.
    pub fn below(&self, id: CheckId) -> &[CheckId] {
        self.below.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The nodes that `id` sends to, and those that they do, and so on; the nearest first.
    pub fn beneath(&self, id: CheckId) -> Vec<CheckId> {
        let mut out: Vec<CheckId> = self.below(id).to_vec();
        let mut seen: BTreeSet<CheckId> = out.iter().copied().collect();
        let mut at = 0;
        while let Some(next) = out.get(at).copied() {
            out.extend(self.below(next).iter().filter(|it| seen.insert(**it)));
            at += 1;
        }
        out
    }

    /// The nodes that send to `id`.
    pub fn above(&self, id: CheckId) -> &[CheckId] {
        self.above.get(&id).map_or(&[], Vec::as_slice)
    }
}
