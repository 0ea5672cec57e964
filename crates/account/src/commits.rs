//! The commit thread: waits for company and for this node's turn, writes what was staged, and finds
//! out what became of it.
//!
//! An engine that can be out of reach is tried again for as long as the node runs, whatever the
//! error; a batch whose outcome is unknown is resolved before anything else is done.

use crate::{
    executor::{Ending, Way},
    threads::Report,
};
use engine::{CommitError, Committer, EngineError, Fate, Kind, Write};
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};
#[cfg(debug_assertions)]
use stdx::fault;
use tokio::sync::mpsc as to_executor;

/// Batches refused in a row of which one is told.
const REFUSED_TOLD_EVERY: u64 = 10_000;
/// Tries at an engine that is away of which one is told: about one a minute.
const AWAY_TOLD_EVERY: u32 = 120;

/// What the commit thread is asked, in this order and again.
#[derive(Debug)]
pub(crate) enum Commit {
    /// To wait so long for company, then for this node's turn.
    Turn(Duration),
    /// To wait for no more company. May come too late, and means nothing then.
    Hurry,
    /// To write, or without writes to give the turn back.
    Batch(Vec<Write>),
}

pub(crate) struct Commits {
    committer: Box<dyn Committer>,
    jobs: mpsc::Receiver<Commit>,
    out: to_executor::UnboundedSender<Report>,
    /// The engine can be out of reach for a while, and come back.
    may_be_away: bool,
    /// Batches that were refused in a row: a full disk refuses hundreds a second, and to say so
    /// each time would fill another disk.
    refused: u64,
}

impl Commits {
    pub(crate) fn new(
        committer: Box<dyn Committer>,
        jobs: mpsc::Receiver<Commit>,
        out: to_executor::UnboundedSender<Report>,
        may_be_away: bool,
    ) -> Commits {
        Commits { committer, jobs, out, may_be_away, refused: 0 }
    }

    /// Until nobody sends jobs, or hears what came of them.
    pub(crate) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let report = match job {
                Commit::Turn(Duration::ZERO) => self.wait_turn(),
                // Before the turn, so that others have theirs meanwhile.
                Commit::Turn(wait) => match self.jobs.recv_timeout(wait) {
                    Err(RecvTimeoutError::Disconnected) => return,
                    Ok(_) | Err(RecvTimeoutError::Timeout) => self.wait_turn(),
                },
                Commit::Hurry => continue,
                #[cfg(debug_assertions)]
                Commit::Batch(writes) if fault::has(fault::Mutant::AckBeforeCommit) => {
                    self.commit_late(&writes)
                }
                Commit::Batch(writes) => self.commit(&writes),
            };
            let Some(report) = report else { return };
            if self.out.send(report).is_err() {
                return;
            }
        }
    }

    /// `None`: nobody waits any more.
    fn wait_turn(&mut self) -> Option<Report> {
        let mut tries = Tries::default();
        loop {
            match self.committer.wait_turn() {
                Ok(()) => return Some(Report::Turn),
                Err(error) if self.may_be_away && error.kind == Kind::Unavailable => {
                    tries.tell(&error, "the engine is away; nothing is executed");
                    self.out.send(Report::Away(Way::Commit)).ok()?;
                    tries.pause(&self.jobs)?;
                }
                Err(error) => return Some(Report::Fatal(error.to_string())),
            }
        }
    }

    /// A negative control: whoever asked is told first, and what comes of the batch is told nobody.
    #[cfg(debug_assertions)]
    fn commit_late(&mut self, writes: &[Write]) -> Option<Report> {
        self.out.send(Report::Ended(vec![Ending::Committed; writes.len()])).ok()?;
        std::thread::sleep(Duration::from_millis(20));
        self.commit(writes).map(|_| Report::Projected(Vec::new(), 0))
    }

    fn commit(&mut self, writes: &[Write]) -> Option<Report> {
        match self.committer.commit(writes) {
            Ok(fates) => {
                if 0 < std::mem::take(&mut self.refused) {
                    tracing::info!("the engine takes batches again");
                }
                Some(ended(fates))
            }
            Err(CommitError::NotExecuted(error)) => {
                if self.refused.is_multiple_of(REFUSED_TOLD_EVERY) {
                    let before = self.refused;
                    tracing::error!(%error, before, "the engine refuses batches; nothing is executed");
                }
                self.refused += 1;
                Some(Report::Ended(vec![Ending::Refused; writes.len()]))
            }
            #[cfg(debug_assertions)]
            Err(CommitError::Unknown(_)) if fault::has(fault::Mutant::FailUnknown) => {
                Some(Report::Ended(vec![Ending::Refused; writes.len()]))
            }
            Err(CommitError::Unknown(error)) => {
                tracing::warn!(%error, partitions = writes.len(), "a batch is in doubt");
                self.out.send(Report::Doubt).ok()?;
                self.resolve(writes)
            }
            Err(CommitError::Fatal(error)) => Some(Report::Fatal(error.to_string())),
        }
    }

    /// Asks until the engine says what became of the batch.
    fn resolve(&mut self, writes: &[Write]) -> Option<Report> {
        let mut tries = Tries::default();
        loop {
            match self.committer.resolve(writes) {
                Ok(fates) => {
                    let count = |fate| fates.iter().filter(|it| **it == fate).count();
                    tracing::info!(
                        committed = count(Fate::Committed),
                        fenced = count(Fate::Fenced),
                        not_executed = count(Fate::NotExecuted),
                        "what was in doubt is known"
                    );
                    return Some(ended(fates));
                }
                Err(error) if error.kind == Kind::Unavailable => {
                    tries.tell(&error, "what is in doubt cannot be found out yet");
                    tries.pause(&self.jobs)?;
                }
                Err(error) => return Some(Report::Fatal(error.to_string())),
            }
        }
    }
}

