//! What has been, as it is read: changes and availability, incidents, letters, beats.

use super::{
    load::meta,
    log::{PINGS_MAX, length},
    row::{Bucket, Old},
    sql::{Database, Fields, StoreError, number, values},
};
use crate::core::{
    availability::{Mark, Report, Turn, merged, overlay, report},
    check::{CheckId, State},
    incident::Incident,
    rollup::{Count, Grain, buckets, joined},
    window::Span,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use wire::Timestamp;

/// Which letters are wanted.
#[derive(Clone, Debug)]
pub enum Letters {
    All,
    /// Those about an incident.
    Incident(u64),
    /// Those that went, or were to go, over a channel.
    Channel(String),
}

/// Reads what has been committed.
pub struct History {
    pub(super) db: Box<dyn Database>,
}

type Read<T> = Result<T, StoreError>;

impl History {
    /// How a check counted over time, from the state that it had at `from`.
    pub(super) fn turns(&self, id: CheckId, from: Timestamp) -> Read<Vec<Turn>> {
        let before = "SELECT since, to_state FROM flips WHERE check_id = ?1 AND since <= ?2 \
                      ORDER BY id DESC LIMIT 1";
        let after = "SELECT since, to_state FROM flips WHERE check_id = ?1 AND ?2 < since \
                     ORDER BY id";
        let mut turns: Vec<Turn> = Vec::new();
        for sql in [before, after] {
            for row in self.db.rows(sql, values![id.0, from.0])? {
                let mark = State::parse(row.text(1)?).map_or(Mark::Unknown, Mark::of);
                turns.push(Turn { at: row.time(0)?, mark });
            }
        }
        let spans = self.spans(
            "SELECT from_at, to_at FROM maintenance WHERE check_id = ?1 AND ?2 < to_at \
             ORDER BY from_at",
            values![id.0, from.0],
        )?;
        Ok(overlay(&turns, &spans))
    }

    /// When nobody listened.
    pub(super) fn blind(&self, from: Timestamp) -> Read<Vec<Span>> {
        let sql = "SELECT from_at, to_at FROM blind WHERE ?1 < to_at";
        self.spans(sql, values![from.0]).map(merged)
    }

    fn spans(&self, sql: &str, given: &[super::sql::Value<'_>]) -> Read<Vec<Span>> {
        let span = |row: &Fields| Ok((row.time(0)?, row.time(1)?));
        self.db.rows(sql, given)?.iter().map(span).collect()
    }

    /// From when on changes are complete; of what was before, there are roll-ups.
    pub(super) fn changes_from(&self) -> Read<Timestamp> {
        Ok(meta(&*self.db, "changes_from")?.unwrap_or(Timestamp(i64::MIN)))
    }

    /// What a stretch of time was made of, for each of these checks. Where changes are not kept any
    /// more it grows to whole days, and says so.
    pub fn reports(&self, ids: &[CheckId], (from, to): Span) -> Read<(Span, Vec<Report>)> {
        let kept_from = self.changes_from()?;
        let is_old = from < kept_from;
        let from = if is_old { Grain::Day.floor(from) } else { from };
        let end = Timestamp(to.0.saturating_sub(1)); // The last day, and not the next one.
        let to = if is_old && end < kept_from { Grain::Day.next(end) } else { to };
        let raw = (from.max(kept_from), to);
        let blind = self.blind(raw.0)?;
        let report = |id: &CheckId| {
            let mut days = Vec::new();
            if is_old {
                let stored = self.stored(*id, Grain::Day, (from, to.min(kept_from)))?;
                days.extend(filled(stored, Grain::Day, (from, to.min(kept_from))));
            }
            if raw.0 < raw.1 {
                days.push(report(&self.turns(*id, raw.0)?, &blind, raw));
            }
            Ok(joined(&days))
        };
        Ok(((from, to), ids.iter().map(report).collect::<Read<_>>()?))
    }

    /// The buckets of a stretch of time, each with what it was made of, for each of these checks.
    pub fn bars(&self, ids: &[CheckId], window: Span, grain: Grain) -> Read<Vec<Vec<Bucket>>> {
        let kept_from = self.changes_from()?;
        let blind = self.blind(window.0)?;
        ids.iter().map(|id| self.bars_of(*id, window, grain, (kept_from, &blind))).collect()
    }

    fn bars_of(
        &self,
        id: CheckId,
        (from, to): Span,
        grain: Grain,
        (kept_from, blind): (Timestamp, &[Span]),
    ) -> Read<Vec<Bucket>> {
        let turns = self.turns(id, from)?;
        let mut stored: BTreeMap<Timestamp, Bucket> = self
            .stored(id, grain, (grain.floor(from), to))?
            .into_iter()
            .map(|it| (it.at, it))
            .collect();
        let bucket = |(at, report)| match stored.remove(&at) {
            // Its own part may be gone from the changes.
            Some(it) if at < kept_from => it,
            Some(it) => Bucket { report, ..it },
            None => Bucket { grain, at, report, count: None },
        };
        Ok(buckets(&turns, blind, (from, to), grain).into_iter().map(bucket).collect())
    }

    /// Roll-ups as they are stored, in order.
    pub fn stored(&self, id: CheckId, grain: Grain, (from, to): Span) -> Read<Vec<Bucket>> {
        let sql = "SELECT at, beats, numbers, up, down, unknown, away, maintenance, outages, \
                   longest, head, tail FROM rollups \
                   WHERE check_id = ?1 AND grain = ?2 AND ?3 <= at AND at < ?4 ORDER BY at";
        let rows = self.db.rows(sql, values![id.0, number(grain.seconds()), from.0, to.0])?;
        rows.iter().map(|row| bucket(row, grain)).collect()
    }

    /// The last changes of a check, newest first; of all checks without one.
    pub fn flips(&self, id: Option<CheckId>, limit: u32) -> Read<Vec<Value>> {
        let of = if id.is_some() {
            "WHERE check_id = ?2 ORDER BY at DESC, id DESC"
        } else {
            "ORDER BY id DESC"
        };
        let sql = format!(
            "SELECT check_id, at, since, from_state, to_state, why FROM flips {of} LIMIT ?1"
        );
        let limit = i64::from(limit);
        let rows = match id {
            Some(id) => self.db.rows(&sql, values![limit, id.0])?,
            None => self.db.rows(&sql, values![limit])?,
        };
        let flip = |row: &Fields| {
            Ok(json!({
                "check": row.int(0)?,
                "at": row.time(1)?.to_string(),
                "since": row.time(2)?.to_string(),
                "from": row.text(3)?,
                "to": row.text(4)?,
                "why": row.text(5)?,
            }))
        };
        rows.iter().map(flip).collect()
    }

    /// Incidents, newest first.
    pub fn incidents(&self, limit: u32) -> Read<Vec<Incident>> {
        let sql = "SELECT about FROM incidents ORDER BY id DESC LIMIT ?1";
        self.db.rows(sql, values![i64::from(limit)])?.iter().map(|row| row.json(0)).collect()
    }

    /// One incident.
    pub fn incident(&self, id: u64) -> Read<Option<Incident>> {
        let row = self.db.row("SELECT about FROM incidents WHERE id = ?1", values![number(id)])?;
        row.map(|row| row.json(0)).transpose()
    }

    /// Letters and every attempt to deliver them, newest first.
    pub fn letters(&self, of: &Letters, limit: u32) -> Read<Vec<Value>> {
        let sql = |wanted: &str| {
            format!(
                "SELECT id, channel, event, at, state, incident FROM letters {wanted} \
                 ORDER BY id DESC LIMIT ?1"
            )
        };
        let limit = i64::from(limit);
        let rows = match of {
            Letters::All => self.db.rows(&sql(""), values![limit])?,
            Letters::Incident(id) => {
                self.db.rows(&sql("WHERE incident = ?2"), values![limit, number(*id)])?
            }
            Letters::Channel(name) => {
                self.db.rows(&sql("WHERE channel = ?2"), values![limit, name])?
            }
        };
        let letter = |row: &Fields| {
            let id = row.int(0)?;
            Ok(json!({
                "id": id,
                "channel": row.text(1)?,
                "event": row.text(2)?,
                "at": row.time(3)?.to_string(),
                "state": row.text(4)?,
                "incident": format!("i-{}", row.int(5)?),
                "attempts": self.attempts(id)?,
            }))
        };
        rows.iter().map(letter).collect()
    }

    fn attempts(&self, letter: i64) -> Read<Vec<Value>> {
        let sql = "SELECT at, took, answer FROM attempts WHERE letter = ?1 ORDER BY at";
        let attempt = |row: &Fields| {
            Ok(json!({
                "at": row.time(0)?.to_string(),
                "took_ms": row.int(1)? / 1_000,
                "answer": row.text(2)?,
            }))
        };
        self.db.rows(sql, values![letter])?.iter().map(attempt).collect()
    }

    /// Columns of the last beats of a job, newest first.
    fn beats(&self, id: CheckId, columns: &str, limit: u32) -> Read<Vec<Fields>> {
        // What the check's row does not know yet is at the end of the log.
        let folded = meta(&*self.db, "folded")?.map_or(0, |it| it.0);
        let newest = "SELECT MAX(id) FROM beats WHERE ?2 < id AND check_id = ?1 AND kind <> ''";
        let newest = self.db.row(newest, values![id.0, folded])?;
        let newest = newest.map(|row| row.maybe_int(0)).transpose()?.flatten();
        let tail = match newest {
            Some(it) => it,
            None => {
                let row = self.db.row("SELECT tail FROM checks WHERE id = ?1", values![id.0])?;
                row.map_or(Ok(0), |row| row.int(0))?
            }
        };
        let sql = format!(
            "WITH RECURSIVE chain (place, depth) AS (SELECT ?1, 1 UNION ALL SELECT prev, depth + 1 \
             FROM chain, beats WHERE id = place AND depth < ?2) \
             SELECT {columns} FROM chain, beats WHERE id = place ORDER BY n DESC"
        );
        self.db.rows(&sql, values![tail, i64::from(limit)])
    }

    /// The last beats of a job, newest first.
    pub fn pings(&self, id: CheckId, limit: u32) -> Read<Vec<Value>> {
        let columns = "n, at, kind, remote, method, agent, run, duration, length(body)";
        let ping = |row: &Fields| {
            Ok(json!({
                "type": row.text(2)?,
                "date": row.time(1)?.to_string(),
                "n": row.int(0)?,
                "scheme": "http",
                "remote_addr": row.text(3)?,
                "method": row.text(4)?,
                "ua": row.text(5)?,
                "rid": row.maybe_text(6)?,
                "duration": row.maybe_int(7)?.map(|it| length(it).as_secs_f64()),
                "has_body": row.int(8)? != 0,
            }))
        };
        self.beats(id, columns, limit)?.iter().map(ping).collect()
    }

    /// The body of one beat; `None` when there is no such beat or it has none.
    pub fn body(&self, id: CheckId, n: i64) -> Read<Option<Vec<u8>>> {
        for row in self.beats(id, "n, body", PINGS_MAX)? {
            if row.int(0)? == n {
                return Ok(Some(row.bytes(1)?.to_vec()).filter(|it| !it.is_empty()));
            }
        }
        Ok(None)
    }

    /// Whether there is something to throw away.
    pub fn has_older(&self, old: Old, before: Timestamp) -> Read<bool> {
        let (table, key, is_old) = old.place();
        let sql = format!("SELECT {key} FROM {table} WHERE {is_old} LIMIT 1");
        Ok(self.db.row(&sql, values![before.0])?.is_some())
    }
}

fn bucket(row: &Fields, grain: Grain) -> Read<Bucket> {
    let length = |at| Ok::<_, StoreError>(Duration::from_micros(row.count(at)?));
    let report = Report {
        up: length(3)?,
        down: length(4)?,
        unknown: length(5)?,
        away: length(6)?,
        maintenance: length(7)?,
        outages: u32::try_from(row.count(8)?).unwrap_or(u32::MAX),
        outage_longest: length(9)?,
        head: length(10)?,
        tail: length(11)?,
    };
    let count = Count { beats: row.count(1)?, numbers: row.json(2)? };
    Ok(Bucket { grain, at: row.time(0)?, report, count: Some(count) })
}

/// What whole buckets were made of; one that was not kept is unknown.
fn filled(stored: Vec<Bucket>, grain: Grain, (from, to): Span) -> Vec<Report> {
    let mut stored: BTreeMap<Timestamp, Report> =
        stored.into_iter().map(|it| (it.at, it.report)).collect();
    let mut out = Vec::new();
    let mut at = grain.floor(from);
    while at < to {
        let unknown = || Report::all(Mark::Unknown, grain.length());
        out.push(stored.remove(&at).unwrap_or_else(unknown));
        at = grain.next(at);
    }
    out
}
