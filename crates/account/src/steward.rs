//! The lease thread: looks at who is there and who owns what, and takes, loads and gives partitions
//! as [`lease::Heir`] says.
//!
//! It alone changes owners. What it has taken goes to the executor's thread whole; what is to be
//! given comes back from there once nothing of it is under way.

use crate::{knocker::Knocker, load, status::Status, threads::Report};
use engine::{
    Bell, Claim, Engine, EngineError, Kind, Reader, Registry, Tenure, engine::RECENT_SECONDS,
};
use lease::{Deed, Heir, News, NodeId, Order, Sign, Survey};
use ledger::Record;
use net::{clock, ids};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, mpsc},
    time::Duration,
};
use stdx::{
    Moment,
    fault::{self, Mutant},
};
use tokio::sync::mpsc as to_executor;
use wire::{Epoch, PartitionId, Seq, ServiceTag};

/// The longest time between two looks, when nothing happens that would bring the next about.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a partition that could not be loaded is left alone.
const DAMAGED_REST: Duration = Duration::from_secs(30);
/// How long after the engine has refused a take, as on a full disk, before the next one.
const REFUSED_REST: Duration = Duration::from_secs(1);
/// How long after the engine was out of reach others have to show that they live.
const SIGHT_GRACE: Duration = Duration::from_millis(1_500);
/// Records that are read ahead in all; those of one more partition may come on top.
const AHEAD_RECORDS_MAX: usize = 200_000;
/// Looks in a row that may fail for want of an engine on this machine, before the node ends: half
/// a minute.
const BLIND_LOOKS_MAX: u32 = 300;

/// Where a node sits among those of its service.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) name: Arc<str>,
    /// The service's nodes in the order of the topology file.
    pub(crate) roster: Vec<Arc<str>>,
    pub(crate) status: Arc<Status>,
    /// The engine's place among those of the service, and how many there are: a partition whose
    /// number leaves another remainder is another engine's.
    pub(crate) place: (usize, usize),
}

/// What the lease thread is told.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// The tenure has ended at the executor: nothing of it is under way.
    Ended(PartitionId, Epoch),
    /// The node drains, or stays after all.
    Leaving(bool),
    /// The service's nodes are these from now on.
    Roster(Vec<Arc<str>>),
    /// Somebody wants a partition at the node of this name, or where it belongs.
    Pin(PartitionId, Option<Arc<str>>),
    /// The node ends.
    End,
}

/// The way to the lease thread.
#[derive(Clone)]
pub(crate) struct Words {
    sender: mpsc::Sender<Word>,
    bell: Bell,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").finish_non_exhaustive()
    }
}

impl Words {
    /// Tells it, and wakes it.
    pub(crate) fn tell(&self, word: Word) {
        drop(self.sender.send(word)); // If it has ended, it has said why.
        (self.bell)();
    }
}

pub(crate) struct Steward {
    registry: Box<dyn Registry>,
    reader: Box<dyn Reader>,
    service: ServiceTag,
    heir: Heir,
    words: mpsc::Receiver<Word>,
    reports: to_executor::UnboundedSender<Report>,
    status: Arc<Status>,
    /// The names of nodes, for people.
    names: BTreeMap<NodeId, Arc<str>>,
    /// Until when partitions that could not be taken or loaded are left alone.
    resting: BTreeMap<PartitionId, Moment>,
    /// The recent past of partitions that will be given to this node, as far as it was read.
    ahead: BTreeMap<PartitionId, VecDeque<Record>>,
    has_settled: bool,
    has_emptied: bool,
    /// The engine can be out of reach for a while, and come back.
    may_be_away: bool,
    blind_looks: u32,
    /// Since when the last blindness is over.
    sight_since: Option<Moment>,
    knocker: Knocker,
    place: (usize, usize),
}

/// While nobody could reach the engine nobody could show there that he lives, either.
fn doubt_deaths(survey: &mut Survey) {
    for member in survey.members.iter_mut().filter(|it| it.sign == Sign::Dead) {
        member.sign = Sign::Quiet;
    }
}

/// Why the thread ends.
enum End {
    /// Nobody hears it any more.
    Unheard,
    Fatal(EngineError),
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> End {
        End::Fatal(error)
    }
}

