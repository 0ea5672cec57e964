//! The threads of an account node that may block: one commits, one looks up, one reads history,
//! one projects, one confirms. The lease thread is in [`crate::steward`].
//!
//! Each takes a job, does it, and sends what came of it to the executor's thread. While the engine
//! is out of reach, which only one on another machine can be, a job is tried again and again. One
//! that the engine cannot do ends the process: what is on disk is read again by the next one.

use crate::{
    commits::{Commit, Commits, Tries},
    executor::{Ending, Question, Way},
    history,
    load::Taken,
    lookup::{self, Found, Lookups},
    steward::{self, Seat, Steward},
};
use engine::{Confirmer, Engine, EngineError, KeyMark, KeyScan, Kind, ProjectError, Projector};
use ledger::{Chain, Hash, Header, Record};
use net::{clock, priority};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use stdx::{
    Moment,
    fault::{self, Mutant},
};
use tokio::sync::mpsc as to_executor;
use wire::{Epoch, PartitionId, Reply, Seq, ServiceTag, call::Failure};

/// How long records gather before they are projected: it makes one block of an account's entries
/// out of many, and bounds how stale the views are.
const PROJECTION_EVERY: Duration = Duration::from_secs(1);
/// Commands that are projected in one transaction, though they came sooner.
const PROJECTION_COMMANDS: usize = 20_000;

/// Keys that are read at a time for partitions that were taken over: some milliseconds, in which
/// look-ups wait.
const SCAN_KEYS: usize = 4_096;

/// What the threads tell the executor's thread.
#[derive(Debug)]
pub(crate) enum Report {
    /// It is this node's turn to commit: whatever is ready now goes into the batch.
    Turn,
    Ended(Vec<Ending>),
    /// The engine could not be reached this way; it is tried again.
    Away(Way),
    /// Whether the batch is durable is not known, before it is reported as ended.
    Doubt,
    /// Which of the tenures asked for are ours; `None` when the engine did not answer.
    Confirmed(Option<Vec<bool>>),
    Found(Lookups<()>, Found),
    Scanned(Option<KeyScan>),
    /// The answer to the question of this number.
    Answered(u64, Reply),
    /// These partitions are projected up to there, this many commands in all.
    Projected(Vec<(PartitionId, Seq)>, usize),
    /// A partition is ours and loaded.
    Taken(Taken),
    /// This tenure is to end here.
    Close(PartitionId, Epoch),
    /// Everything that is at home here is here, as far as it can be.
    Settled,
    /// This node leaves, and whether it has nothing left that anybody could take over.
    Emptied(bool),
    /// The node cannot go on.
    Fatal(String),
}

/// Jobs for the threads. Dropping it ends them, after what they have been given.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) commits: mpsc::Sender<Commit>,
    pub(crate) lookups: mpsc::Sender<Lookup>,
    pub(crate) questions: mpsc::Sender<(u64, Moment, Question)>,
    pub(crate) projections: mpsc::Sender<Projection>,
    /// `None` where reads need no confirmation.
    pub(crate) confirms: Option<mpsc::Sender<Vec<(PartitionId, Epoch)>>>,
    pub(crate) leases: steward::Words,
}

/// What the views are asked.
#[derive(Debug)]
pub(crate) enum Lookup {
    Find(Lookups<()>),
    /// The next part of all keys.
    Scan(Option<KeyMark>),
}

