//! An account node: the executor and the heir that ship, and in place of the threads between them
//! and the database one connection for each.

use crate::{
    database::{Answer, Seen, Statement},
    rule::Rule,
    wires::{Ask, Event, Link, Place, Tick, ToGateway, ToNode, Wires},
};
use account::{
    executor::{Ended, Ending, Executor},
    gathering::Asker,
    lookup::Lookups,
};
use engine::{KeyScan, Write};
use lease::{Deed, Heir, Holding, Member, News, NodeId, Order, Sign, Survey};
use ledger::{Chain, Hash, Partition, Record};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use stdx::Moment;
use wire::{AccountId, Call, Epoch, PartitionId, Reply, ServiceTag, Timestamp};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Since its last renewal, before a node is suspected.
const QUIET_AFTER: Duration = Duration::from_millis(2_200);
/// Sooner than a gateway gives a node up: what is said then is heard.
const COMMIT_MAX_MS: u64 = 800;
const TTL: Duration = Duration::from_secs(3);
const LOCK_DELAY: Duration = Duration::from_millis(500);
/// A process that has ended is started again after as long, and up to twice as long.
const RESTART: Duration = Duration::from_millis(400);

pub(crate) fn service() -> ServiceTag {
    ServiceTag::of("a")
}

/// What is fixed for a node, whatever process it is.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) roster: Vec<Arc<str>>,
    pub(crate) gateways: usize,
    pub(crate) partitions: u16,
    pub(crate) accounts: Vec<AccountId>,
    /// What a second is for its clock, in millionths.
    pub(crate) rate: u64,
    pub(crate) left_out: Option<Rule>,
}

/// Who asked: a gateway, and which attempt of its.
type Caller = (usize, u64);

pub(crate) struct Node {
    pub(crate) seat: Seat,
    /// Of this process; no other ever has it.
    pub(crate) life: NodeId,
    pub(crate) is_alive: bool,
    /// It stands still until then.
    pub(crate) paused_until: Moment,
    executor: Executor<Caller>,
    heir: Heir,
    /// The statements under way, by their numbers.
    asked: BTreeMap<Link, u64>,
    batch: Option<Batch>,
    turns: BTreeMap<PartitionId, (Epoch, u64)>,
    deeds: VecDeque<(PartitionId, Deed)>,
    doing: Option<(PartitionId, Deed)>,
    callers: Vec<Asker<Caller>>,
    /// By its own clock.
    renewed: Moment,
    steady_since: Moment,
}

struct Batch {
    writes: Vec<Write>,
    is_in_doubt: bool,
    /// Everybody was told at once: the rule that forbids it is left out.
    is_told: bool,
}

impl Node {
    pub(crate) fn new(seat: Seat, life: NodeId, now: Moment) -> Node {
        let mut executor = Executor::new(service(), seat.partitions, 1_000);
        if seat.left_out != Some(Rule::ConfirmReads) {
            executor.confirm_reads();
        }
        let roster = seat.roster.clone();
        let local = local(now, seat.rate);
        Node {
            heir: Heir::new(life, Arc::clone(&seat.name), roster, life.0, local),
            seat,
            life,
            is_alive: false,
            paused_until: Moment::ZERO,
            executor,
            asked: BTreeMap::new(),
            batch: None,
            turns: BTreeMap::new(),
            deeds: VecDeque::new(),
            doing: None,
            callers: Vec::new(),
            renewed: local,
            steady_since: local,
        }
    }

    fn me(&self) -> Place {
        Place::Node(self.seat.index)
    }

    fn local(&self, wires: &Wires) -> Moment {
        local(wires.now, self.seat.rate)
    }

    /// A process of this node begins.
    fn start(&mut self, wires: &mut Wires) {
        let life = NodeId(wires.number());
        *self = Node::new(self.seat.clone(), life, wires.now);
        self.is_alive = true;
        self.ask(wires, Link::Pulse, Statement::Join { name: Arc::clone(&self.seat.name) }, 2_000);
        self.tick(wires, LOOK_EVERY, Tick::Look);
        self.tick(wires, RENEW_EVERY, Tick::Renew);
    }