impl Steward {
    pub(crate) fn new(
        engine: &dyn Engine,
        service: ServiceTag,
        seat: Seat,
        may_be_away: bool,
        reports: to_executor::UnboundedSender<Report>,
    ) -> Result<(Steward, Words), EngineError> {
        let (registry, reader) = (engine.registry()?, engine.reader()?);
        let (sender, words) = mpsc::channel();
        let (me, bell) = (registry.me(), registry.bell());
        let mut heir = Heir::new(me, seat.name, seat.roster, ids::seed(), clock::now());
        heir.set_hasty(fault::has(Mutant::HomeAtOnce));
        let steward = Steward {
            registry,
            reader,
            service,
            heir,
            words,
            reports,
            status: seat.status,
            names: BTreeMap::new(),
            resting: BTreeMap::new(),
            ahead: BTreeMap::new(),
            has_settled: false,
            has_emptied: false,
            may_be_away,
            blind_looks: 0,
            sight_since: None,
            knocker: Knocker::default(),
            place: seat.place,
        };
        Ok((steward, Words { sender, bell }))
    }

    /// Until the node ends.
    pub(crate) fn run(mut self) {
        loop {
            match self.turn() {
                Ok(()) => self.registry.wait(LOOK_EVERY),
                Err(End::Unheard) => return,
                Err(End::Fatal(error)) => {
                    drop(self.reports.send(Report::Fatal(error.to_string())));
                    return;
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), End> {
        loop {
            match self.words.try_recv() {
                Ok(word) => self.hear(word)?,
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Err(End::Unheard),
            }
        }
        let mut survey = match self.registry.survey() {
            Ok(survey) => survey,
            // What is owned is served on as far as the engine lets it.
            Err(error) if error.kind == Kind::Unavailable && self.may_look_again() => {
                if self.blind_looks == 0 {
                    tracing::warn!(%error, "cannot see who owns what");
                }
                self.blind_looks = self.blind_looks.saturating_add(1);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (at, of) = self.place;
        survey.holdings.retain(|it| usize::from(it.partition.0) % of.max(1) == at);
        if 0 < std::mem::take(&mut self.blind_looks) {
            tracing::info!("it is seen again who owns what");
            self.sight_since = Some(clock::now());
        }
        if self.sight_since.is_some_and(|since| clock::now() < since + SIGHT_GRACE) {
            doubt_deaths(&mut survey);
        }
        self.learn_names(&survey);
        let name = |id| self.names.get(&id).cloned();
        self.knocker.knock(self.registry.as_mut(), name);
        let orders = self.heir.look(clock::now(), &survey);
        self.carry_out(&orders)?;
        self.read_ahead();
        if !std::mem::replace(&mut self.has_settled, true) {
            self.report(Report::Settled)?;
        }
        let is_empty = self.heir.is_free_to_go();
        if is_empty != std::mem::replace(&mut self.has_emptied, is_empty) {
            self.report(Report::Emptied(is_empty))?;
        }
        Ok(())
    }

    fn may_look_again(&self) -> bool {
        self.may_be_away || self.blind_looks < BLIND_LOOKS_MAX
    }

    fn learn_names(&mut self, survey: &Survey) {
        for member in &survey.members {
            self.names.entry(member.id).or_insert_with(|| Arc::clone(&member.name));
        }
        self.names.retain(|id, _| survey.members.iter().any(|it| it.id == *id));
    }

    /// Reads what there is to know of what this node will be given: then a gift is in service
    /// sooner. Whatever comes of it, the load looks after the rest.
    fn read_ahead(&mut self) {
        let expected = self.heir.expected();
        self.ahead.retain(|partition, _| expected.contains(partition));
        for &partition in expected {
            let count: usize = self.ahead.values().map(VecDeque::len).sum();
            let known = self.ahead.entry(partition).or_default();
            let from = known.back().map_or(Seq(0), |record| record.header.seq.next());
            if AHEAD_RECORDS_MAX < count {
                continue;
            }
            match self.reader.recent(partition, from) {
                Ok(records) => known.extend(records),
                Err(error) => tracing::warn!(%error, partition = partition.0, "cannot read ahead"),
            }
            let end = known.back().map_or(0, |record| record.header.time.0);
            let young = end.saturating_sub(i64::from(RECENT_SECONDS) * 1_000_000);
            while known.front().is_some_and(|record| record.header.time.0 < young) {
                known.pop_front();
            }
        }
    }

    fn hear(&mut self, word: Word) -> Result<(), End> {
        match word {
            Word::Ended(partition, epoch) => {
                // Either of the two is news, as the office has it.
                for news in [News::Closed { epoch }, News::Over { epoch }] {
                    if let Some(deed) = self.heir.hear(clock::now(), partition, news) {
                        self.follow(partition, deed)?;
                    }
                }
            }
            Word::End => return Err(End::Unheard),
            Word::Roster(roster) => self.heir.set_roster(roster),
            Word::Leaving(on) => {
                self.heir.set_leaving(on);
                self.registry.set_leaving(on);
            }
            Word::Pin(partition, node) => {
                let pinned = self.registry.pin(partition, node.as_deref());
                if let Err(error) = pinned {
                    tracing::error!(%error, partition = partition.0, "a move is not written down");
                }
            }
        }
        Ok(())
    }

    /// All takes in one transaction, then one deed after the other.
    fn carry_out(&mut self, orders: &[Order]) -> Result<(), End> {
        let now = clock::now();
        self.resting.retain(|_, until| now < *until);
        let mut claims = Vec::new();
        for &Order { partition, deed } in orders {
            match deed {
                Deed::Take { seen } if self.resting.contains_key(&partition) => {
                    self.heir.hear(now, partition, News::Took { seen, epoch: None });
                }
                Deed::Take { seen } => claims.push(Claim { partition, seen }),
                Deed::Load { .. } | Deed::Serve { .. } | Deed::Close { .. } | Deed::Give { .. } => {
                    self.follow(partition, deed)?;
                }
            }
        }
        if claims.is_empty() { Ok(()) } else { self.take(&claims) }
    }

    fn take(&mut self, claims: &[Claim]) -> Result<(), End> {
        let tenures = match self.registry.take(claims) {
            Ok(tenures) => tenures,
            Err(error) if matches!(error.kind, Kind::Full | Kind::Unavailable) => {
                tracing::error!(%error, "cannot take partitions now");
                let until = clock::now() + REFUSED_REST;
                for claim in claims {
                    self.resting.insert(claim.partition, until);
                    self.heir.hear(clock::now(), claim.partition, News::Failed);
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut loads = Vec::new();
        for &Claim { partition, seen } in claims {
            let tenure = tenures.iter().find(|it| it.partition == partition);
            let news = News::Took { seen, epoch: tenure.map(|it| it.epoch) };
            let deed = self.heir.hear(clock::now(), partition, news);
            loads.extend(tenure.filter(|_| matches!(deed, Some(Deed::Load { .. }))));
        }
        loads.into_iter().try_for_each(|tenure| self.load(tenure))
    }

    fn load(&mut self, tenure: &Tenure) -> Result<(), End> {
        let Tenure { partition, epoch, .. } = *tenure;
        let ahead: Vec<Record> = self.ahead.remove(&partition).unwrap_or_default().into();
        match load::load(self.reader.as_mut(), self.service, tenure, &ahead) {
            Ok(taken) => {
                self.status.moved(partition, epoch, "taken", None);
                self.report(Report::Taken(taken))?;
                self.heir.hear(clock::now(), partition, News::Loaded { epoch });
            }
            // One damaged partition takes neither its neighbours down nor, one after the other,
            // the nodes that would try it.
            Err(error) => {
                tracing::error!(%error, partition = partition.0, "a partition does not load");
                let is_away = self.may_be_away && error.kind == Kind::Unavailable;
                let rest = if is_away { REFUSED_REST } else { DAMAGED_REST };
                self.resting.insert(partition, clock::now() + rest);
                self.heir.hear(clock::now(), partition, News::Failed);
            }
        }
        Ok(())
    }

    /// Does a deed and whatever follows from it.
    fn follow(&mut self, partition: PartitionId, deed: Deed) -> Result<(), End> {
        match deed {
            Deed::Close { epoch } => self.report(Report::Close(partition, epoch)),
            Deed::Give { epoch, to } => {
                match self.registry.give(partition, epoch, to) {
                    Ok(true) => {
                        let name = self.names.get(&to).map(|it| &**it);
                        self.status.moved(partition, epoch, "given", name);
                    }
                    Ok(false) => (),
                    // It is ours still, and will be taken anew at the next look.
                    Err(error) => {
                        tracing::error!(%error, partition = partition.0, "cannot give a partition");
                    }
                }
                self.heir.hear(clock::now(), partition, News::Gave { epoch });
                Ok(())
            }
            Deed::Take { seen } => self.take(&[Claim { partition, seen }]),
            // Both are done where the partition is taken.
            Deed::Load { .. } | Deed::Serve { .. } => Ok(()),
        }
    }

    fn report(&self, report: Report) -> Result<(), End> {
        self.reports.send(report).map_err(|_| End::Unheard)
    }
}
