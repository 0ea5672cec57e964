//! What waits to be projected, and whose turn it is.
//!
//! A partition's records gather for about [`PERIOD`] before they are brought into the views, which
//! makes one block of an account's entries out of many. The partitions take turns within that time:
//! to project all of them at once would keep everybody's commits waiting for as long as that takes.
//!
//! Pure: the projector's thread brings the time.

use crate::{
    threads::{Projection, Report},
    turns::{EVERY, PERIOD, TURNS, Turns},
};
use ledger::{Chain, Hash, Header, Record};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use stdx::Moment;
use wire::{PartitionId, Seq};

/// Commands at which all that waits is projected, though it came sooner.
const COMMANDS_MAX: usize = 100_000;

/// A record of the journal, and its hash.
pub(crate) type Journaled = (Arc<Record>, Hash);

/// Committed records that the views have not.
#[derive(Debug)]
pub(crate) struct Backlog {
    turns: Turns,
    partitions: BTreeMap<PartitionId, Waiting>,
    commands: usize,
    /// When the next turn is.
    next: Moment,
    /// Where partitions were projected to by somebody else, meanwhile.
    marks: Vec<(PartitionId, Seq)>,
    /// Commands that wait no more, though nobody here projected them.
    dropped: usize,
}

/// What one partition has: a record at least.
#[derive(Debug)]
struct Waiting {
    since: Moment,
    records: Vec<Journaled>,
}

