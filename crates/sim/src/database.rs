//! A database that does one statement after the other, and forgets nothing: fence rows, node rows,
//! the journal.

use crate::{node::service, rule::Rule};
use account::{
    executor::Ending,
    lookup::{Found, Lookups, Stored},
};
use engine::Write;
use lease::{Fence, Holding, NodeId};
use ledger::{Chain, Hash, Record};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use stdx::Moment;
use wire::{Epoch, KeyHash, PartitionId, Seq};

/// A lease, and how long after its end nobody takes over.
const TTL: Duration = Duration::from_millis(3_500);

/// What a node asks.
#[derive(Debug)]
pub(crate) enum Statement {
    Join {
        name: Arc<str>,
    },
    Renew,
    Survey,
    Take {
        partition: PartitionId,
        seen: Epoch,
    },
    Load {
        partition: PartitionId,
    },
    Give {
        partition: PartitionId,
        epoch: Epoch,
        to: NodeId,
    },
    /// Each with the row's turn as the node knows it.
    Write(Vec<(Write, u64)>),
    Resolve(Vec<Write>),
    Confirm(Vec<(PartitionId, Epoch)>),
    LookUp(Lookups<()>),
}

/// What it is told.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Whether it is there still.
    Alive(bool),
    Survey {
        members: Vec<Seen>,
        holdings: Vec<Holding>,
    },
    Took(Option<Epoch>),
    Loaded(Vec<(Record, Hash)>),
    Gave,
    Written(Vec<Ending>),
    /// With the row's new turn, where it has one.
    Resolved(Vec<(Ending, Option<u64>)>),
    Confirmed(Vec<bool>),
    Found(Lookups<()>, Found),
}

/// A node's row, as a survey shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) is_gone: bool,
    pub(crate) is_over: bool,
    pub(crate) age: Duration,
}

struct NodeRow {
    name: Arc<str>,
    renewed_at: Moment,
    is_gone: bool,
}

#[derive(Clone, Copy, Default)]
struct FenceRow {
    fence: Fence,
    hash: Option<Hash>,
    turn: u64,
}

/// A record, and who wrote it.
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) hash: Hash,
    pub(crate) by: NodeId,
}

pub(crate) struct Database {
    left_out: Option<Rule>,
    nodes: BTreeMap<NodeId, NodeRow>,
    fences: Vec<FenceRow>,
    pub(crate) journal: BTreeMap<(PartitionId, Seq), Entry>,
    /// What its clock is ahead.
    pub(crate) ahead: Duration,
}

impl Database {
    pub(crate) fn new(partitions: u16, left_out: Option<Rule>) -> Database {
        Database {
            left_out,
            nodes: BTreeMap::new(),
            fences: vec![FenceRow::default(); usize::from(partitions)],
            journal: BTreeMap::new(),
            ahead: Duration::ZERO,
        }
    }

    /// Does it, now.
    pub(crate) fn execute(&mut self, now: Moment, by: NodeId, statement: Statement) -> Answer {
        let now = now + self.ahead;
        match statement {
            Statement::Join { name } => {
                // An address that is listened at again was left by whoever had it.
                let same = self.nodes.values_mut().filter(|row| row.name == name);
                same.for_each(|row| row.is_gone = true);
                self.nodes.insert(by, NodeRow { name, renewed_at: now, is_gone: false });
                Answer::Alive(true)
            }
            Statement::Renew => {
                let row = self.nodes.get_mut(&by).filter(|row| !row.is_gone);
                Answer::Alive(row.map(|row| row.renewed_at = now).is_some())
            }
            Statement::Survey => self.survey(now),
            Statement::Take { partition, seen } => {
                Answer::Took(self.take(now, by, partition, seen))
            }
            Statement::Load { partition } => {
                let of = self.journal.iter().filter(|((id, _), _)| *id == partition);
                Answer::Loaded(of.map(|(_, it)| (it.record.clone(), it.hash)).collect())
            }
            Statement::Give { partition, epoch, to } => {
                let row = &mut self.fences[usize::from(partition.0)];
                if row.fence.give(by, epoch, to).is_some() {
                    row.turn = 0;
                }
                Answer::Gave
            }
            Statement::Write(writes) => {
                let write = |(write, turn)| self.write(by, &write, turn);
                Answer::Written(writes.into_iter().map(write).collect())
            }
            Statement::Resolve(writes) => {
                Answer::Resolved(writes.iter().map(|write| self.resolve(by, write)).collect())
            }
            Statement::Confirm(held) => {
                let is_ours = |(id, epoch): &(PartitionId, Epoch)| {
                    let fence = self.fences[usize::from(id.0)].fence;
                    fence.owner == Some(by) && fence.epoch == *epoch
                };
                Answer::Confirmed(held.iter().map(is_ours).collect())
            }
            Statement::LookUp(wanted) => {
                let found = self.find(&wanted);
                Answer::Found(wanted, found)
            }
        }
    }

