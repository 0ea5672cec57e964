//! Makes roll-ups anew where what they come of has changed: after an hour has ended, after an
//! outage that began before it was found, after a time in which nobody listened.

use super::{
    history::History,
    row::{Bucket, Rolled},
    sql::{StoreError, number, values},
};
use crate::{
    config::Retention,
    core::{
        availability::report,
        check::{CheckId, Now},
        rollup::{Count, Grain},
        window::Span,
    },
};
use std::collections::BTreeMap;
use wire::Timestamp;

/// Checks whose roll-ups are made in one go.
const CHECKS_MAX: i64 = 32;

/// Which check is next, of those that are marked.
#[derive(Clone, Copy, Debug)]
struct Marked {
    check: CheckId,
    from: Timestamp,
    turn: i64,
}

impl History {
    /// Makes the roll-ups of some of the checks that are marked, of those after `last` and in
    /// order. None are left when none come back.
    pub fn roll(
        &self,
        now: Now,
        last: Option<CheckId>,
        keep: &Retention,
    ) -> Result<Vec<Rolled>, StoreError> {
        let sql = "SELECT check_id, from_at, turn FROM unrolled WHERE ?1 < check_id \
                   ORDER BY check_id LIMIT ?2";
        let last = last.map_or(i64::MIN, |it| it.0);
        let mut marked = Vec::new();
        for row in self.db.rows(sql, values![last, CHECKS_MAX])? {
            let check = CheckId(row.int(0)?);
            marked.push(Marked { check, from: row.time(1)?, turn: row.int(2)? });
        }
        let Some(first) = marked.iter().map(|it| it.from).min() else { return Ok(Vec::new()) };
        let kept_from = self.changes_from()?;
        let blind = self.blind(Grain::Day.floor(first))?;
        marked.into_iter().map(|it| self.rolled(now, it, (kept_from, &blind), keep)).collect()
    }

    fn rolled(
        &self,
        now: Now,
        it: Marked,
        (kept_from, blind): (Timestamp, &[Span]),
        keep: &Retention,
    ) -> Result<Rolled, StoreError> {
        // What changes do not tell any more stays as it is.
        let from = it.from.max(keep.from(now, Grain::Day));
        let day = Grain::Day.floor(from).max(kept_from);
        let hour = Grain::Hour.floor(from).max(kept_from);
        let minute = Grain::Minute.floor(from).max(kept_from);
        let turns = self.turns(it.check, day)?;
        let of = |grain: Grain, at: Timestamp| {
            let first = turns.partition_point(|it| it.at <= at).saturating_sub(1);
            report(&turns[first..], blind, (at, grain.next(at).min(now.wall)))
        };
        let end = Timestamp(now.wall.0.saturating_add(1));
        let stored = |grain, from| self.stored(it.check, grain, (from, end));
        let minutes = stored(Grain::Minute, hour)?;
        let mut hours: BTreeMap<Timestamp, Bucket> =
            stored(Grain::Hour, day)?.into_iter().map(|it| (it.at, it)).collect();
        fold(&minutes, Grain::Hour, &mut hours);
        let mut days: BTreeMap<Timestamp, Bucket> = BTreeMap::new();
        fold(&hours.values().cloned().collect::<Vec<_>>(), Grain::Day, &mut days);
        // Of every day there is one, of hours and minutes those with a beat.
        let mut at = day;
        while at < now.wall {
            let none = Bucket { grain: Grain::Day, at, report: of(Grain::Day, at), count: None };
            days.entry(at).or_insert(none);
            at = Grain::Day.next(at);
        }
        let minutes = minutes.into_iter().filter(|it| minute <= it.at);
        // Minutes are stored with their beats already.
        let minutes = minutes.map(|it| Bucket { count: None, ..it });
        let hours = hours.into_values().filter(|it| hour <= it.at);
        let all = minutes.chain(hours).chain(days.into_values());
        let all = all.map(|it| Bucket { report: of(it.grain, it.at), ..it });
        Ok(Rolled {
            check: it.check,
            turn: it.turn,
            buckets: all.collect(),
            before: Grain::ALL.map(|grain| (grain, keep.from(now, grain))).to_vec(),
        })
    }

    /// Whether roll-ups of before this moment are still to be made.
    pub fn has_unrolled(&self, before: Timestamp) -> Result<bool, StoreError> {
        let sql = "SELECT check_id FROM unrolled WHERE from_at < ?1 LIMIT ?2";
        Ok(self.db.row(sql, values![before.0, number(1)])?.is_some())
    }
}

/// Counts of finer buckets make those of coarser ones; where none are kept any more, what was
/// made of them before stays.
fn fold(finer: &[Bucket], grain: Grain, into: &mut BTreeMap<Timestamp, Bucket>) {
    let mut made: BTreeMap<Timestamp, Count> = BTreeMap::new();
    for it in finer {
        if let Some(count) = &it.count {
            made.entry(grain.floor(it.at)).or_default().fold(count);
        }
    }
    for (at, count) in made {
        let report = Default::default();
        let bucket = into.entry(at).or_insert(Bucket { grain, at, report, count: None });
        bucket.count = Some(count);
    }
}