impl Backlog {
    pub(crate) fn new(turns: Turns) -> Backlog {
        Backlog {
            turns,
            partitions: BTreeMap::new(),
            commands: 0,
            next: Moment::ZERO,
            marks: Vec::new(),
            dropped: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(crate) fn add(&mut self, job: Projection, now: Moment) {
        match job {
            Projection::Records(records) => {
                if self.is_empty() {
                    self.next = self.turns.after(now);
                }
                self.commands += commands_count(&records);
                for (record, hash) in records {
                    let waiting = self.partitions.entry(record.header.partition);
                    let waiting =
                        waiting.or_insert_with(|| Waiting { since: now, records: Vec::new() });
                    waiting.records.push((record, hash));
                }
            }
            Projection::Left(partition) => self.drop_where(partition, |_| true),
        }
    }

    /// How long until the next turn; zero when too much waits for that, or nothing at all.
    pub(crate) fn wait(&self, now: Moment) -> Duration {
        match self.is_empty() || COMMANDS_MAX <= self.commands {
            true => Duration::ZERO,
            false => self.next.since(now),
        }
    }

    /// Whose turn it is: a share of all that wait, those first who have waited longest. All of
    /// them when too much waits.
    pub(crate) fn take_turn(&mut self, now: Moment) -> Vec<PartitionId> {
        self.next = self.turns.after(now);
        if COMMANDS_MAX <= self.commands {
            return self.all();
        }
        // Where few partitions wait, one could have turn after turn, and nothing would gather.
        let gathers = PERIOD - EVERY;
        let waiting = self.partitions.iter().map(|(id, it)| (it.since, *id));
        let mut due: Vec<_> = waiting.filter(|(since, _)| gathers <= now.since(*since)).collect();
        due.sort_unstable();
        due.truncate(self.partitions.len().div_ceil(TURNS as usize));
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Everybody who waits.
    pub(crate) fn all(&self) -> Vec<PartitionId> {
        self.partitions.keys().copied().collect()
    }

    /// What these partitions have, each in the order of its journal.
    pub(crate) fn records(&self, turn: &[PartitionId]) -> Vec<Journaled> {
        let waiting = turn.iter().filter_map(|id| self.partitions.get(id));
        waiting.flat_map(|it| it.records.iter().cloned()).collect()
    }

    /// A partition's views were found to reach to `mark`: what they have is left out, and if the
    /// rest does not continue there, all of it. Whoever owns the partition projects it.
    pub(crate) fn trim(&mut self, partition: PartitionId, mark: Chain) {
        let Some(waiting) = self.partitions.get(&partition) else { return };
        if let Some((last, _)) = waiting.records.last() {
            self.marks.push((partition, mark.seq.min(last.header.seq)));
        }
        self.drop_where(partition, |header| header.seq <= mark.seq);
        let continues = |it: &Header| it.seq == mark.seq.next() && it.previous == mark.hash;
        let next = self.partitions.get(&partition).and_then(|it| it.records.first());
        if next.is_some_and(|(record, _)| !continues(&record.header)) {
            self.drop_where(partition, |_| true);
        }
    }

    /// All that these partitions have is in the views: what to tell of it, and of what is with
    /// others. `None`: nothing.
    pub(crate) fn done(&mut self, turn: &[PartitionId]) -> Option<Report> {
        let mut reached = std::mem::take(&mut self.marks);
        let mut commands = std::mem::take(&mut self.dropped);
        for partition in turn {
            let Some(done) = self.partitions.remove(partition) else { continue };
            reached.extend(done.records.last().map(|(last, _)| (*partition, last.header.seq)));
            let projected = commands_count(&done.records);
            self.commands -= projected;
            commands += projected;
        }
        let is_any = !reached.is_empty() || 0 < commands;
        is_any.then_some(Report::Projected(reached, commands))
    }

    fn drop_where(&mut self, partition: PartitionId, is_out: impl Fn(&Header) -> bool) {
        let Some(waiting) = self.partitions.get_mut(&partition) else { return };
        let before = commands_count(&waiting.records);
        waiting.records.retain(|(record, _)| !is_out(&record.header));
        let out = before - commands_count(&waiting.records);
        if waiting.records.is_empty() {
            drop(self.partitions.remove(&partition));
        }
        self.commands -= out;
        self.dropped += out;
    }
}

fn commands_count(records: &[Journaled]) -> usize {
    records.iter().map(|(record, _)| record.items.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal_of_three::{record, three};
    use wire::Timestamp;

    const START: Moment = Moment::from_nanos(5_000_000_000);

    fn ms(ms: u64) -> Moment {
        START + Duration::from_millis(ms)
    }

    fn turns() -> Turns {
        Turns::new((0, 1), (Moment::ZERO, Timestamp(0)))
    }

    /// One record each of as many partitions.
    fn of_partitions(count: u8) -> Backlog {
        let mut backlog = Backlog::new(turns());
        for number in 0..count {
            backlog.add(Projection::Records(vec![record(number)]), START);
        }
        backlog
    }

    fn told(backlog: &mut Backlog, turn: &[PartitionId]) -> (Vec<(PartitionId, Seq)>, usize) {
        match backlog.done(turn) {
            None => (Vec::new(), 0),
            Some(Report::Projected(marks, commands)) => (marks, commands),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_has_a_turn_before_its_records_have_gathered() {
        let mut backlog = of_partitions(16);
        assert_eq!(backlog.wait(START), EVERY);
        assert_eq!(backlog.wait(ms(100)), Duration::from_millis(150));
        for at in [250, 500] {
            assert_eq!(backlog.take_turn(ms(at)), []);
        }
        let mut told_of = 0;
        for at in [750, 1_000, 1_250, 1_500, 1_750, 2_000] {
            let turn = backlog.take_turn(ms(at));
            let (marks, commands) = told(&mut backlog, &turn);
            assert_eq!((marks.len(), commands), (turn.len(), turn.len()));
            assert!(backlog.done(&turn).is_none(), "nothing more to tell");
            told_of += commands;
        }
        let rest = backlog.all();
        assert_eq!(told_of + told(&mut backlog, &rest).1, 16);
        assert!(backlog.is_empty());
        assert_eq!(backlog.wait(ms(2_000)), Duration::ZERO, "nothing to wait for");
    }

    #[test]
    fn each_partition_has_its_turn_once_a_period() {
        for count in [1_u8, 3, 4, 16, 17] {
            let mut backlog = of_partitions(count);
            let mut last: BTreeMap<PartitionId, u64> = BTreeMap::new();
            for at in (250..10_000).step_by(250) {
                assert_eq!(backlog.wait(ms(at - 250)), Duration::from_millis(250));
                let turn = backlog.take_turn(ms(at));
                assert!(turn.len() <= usize::from(count).div_ceil(4), "{turn:?} of {count}");
                for partition in &turn {
                    let since = at - last.insert(*partition, at).unwrap_or_default();
                    assert!((750..=1_500).contains(&since), "{since} ms of {count}");
                }
                let (marks, _) = told(&mut backlog, &turn);
                assert_eq!(marks.len(), turn.len());
                for number in 0..count {
                    backlog.add(Projection::Records(vec![record(number)]), ms(at));
                }
            }
            assert_eq!(last.len(), usize::from(count));
        }
    }

    #[test]
    fn when_too_much_waits_nobody_waits_for_a_turn() {
        let mut backlog = of_partitions(3);
        let (one, hash) = record(7);
        let many = vec![(Arc::clone(&one), hash); COMMANDS_MAX - 4];
        backlog.add(Projection::Records(many), START);
        assert_ne!(backlog.wait(START), Duration::ZERO);
        backlog.add(Projection::Records(vec![(one, hash)]), START);
        assert_eq!(backlog.wait(START), Duration::ZERO);
        let turn = backlog.take_turn(START);
        assert_eq!(turn.len(), 4, "all of them");
        assert_eq!(told(&mut backlog, &turn).1, COMMANDS_MAX);
    }

    #[test]
    fn what_came_after_a_turn_was_projected_waits_for_the_next() {
        let mut backlog = of_partitions(2);
        let turn = backlog.all();
        assert_eq!(backlog.records(&turn).len(), 2);
        told(&mut backlog, &turn[..1]);
        assert_eq!(backlog.all(), turn[1..], "the other one still waits");
        assert_eq!(backlog.records(&turn).len(), 1);
    }

    #[test]
    fn what_was_left_is_not_projected_and_neither_is_another_journal() {
        let (records, chains) = three();
        let mut backlog = Backlog::new(turns());
        backlog.add(Projection::Records(records.clone()), START);
        backlog.add(Projection::Records(vec![record(1)]), START);
        backlog.add(Projection::Left(PartitionId(7)), START);
        assert_eq!(backlog.all(), [PartitionId(1)]);
        assert_eq!(told(&mut backlog, &[PartitionId(1)]), (vec![(PartitionId(1), Seq(1))], 4));

        backlog.add(Projection::Records(records.clone()), START);
        backlog.trim(PartitionId(7), Chain { hash: Hash::NONE, ..chains[1] });
        assert!(backlog.is_empty());
        assert_eq!(told(&mut backlog, &[]), (vec![(PartitionId(7), Seq(1))], 3));

        backlog.add(Projection::Records(records), START);
        backlog.trim(PartitionId(7), chains[2]);
        let seqs = backlog.records(&[PartitionId(7)]).into_iter().map(|it| it.0.header.seq);
        assert_eq!(seqs.collect::<Vec<_>>(), [Seq(3)]);
        let marks = vec![(PartitionId(7), Seq(2)), (PartitionId(7), Seq(3))];
        assert_eq!(told(&mut backlog, &[PartitionId(7)]), (marks, 3));
    }
}