fn ended(fates: Vec<Fate>) -> Report {
    let ending = |fate| match fate {
        Fate::Committed => Ending::Committed,
        Fate::Fenced => Ending::Fenced,
        Fate::NotExecuted => Ending::NotExecuted,
    };
    Report::Ended(fates.into_iter().map(ending).collect())
}

/// The tries at an engine that is away, each later than the last.
#[derive(Debug, Default)]
pub(crate) struct Tries(u32);

/// Before the second try.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Between two tries, when there have been some.
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Tries {
    /// Says now and then that a try has failed.
    pub(crate) fn tell(&self, error: &EngineError, what: &str) {
        if self.0.is_multiple_of(AWAY_TOLD_EVERY) {
            tracing::error!(%error, tries = self.0 + 1, "{what}");
        }
    }

    /// How long to wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = (PAUSE_MIN * (1 << self.0.min(8))).min(PAUSE_MAX);
        self.0 = self.0.saturating_add(1);
        pause
    }

    /// Waits before the next try. `None` when nobody can send a job any more. One that is under way
    /// is the only one; what may come meanwhile is a [`Commit::Hurry`] that is late.
    fn pause<J>(&mut self, jobs: &mpsc::Receiver<J>) -> Option<()> {
        match jobs.recv_timeout(self.next()) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => Some(()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Tries until the engine answers. `None` when nobody can send a job any more; an error when
    /// another try would do no better.
    pub(crate) fn until<J, A>(
        jobs: &mpsc::Receiver<J>,
        may_be_away: bool,
        mut ask: impl FnMut() -> Result<A, EngineError>,
        mut away: impl FnMut(),
    ) -> Option<Result<A, EngineError>> {
        let mut tries = Tries::default();
        loop {
            match ask() {
                Err(error) if may_be_away && error.kind == Kind::Unavailable => {
                    tries.tell(&error, "the engine is away; nothing is looked up");
                    away();
                    tries.pause(jobs)?;
                }
                done => return Some(done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{Hash, Header};
    use std::thread;
    use wire::{Epoch, PartitionId, Seq, Timestamp};

    /// What an engine answers, one after the other.
    struct Script {
        turns: Vec<bool>,
        commits: Vec<Result<Vec<Fate>, CommitError>>,
        resolves: Vec<Result<Vec<Fate>, EngineError>>,
    }

    impl Committer for Script {
        fn wait_turn(&mut self) -> Result<(), EngineError> {
            self.turns.remove(0).then_some(()).ok_or_else(away)
        }

        fn commit(&mut self, _: &[Write]) -> Result<Vec<Fate>, CommitError> {
            self.commits.remove(0)
        }

        fn resolve(&mut self, writes: &[Write]) -> Result<Vec<Fate>, EngineError> {
            assert_eq!(writes.len(), 1, "those of the batch in doubt");
            self.resolves.remove(0)
        }
    }

    fn away() -> EngineError {
        let (place, what) = ("postgres://db".to_owned(), "connection refused".to_owned());
        EngineError { kind: Kind::Unavailable, place, what }
    }

    fn write() -> Write {
        let (partition, seq, epoch) = (PartitionId(0), Seq(1), Epoch(1));
        let header = Header { partition, seq, epoch, time: Timestamp(0), previous: Hash::NONE };
        Write { header, hash: Hash::NONE, record: Vec::new() }
    }

    /// Without waiting for company.
    const TURN: Commit = Commit::Turn(Duration::ZERO);

    /// What the thread reports after these jobs.
    fn reports(script: Script, may_be_away: bool, jobs: Vec<Commit>) -> Vec<String> {
        let (give, given) = mpsc::channel();
        let (out, mut told) = to_executor::unbounded_channel();
        let committer = Box::new(script);
        let commits = Commits::new(committer, given, out, may_be_away);
        let thread = thread::spawn(move || commits.run());
        let mut reports = Vec::new();
        for job in jobs {
            give.send(job).unwrap();
            loop {
                let report = told.blocking_recv().expect("the thread says what comes of a job");
                let is_last = !matches!(report, Report::Away(_) | Report::Doubt);
                reports.push(format!("{report:?}"));
                if is_last {
                    break;
                }
            }
        }
        drop(give);
        thread.join().unwrap();
        reports
    }

    #[test]
    fn an_engine_that_is_away_is_waited_for() {
        let script =
            || Script { turns: vec![false, false, true], commits: vec![], resolves: vec![] };
        let told = reports(script(), true, vec![TURN]);
        assert_eq!(told, ["Away(Commit)", "Away(Commit)", "Turn"]);
        let told = reports(script(), false, vec![TURN]);
        assert_eq!(told, ["Fatal(\"postgres://db: connection refused\")"], "a disk is never away");
    }

    #[test]
    fn a_wait_for_company_ends_when_it_is_told_to_and_at_no_other_time() {
        let long = Duration::from_secs(3_600);
        for (turns, jobs, expected) in [
            // In time.
            (vec![true], vec![Commit::Turn(long), Commit::Hurry], vec!["Turn"]),
            // Too late: it changes nothing, not even while the engine is away.
            (vec![true, true], vec![TURN, Commit::Hurry, TURN], vec!["Turn", "Turn"]),
            (vec![false, true], vec![TURN, Commit::Hurry], vec!["Away(Commit)", "Turn"]),
            // Nobody is left to tell it.
            (vec![], vec![Commit::Turn(long)], vec![]),
        ] {
            let (give, given) = mpsc::channel();
            jobs.into_iter().for_each(|job| give.send(job).unwrap());
            drop(give);
            let (out, mut told) = to_executor::unbounded_channel();
            let script = Script { turns, commits: vec![], resolves: vec![] };
            Commits::new(Box::new(script), given, out, true).run();
            let told = std::iter::from_fn(|| told.try_recv().ok());
            assert_eq!(told.map(|it| format!("{it:?}")).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_batch_in_doubt_is_resolved_before_anything_else() {
        for (fate, ending) in [
            (Fate::Committed, "Ended([Committed])"),
            (Fate::Fenced, "Ended([Fenced])"),
            (Fate::NotExecuted, "Ended([NotExecuted])"),
        ] {
            let script = Script {
                turns: vec![true],
                commits: vec![Err(CommitError::Unknown(away()))],
                resolves: vec![Err(away()), Err(away()), Ok(vec![fate])],
            };
            let told = reports(script, true, vec![Commit::Batch(vec![write()]), TURN]);
            assert_eq!(told, ["Doubt", ending, "Turn"]);
        }
    }

    #[test]
    fn nothing_is_said_of_a_batch_that_cannot_be_resolved() {
        let corrupt = EngineError { kind: Kind::Corrupt, ..away() };
        let script = Script {
            turns: vec![],
            commits: vec![Err(CommitError::Unknown(away()))],
            resolves: vec![Err(corrupt)],
        };
        let told = reports(script, true, vec![Commit::Batch(vec![write()])]);
        assert_eq!(told, ["Doubt", "Fatal(\"postgres://db: connection refused\")"]);
    }

    #[test]
    fn tries_grow_rarer_and_never_stop() {
        let mut tries = Tries::default();
        let pauses: Vec<u128> = (0..40).map(|_| tries.next().as_millis()).collect();
        assert_eq!(pauses[..6], [20, 40, 80, 160, 320, 500]);
        assert_eq!(pauses[39], 500);
    }
}
