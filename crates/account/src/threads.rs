//! The threads of an account node that may block: one commits, one looks up, one reads history,
//! one projects, one confirms. The commit thread is in [`crate::commits`], the projector's in
//! [`crate::projection`], the lease thread in [`crate::steward`].
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
    projection::{self, Projecting},
    scan,
    steward::{self, Seat, Steward},
    turns::Turns,
};
use engine::{Confirmer, Engine, EngineError, KeyScan};
use ledger::{Hash, Record};
use net::{clock, priority};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};
use stdx::{
    Moment,
    fault::{self, Mutant},
};
use tokio::sync::mpsc as to_executor;
use wire::{Epoch, PartitionId, Reply, Seq, ServiceTag, call::Failure};

/// Keys that are read at a time for partitions that were taken over: some milliseconds, in which
/// look-ups wait.
const SCAN_KEYS: usize = 16_384;

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
    Scanned(KeyScan),
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
    Scan(scan::Part),
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
    /// After the [`Jobs`] were dropped: lets those who sleep between looks see that.
    pub(crate) fn wake(&self) {
        self.0.iter().for_each(|thread| thread.thread().unpark());
    }

    /// Waits until all have done what they were given.
    pub(crate) fn join(self) -> io::Result<()> {
        for thread in self.0 {
            thread.join().map_err(|_| io::Error::other("a thread of the account node panicked"))?;
        }
        Ok(())
    }
}

/// Starts the threads; reports go to `reports`. `place`: of the projector among those of the tree.
pub(crate) fn start(
    engine: &dyn Engine,
    service: ServiceTag,
    seat: Seat,
    place: (usize, usize),
    reports: &to_executor::UnboundedSender<Report>,
) -> Result<(Jobs, Threads), EngineError> {
    let (commits, commit_jobs) = mpsc::channel();
    let (lookups, lookup_jobs) = mpsc::channel();
    let (questions, question_jobs) = mpsc::channel();
    let (projections, projection_jobs) = mpsc::channel();
    let (committer, projector) = (engine.committer()?, engine.projector()?);
    let confirmer = engine.confirmer()?;
    // An owner can be deposed without its knowledge just where the engine can be out of its reach,
    // which is where it is a process of its own.
    let may_be_away = confirmer.is_some();
    let (mut finder, mut historian) = (engine.reader()?, engine.reader()?);
    let (steward, leases) = Steward::new(engine, service, seat, may_be_away, reports.clone())?;
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        threads.push(thread.expect("the system has room for four threads"));
    };
    let (out, jobs) = (reports.clone(), commit_jobs);
    let thread = Commits::new(committer, jobs, out, may_be_away);
    spawn("commit", Box::new(move || thread.run()));
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
                    Lookup::Scan(scan::Part { partitions, from }) => {
                        let ask = || finder.scan_keys(&partitions, from, SCAN_KEYS);
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
    let (out, jobs) = (reports.clone(), projection_jobs);
    let turns = Turns::new(place, (clock::now(), clock::wall()));
    let (is_far, pause) = (may_be_away, projection::PAUSE);
    let thread = Projecting { projector, jobs, out, is_far, turns, pause };
    spawn(
        "project",
        Box::new(move || {
            priority::go_behind();
            thread.run();
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
