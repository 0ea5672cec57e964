//! Two nodes and one engine: random worlds in which partitions are taken at any moment, commits are
//! lost on their way there and back, and reads are confirmed late.
//!
//! Whatever happens, a read is never older than what anybody was told before it was asked; a key
//! happens once; and "not executed" is true. Each rule left out, at the engine's end of it, is
//! caught here.

use crate::world::{PARTITIONS, minted, service};
use account::{
    executor::{Ending, Executor},
    gathering::Asker,
    lookup::{Found, Lookups, Stored},
};
use engine::Write;
use ledger::{Chain, Hash, Partition, Record};
use std::{collections::BTreeMap, time::Duration};
use stdx::{Moment, Rng};
use wire::{
    AccountId, Call, Command, Done, Epoch, KeyHash, Outcome, PartitionId, Reply, Seq, Timestamp,
    call::Failure, query::Query,
};

const SEEDS: u64 = 96;
const STEPS: usize = 1_200;
const ACCOUNTS: usize = 4;

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Reads are answered from memory, unconfirmed.
    Unconfirmed,
    /// The engine looks before the reads are gathered that it confirms.
    ConfirmedBefore,
    /// What may still be executed is said not to have been.
    ResolvedEarly,
    /// The fence is not looked at.
    Unfenced,
}

#[test]
fn two_nodes_act_as_one() {
    for seed in 0..SEEDS {
        if let Err(why) = World::new(seed, Fault::None).run() {
            panic!("{why}, seed {seed}");
        }
    }
}

#[test]
fn each_rule_left_out_is_noticed() {
    for fault in [Fault::Unconfirmed, Fault::ConfirmedBefore, Fault::ResolvedEarly, Fault::Unfenced]
    {
        let is_noticed = |seed| World::new(seed, fault).run().is_err();
        assert!((0..SEEDS).any(is_noticed), "{fault:?} goes unnoticed");
    }
}

/// A fence row.
#[derive(Clone, Copy)]
struct Fence {
    owner: usize,
    epoch: Epoch,
    chain: Chain,
}

struct Node {
    executor: Executor<u32>,
    batch: Option<Batch>,
    confirming: Option<Confirming>,
    looking_up: Option<(Lookups<()>, Vec<Asker<u32>>)>,
    /// The fences as they were when its last confirmation ended.
    fences_before: BTreeMap<PartitionId, Fence>,
}

/// Tenures asked for, and what the engine says of them once it has looked.
type Confirming = (Vec<(PartitionId, Epoch)>, Option<Vec<bool>>);

/// A batch on its way.
struct Batch {
    writes: Vec<Write>,
    /// What the engine made of it, once it has.
    executed: Option<Vec<Ending>>,
    in_doubt: bool,
}

/// What a caller asked, and what it knew.
enum Asked {
    Command {
        key: KeyHash,
    },
    /// The newest version that anybody had been told when it was asked.
    Read {
        floor: u64,
    },
}

struct World {
    fault: Fault,
    rng: Rng,
    now: Moment,
    fences: BTreeMap<PartitionId, Fence>,
    journal: BTreeMap<(PartitionId, Seq), (Record, Hash)>,
    /// Batches whose node has been told that they were not executed, and which are not stopped.
    ghosts: Vec<(usize, Vec<Write>)>,
    nodes: Vec<Node>,
    asked: BTreeMap<u32, Asked>,
    sent: Vec<Command>,
    told: BTreeMap<AccountId, u64>,
    outcomes: BTreeMap<KeyHash, Outcome>,
    /// Attempts under a key of which nobody was told that they were not executed.
    open: BTreeMap<KeyHash, u32>,
    caller_next: u32,
}

impl World {
    fn new(seed: u64, fault: Fault) -> World {
        let chain = Chain::EMPTY;
        let fences =
            (0..PARTITIONS).map(|id| (PartitionId(id), Fence { owner: 0, epoch: Epoch(0), chain }));
        let fences: BTreeMap<_, _> = fences.collect();
        let node = || {
            let mut executor = Executor::new(service(), PARTITIONS, 1_000);
            if fault != Fault::Unconfirmed {
                executor.confirm_reads();
            }
            let fences_before = fences.clone();
            Node { executor, batch: None, confirming: None, looking_up: None, fences_before }
        };
        let mut world = World {
            fault,
            rng: Rng::new(seed),
            now: Moment::from_nanos(3_600_000_000_000),
            nodes: vec![node(), node()],
            fences,
            journal: BTreeMap::new(),
            ghosts: Vec::new(),
            asked: BTreeMap::new(),
            sent: Vec::new(),
            told: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            open: BTreeMap::new(),
            caller_next: 0,
        };
        for id in (0..PARTITIONS).map(PartitionId) {
            world.take(0, id);
        }
        for number in 0..ACCOUNTS {
            world.send_new(0, number, &format!("open acc-{number}"));
        }
        world
    }

