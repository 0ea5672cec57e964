//! The log of beats: what each beat changes is one row behind all others, because a page of its own
//! for each would be what a disk can bear of beats.
//!
//! What a check is like after its last beat is written to its own row later, a few checks at a time
//! and in their order, so that neighbours share a page. Until then it is read back from the log. The
//! beats of a job are a chain: each knows where the one before it stands, so that no index is needed
//! to find the last hundred. A sweep goes round the log and throws away what nobody asks for.

use super::{
    load::meta,
    row::Ping,
    sql::{Database, Fields, StoreError, json, number, values},
};
use crate::{
    book::{Check, parse_uuid, uuid_text},
    core::{
        check::{CheckId, Kept, Origin, State, micros},
        rollup::Grain,
    },
};
use net::clock;
use std::{collections::BTreeMap, ops::Bound, time::Duration};
use stdx::Moment;
use wire::Timestamp;

/// Beats of a job that are kept with their bodies.
pub(super) const PINGS_MAX: u32 = 100;
/// Checks whose rows are brought up to date at once, and how often.
const FOLDED_AT_ONCE: usize = 500;
pub(super) const FOLD_EVERY: Duration = Duration::from_millis(100);
/// Rows of the log that the sweep looks at for each that is written, and at least at once: so what
/// it has not come to yet is never more than what is kept.
const SWEPT_PER_BEAT: i64 = 2;
const SWEPT_MIN: i64 = 64;
/// And at most, so that no beat waits for it.
const SWEPT_MAX: i64 = 4_000;
/// Rows that are read back at once.
const READ_AT_ONCE: i64 = 5_000;

/// What is known of a check after a beat, or after it has changed without one.
#[derive(Clone, Debug)]
pub struct Known {
    pub check: CheckId,
    pub kept: Kept,
    pub last_at: Option<Timestamp>,
    /// All beats so far: what was known at fewer is older.
    pub beats: u64,
    /// How long the last run took.
    pub duration: Option<Duration>,
}

impl Known {
    /// What is known of a check now.
    pub fn of(check: &Check, kept: Kept) -> Known {
        Known {
            check: check.id,
            kept,
            last_at: check.last_at,
            beats: check.beats,
            duration: check.last_duration,
        }
    }
}

/// Where the log ends, and what of it is in the rows of the checks already.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Number of the last row.
    last: i64,
    /// Where the last beat of each job stands.
    tails: BTreeMap<CheckId, i64>,
    /// The same within the transaction that is under way.
    fresh: BTreeMap<CheckId, i64>,
    /// What is to be written to the rows of checks.
    waiting: BTreeMap<CheckId, Known>,
    /// Who was written last on this round, and where the log ended when the round began.
    round: Option<(CheckId, i64)>,
    /// Everything up to here is in the rows of checks.
    folded: i64,
    folded_at: Option<Moment>,
    /// How far the sweep is on its round, and the last row when it looked last.
    swept: i64,
    swept_last: i64,
    /// What is written to rows by the transaction that is under way.
    folding: Vec<CheckId>,
    ended_round: bool,
}