/// What the projector is told.
#[derive(Debug)]
pub(crate) enum Projection {
    /// These are committed.
    Records(Vec<(Arc<Record>, Hash)>),
    /// Another node owns the partition, or will: what of it waits here is its to project.
    Left(PartitionId),
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Threads(Vec<thread::JoinHandle<()>>);

impl Threads {
    /// Waits until all have done what they were given.
    pub(crate) fn join(self) -> io::Result<()> {
        for thread in self.0 {
            thread.join().map_err(|_| io::Error::other("a thread of the account node panicked"))?;
        }
        Ok(())
    }
}

/// Starts the threads; reports go to `reports`.
pub(crate) fn start(
    engine: &dyn Engine,
    service: ServiceTag,
    seat: Seat,
    reports: &to_executor::UnboundedSender<Report>,
) -> Result<(Jobs, Threads), EngineError> {
    let (commits, commit_jobs) = mpsc::channel();
    let (lookups, lookup_jobs) = mpsc::channel();
    let (questions, question_jobs) = mpsc::channel();
    let (projections, projection_jobs) = mpsc::channel();
    let (committer, mut projector) = (engine.committer()?, engine.projector()?);
    let confirmer = engine.confirmer()?;
    // An owner can be deposed without its knowledge just where the engine can be out of its reach.
    let may_be_away = confirmer.is_some();
    let (mut finder, mut historian) = (engine.reader()?, engine.reader()?);
    let (steward, leases) = Steward::new(engine, service, seat, may_be_away, reports.clone())?;
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        threads.push(thread.expect("the system has room for four threads"));
    };
    let (out, jobs) = (reports.clone(), commit_jobs);
    let thread = Commits { committer, jobs, out, may_be_away, refused: 0 };
    spawn(
        "commit",
        Box::new(move || {
            // Where it can be away, it is another process that does most of the work.
            if may_be_away {
                priority::go_far_behind();
            } else {
                priority::go_behind();
            }
            thread.run();
        }),
    );
    let out = reports.clone();
    spawn(
        "lookup",
        Box::new(move || {
            each(&lookup_jobs, &out, |job| {
                // If nobody hears it, the executor's thread has ended.
                let away = || drop(out.send(Report::Away(Way::LookUp)));
                let done = match job {
                    Lookup::Find(wanted) => {
                        let ask = || lookup::look_up(finder.as_mut(), service, &wanted);
                        let found = Tries::until(&lookup_jobs, may_be_away, ask, away)?;
                        found.map(|found| Report::Found(wanted, found))
                    }
                    Lookup::Scan(from) => {
                        let ask = || finder.scan_keys(from, SCAN_KEYS);
                        let scan = Tries::until(&lookup_jobs, may_be_away, ask, away)?;
                        scan.map(Report::Scanned)
                    }
                };
                Some(done.unwrap_or_else(|err| Report::Fatal(err.to_string())))
            });
        }),
    );
    let confirms = confirmer.map(|mut confirmer| {
        let (confirms, jobs) = mpsc::channel::<Vec<_>>();
        let out = reports.clone();
        let body = move || each(&jobs, &out, |held| Some(confirm(confirmer.as_mut(), &held)));
        spawn("confirm", Box::new(body));
        confirms
    });
    let out = reports.clone();
    spawn(
        "history",
        Box::new(move || {
            each(&question_jobs, &out, |(number, deadline, question)| {
                // What nobody waits for any more would only hold up the others.
                let reply = match clock::now() < deadline {
                    true => history::answer(historian.as_mut(), service, question),
                    false => Reply::Failed(Failure::Overloaded),
                };
                Some(Report::Answered(number, reply))
            });
        }),
    );
    let out = reports.clone();
    spawn(
        "project",
        Box::new(move || {
            priority::go_behind();
            project(projector.as_mut(), may_be_away, &projection_jobs, &out);
        }),
    );
    spawn("lease", Box::new(move || steward.run()));
    Ok((Jobs { commits, lookups, questions, projections, confirms, leases }, Threads(threads)))
}

/// Does jobs until nobody can send one, or nobody hears what came of it; `None`: nobody would.
fn each<J>(
    jobs: &mpsc::Receiver<J>,
    out: &to_executor::UnboundedSender<Report>,
    mut work: impl FnMut(J) -> Option<Report>,
) {
    while let Ok(job) = jobs.recv() {
        let Some(report) = work(job) else { return };
        if out.send(report).is_err() {
            return;
        }
    }
}

