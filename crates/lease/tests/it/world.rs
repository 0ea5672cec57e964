//! A partition, some nodes, some clients, and messages that take as long as they like.
//!
//! Nothing here has a duration: a message that is never delivered is lost, a node that never takes
//! its step is paused, and a lease that has run out is a claim that comes at any moment. So no
//! clock could make anything happen that does not happen here (I7).

use crate::limits::{Limits, Mutant};
use lease::{Deed, Fence, News, NodeId, Office};
use wire::{Epoch, Seq};

/// One try of one client. `key` is what it bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Try {
    client: u8,
    number: u8,
    key: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    // To the engine.
    Take {
        node: u8,
        seen: Epoch,
    },
    Load {
        node: u8,
        epoch: Epoch,
    },
    Commit {
        node: u8,
        epoch: Epoch,
        before: Seq,
        it: Try,
    },
    /// The second step of a fence that looks first.
    Write {
        node: u8,
        epoch: Epoch,
        before: Seq,
        it: Try,
    },
    Give {
        node: u8,
        epoch: Epoch,
        to: NodeId,
    },
    Check {
        node: u8,
        epoch: Epoch,
        reader: u8,
    },
    // From it.
    Took {
        node: u8,
        id: NodeId,
        seen: Epoch,
        epoch: Option<Epoch>,
    },
    Loaded {
        node: u8,
        id: NodeId,
        epoch: Epoch,
        keys: Vec<u8>,
    },
    Ended {
        node: u8,
        id: NodeId,
        epoch: Epoch,
        is_in: bool,
    },
    Gave {
        node: u8,
        id: NodeId,
        epoch: Epoch,
    },
    Checked {
        node: u8,
        id: NodeId,
        epoch: Epoch,
        reader: u8,
        is_ours: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Node {
    id: NodeId,
    office: Office,
    /// Keys of what was committed, as this node knows it.
    memory: Vec<u8>,
    /// The batch in the engine's hands, and its tenure.
    in_commit: Option<(Epoch, Try)>,
    waiting: Vec<Try>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Client {
    Idle { tries: u8 },
    Asked(Try),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Reader {
    Idle,
    /// What it must see, since it was acknowledged before.
    Asked {
        sees: Vec<u8>,
    },
    Done,
}

/// Something that can happen next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Deliver(usize),
    Claim(usize),
    Release(usize, usize),
    Closed(usize),
    GiveUp(usize),
    Commit(usize),
    Crash(usize),
    Ask(usize, usize),
    TimeOut(usize),
    Read(usize, usize),
    /// Somebody told the node that its tenure is over.
    Over(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct World {
    fence: Fence,
    journal: Vec<(Epoch, Try)>,
    /// The node and the length of the journal at each bump, by epoch.
    tenures: Vec<(NodeId, usize)>,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    readers: Vec<Reader>,
    messages: Vec<Message>,
    acknowledged: Vec<u8>,
    /// Tries that were told "not executed".
    refused: Vec<Try>,
    crashes: u8,
    give_ups: u8,
}

type Checked = Result<(), &'static str>;

fn byte(index: usize) -> u8 {
    u8::try_from(index).unwrap()
}

impl World {
    pub(crate) fn new(limits: &Limits) -> World {
        let node = |it| Node {
            id: NodeId(it),
            office: Office::Out,
            memory: Vec::new(),
            in_commit: None,
            waiting: Vec::new(),
        };
        World {
            fence: Fence::default(),
            journal: Vec::new(),
            tenures: vec![(NodeId(0), 0)],
            nodes: (1..=limits.nodes as u64).map(node).collect(),
            clients: vec![Client::Idle { tries: 0 }; limits.writers],
            readers: vec![Reader::Idle; limits.readers],
            messages: Vec::new(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            crashes: 0,
            give_ups: 0,
        }
    }

    /// All that happened as it should: every write was acknowledged and every read answered.
    pub(crate) fn is_happy(&self) -> bool {
        self.clients.iter().all(|it| *it == Client::Done)
            && self.readers.iter().all(|it| *it == Reader::Done)
    }

    /// The owner changed at least twice and something was committed under two epochs.
    pub(crate) fn has_moved(&self) -> bool {
        let mut epochs: Vec<_> = self.journal.iter().map(|(epoch, _)| *epoch).collect();
        epochs.dedup();
        2 <= epochs.len()
    }

    /// Everything that can happen now.
    pub(crate) fn steps(&self, limits: &Limits) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..self.messages.len()).map(Step::Deliver).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            match node.office {
                Office::Out if self.fence.epoch.0 < limits.epochs => {
                    if !limits.proof || self.may_take(node.id) {
                        steps.push(Step::Claim(at));
                    }
                }
                Office::Out => (),
                Office::Taking { .. } | Office::Loading { .. } | Office::Giving { .. } => {
                    if self.give_ups < limits.give_ups {
                        steps.push(Step::GiveUp(at));
                    }
                }
                Office::Serving { epoch } => {
                    if node.in_commit.is_none() && !node.waiting.is_empty() {
                        steps.push(Step::Commit(at));
                    }
                    if epoch < self.fence.epoch {
                        steps.push(Step::Over(at));
                    }
                    if self.fence.epoch.0 < limits.epochs {
                        let others = (0..self.nodes.len()).filter(|to| *to != at);
                        steps.extend(others.map(|to| Step::Release(at, to)));
                    }
                }
                Office::Closing { .. } => {
                    if node.in_commit.is_none() || limits.mutant == Mutant::CloseOverCommit {
                        steps.push(Step::Closed(at));
                    }
                }
            }
            if self.crashes < limits.crashes && node.office != Office::Out {
                steps.push(Step::Crash(at));
            }
        }
        for (at, client) in self.clients.iter().enumerate() {
            match client {
                Client::Idle { tries } if *tries < limits.attempts => {
                    // Who does not serve says so at once: not worth a step here.
                    let serving = (0..self.nodes.len()).filter(|it| self.is_open(*it));
                    steps.extend(serving.map(|node| Step::Ask(at, node)));
                }
                Client::Asked(it) if it.number + 1 < limits.attempts => {
                    steps.push(Step::TimeOut(at));
                }
                Client::Idle { .. } | Client::Asked(_) | Client::Done => (),
            }
        }
        for (at, reader) in self.readers.iter().enumerate() {
            if *reader == Reader::Idle {
                let serving = (0..self.nodes.len()).filter(|it| self.is_open(*it));
                steps.extend(serving.map(|node| Step::Read(at, node)));
            }
        }
        steps
    }

    fn is_open(&self, node: usize) -> bool {
        matches!(self.nodes[node].office, Office::Serving { .. })
    }

    /// With proof: the owner's process is gone, or it named this node.
    fn may_take(&self, by: NodeId) -> bool {
        let owner = self.fence.owner;
        owner.is_none_or(|id| id == by || self.nodes.iter().all(|node| node.id != id))
    }

    /// Lets a step happen, and says which invariant it broke.
    pub(crate) fn take(&mut self, limits: &Limits, step: &Step) -> Checked {
        match *step {
            Step::Deliver(at) => {
                let message = self.messages.remove(at);
                return self.deliver(limits, message);
            }
            Step::Claim(at) => {
                let news = News::Claim { seen: self.fence.epoch };
                self.hear(limits, at, news)?;
            }
            Step::Release(at, to) => {
                let to = self.nodes[to].id;
                self.hear(limits, at, News::Release { to })?;
            }
            Step::Closed(at) => {
                let epoch = self.nodes[at].office.epoch().unwrap();
                if let Some((_, it)) = self.nodes[at].in_commit.take() {
                    self.refuse(it)?; // The mutant only.
                }
                self.hear(limits, at, News::Closed { epoch })?;
            }
            Step::GiveUp(at) => {
                self.give_ups += 1;
                self.hear(limits, at, News::Failed)?;
            }
            Step::Over(at) => {
                let epoch = self.nodes[at].office.epoch().unwrap();
                self.hear(limits, at, News::Over { epoch })?;
            }
            Step::Commit(at) => self.commit(limits, at)?,
            Step::Crash(at) => {
                self.crashes += 1;
                let id = NodeId(self.nodes[at].id.0 + 10);
                let old = std::mem::replace(
                    &mut self.nodes[at],
                    Node { id, ..World::new(limits).nodes.remove(0) },
                );
                // Their connections break: they do not know, and may ask again.
                for it in old.waiting.into_iter().chain(old.in_commit.map(|(_, it)| it)) {
                    match limits.mutant == Mutant::FailedForUnknown {
                        true => self.refuse(it)?,
                        false => self.lose(it),
                    }
                }
            }
            Step::Ask(client, node) => self.ask(limits, client, node)?,
            Step::TimeOut(client) => {
                if let Client::Asked(it) = self.clients[client] {
                    self.lose(it);
                }
            }
            Step::Read(reader, node) => {
                let sees = self.acknowledged.clone();
                self.readers[reader] = Reader::Asked { sees };
                let epoch = self.nodes[node].office.epoch().unwrap();
                if limits.proof || limits.mutant == Mutant::ReadWithoutProof {
                    self.answer_read(reader, node)?;
                } else {
                    let (node, reader) = (byte(node), byte(reader));
                    self.send(Message::Check { node, epoch, reader });
                }
            }
        }
        self.check()
    }

    fn ask(&mut self, limits: &Limits, client: usize, node: usize) -> Checked {
        let Client::Idle { tries } = self.clients[client] else { return Ok(()) };
        let fresh = if limits.mutant == Mutant::RetryWithoutKey { tries * 16 } else { 0 };
        let key = byte(client) + fresh;
        let it = Try { client: byte(client), number: tries, key };
        self.clients[client] = Client::Asked(it);
        if self.nodes[node].memory.contains(&key) {
            return self.acknowledge(it); // A repeat.
        }
        self.nodes[node].waiting.push(it);
        Ok(())
    }

    fn commit(&mut self, limits: &Limits, at: usize) -> Checked {
        let node = &mut self.nodes[at];
        let it = node.waiting.remove(0);
        if node.memory.contains(&it.key) {
            return self.acknowledge(it);
        }
        let epoch = node.office.epoch().unwrap();
        let before = Seq(node.memory.len() as u64);
        node.in_commit = Some((epoch, it));
        self.send(Message::Commit { node: byte(at), epoch, before, it });
        if limits.mutant == Mutant::AnswerBeforeCommit { self.acknowledge(it) } else { Ok(()) }
    }

    fn hear(&mut self, limits: &Limits, at: usize, news: News) -> Checked {
        let node = byte(at);
        let Some(deed) = self.nodes[at].office.hear(news) else { return Ok(()) };
        match deed {
            Deed::Take { seen } => {
                if limits.mutant == Mutant::LoadBeforeBump {
                    self.nodes[at].memory = self.keys();
                }
                self.send(Message::Take { node, seen });
            }
            Deed::Load { epoch } => {
                if limits.mutant == Mutant::LoadBeforeBump {
                    return self.hear(limits, at, News::Loaded { epoch });
                }
                self.send(Message::Load { node, epoch });
            }
            Deed::Serve { epoch } => {
                let (owner, length) = self.tenures[usize::try_from(epoch.0).unwrap()];
                if owner != self.nodes[at].id || self.nodes[at].memory.len() < length {
                    return Err("I3");
                }
            }
            Deed::Close { .. } => {
                for it in std::mem::take(&mut self.nodes[at].waiting) {
                    self.refuse(it)?;
                }
            }
            Deed::Give { epoch, to } => self.send(Message::Give { node, epoch, to }),
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        // A copy of one that is under way would do nothing that the one cannot.
        if let Err(at) = self.messages.binary_search(&message) {
            self.messages.insert(at, message);
        }
    }

    fn keys(&self) -> Vec<u8> {
        self.journal.iter().map(|(_, it)| it.key).collect()
    }

    fn deliver(&mut self, limits: &Limits, message: Message) -> Checked {
        match message {
            Message::Take { node, seen } => {
                // Who sent it may have died since; then it is as if nobody did.
                let id = self.nodes[usize::from(node)].id;
                let may = !limits.proof || self.may_take(id);
                let epoch = if may { self.fence.take(id, seen) } else { None };
                if epoch.is_some() {
                    self.tenures.push((id, self.journal.len()));
                }
                self.send(Message::Took { node, id, seen, epoch });
            }
            Message::Load { node, epoch } => {
                let id = self.nodes[usize::from(node)].id;
                let mut keys = self.keys();
                if limits.mutant == Mutant::ForgetKeys {
                    keys.iter_mut().for_each(|key| *key = 99);
                }
                self.send(Message::Loaded { node, id, epoch, keys });
            }
            Message::Commit { node, epoch, before, it } => {
                if limits.mutant == Mutant::LookThenWrite {
                    let mut seen = self.fence;
                    if seen.admit(self.nodes[usize::from(node)].id, epoch, before) {
                        self.send(Message::Write { node, epoch, before, it });
                        return Ok(());
                    }
                }
                self.write(limits, node, epoch, before, it)?;
            }
            Message::Write { node, epoch, before, it } => {
                self.write(limits, node, epoch, before, it)?;
            }
            Message::Give { node, epoch, to } => {
                let id = self.nodes[usize::from(node)].id;
                if self.fence.give(id, epoch, to).is_some() {
                    self.tenures.push((NodeId(0), self.journal.len())); // Nobody serves in it.
                }
                self.send(Message::Gave { node, id, epoch });
            }
            Message::Check { node, epoch, reader } => {
                let id = self.nodes[usize::from(node)].id;
                let is_ours = self.fence.owner == Some(id) && self.fence.epoch == epoch;
                self.send(Message::Checked { node, id, epoch, reader, is_ours });
            }
            Message::Took { node, id, seen, epoch } => {
                self.reply(limits, node, id, News::Took { seen, epoch })?;
            }
            Message::Loaded { node, id, epoch, keys } => {
                let at = usize::from(node);
                if self.nodes[at].id == id && self.nodes[at].office == (Office::Loading { epoch }) {
                    self.nodes[at].memory = keys;
                }
                self.reply(limits, node, id, News::Loaded { epoch })?;
            }
            Message::Gave { node, id, epoch } => {
                self.reply(limits, node, id, News::Gave { epoch })?;
            }
            Message::Ended { node, id, epoch, is_in } => {
                self.ended(limits, usize::from(node), id, epoch, is_in)?;
            }
            Message::Checked { node, id, epoch, reader, is_ours } => {
                let at = usize::from(node);
                let serves = self.nodes[at].office == (Office::Serving { epoch });
                if self.nodes[at].id == id && serves && is_ours {
                    self.answer_read(usize::from(reader), at)?;
                }
            }
        }
        self.check()
    }

    fn reply(&mut self, limits: &Limits, node: u8, id: NodeId, news: News) -> Checked {
        let at = usize::from(node);
        if self.nodes[at].id == id { self.hear(limits, at, news) } else { Ok(()) }
    }

    fn write(&mut self, limits: &Limits, node: u8, epoch: Epoch, before: Seq, it: Try) -> Checked {
        // The id is that of the tenure: a batch of a node that died since still bears it.
        let (id, _) = self.tenures[usize::try_from(epoch.0).unwrap()];
        let is_fooled = matches!(limits.mutant, Mutant::FenceWithoutEpoch | Mutant::LookThenWrite);
        let is_in = if is_fooled && self.fence.seq == before {
            self.fence.seq = before.next();
            true
        } else {
            self.fence.admit(id, epoch, before)
        };
        if is_in {
            if epoch < self.fence.epoch {
                return Err("I2");
            }
            self.journal.push((epoch, it));
        }
        self.send(Message::Ended { node, id, epoch, is_in });
        Ok(())
    }

    fn ended(
        &mut self,
        limits: &Limits,
        at: usize,
        id: NodeId,
        epoch: Epoch,
        is_in: bool,
    ) -> Checked {
        let node = &mut self.nodes[at];
        if node.id != id {
            return Ok(());
        }
        let Some((_, it)) = node.in_commit.take_if(|(of, _)| *of == epoch) else { return Ok(()) };
        if is_in {
            if node.office.epoch() == Some(epoch) {
                node.memory.push(it.key);
            }
            self.acknowledge(it)
        } else {
            self.hear(limits, at, News::Over { epoch })?;
            self.refuse(it)
        }
    }

    /// The client is told that it happened.
    fn acknowledge(&mut self, it: Try) -> Checked {
        if !self.keys().contains(&it.key) {
            return Err("I4");
        }
        if self.clients[usize::from(it.client)] == Client::Asked(it) {
            self.clients[usize::from(it.client)] = Client::Done;
            self.acknowledged.push(it.key);
            self.acknowledged.sort_unstable();
        }
        Ok(())
    }

    /// The client is told that it did not and never will happen.
    fn refuse(&mut self, it: Try) -> Checked {
        self.refused.push(it);
        self.refused.sort_unstable();
        self.lose(it);
        Ok(())
    }

    /// The client hears nothing: it may ask once more.
    fn lose(&mut self, it: Try) {
        let client = &mut self.clients[usize::from(it.client)];
        if *client == Client::Asked(it) {
            *client = Client::Idle { tries: it.number + 1 };
        }
    }

    fn answer_read(&mut self, reader: usize, node: usize) -> Checked {
        let Reader::Asked { sees } = std::mem::replace(&mut self.readers[reader], Reader::Done)
        else {
            return Ok(());
        };
        let memory = &self.nodes[node].memory;
        if sees.iter().all(|key| memory.contains(key)) { Ok(()) } else { Err("I3") }
    }

    fn check(&self) -> Checked {
        if self.journal.len() as u64 != self.fence.seq.0
            || !self.journal.is_sorted_by_key(|it| it.0)
        {
            return Err("I1");
        }
        if self.journal.iter().any(|(_, it)| self.refused.contains(it)) {
            return Err("I5");
        }
        let mut clients: Vec<u8> = self.journal.iter().map(|(_, it)| it.client).collect();
        clients.sort_unstable();
        if clients.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("I6");
        }
        Ok(())
    }
}