impl Log {
    /// Reads back what is not in the rows of checks yet, into the checks.
    pub(super) fn read(
        db: &dyn Database,
        checks: &mut [(Check, Kept)],
        tails: BTreeMap<CheckId, i64>,
    ) -> Result<Log, StoreError> {
        let folded = meta(db, "folded")?.map_or(0, |it| it.0);
        let mut log = Log { last: folded, folded, tails, ..Log::default() };
        let sql = "SELECT id, check_id, n, at, kind, state, since, heard, runs, boot, seq, \
                   last_at, last_duration FROM beats WHERE ?1 < id ORDER BY id LIMIT ?2";
        loop {
            let rows = db.rows(sql, values![log.last, READ_AT_ONCE])?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                log.last = row.int(0)?;
                let id = CheckId(row.int(1)?);
                let Ok(at) = checks.binary_search_by_key(&id, |it| it.0.id) else { continue };
                if !row.text(4)?.is_empty() {
                    log.tails.insert(id, log.last);
                }
                log.take_up(row, &mut checks[at])?;
            }
        }
        log.swept_last = log.last;
        Ok(log)
    }

    /// What a row of the log says of its check, unless more is known.
    fn take_up(
        &mut self,
        row: &Fields,
        (check, kept): &mut (Check, Kept),
    ) -> Result<(), StoreError> {
        let beats = row.count(2)?;
        if beats <= check.beats {
            return Ok(());
        }
        *kept = read_kept(row, 5)?;
        check.tally.minute = Grain::Minute.floor(row.time(3)?);
        check.tally.count.beats += beats - check.beats;
        check.beats = beats;
        check.last_at = row.maybe_int(11)?.map(Timestamp);
        check.last_duration = row.maybe_int(12)?.map(length);
        self.waiting.insert(check.id, Known::of(check, kept.clone()));
        Ok(())
    }

    /// Writes a beat behind all others.
    pub(super) fn append(
        &mut self,
        db: &dyn Database,
        it: &Known,
        ping: Option<&Ping>,
    ) -> Result<(), StoreError> {
        self.last += 1;
        let none = Ping::default();
        let said = ping.unwrap_or(&none);
        let before = ping.map_or(0, |_| self.tail(it.check));
        let kept = &it.kept;
        db.put(
            "INSERT INTO beats VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
             ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            values![
                self.last,
                it.check.0,
                number(it.beats),
                before,
                ping.map_or(it.last_at.map_or(0, |at| at.0), |it| it.at.0),
                said.kind,
                &said.remote,
                &said.method,
                &said.agent,
                &said.run.map(uuid_text),
                said.duration.map(micros),
                said.body.as_slice(),
                kept.state.text(),
                kept.since.0,
                kept.heard.map(|at| at.0),
                &runs_text(kept)?,
                kept.origin.map(|it| it.boot.cast_signed()),
                kept.origin.map(|it| number(it.seq)),
                it.last_at.map(|at| at.0),
                it.duration.map(micros),
            ],
        )?;
        if ping.is_some() {
            self.fresh.insert(it.check, self.last);
        }
        // Even if this transaction fails: it is so, and nobody says it again.
        self.waiting.insert(it.check, it.clone());
        Ok(())
    }

    /// Writes what is known of a check to its own row, at once.
    pub(super) fn settle(&mut self, db: &dyn Database, it: &Known) -> Result<(), StoreError> {
        if self.waiting.get(&it.check).is_some_and(|later| later.beats <= it.beats) {
            self.waiting.remove(&it.check);
        }
        self.write(db, it)
    }

    /// Forgets a check: its number may be given to another one by a later process.
    pub(super) fn forget(&mut self, db: &dyn Database, id: CheckId) -> Result<(), StoreError> {
        self.waiting.remove(&id);
        self.tails.remove(&id);
        self.fresh.remove(&id);
        let sql = "DELETE FROM beats WHERE ?2 < id AND check_id = ?1";
        db.put(sql, values![id.0, self.folded])
    }

    /// Before the end of a transaction: brings some checks' rows up to date, and sweeps a bit.
    pub(super) fn tidy(&mut self, db: &dyn Database) -> Result<(), StoreError> {
        let now = clock::now();
        if self.folded_at.is_some_and(|at| now.since(at) < FOLD_EVERY) {
            return Ok(());
        }
        self.folded_at = Some(now);
        self.fold(db)?;
        self.sweep(db)
    }

    fn fold(&mut self, db: &dyn Database) -> Result<(), StoreError> {
        let (after, began) = match self.round {
            Some((after, began)) => (Bound::Excluded(after), began),
            None => (Bound::Unbounded, self.last),
        };
        let some = self.waiting.range((after, Bound::Unbounded)).take(FOLDED_AT_ONCE);
        let some: Vec<Known> = some.map(|it| it.1.clone()).collect();
        some.iter().try_for_each(|it| self.write(db, it))?;
        self.folding = some.iter().map(|it| it.check).collect();
        self.ended_round = some.len() < FOLDED_AT_ONCE;
        if self.ended_round {
            super::row::set(db, "folded", Timestamp(began))?;
        }
        self.round = Some((some.last().map_or(CheckId(i64::MIN), |it| it.check), began));
        Ok(())
    }

    /// The next stretch of the log, without what nobody asks for any more: beats of nodes that are in
    /// their checks' rows, beats that are too old or too many, and those of checks that are gone.
    fn sweep(&mut self, db: &dyn Database) -> Result<(), StoreError> {
        let written = self.last.saturating_sub(self.swept_last);
        let count = written.saturating_mul(SWEPT_PER_BEAT).clamp(SWEPT_MIN, SWEPT_MAX);
        let upto = "SELECT id FROM beats WHERE ?1 < id AND id <= ?2 ORDER BY id LIMIT 1 OFFSET ?3";
        let upto = db.row(upto, values![self.swept, self.folded, count - 1])?;
        let upto = upto.map_or(Ok(self.folded), |row| row.int(0))?;
        db.put(
            "DELETE FROM beats WHERE ?1 < id AND id <= ?2 AND (kind = '' OR \
             at < (SELECT value FROM meta WHERE name = 'beats_from') OR NOT EXISTS \
             (SELECT 1 FROM checks WHERE checks.id = beats.check_id \
             AND checks.beats < beats.n + ?3))",
            values![self.swept, upto, i64::from(PINGS_MAX)],
        )?;
        self.swept_last = self.last;
        // Behind the last one it begins anew.
        self.swept = if self.folded <= upto { 0 } else { upto };
        Ok(())
    }

    /// The transaction is durable.
    pub(super) fn committed(&mut self) {
        self.tails.append(&mut self.fresh);
        for id in std::mem::take(&mut self.folding) {
            self.waiting.remove(&id);
        }
        if std::mem::take(&mut self.ended_round)
            && let Some((_, began)) = self.round.take()
        {
            self.folded = began;
        }
    }

    /// It is not, and nobody knows what of it is there.
    pub(super) fn undone(&mut self) {
        self.fresh.clear();
        self.folding.clear();
        self.ended_round = false;
        // A new round, because this one may have left somebody out.
        self.round = None;
        self.folded_at = None;
    }

    /// Whether there is something that its check's row does not know yet.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn tail(&self, id: CheckId) -> i64 {
        self.fresh.get(&id).or_else(|| self.tails.get(&id)).copied().unwrap_or(0)
    }

    fn write(&self, db: &dyn Database, it: &Known) -> Result<(), StoreError> {
        let kept = &it.kept;
        db.put(
            "UPDATE checks SET state = ?2, since = ?3, heard = ?4, run = ?5, boot = ?6, seq = ?7, \
             last_at = ?8, beats = ?9, duration = ?10, tail = ?11 WHERE id = ?1",
            values![
                it.check.0,
                kept.state.text(),
                kept.since.0,
                kept.heard.map(|at| at.0),
                &runs_text(kept)?,
                kept.origin.map(|it| it.boot.cast_signed()),
                kept.origin.map(|it| number(it.seq)),
                it.last_at.map(|at| at.0),
                number(it.beats),
                it.duration.map(micros),
                self.tail(it.check),
            ],
        )
    }
}