/// A confirmation that the engine does not answer is not tried again: whoever reads may.
fn confirm(confirmer: &mut dyn Confirmer, held: &[(PartitionId, Epoch)]) -> Report {
    if fault::has(Mutant::UnconfirmedReads) {
        return Report::Confirmed(Some(vec![true; held.len()]));
    }
    Report::Confirmed(match confirmer.confirm(held) {
        Ok(ours) => Some(ours),
        Err(error) => {
            tracing::warn!(%error, "the engine does not confirm that this node is the owner");
            None
        }
    })
}

/// What waits to be projected.
#[derive(Debug, Default)]
struct Backlog {
    records: Vec<(Arc<Record>, Hash)>,
    commands: usize,
    /// Where partitions were projected to by somebody else, meanwhile.
    marks: Vec<(PartitionId, Seq)>,
    /// Commands that wait no more, though nobody here projected them.
    dropped: usize,
}

impl Backlog {
    fn add(&mut self, job: Projection) {
        match job {
            Projection::Records(more) => {
                self.commands += commands_count(&more);
                self.records.extend(more);
            }
            Projection::Left(partition) => self.drop_where(|header| header.partition == partition),
        }
    }

    fn drop_where(&mut self, is_out: impl Fn(&Header) -> bool) {
        let before = self.commands;
        self.records.retain(|(record, _)| !is_out(&record.header));
        self.commands = commands_count(&self.records);
        self.dropped += before - self.commands;
    }

    /// A partition's views were found to reach to `mark`: what they have is left out, and if the
    /// rest does not continue there, all of it. Whoever owns the partition projects it.
    fn trim(&mut self, partition: PartitionId, mark: Chain) {
        let ours = |header: &Header| header.partition == partition;
        let last = self.records.iter().rfind(|(record, _)| ours(&record.header));
        if let Some((record, _)) = last {
            self.marks.push((partition, mark.seq.min(record.header.seq)));
        }
        self.drop_where(|header| ours(header) && header.seq <= mark.seq);
        let next = self.records.iter().find(|(record, _)| ours(&record.header));
        let continues = |it: &Header| it.seq == mark.seq.next() && it.previous == mark.hash;
        if next.is_some_and(|(record, _)| !continues(&record.header)) {
            self.drop_where(ours);
        }
    }

    /// All of it is in the views, or with others: what to tell of it.
    fn done(&mut self) -> Report {
        let done = std::mem::take(self);
        let mut reached = done.marks;
        reached.extend(marks(&done.records));
        Report::Projected(reached, done.commands + done.dropped)
    }
}

/// Gathers records and projects them, until nobody can send more.
///
/// While the disk is full or the engine away it goes on trying: reads are served meanwhile as far
/// as they can be, and nothing is lost, for the journal has what the views have not. What can
/// gather is bounded by what may be unprojected.
fn project(
    projector: &mut dyn Projector,
    may_be_away: bool,
    jobs: &mpsc::Receiver<Projection>,
    out: &to_executor::UnboundedSender<Report>,
) {
    let mut backlog = Backlog::default();
    let is_passing = |err: &EngineError| match err.kind {
        Kind::Full => true,
        Kind::Unavailable => may_be_away,
        Kind::Corrupt
        | Kind::Mismatch
        | Kind::Copied
        | Kind::NameTaken
        | Kind::Deposed
        | Kind::Unsupported => false,
    };
    while let Ok(job) = jobs.recv() {
        backlog.add(job);
        let until = clock::now() + PROJECTION_EVERY;
        while backlog.commands < PROJECTION_COMMANDS && !backlog.records.is_empty() {
            match jobs.recv_timeout(until.since(clock::now())) {
                Ok(job) => backlog.add(job),
                Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
                    break;
                }
            }
        }
        let report = loop {
            if backlog.records.is_empty() {
                break backlog.done();
            }
            match projector.project(&backlog.records) {
                Ok(()) => break backlog.done(),
                Err(ProjectError::Engine(err)) if is_passing(&err) => {
                    tracing::error!(%err, "the views cannot be written; they stay as they are");
                }
                Err(ProjectError::Deposed(partitions)) => {
                    match trim_all(projector, &mut backlog, &partitions) {
                        Ok(()) => continue,
                        Err(err) if is_passing(&err) => {
                            tracing::error!(%err, "the views cannot be read");
                        }
                        Err(err) => break Report::Fatal(err.to_string()),
                    }
                }
                Err(err @ ProjectError::Engine(_)) => break Report::Fatal(err.to_string()),
            }
            match jobs.recv_timeout(PROJECTION_EVERY) {
                Ok(job) => backlog.add(job),
                Err(mpsc::RecvTimeoutError::Timeout) => (),
                // Whoever owns the partitions next reads the rest from the journal.
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        };
        if out.send(report).is_err() {
            return;
        }
    }
}