    /// The process ends, and another is started.
    pub(crate) fn die(&mut self, wires: &mut Wires) {
        if !self.is_alive {
            return;
        }
        self.is_alive = false;
        for gateway in 0..self.seat.gateways {
            let gone = ToGateway::Gone { node: self.seat.index, life: self.life };
            wires.send(self.me(), Event::Gateway(gateway, gone));
        }
        let after = RESTART + wires.micros(400_000);
        wires.after(after, Event::Node(self.seat.index, ToNode::Start));
    }

    /// Something by its own clock.
    fn tick(&self, wires: &mut Wires, time: Duration, tick: Tick) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let real = Duration::from_nanos(nanos.saturating_mul(1_000_000) / self.seat.rate);
        wires.after(real, Event::Node(self.seat.index, ToNode::Tick { life: self.life, tick }));
    }

    fn ask(&mut self, wires: &mut Wires, link: Link, statement: Statement, max_ms: u64) {
        let (number, node) = (wires.number(), self.seat.index);
        self.asked.insert(link, number);
        let ask = Ask { node, life: self.life, link, number, statement };
        wires.send(self.me(), Event::Database(ask));
        self.tick(wires, Duration::from_millis(max_ms), Tick::TimeOut(link, number));
    }

    pub(crate) fn hear(&mut self, wires: &mut Wires, message: ToNode) -> Result<(), String> {
        match message {
            ToNode::Start => self.start(wires),
            ToNode::Tick { life, tick } if life == self.life => self.on_tick(wires, tick),
            ToNode::Call { gateway, attempt, partition, left, call } => {
                self.arrive(wires, (gateway, attempt), partition, left, call);
            }
            ToNode::Told { life, link, number, answer } => {
                if life == self.life && self.asked.get(&link) == Some(&number) {
                    self.asked.remove(&link);
                    self.told(wires, answer)?;
                }
            }
            // Of a process before this one.
            ToNode::Tick { .. } => (),
        }
        self.pump(wires);
        Ok(())
    }

    fn arrive(
        &mut self,
        wires: &Wires,
        caller: Caller,
        partition: PartitionId,
        left: Duration,
        call: Call,
    ) {
        let (now, place) = (self.local(wires), (partition, self.seat.partitions));
        self.executor.arrive(caller, now, left, place, call);
    }

    fn on_tick(&mut self, wires: &mut Wires, tick: Tick) {
        match tick {
            Tick::Look => {
                if !self.asked.contains_key(&Link::Lease) && self.deeds.is_empty() {
                    self.ask(wires, Link::Lease, Statement::Survey, 6_000);
                }
                self.tick(wires, LOOK_EVERY, Tick::Look);
            }
            Tick::Renew => {
                if !self.asked.contains_key(&Link::Pulse) {
                    self.ask(wires, Link::Pulse, Statement::Renew, 900);
                }
                // What was announced while a way was cut has to be said again.
                self.announce(wires);
                self.tick(wires, RENEW_EVERY, Tick::Renew);
            }
            Tick::Patience => {
                let now = self.local(wires);
                if self.executor.patience_ends().is_some_and(|ends| ends <= now) {
                    self.executor.lose_patience(now);
                }
            }
            Tick::TimeOut(link, number) => {
                if self.asked.get(&link) == Some(&number) {
                    self.asked.remove(&link);
                    self.timed_out(wires, link);
                }
            }
        }
    }

    /// A statement was not answered: its connection is given up.
    fn timed_out(&mut self, wires: &mut Wires, link: Link) {
        match link {
            Link::Commit => self.doubt(wires),
            Link::Confirm => self.executor.confirmed(None),
            Link::Pulse => (),
            Link::LookUp => {
                // Whoever waits for it is told that nobody knows, and asks again.
                drop(std::mem::take(&mut self.callers));
                self.die(wires);
            }
            Link::Lease => {
                let Some((partition, deed)) = self.doing.take() else { return };
                let news = match deed {
                    Deed::Give { epoch, .. } => News::Gave { epoch },
                    Deed::Take { .. }
                    | Deed::Load { .. }
                    | Deed::Close { .. }
                    | Deed::Serve { .. } => News::Failed,
                };
                self.tell_heir(wires, partition, news);
            }
        }
    }

    fn doubt(&mut self, wires: &mut Wires) {
        let now = self.local(wires);
        let Some(batch) = &mut self.batch else { return };
        if self.seat.left_out == Some(Rule::Doubt) {
            let endings = vec![Ending::Refused; batch.writes.len()];
            self.batch = None;
            self.executor.ended(&endings);
            return;
        }
        if !batch.is_in_doubt && !batch.is_told {
            self.executor.doubt(now);
            self.tick(wires, account::executor::PATIENCE, Tick::Patience);
        }
        let Some(batch) = &mut self.batch else { return };
        batch.is_in_doubt = true;
        let writes = batch.writes.clone();
        self.ask(wires, Link::Commit, Statement::Resolve(writes), 2_000);
    }

    fn told(&mut self, wires: &mut Wires, answer: Answer) -> Result<(), String> {
        match answer {
            Answer::Alive(true) => {
                let now = self.local(wires);
                if TTL < now.since(self.renewed) {
                    self.steady_since = now;
                }
                self.renewed = now;
            }
            Answer::Alive(false) => self.die(wires),
            Answer::Survey { members, holdings } => self.look(wires, &members, holdings),
            Answer::Took(epoch) => {
                if let Some((partition, Deed::Take { seen })) = self.doing.take() {
                    self.tell_heir(wires, partition, News::Took { seen, epoch });
                }
            }
            Answer::Loaded(records) => self.load(wires, &records),
            Answer::Gave => {
                if let Some((partition, Deed::Give { epoch, .. })) = self.doing.take() {
                    self.tell_heir(wires, partition, News::Gave { epoch });
                }
            }
            Answer::Written(endings) => self.end(&endings),
            Answer::Resolved(fates) => {
                let Some(batch) = &self.batch else { return Ok(()) };
                for (write, (_, turn)) in batch.writes.iter().zip(&fates) {
                    if let Some(turn) = turn {
                        let header = write.header;
                        self.turns.insert(header.partition, (header.epoch, *turn));
                    }
                }
                let endings: Vec<Ending> = fates.into_iter().map(|(ending, _)| ending).collect();
                self.end(&endings);
            }
            Answer::Confirmed(ours) => self.executor.confirmed(Some(&ours)),
            Answer::Found(wanted, found) => {
                let callers = std::mem::take(&mut self.callers);
                let taken = self.executor.found(wanted, callers, found);
                taken.map_err(|why| why.0.to_owned())?;
            }
        }
        Ok(())
    }

    fn end(&mut self, endings: &[Ending]) {
        if let Some(batch) = self.batch.take()
            && !batch.is_told
        {
            self.executor.ended(endings);
        }
    }

    fn look(&mut self, wires: &mut Wires, rows: &[Seen], holdings: Vec<Holding>) {
        let now = self.local(wires);
        let is_steady =
            now.since(self.renewed) <= TTL && TTL + LOCK_DELAY <= now.since(self.steady_since);
        let mine = rows.iter().find(|row| row.id == self.life);
        if mine.is_some_and(|row| row.is_gone) {
            return self.die(wires);
        }
        let member = |row: &Seen| Member {
            id: row.id,
            name: Arc::clone(&row.name),
            sign: match () {
                () if row.is_gone || (row.is_over && is_steady && row.id != self.life) => {
                    Sign::Dead
                }
                () if row.id == self.life || row.age < QUIET_AFTER => Sign::Lively,
                () => Sign::Quiet,
            },
            is_leaving: false,
        };
        let survey = Survey { members: rows.iter().map(member).collect(), holdings };
        let orders = self.heir.look(now, &survey);
        self.deeds.extend(orders.into_iter().map(|Order { partition, deed }| (partition, deed)));
    }

    fn tell_heir(&mut self, wires: &Wires, partition: PartitionId, news: News) {
        let now = self.local(wires);
        if let Some(deed) = self.heir.hear(now, partition, news) {
            self.deeds.push_front((partition, deed));
        }
    }

    /// Takes office: what the journal has, replayed.
    fn load(&mut self, wires: &Wires, records: &[(Record, Hash)]) {
        let Some((id, Deed::Load { epoch })) = self.doing.take() else { return };
        let mut partition = Partition::new(service(), id, epoch, Chain::EMPTY, Vec::new());
        let here = self.seat.accounts.iter().filter(|it| it.partition(self.seat.partitions) == id);
        let is_new = here.cloned().all(|it| partition.admit(it, None).is_ok());
        // Only a journal without a fence does not fit together.
        let is_whole = records.iter().all(|(it, hash)| partition.replay(it, *hash).is_ok());
        if !is_new || !is_whole {
            return self.tell_heir(wires, id, News::Failed);
        }
        self.turns.remove(&id);
        self.executor.own(partition, 0);
        self.tell_heir(wires, id, News::Loaded { epoch });
    }

    /// Carries whatever there is to carry.
    fn pump(&mut self, wires: &mut Wires) {
        if !self.is_alive {
            return;
        }
        self.stage(wires);
        self.look_up(wires);
        if !self.asked.contains_key(&Link::Confirm)
            && let Some(held) = self.executor.take_confirm(self.local(wires))
        {
            self.ask(wires, Link::Confirm, Statement::Confirm(held), 1_500);
        }
        self.do_deeds(wires);
        if self.executor.take_changed() {
            self.announce(wires);
        }
        let mut answers: Vec<(Caller, Reply)> = Vec::new();
        self.executor.take_answers(&mut answers);
        for ((gateway, attempt), reply) in answers {
            let replied = ToGateway::Replied { attempt, reply };
            wires.send(self.me(), Event::Gateway(gateway, replied));
        }
    }

    fn stage(&mut self, wires: &mut Wires) {
        if self.batch.is_some() || !self.executor.has_ready() {
            return;
        }
        let now = self.local(wires);
        let wall = Timestamp(i64::try_from(now.as_nanos() / 1_000).unwrap_or(0));
        let writes = self.executor.stage(now, wall);
        if writes.is_empty() {
            return;
        }
        let turn = |write: &Write| {
            let known = self.turns.get(&write.header.partition);
            known.filter(|(epoch, _)| *epoch == write.header.epoch).map_or(0, |(_, turn)| *turn)
        };
        let batch = writes.iter().map(|it| (it.clone(), turn(it))).collect();
        let is_told = self.seat.left_out == Some(Rule::TellAfterCommit);
        if is_told {
            self.executor.ended(&vec![Ending::Committed; writes.len()]);
        }
        self.batch = Some(Batch { writes, is_in_doubt: false, is_told });
        self.ask(wires, Link::Commit, Statement::Write(batch), COMMIT_MAX_MS);
    }

    fn look_up(&mut self, wires: &mut Wires) {
        // Nothing is projected here: the views have no keys, and every key is in the journal.
        while self.executor.take_scan().is_some() {
            self.executor.scanned(KeyScan { keys: Vec::new(), next: None });
        }
        if self.asked.contains_key(&Link::LookUp) {
            return;
        }
        if let Some((wanted, callers)) = self.executor.take_lookups() {
            let wanted: Lookups<()> = wanted;
            self.callers = callers;
            self.ask(wires, Link::LookUp, Statement::LookUp(wanted), 6_000);
        }
    }

    /// Tenures that have ended, and the next deed of the lease.
    fn do_deeds(&mut self, wires: &mut Wires) {
        loop {
            for Ended { partition, epoch, .. } in self.executor.take_ended() {
                self.tell_heir(wires, partition, News::Closed { epoch });
                self.tell_heir(wires, partition, News::Over { epoch });
            }
            if self.asked.contains_key(&Link::Lease) {
                return;
            }
            let Some((partition, deed)) = self.deeds.pop_front() else { return };
            let statement = match deed {
                Deed::Take { seen } => Statement::Take { partition, seen },
                Deed::Load { .. } => Statement::Load { partition },
                Deed::Give { epoch, to } => Statement::Give { partition, epoch, to },
                Deed::Close { epoch } => {
                    self.executor.close(partition, epoch);
                    continue;
                }
                Deed::Serve { .. } => continue,
            };
            self.doing = Some((partition, deed));
            self.ask(wires, Link::Lease, statement, 6_000);
        }
    }

    fn announce(&mut self, wires: &mut Wires) {
        for gateway in 0..self.seat.gateways {
            let owned = self.executor.owned();
            let owns = ToGateway::Owns { node: self.seat.index, life: self.life, owned };
            wires.send(self.me(), Event::Gateway(gateway, owns));
        }
    }
}

/// What a clock of this rate shows then.
fn local(now: Moment, rate: u64) -> Moment {
    let nanos = u128::from(now.as_nanos()) * u128::from(rate) / 1_000_000;
    Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
