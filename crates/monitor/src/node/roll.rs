//! Sums up what has been, and throws away what is too old: a little at a time, between the beats.

use super::{Node, now};
use crate::{
    book::Ended,
    core::{
        availability::Mark,
        check::{CheckId, Now},
        rollup::Grain,
    },
    store::{Old, Row, StoreError, Tallied},
};
use std::{cell::Cell, rc::Rc, time::Duration};
use wire::Timestamp;

/// Between two looks at what is to be summed up.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long after a minute its last beats are taken to be counted.
const SETTLED_AFTER: Duration = Duration::from_secs(15);
/// Minutes that are stored in one transaction.
const MINUTES_AT_ONCE: usize = 250;
/// Roll-ups after which the next ones are another transaction.
const BUCKETS_AT_ONCE: usize = 250;

/// How far the summing up is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The last minute and the last hour that are summed up, by their ends.
    minute: Cell<Option<Timestamp>>,
    hour: Cell<Option<Timestamp>>,
    /// Checks that beat in one minute: as many as lately, and forgotten over an hour.
    crowd: Cell<u64>,
    /// The end of the last time in which nobody listened, or something was in maintenance: minutes
    /// before it are not all alike.
    pub(super) mixed_until: Cell<Timestamp>,
}

impl Node {
    /// Sums up and throws away, for as long as the node lives.
    pub(super) async fn roll(self: Rc<Node>) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(err) = self.sum_up(now()).await {
                tracing::warn!(%err, "nothing is summed up for now");
            }
        }
    }

    async fn sum_up(&self, now: Now) -> Result<(), StoreError> {
        let minute = Grain::Minute.floor(now.wall_before(SETTLED_AFTER));
        if self.progress.minute.replace(Some(minute)) == Some(minute) {
            return Ok(());
        }
        self.end_minutes(now, minute).await?;
        let hour = Grain::Hour.floor(minute);
        let is_new = self.progress.hour.replace(Some(hour)) != Some(hour);
        if is_new {
            // Of the hour that has ended, and of what was left undone before it.
            let from = Timestamp(hour.0.saturating_sub(1));
            self.stored(vec![Row::Unrolled(Grain::Hour.floor(from))]).await?;
        }
        self.make_rollups(now).await?;
        if is_new {
            self.throw_away(now).await?;
        }
        Ok(())
    }

    /// Stores what was counted in the minutes before this one.
    async fn end_minutes(&self, now: Now, minute: Timestamp) -> Result<(), StoreError> {
        let ended: Vec<Ended> =
            self.book.borrow_mut().iter_mut().flat_map(|it| it.end_minute(minute)).collect();
        let (before, count) =
            (self.progress.crowd.get(), u64::try_from(ended.len()).unwrap_or(u64::MAX));
        self.progress.crowd.set(count.max(before - before.div_ceil(60)));
        let mut ended = ended.into_iter().map(|it| self.tallied(now, it)).peekable();
        while ended.peek().is_some() {
            // What is not stored now is stored by the writer later.
            drop(self.stored(ended.by_ref().take(MINUTES_AT_ONCE).collect()).await);
        }
        Ok(())
    }

    /// A minute as it is stored: with what all of it was like, where that is known.
    pub(super) fn tallied(&self, now: Now, it: Ended) -> Row {
        let Ended { check, tally, total } = it;
        let detector = self.detector.borrow();
        let minute = tally.minute;
        let is_past = Grain::Minute.next(minute) <= now.wall;
        let is_even = detector.since(check).is_some_and(|since| since <= minute)
            && self.progress.mixed_until.get() <= minute
            && self.desk.borrow().maintenance(check).is_none();
        let mark = detector.state(check).map(Mark::of).filter(|_| is_past && is_even);
        Row::Tallied(Box::new(Tallied { check, tally, total, mark }))
    }

    /// Makes the roll-ups anew that are marked.
    async fn make_rollups(&self, now: Now) -> Result<(), StoreError> {
        let keep = self.config().retention.crowded(self.progress.crowd.get());
        let mut last: Option<CheckId> = None;
        loop {
            let rolled = self.history.ask(move |it| it.roll(now, last, &keep)).await?;
            let Some(it) = rolled.last() else { return Ok(()) };
            last = Some(it.check);
            let (mut rows, mut count) = (Vec::new(), 0);
            for it in rolled {
                count += it.buckets.len();
                rows.push(Row::Rolled(Box::new(it)));
                if BUCKETS_AT_ONCE <= count {
                    count = 0;
                    self.stored(std::mem::take(&mut rows)).await?;
                }
            }
            self.stored(rows).await?;
        }
    }

    /// Throws away what is too old, a few rows at a time.
    async fn throw_away(&self, now: Now) -> Result<(), StoreError> {
        let keep = self.config().retention;
        self.stored(vec![Row::BeatsFrom(keep.beats_from(now))]).await?;
        let before = keep.changes_from(now);
        if self.history.ask(move |it| it.has_unrolled(before)).await? {
            return Ok(()); // What is to be summed up of it comes first.
        }
        for old in Old::ALL {
            while self.history.ask(move |it| it.has_older(old, before)).await? {
                self.stored(vec![Row::Prune(old, before)]).await?;
            }
        }
        Ok(())
    }

    /// Waits until rows are on the disk.
    async fn stored(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let Some(done) = self.keep(rows) else { return Ok(()) };
        if done.await == Ok(true) { Ok(()) } else { Err(StoreError::away()) }
    }

    /// Minutes before this moment are not all alike.
    pub(super) fn mix_until(&self, at: Timestamp) {
        self.progress.mixed_until.set(self.progress.mixed_until.get().max(at));
    }
}
