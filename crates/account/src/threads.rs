//! The threads of an account node that may block: one commits, one looks up, one reads history,
//! one projects.
//!
//! Each takes a job, does it, and sends what came of it to the executor's thread. A job that the
//! engine cannot do ends the process: what is on disk is read again by the next one.

use crate::{
    executor::{Ending, Question},
    history,
    lookup::{self, Found, Lookups},
};
use engine::{CommitError, Committer, Engine, EngineError, Fate, ProjectError, Projector, Write};
use ledger::{Hash, Record};
use net::clock;
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::sync::mpsc as to_executor;
use wire::{PartitionId, Reply, Seq, ServiceTag};

/// How long records gather before they are projected: it makes one block of an account's entries
/// out of many, and bounds how stale the views are.
const PROJECTION_EVERY: Duration = Duration::from_secs(1);
/// Commands that are projected in one transaction, though they came sooner.
const PROJECTION_COMMANDS: usize = 20_000;

/// What the threads tell the executor's thread.
#[derive(Debug)]
pub(crate) enum Report {
    Ended(Vec<Ending>),
    Found(Lookups<()>, Found),
    /// The answer to the question of this number.
    Answered(u64, Reply),
    /// These partitions are projected up to there, this many commands in all.
    Projected(Vec<(PartitionId, Seq)>, usize),
    /// The node cannot go on.
    Fatal(String),
}

/// Jobs for the threads. Dropping it ends them, after what they have been given.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) commits: mpsc::Sender<Vec<Write>>,
    pub(crate) lookups: mpsc::Sender<Lookups<()>>,
    pub(crate) questions: mpsc::Sender<(u64, Question)>,
    pub(crate) projections: mpsc::Sender<Vec<(Arc<Record>, Hash)>>,
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
    reports: &to_executor::UnboundedSender<Report>,
) -> Result<(Jobs, Threads), EngineError> {
    let (commits, commit_jobs) = mpsc::channel();
    let (lookups, lookup_jobs) = mpsc::channel();
    let (questions, question_jobs) = mpsc::channel();
    let (projections, projection_jobs) = mpsc::channel();
    let (mut committer, mut projector) = (engine.committer()?, engine.projector()?);
    let (mut finder, mut historian) = (engine.reader()?, engine.reader()?);
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        threads.push(thread.expect("the system has room for four threads"));
    };
    let out = reports.clone();
    spawn(
        "commit",
        Box::new(move || {
            each(&commit_jobs, &out, |writes: Vec<Write>| commit(committer.as_mut(), &writes));
        }),
    );
    let out = reports.clone();
    spawn(
        "lookup",
        Box::new(move || {
            each(&lookup_jobs, &out, |wanted| {
                match lookup::look_up(finder.as_mut(), service, &wanted) {
                    Ok(found) => Report::Found(wanted, found),
                    Err(err) => Report::Fatal(err.to_string()),
                }
            });
        }),
    );
    let out = reports.clone();
    spawn(
        "history",
        Box::new(move || {
            each(&question_jobs, &out, |(number, question)| {
                Report::Answered(number, history::answer(historian.as_mut(), service, question))
            });
        }),
    );
    let out = reports.clone();
    spawn("project", Box::new(move || project(projector.as_mut(), &projection_jobs, &out)));
    Ok((Jobs { commits, lookups, questions, projections }, Threads(threads)))
}

/// Does jobs until nobody can send one, or nobody hears what came of it.
fn each<J>(
    jobs: &mpsc::Receiver<J>,
    out: &to_executor::UnboundedSender<Report>,
    mut work: impl FnMut(J) -> Report,
) {
    while let Ok(job) = jobs.recv() {
        if out.send(work(job)).is_err() {
            return;
        }
    }
}

fn commit(committer: &mut dyn Committer, writes: &[Write]) -> Report {
    match committer.commit(writes) {
        Ok(fates) => Report::Ended(
            fates
                .into_iter()
                .map(|fate| match fate {
                    Fate::Committed => Ending::Committed,
                    Fate::Fenced => Ending::Fenced,
                })
                .collect(),
        ),
        Err(CommitError::NotExecuted(err)) => {
            tracing::error!(%err, "the engine refused a batch; nothing of it was executed");
            Report::Ended(vec![Ending::Refused; writes.len()])
        }
        Err(CommitError::Fatal(err)) => Report::Fatal(err.to_string()),
    }
}

/// Gathers records and projects them, until nobody can send more.
fn project(
    projector: &mut dyn Projector,
    jobs: &mpsc::Receiver<Vec<(Arc<Record>, Hash)>>,
    out: &to_executor::UnboundedSender<Report>,
) {
    while let Ok(mut records) = jobs.recv() {
        let mut commands = commands_count(&records);
        let until = clock::now() + PROJECTION_EVERY;
        while commands < PROJECTION_COMMANDS {
            match jobs.recv_timeout(until.since(clock::now())) {
                Ok(more) => {
                    commands += commands_count(&more);
                    records.extend(more);
                }
                Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => {
                    break;
                }
            }
        }
        let report = match projector.project(&records) {
            Ok(()) => {
                // Records of a partition come in order: the last one counts.
                let marks =
                    records.iter().map(|(record, _)| (record.header.partition, record.header.seq));
                Report::Projected(marks.collect(), commands)
            }
            Err(err @ (ProjectError::Deposed(_) | ProjectError::Engine(_))) => {
                Report::Fatal(err.to_string())
            }
        };
        if out.send(report).is_err() {
            return;
        }
    }
}

fn commands_count(records: &[(Arc<Record>, Hash)]) -> usize {
    records.iter().map(|(record, _)| record.items.len()).sum()
}