/// A stored number of microseconds.
pub(super) fn length(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Runs that have not ended; nothing where there are none.
fn runs_text(kept: &Kept) -> Result<Option<String>, StoreError> {
    let runs: Vec<(i64, Option<String>)> =
        kept.runs.iter().map(|(at, run)| (at.0, run.map(uuid_text))).collect();
    (!runs.is_empty()).then(|| json(&runs)).transpose()
}

/// Runs that had not ended: what cannot be read was of another version, and is over by now.
fn runs(text: &str) -> Vec<(Timestamp, Option<u128>)> {
    let runs: Vec<(i64, Option<String>)> = serde_json::from_str(text).unwrap_or_default();
    let run = |(at, id): (i64, Option<String>)| (Timestamp(at), id.as_deref().and_then(parse_uuid));
    runs.into_iter().map(run).collect()
}

/// The columns state, since, heard, runs, boot and seq, from the one at `at` on.
pub(super) fn read_kept(row: &Fields, at: usize) -> Result<Kept, StoreError> {
    let origin = row.maybe_int(at + 4)?.zip(row.maybe_int(at + 5)?);
    Ok(Kept {
        state: State::parse(row.text(at)?).unwrap_or(State::New),
        since: row.time(at + 1)?,
        heard: row.maybe_int(at + 2)?.map(Timestamp),
        runs: row.maybe_text(at + 3)?.map_or(Vec::new(), runs),
        origin: origin.map(|(boot, seq)| Origin {
            boot: boot.cast_unsigned(),
            seq: u64::try_from(seq).unwrap_or(0),
        }),
    })
}

#[cfg(test)]
mod tests;