    fn run(mut self) -> Result<(), String> {
        while self.nodes[0].executor.waiting_count() > 0 {
            self.serve(0)?;
        }
        for _ in 0..STEPS {
            self.now = self.now + Duration::from_millis(self.rng.below(60) as u64);
            let node = self.rng.below(self.nodes.len());
            self.step(node)?;
            self.collect(node)?;
        }
        for node in [0, 1, 0, 1, 0, 1] {
            while self.nodes[node].executor.waiting_count() > 0 {
                self.now = self.now + Duration::from_millis(100);
                self.serve(node)?;
            }
        }
        self.check()
    }

    fn step(&mut self, node: usize) -> Result<(), String> {
        match self.rng.below(16) {
            0..=2 => {
                let (number, account) = (self.sent.len(), self.rng.below(ACCOUNTS));
                let amount = self.rng.below(9) + 1;
                self.send_new(node, number, &format!("credit acc-{account} {amount}"));
            }
            3 if !self.sent.is_empty() => {
                let command = self.sent[self.rng.below(self.sent.len())].clone();
                self.send(node, command);
            }
            4 | 5 => self.read(node),
            6 | 7 => {
                self.stage(node);
                // Mostly all goes well, and fast.
                if self.rng.below(3) != 0 {
                    self.execute(node);
                    self.end(node);
                }
            }
            8 => self.execute(node),
            9 => self.end(node),
            10 => self.lose_answer(node),
            11 => self.begin_confirm(node),
            12 => self.look(node),
            13 => self.end_confirm(node),
            14 if self.rng.below(3) == 0 => {
                let partition = PartitionId(u16::try_from(self.rng.below(2)).unwrap());
                self.take(node, partition);
            }
            _ => self.look_up(node)?,
        }
        if self.nodes[node].executor.patience_ends().is_some_and(|ends| ends <= self.now) {
            self.nodes[node].executor.lose_patience(self.now);
        }
        Ok(())
    }

    /// Everything that one node has is done.
    fn serve(&mut self, node: usize) -> Result<(), String> {
        self.stage(node);
        self.execute(node);
        self.end(node);
        self.begin_confirm(node);
        self.look(node);
        self.end_confirm(node);
        self.look_up(node)?;
        self.look_up(node)?;
        self.collect(node)
    }

    fn send_new(&mut self, node: usize, number: usize, text: &str) {
        let mut command = minted(u32::try_from(number).unwrap(), text);
        command.minted_at = self.wall();
        self.sent.push(command.clone());
        self.send(node, command);
    }

    fn send(&mut self, node: usize, command: Command) {
        let partition = command.action.account().partition(PARTITIONS);
        let caller = self.call(node, partition, Call::Execute(command.clone()));
        self.asked.insert(caller, Asked::Command { key: command.key });
        *self.open.entry(command.key).or_default() += 1;
    }

    fn read(&mut self, node: usize) {
        let account = AccountId::parse(&format!("acc-{}", self.rng.below(ACCOUNTS))).unwrap();
        let floor = self.told.get(&account).copied().unwrap_or(0);
        let partition = account.partition(PARTITIONS);
        let caller = self.call(node, partition, Call::Query(Query::Account(account)));
        self.asked.insert(caller, Asked::Read { floor });
    }

    fn call(&mut self, node: usize, partition: PartitionId, call: Call) -> u32 {
        let caller = self.caller_next;
        self.caller_next += 1;
        let (time_left, place) = (Duration::from_secs(5), (partition, PARTITIONS));
        self.nodes[node].executor.arrive(caller, self.now, time_left, place, call);
        caller
    }