    fn survey(&self, now: Moment) -> Answer {
        let seen = |(id, row): (&NodeId, &NodeRow)| Seen {
            id: *id,
            name: Arc::clone(&row.name),
            is_gone: row.is_gone,
            is_over: row.renewed_at + TTL < now,
            age: now.since(row.renewed_at),
        };
        let holding = |(id, row): (u16, &FenceRow)| Holding {
            partition: PartitionId(id),
            owner: row.fence.owner,
            epoch: row.fence.epoch,
            pinned: None,
        };
        Answer::Survey {
            members: self.nodes.iter().map(seen).collect(),
            holdings: (0..).zip(&self.fences).map(holding).collect(),
        }
    }

    fn take(&mut self, now: Moment, by: NodeId, id: PartitionId, seen: Epoch) -> Option<Epoch> {
        let row = &mut self.fences[usize::from(id.0)];
        if let Some(owner) = row.fence.owner.filter(|owner| *owner != by)
            && let Some(node) = self.nodes.get_mut(&owner)
        {
            node.is_gone |= node.renewed_at + TTL < now;
            if !node.is_gone {
                return None;
            }
        }
        if self.nodes.get(&by).is_none_or(|node| node.is_gone) {
            return None;
        }
        let epoch = row.fence.take(by, seen)?;
        row.turn = 0;
        if self.left_out == Some(Rule::EpochGoesUp) {
            row.fence.epoch = seen.max(Epoch(1));
            return Some(row.fence.epoch);
        }
        Some(epoch)
    }

    fn write(&mut self, by: NodeId, write: &Write, turn: u64) -> Ending {
        let header = write.header;
        let row = &mut self.fences[usize::from(header.partition.0)];
        let before = Seq(header.seq.0 - 1);
        let continues = row.hash.unwrap_or(Hash::NONE) == header.previous && row.turn == turn;
        let is_let_in = continues && row.fence.admit(by, header.epoch, before);
        if !is_let_in && self.left_out != Some(Rule::Fence) {
            return Ending::Fenced;
        }
        (row.fence.seq, row.hash) = (header.seq, Some(write.hash));
        if let Ok(record) = Record::decode(&write.record) {
            let entry = Entry { record, hash: write.hash, by };
            self.journal.insert((header.partition, header.seq), entry);
        }
        Ending::Committed
    }

    fn resolve(&mut self, by: NodeId, write: &Write) -> (Ending, Option<u64>) {
        let header = write.header;
        let found = self.journal.get(&(header.partition, header.seq));
        if found.is_some_and(|it| it.hash == write.hash) {
            return (Ending::Committed, None);
        }
        let row = &mut self.fences[usize::from(header.partition.0)];
        let is_ours = row.fence.owner == Some(by) && row.fence.epoch == header.epoch;
        if !is_ours || row.fence.seq.next() != header.seq {
            return (Ending::Fenced, None);
        }
        // What may yet be on its way comes too late.
        row.turn += 1;
        (Ending::NotExecuted, Some(row.turn))
    }

    fn find(&self, wanted: &Lookups<()>) -> Found {
        let outcome = |partition, seq, index| {
            self.journal.get(&(partition, seq)).and_then(|it| it.record.outcome(service(), index))
        };
        let used = |key: KeyHash| {
            self.journal.iter().find_map(|((partition, seq), entry)| {
                let mut items = (0_u16..).zip(&entry.record.items);
                let (index, item) = items.find(|(_, item)| item.key == key)?;
                let outcome = outcome(*partition, *seq, index)?;
                Some(Stored { fingerprint: item.fingerprint, outcome })
            })
        };
        let records = wanted.records.iter().map(|it| outcome(it.partition, it.seq, it.index));
        Found {
            accounts: vec![None; wanted.accounts.len()],
            objects: vec![None; wanted.objects.len()],
            originals: vec![None; wanted.originals.len()],
            keys: wanted.keys.iter().map(|it| used(it.key)).collect(),
            records: records.collect(),
        }
    }

    /// What is wrong with the journal, if anything: each chain whole, and epochs that go up with
    /// the owner (I1, I2).
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut last: BTreeMap<PartitionId, (Chain, Epoch, NodeId)> = BTreeMap::new();
        for ((id, seq), entry) in &self.journal {
            let header = &entry.record.header;
            let chain = Chain { seq: *seq, hash: entry.hash, time: header.time };
            if let Some((before, epoch, by)) = last.insert(*id, (chain, header.epoch, entry.by)) {
                if before.seq.next() != *seq || before.hash != header.previous {
                    return Err(format!("record {} of {} does not continue", seq.0, id.0));
                }
                if header.epoch < epoch || (by != entry.by && header.epoch == epoch) {
                    return Err(format!("the epoch of {} did not go up at {}", id.0, seq.0));
                }
            }
        }
        Ok(())
    }
}