/// Somebody else projected these partitions: the owner before, whose last records were on their
/// way, or the owner after.
fn trim_all(
    projector: &mut dyn Projector,
    backlog: &mut Backlog,
    partitions: &[PartitionId],
) -> Result<(), EngineError> {
    for &partition in partitions {
        let mark = projector.watermark(partition)?;
        tracing::info!(partition = partition.0, seq = mark.seq.0, "the views are further on");
        backlog.trim(partition, mark);
    }
    Ok(())
}

/// How far each partition is with these records.
fn marks(records: &[(Arc<Record>, Hash)]) -> Vec<(PartitionId, Seq)> {
    // Records of a partition come in order: the last one counts.
    let places = records.iter().map(|(record, _)| (record.header.partition, record.header.seq));
    places.collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn commands_count(records: &[(Arc<Record>, Hash)]) -> usize {
    records.iter().map(|(record, _)| record.items.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Partition;
    use wire::{
        AccountId, Action, Command, Currency, Fingerprint, KeyHash, Timestamp, command::KeyOrigin,
    };

    /// A projector on a disk that is full for the first calls; it tells how many records came.
    struct Full {
        calls_left: u32,
        calls: mpsc::Sender<usize>,
    }

    impl Projector for Full {
        fn project(&mut self, records: &[(Arc<Record>, Hash)]) -> Result<(), ProjectError> {
            self.calls.send(records.len()).unwrap();
            if self.calls_left == 0 {
                return Ok(());
            }
            self.calls_left -= 1;
            let (place, what) = ("views.db".to_owned(), "the disk is full".to_owned());
            Err(ProjectError::Engine(EngineError { kind: Kind::Full, place, what }))
        }

        fn watermark(&mut self, _: PartitionId) -> Result<Chain, EngineError> {
            unreachable!()
        }
    }

    fn record(number: u8) -> (Arc<Record>, Hash) {
        let account = AccountId::parse(&format!("acc-{number}")).unwrap();
        let (service, id) = (ServiceTag::of("a"), PartitionId(number.into()));
        let mut partition = Partition::new(service, id, Epoch(1), Chain::EMPTY, Vec::new());
        partition.admit(account.clone(), None).unwrap();
        let currency = Currency::parse("EUR").unwrap();
        let command = Command {
            key: KeyHash(number.into()),
            origin: KeyOrigin::Client,
            minted_at: Timestamp(0),
            fingerprint: Fingerprint(0),
            request_id: "r".into(),
            action: Action::Open { account, currency, overdraft_limit: 0, metadata: "{}".into() },
        };
        let staged = partition.stage(Timestamp(0), vec![command]);
        (staged.record.unwrap(), staged.hash)
    }

    #[test]
    fn a_full_disk_holds_up_the_projection_and_no_more() {
        let (jobs, given) = mpsc::channel();
        let (reports, mut told) = to_executor::unbounded_channel();
        let (calls, called) = mpsc::channel();
        let thread = thread::spawn(move || {
            project(&mut Full { calls_left: 2, calls }, false, &given, &reports);
        });
        for number in 1..4 {
            jobs.send(Projection::Records(vec![record(number)])).unwrap();
            assert_eq!(called.recv().unwrap(), usize::from(number));
        }
        let marks = (1..4).map(|number| (PartitionId(number), Seq(1))).collect::<Vec<_>>();
        let Some(Report::Projected(reached, 3)) = told.blocking_recv() else {
            panic!("it is projected in the end");
        };
        assert_eq!(reached, marks);
        drop(jobs);
        thread.join().unwrap();
    }

    /// A projector whose partition's views are where a test says.
    struct Moved {
        mark: Chain,
        projected: mpsc::Sender<Vec<Seq>>,
    }

    impl Projector for Moved {
        fn project(&mut self, records: &[(Arc<Record>, Hash)]) -> Result<(), ProjectError> {
            let first = records.first().map(|(record, _)| record.header);
            if first.is_some_and(|it| it.previous != self.mark.hash) {
                return Err(ProjectError::Deposed(vec![PartitionId(7)]));
            }
            self.projected.send(records.iter().map(|it| it.0.header.seq).collect()).unwrap();
            Ok(())
        }

        fn watermark(&mut self, _: PartitionId) -> Result<Chain, EngineError> {
            Ok(self.mark)
        }
    }

    /// Records 1 to 3 of partition 7, and where its chain is after each.
    fn three() -> (Vec<(Arc<Record>, Hash)>, Vec<Chain>) {
        let account = AccountId::parse("alice").unwrap();
        let (service, id) = (ServiceTag::of("a"), PartitionId(7));
        let mut partition = Partition::new(service, id, Epoch(1), Chain::EMPTY, Vec::new());
        partition.admit(account.clone(), None).unwrap();
        let (mut records, mut chains) = (Vec::new(), vec![Chain::EMPTY]);
        for number in 1..4_u8 {
            let currency = Currency::parse("EUR").unwrap();
            let command = Command {
                key: KeyHash(number.into()),
                origin: KeyOrigin::Client,
                minted_at: Timestamp(0),
                fingerprint: Fingerprint(0),
                request_id: "r".into(),
                action: Action::Open {
                    account: account.clone(),
                    currency,
                    overdraft_limit: 0,
                    metadata: "{}".into(),
                },
            };
            let staged = partition.stage(Timestamp(0), vec![command]);
            records.push((staged.record.clone().unwrap(), staged.hash));
            partition.merge(staged);
            chains.push(partition.chain());
        }
        (records, chains)
    }

    #[test]
    fn what_another_has_projected_is_left_out() {
        let (records, chains) = three();
        for (reached, expected) in [(0, vec![1, 2, 3]), (2, vec![3]), (3, vec![])] {
            let (jobs, given) = mpsc::channel();
            let (reports, mut told) = to_executor::unbounded_channel();
            let (projected, calls) = mpsc::channel();
            jobs.send(Projection::Records(records.clone())).unwrap();
            drop(jobs);
            project(&mut Moved { mark: chains[reached], projected }, false, &given, &reports);
            let seqs = calls.try_recv().unwrap_or_default().into_iter().map(|it| it.0);
            assert_eq!(seqs.collect::<Vec<u64>>(), expected);
            let Some(Report::Projected(marks, 3)) = told.blocking_recv() else { panic!() };
            assert_eq!(marks.iter().map(|it| it.1.0).max(), Some(3));
        }
    }

    #[test]
    fn what_was_left_is_not_projected_and_neither_is_another_journal() {
        let (records, chains) = three();
        let mut backlog = Backlog::default();
        backlog.add(Projection::Records(records.clone()));
        backlog.add(Projection::Records(vec![record(1)]));
        backlog.add(Projection::Left(PartitionId(7)));
        assert_eq!((backlog.records.len(), backlog.commands, backlog.dropped), (1, 1, 3));
        let Report::Projected(marks, 4) = backlog.done() else { panic!() };
        assert_eq!(marks, [(PartitionId(1), Seq(1))]);

        backlog.add(Projection::Records(records));
        let other = Chain { hash: Hash::NONE, ..chains[1] };
        backlog.trim(PartitionId(7), other);
        assert_eq!((backlog.records.len(), backlog.dropped), (0, 3));
    }
}