    fn wall(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now.as_nanos() / 1_000).unwrap())
    }

    fn stage(&mut self, node: usize) {
        let wall = self.wall();
        let it = &mut self.nodes[node];
        if it.batch.is_none() {
            let writes = it.executor.stage(self.now, wall);
            if !writes.is_empty() {
                it.batch = Some(Batch { writes, executed: None, in_doubt: false });
            }
        }
    }

    /// The batch reaches the engine.
    fn execute(&mut self, node: usize) {
        let Some(mut batch) = self.nodes[node].batch.take() else { return };
        if batch.executed.is_none() {
            batch.executed = Some(self.write(node, &batch.writes));
        }
        self.nodes[node].batch = Some(batch);
    }

    fn write(&mut self, node: usize, writes: &[Write]) -> Vec<Ending> {
        let mut endings = Vec::new();
        for write in writes {
            let header = write.header;
            let fence = self.fences.get_mut(&header.partition).unwrap();
            let is_end = fence.chain.seq.next() == header.seq;
            let is_next = is_end && fence.chain.hash == header.previous;
            let is_owner = fence.owner == node && fence.epoch == header.epoch;
            if !(is_next && is_owner || self.fault == Fault::Unfenced) {
                endings.push(Ending::Fenced);
                continue;
            }
            fence.chain = Chain { seq: header.seq, hash: write.hash, time: header.time };
            let record = Record::decode(&write.record).unwrap();
            self.journal.insert((header.partition, header.seq), (record, write.hash));
            endings.push(Ending::Committed);
        }
        endings
    }

    /// The engine's answer to the batch comes, or what is found out of it.
    fn end(&mut self, node: usize) {
        let Some(batch) = &mut self.nodes[node].batch else { return };
        let executed = match batch.executed.take() {
            Some(executed) => executed,
            None if !batch.in_doubt => return,
            // It was stopped for good, and the rows are looked at.
            None => {
                let writes = &batch.writes;
                let held = writes.iter().map(|it| {
                    let fence = &self.fences[&it.header.partition];
                    fence.owner == node && fence.epoch == it.header.epoch
                });
                let ending = |is_held| if is_held { Ending::NotExecuted } else { Ending::Fenced };
                let endings: Vec<Ending> = held.map(ending).collect();
                if self.fault == Fault::ResolvedEarly {
                    self.ghosts.push((node, writes.clone()));
                }
                endings
            }
        };
        self.nodes[node].batch = None;
        self.nodes[node].executor.ended(&executed);
        if self.rng.below(2) == 0 {
            for (node, writes) in std::mem::take(&mut self.ghosts) {
                self.write(node, &writes);
            }
        }
    }

    /// The connection breaks before the engine's answer has come.
    fn lose_answer(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if let Some(batch) = it.batch.as_mut().filter(|it| !it.in_doubt) {
            batch.in_doubt = true;
            it.executor.doubt(self.now);
        }
    }

    fn begin_confirm(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if let Some(held) = it.executor.take_confirm(self.now) {
            assert!(it.confirming.is_none());
            it.confirming = Some((held, None));
        }
    }

    /// The engine looks.
    fn look(&mut self, node: usize) {
        let fences = match self.fault {
            Fault::ConfirmedBefore => &self.nodes[node].fences_before.clone(),
            Fault::None | Fault::Unconfirmed | Fault::ResolvedEarly | Fault::Unfenced => {
                &self.fences
            }
        };
        if let Some((held, seen @ None)) = &mut self.nodes[node].confirming {
            let is_ours = |(id, epoch): &(PartitionId, Epoch)| {
                fences[id].owner == node && fences[id].epoch == *epoch
            };
            *seen = Some(held.iter().map(is_ours).collect());
        }
    }

    fn end_confirm(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if let Some((_, Some(_))) = &it.confirming
            && let Some((_, seen)) = it.confirming.take()
        {
            // Now and then the answer is lost.
            let seen = seen.filter(|_| self.rng.below(8) != 0);
            it.executor.confirmed(seen.as_deref());
            it.fences_before = self.fences.clone();
        }
    }

    /// Look-ups that are wanted come back; all accounts are in memory.
    fn look_up(&mut self, node: usize) -> Result<(), String> {
        let it = &mut self.nodes[node];
        let Some((wanted, callers)) = it.looking_up.take() else {
            it.looking_up = it.executor.take_lookups();
            return Ok(());
        };
        let outcome = |(partition, seq, index): (PartitionId, Seq, u16)| {
            self.journal.get(&(partition, seq)).and_then(|it| it.0.outcome(service(), index))
        };
        let used = |key| {
            self.journal.iter().find_map(|((partition, seq), (record, _))| {
                let mut items = (0_u16..).zip(&record.items);
                let (index, item) = items.find(|(_, item)| item.key == key)?;
                let outcome = outcome((*partition, *seq, index))?;
                Some(Stored { fingerprint: item.fingerprint, outcome })
            })
        };
        let records = wanted.records.iter().map(|it| outcome((it.partition, it.seq, it.index)));
        let found = Found {
            accounts: vec![None; wanted.accounts.len()],
            objects: vec![None; wanted.objects.len()],
            originals: vec![None; wanted.originals.len()],
            keys: wanted.keys.iter().map(|it| used(it.key)).collect(),
            records: records.collect(),
        };
        it.executor.found(wanted, callers, found).map_err(|err| err.0.to_owned())
    }

    /// A node takes a partition, from whomever, and loads what the journal has.
    fn take(&mut self, node: usize, id: PartitionId) {
        let fence = self.fences.get_mut(&id).unwrap();
        (fence.owner, fence.epoch) = (node, Epoch(fence.epoch.0 + 1));
        let epoch = fence.epoch;
        let executor = &mut self.nodes[node].executor;
        if let Some((_, old)) = executor.owned().into_iter().find(|(of, _)| *of == id) {
            executor.close(id, old);
        }
        let mut partition = Partition::new(service(), id, epoch, Chain::EMPTY, Vec::new());
        for number in 0..ACCOUNTS {
            let account = AccountId::parse(&format!("acc-{number}")).unwrap();
            if account.partition(PARTITIONS) == id {
                partition.admit(account, None).unwrap();
            }
        }
        for (_, (record, hash)) in self.journal.iter().filter(|((of, _), _)| *of == id) {
            if partition.replay(record, *hash).is_err() {
                return; // Only a journal without a fence does not fit together.
            }
        }
        executor.own(partition, 0);
    }

    fn collect(&mut self, node: usize) -> Result<(), String> {
        let mut answers = Vec::new();
        self.nodes[node].executor.take_answers(&mut answers);
        answers.into_iter().try_for_each(|(caller, reply)| self.judge(caller, reply))
    }

    fn judge(&mut self, caller: u32, reply: Reply) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&caller) else {
            return Err(format!("caller {caller} was answered twice: {reply:?}"));
        };
        match (asked, reply) {
            (Asked::Command { key }, Reply::Failed(failure)) => {
                if failure != Failure::OutcomeUnknown {
                    *self.open.entry(key).or_default() -= 1;
                }
            }
            (Asked::Read { .. }, Reply::Failed(_)) => (),
            (Asked::Read { floor }, Reply::Account(state)) => {
                if state.version < floor {
                    return Err(format!("{} at {}, told before: {floor}", state.id, state.version));
                }
                self.tell(&state.id, state.version);
            }
            (Asked::Command { key }, Reply::Outcome(outcome)) => {
                if let Outcome::Done(Done::Posted(it)) = &outcome {
                    self.tell(&it.account, it.version);
                }
                let known = self.outcomes.entry(key).or_insert_with(|| outcome.clone());
                if *known != outcome {
                    return Err(format!("one key, two outcomes: {known:?} and {outcome:?}"));
                }
            }
            (_, reply) => return Err(format!("nobody asked for {reply:?}")),
        }
        Ok(())
    }

    fn tell(&mut self, account: &AccountId, version: u64) {
        let told = self.told.entry(account.clone()).or_default();
        *told = version.max(*told);
    }

    fn check(&self) -> Result<(), String> {
        let mut times: BTreeMap<KeyHash, usize> = BTreeMap::new();
        for item in self.journal.values().flat_map(|(record, _)| &record.items) {
            *times.entry(item.key).or_default() += 1;
        }
        if let Some((key, _)) = times.iter().find(|(_, count)| 1 < **count) {
            return Err(format!("{key:?} was executed twice"));
        }
        for key in self.outcomes.keys() {
            if !times.contains_key(key) {
                return Err(format!("{key:?} was told, and is nowhere"));
            }
        }
        for key in times.keys() {
            if self.open[key] == 0 && !self.outcomes.contains_key(key) {
                return Err(format!("{key:?} was said not to have been executed, and was"));
            }
        }
        Ok(())
    }
}
