//! The projector's thread: gathers committed records, and brings them into the views.

use crate::{
    backlog::Backlog,
    threads::{Projection, Report},
    turns::{PERIOD, Turns},
};
use engine::{EngineError, Kind, ProjectError, Projector};
use net::clock;
use std::{
    sync::mpsc::{self, TryRecvError},
    thread,
    time::Duration,
};
use stdx::Moment;
use tokio::sync::mpsc as to_executor;
use wire::PartitionId;

/// How often the thread looks whether so much waits that it is to be projected at once. Nobody
/// wakes it for each commit, which would cost the commit more than the look costs here.
const LOOK_EVERY: Duration = Duration::from_millis(125);

/// The projector and what it is told.
pub(crate) struct Projecting {
    pub(crate) projector: Box<dyn Projector>,
    pub(crate) jobs: mpsc::Receiver<Projection>,
    pub(crate) out: to_executor::UnboundedSender<Report>,
    /// The engine is a process of its own: it can be out of reach for a while, and come back.
    pub(crate) is_far: bool,
    pub(crate) turns: Turns,
    /// Between two tries at views that cannot be written.
    pub(crate) pause: Duration,
}

/// [`Projecting::pause`] outside of tests.
pub(crate) const PAUSE: Duration = PERIOD;

impl Projecting {
    /// Until nobody can send more, and all that came is projected; or until nobody hears of it.
    ///
    /// Whoever drops the other end of the jobs unparks the thread, which sleeps otherwise until
    /// it would have looked.
    pub(crate) fn run(mut self) {
        let mut backlog = Backlog::new(self.turns);
        loop {
            if backlog.is_empty() {
                let Ok(job) = self.jobs.recv() else { return };
                backlog.add(job, clock::now());
            }
            let is_last = self.gather(&mut backlog, Backlog::wait);
            let turn = match is_last {
                true => backlog.all(),
                false => backlog.take_turn(clock::now()),
            };
            if let Some(report) = self.project(&mut backlog, &turn)
                && self.out.send(report).is_err()
            {
                return;
            }
            if is_last {
                return;
            }
        }
    }

    /// Takes jobs in until `wait` says that it is time. True when nobody can send another.
    fn gather(&self, backlog: &mut Backlog, wait: impl Fn(&Backlog, Moment) -> Duration) -> bool {
        loop {
            let is_last = self.take_in(backlog);
            let wait = wait(backlog, clock::now());
            if is_last || wait.is_zero() {
                return is_last;
            }
            thread::park_timeout(wait.min(LOOK_EVERY));
        }
    }

    /// Takes in what has come. True when nobody can send another.
    fn take_in(&self, backlog: &mut Backlog) -> bool {
        loop {
            match self.jobs.try_recv() {
                Ok(job) => backlog.add(job, clock::now()),
                Err(error) => return error == TryRecvError::Disconnected,
            }
        }
    }

    /// Projects what these partitions have, and says what came of it.
    ///
    /// While the disk is full or the engine away it goes on trying: reads are served meanwhile as
    /// far as they can be, and nothing is lost, for the journal has what the views have not. What
    /// can gather is bounded by what may be unprojected.
    fn project(&mut self, backlog: &mut Backlog, turn: &[PartitionId]) -> Option<Report> {
        loop {
            let records = backlog.records(turn);
            if records.is_empty() {
                return backlog.done(turn);
            }
            match self.projector.project(&records) {
                Ok(()) => return backlog.done(turn),
                Err(ProjectError::Engine(err)) if self.is_passing(&err) => {
                    tracing::error!(%err, "the views cannot be written; they stay as they are");
                }
                Err(ProjectError::Deposed(partitions)) => match self.trim(backlog, &partitions) {
                    Ok(()) => continue,
                    Err(err) if self.is_passing(&err) => {
                        tracing::error!(%err, "the views cannot be read");
                    }
                    Err(err) => return Some(Report::Fatal(err.to_string())),
                },
                Err(err @ ProjectError::Engine(_)) => return Some(Report::Fatal(err.to_string())),
            }
            let again = clock::now() + self.pause;
            if self.gather(backlog, |_, now| again.since(now)) {
                // Whoever owns the partitions next reads the rest from the journal.
                return None;
            }
        }
    }

    fn is_passing(&self, error: &EngineError) -> bool {
        match error.kind {
            Kind::Full => true,
            Kind::Unavailable => self.is_far,
            Kind::Corrupt
            | Kind::Mismatch
            | Kind::Copied
            | Kind::NameTaken
            | Kind::Deposed
            | Kind::Unsupported => false,
        }
    }

    /// Somebody else projected these partitions: the owner before, whose last records were on their
    /// way, or the owner after.
    fn trim(
        &mut self,
        backlog: &mut Backlog,
        partitions: &[PartitionId],
    ) -> Result<(), EngineError> {
        for &partition in partitions {
            let mark = self.projector.watermark(partition)?;
            tracing::info!(partition = partition.0, seq = mark.seq.0, "the views are further on");
            backlog.trim(partition, mark);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal_of_three::{record, three};
    use ledger::{Chain, Hash, Record};
    use std::sync::Arc;
    use wire::{Seq, Timestamp};

    fn turns() -> Turns {
        Turns::new((0, 1), (Moment::ZERO, Timestamp(0)))
    }

    /// Runs the thread's body on these jobs, after which nobody can send more.
    fn told(projector: impl Projector + 'static, jobs: Vec<Projection>) -> Vec<Report> {
        let (give, given) = mpsc::channel();
        let (out, mut reports) = to_executor::unbounded_channel();
        for job in jobs {
            give.send(job).unwrap();
        }
        drop(give);
        let (projector, turns) = (Box::new(projector), turns());
        Projecting { projector, jobs: given, out, is_far: false, turns, pause: Duration::ZERO }
            .run();
        std::iter::from_fn(|| reports.try_recv().ok()).collect()
    }

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

    #[test]
    fn a_full_disk_holds_up_the_projection_and_no_more() {
        let (give, given) = mpsc::channel();
        let (out, mut reports) = to_executor::unbounded_channel();
        let (calls, called) = mpsc::channel();
        let projector = Box::new(Full { calls_left: 2, calls });
        let pause = Duration::ZERO;
        let body = Projecting { projector, jobs: given, out, is_far: false, turns: turns(), pause };
        let thread = thread::spawn(move || body.run());
        give.send(Projection::Records(three().0)).unwrap();
        for _ in 0..3 {
            assert_eq!(called.recv().unwrap(), 3, "the same until there is room");
        }
        let Some(Report::Projected(reached, 3)) = reports.blocking_recv() else {
            panic!("it is projected in the end");
        };
        assert_eq!(reached, [(PartitionId(7), Seq(3))]);
        drop(give);
        thread.thread().unpark();
        thread.join().unwrap();
    }

    #[test]
    fn when_nobody_can_send_more_what_came_is_projected_or_left_to_the_next_owner() {
        for (calls_left, expected) in [(0, 1), (1, 0)] {
            let (calls, _called) = mpsc::channel();
            let records = Projection::Records(vec![record(1), record(2)]);
            let reports = told(Full { calls_left, calls }, vec![records]);
            assert_eq!(reports.len(), expected, "{reports:?}");
        }
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

    #[test]
    fn what_another_has_projected_is_left_out() {
        let (records, chains) = three();
        for (reached, expected) in [(0, vec![1, 2, 3]), (2, vec![3]), (3, vec![])] {
            let (projected, calls) = mpsc::channel();
            let moved = Moved { mark: chains[reached], projected };
            let reports = told(moved, vec![Projection::Records(records.clone())]);
            let seqs = calls.try_recv().unwrap_or_default().into_iter().map(|it| it.0);
            assert_eq!(seqs.collect::<Vec<u64>>(), expected);
            let [Report::Projected(marks, 3)] = &reports[..] else { panic!("{reports:?}") };
            assert_eq!(marks.iter().map(|it| it.1.0).max(), Some(3));
        }
    }
}
