//! What was kept, read back.

use crate::{
    book::{Check, parse_uuid},
    core::{
        availability::{Mark, Turn},
        check::{CheckId, Kept, Origin, State},
        incident::{Incident, IncidentId},
        outbox::Letter,
        rule::referee::KeptTracker,
        silence::Silence,
        window::{Span, WindowSpec},
    },
};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, types::Value as SqlValue};
use serde_json::{Value, json};
use std::time::Duration;
use wire::Timestamp;

/// Everything that a new process begins with.
#[derive(Debug)]
pub struct Loaded {
    pub checks: Vec<(Check, Kept)>,
    pub open: Vec<Incident>,
    /// With the names of their channels, in order.
    pub letters: Vec<(String, Letter)>,
    /// Which channels were told, or are to be told, of open incidents.
    pub told: Vec<(String, IncidentId)>,
    pub silences: Vec<Silence>,
    /// Maintenance windows made by hand.
    pub windows: Vec<WindowSpec>,
    /// What rules knew of checks.
    pub trackers: Vec<(CheckId, KeptTracker)>,
    pub next_incident: u64,
    pub next_letter: u64,
    /// When the last process was alive, by its own clock.
    pub alive: Option<Timestamp>,
}

impl Loaded {
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Loaded> {
        let alive: Option<i64> = db
            .query_row("SELECT value FROM meta WHERE name = 'alive'", [], |row| row.get(0))
            .optional()?;
        let mut letters =
            db.prepare("SELECT channel, letter FROM letters WHERE state = 'waiting' ORDER BY id")?;
        let letters = letters.query_map([], |row| Ok((row.get(0)?, text(row, 1)?)))?;
        let mut told = db.prepare(
            "SELECT DISTINCT channel, incident FROM letters \
             WHERE incident IN (SELECT id FROM incidents WHERE resolved_at IS NULL)",
        )?;
        let told = told.query_map([], |row| {
            let incident: i64 = row.get(1)?;
            Ok((row.get(0)?, IncidentId(u64::try_from(incident).unwrap_or(0))))
        })?;
        Ok(Loaded {
            told: told.collect::<rusqlite::Result<_>>()?,
            checks: checks(db)?,
            open: list(db, "SELECT about FROM incidents WHERE resolved_at IS NULL ORDER BY id")?,
            letters: letters.collect::<rusqlite::Result<_>>()?,
            silences: list(db, "SELECT silence FROM silences ORDER BY id")?,
            windows: list(db, "SELECT spec FROM windows ORDER BY id")?,
            trackers: trackers(db)?,
            next_incident: next(db, "incidents")?,
            next_letter: next(db, "letters")?,
            alive: alive.map(Timestamp),
        })
    }
}

fn trackers(db: &Connection) -> rusqlite::Result<Vec<(CheckId, KeptTracker)>> {
    let mut statement = db.prepare("SELECT check_id, tracker FROM trackers")?;
    let rows = statement.query_map([], |row| Ok((CheckId(row.get(0)?), text(row, 1)?)))?;
    rows.collect()
}

/// Runs that had not ended: what cannot be read was of another version, and is over by now.
fn runs(text: &str) -> Vec<(Timestamp, Option<u128>)> {
    let runs: Vec<(i64, Option<String>)> = serde_json::from_str(text).unwrap_or_default();
    let run = |(at, id): (i64, Option<String>)| (Timestamp(at), id.as_deref().and_then(parse_uuid));
    runs.into_iter().map(run).collect()
}

fn next(db: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT COALESCE(MAX(id), 0) + 1 FROM {table}");
    let next: i64 = db.query_row(&sql, [], |row| row.get(0))?;
    Ok(u64::try_from(next).unwrap_or(1))
}

fn list<T: serde::de::DeserializeOwned>(db: &Connection, sql: &str) -> rusqlite::Result<Vec<T>> {
    db.prepare(sql)?.query_map([], |row| text(row, 0))?.collect()
}

/// A column that holds JSON.
fn text<T: serde::de::DeserializeOwned>(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|err| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(err))
    })
}

fn checks(db: &Connection) -> rusqlite::Result<Vec<(Check, Kept)>> {
    let sql = "SELECT id, uuid, plan, state, since, heard, started, run, boot, seq, last_at, \
               beats, duration FROM checks ORDER BY id";
    let time = |row: &SqlRow<'_>, at| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.map(Timestamp))
    };
    let check = |row: &SqlRow<'_>| {
        let (uuid, state, run): (String, String, Option<String>) =
            (row.get(1)?, row.get(3)?, row.get(7)?);
        let (boot, seq): (Option<i64>, Option<i64>) = (row.get(8)?, row.get(9)?);
        let origin = boot.zip(seq).map(|(boot, seq)| Origin {
            boot: boot.cast_unsigned(),
            seq: u64::try_from(seq).unwrap_or(0),
        });
        let duration: Option<i64> = row.get(12)?;
        let beats: i64 = row.get(11)?;
        let check = Check {
            id: CheckId(row.get(0)?),
            uuid: parse_uuid(&uuid).unwrap_or_default(),
            plan: text(row, 2)?,
            last_at: time(row, 10)?,
            beats: u64::try_from(beats).unwrap_or(0),
            last_duration: duration
                .and_then(|it| u64::try_from(it).ok())
                .map(Duration::from_micros),
            said: None,
            tokens: (u32::MAX, Timestamp(0)),
        };
        let kept = Kept {
            state: State::parse(&state).unwrap_or(State::New),
            since: Timestamp(row.get(4)?),
            heard: time(row, 5)?,
            runs: run.map_or(Vec::new(), |it| runs(&it)),
            origin,
        };
        Ok((check, kept))
    };
    db.prepare(sql)?.query_map([], check)?.collect()
}

/// Which letters are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Letters<'a> {
    All,
    /// Those about an incident.
    Incident(u64),
    /// Those that went, or were to go, over a channel.
    Channel(&'a str),
}

/// Reads what has been; on a connection of its own, beside the writer.
#[derive(Debug)]
pub struct History {
    pub(super) db: Connection,
}

impl History {
    /// How a check counted over time, from the state that it had at `from`.
    pub fn turns(&self, id: CheckId, from: Timestamp) -> rusqlite::Result<Vec<Turn>> {
        let turn = |row: &SqlRow<'_>| {
            let state: String = row.get(1)?;
            let mark = State::parse(&state).map_or(Mark::Unknown, Mark::of);
            Ok(Turn { at: Timestamp(row.get(0)?), mark })
        };
        let before = "SELECT since, to_state FROM flips WHERE check_id = ?1 AND since <= ?2 \
                      ORDER BY id DESC LIMIT 1";
        let after = "SELECT since, to_state FROM flips WHERE check_id = ?1 AND ?2 < since \
                     ORDER BY id";
        let mut turns: Vec<Turn> = Vec::new();
        for sql in [before, after] {
            let mut statement = self.db.prepare_cached(sql)?;
            for turn in statement.query_map(params![id.0, from.0], turn)? {
                turns.push(turn?);
            }
        }
        Ok(turns)
    }

    /// When a check was in a maintenance window, in order.
    pub fn maintenance(&self, id: CheckId, from: Timestamp) -> rusqlite::Result<Vec<Span>> {
        let mut statement = self.db.prepare_cached(
            "SELECT from_at, to_at FROM maintenance WHERE check_id = ?1 AND ?2 < to_at \
             ORDER BY from_at",
        )?;
        let span = |row: &SqlRow<'_>| Ok((Timestamp(row.get(0)?), Timestamp(row.get(1)?)));
        statement.query_map(params![id.0, from.0], span)?.collect()
    }

    /// When nobody listened.
    pub fn blind(&self, from: Timestamp) -> rusqlite::Result<Vec<(Timestamp, Timestamp)>> {
        let mut statement =
            self.db.prepare_cached("SELECT from_at, to_at FROM blind WHERE ?1 < to_at")?;
        let pair = |row: &SqlRow<'_>| Ok((Timestamp(row.get(0)?), Timestamp(row.get(1)?)));
        statement.query_map(params![from.0], pair)?.collect()
    }

    /// The last changes of a check, newest first; of all checks without one.
    pub fn flips(&self, id: Option<CheckId>, limit: u32) -> rusqlite::Result<Vec<Value>> {
        // Two statements, so that each can go by an index.
        let sql = match id {
            Some(_) => {
                "SELECT check_id, at, since, from_state, to_state, why FROM flips \
                 WHERE check_id = ?1 ORDER BY at DESC, id DESC LIMIT ?2"
            }
            None => {
                "SELECT check_id, at, since, from_state, to_state, why FROM flips \
                 WHERE ?1 IS NULL ORDER BY id DESC LIMIT ?2"
            }
        };
        let flip = |row: &SqlRow<'_>| {
            Ok(json!({
                "check": row.get::<_, i64>(0)?,
                "at": Timestamp(row.get(1)?).to_string(),
                "since": Timestamp(row.get(2)?).to_string(),
                "from": row.get::<_, String>(3)?,
                "to": row.get::<_, String>(4)?,
                "why": row.get::<_, String>(5)?,
            }))
        };
        self.db.prepare_cached(sql)?.query_map(params![id.map(|it| it.0), limit], flip)?.collect()
    }

    /// Incidents, newest first.
    pub fn incidents(&self, limit: u32) -> rusqlite::Result<Vec<Incident>> {
        let sql = "SELECT about FROM incidents ORDER BY id DESC LIMIT ?1";
        self.db.prepare_cached(sql)?.query_map(params![limit], |row| text(row, 0))?.collect()
    }

    /// One incident.
    pub fn incident(&self, id: u64) -> rusqlite::Result<Option<Incident>> {
        let id = i64::try_from(id).unwrap_or(i64::MAX);
        let sql = "SELECT about FROM incidents WHERE id = ?1";
        self.db.prepare_cached(sql)?.query_row(params![id], |row| text(row, 0)).optional()
    }

    /// Letters and every attempt to deliver them, newest first.
    pub fn letters(&self, of: Letters<'_>, limit: u32) -> rusqlite::Result<Vec<Value>> {
        let number = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        let (wanted, value): (&str, SqlValue) = match of {
            Letters::All => ("?1 IS NULL", SqlValue::Null),
            Letters::Incident(id) => ("incident = ?1", number(id).into()),
            Letters::Channel(name) => ("channel = ?1", name.to_owned().into()),
        };
        let sql = format!(
            "SELECT id, channel, event, at, state, incident FROM letters \
             WHERE {wanted} ORDER BY id DESC LIMIT ?2"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![value, limit])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            out.push(json!({
                "id": id,
                "channel": row.get::<_, String>(1)?,
                "event": row.get::<_, String>(2)?,
                "at": Timestamp(row.get(3)?).to_string(),
                "state": row.get::<_, String>(4)?,
                "incident": format!("i-{}", row.get::<_, i64>(5)?),
                "attempts": self.attempts(id)?,
            }));
        }
        Ok(out)
    }

    fn attempts(&self, letter: i64) -> rusqlite::Result<Vec<Value>> {
        let sql = "SELECT at, took, answer FROM attempts WHERE letter = ?1 ORDER BY rowid";
        let attempt = |row: &SqlRow<'_>| {
            Ok(json!({
                "at": Timestamp(row.get(0)?).to_string(),
                "took_ms": row.get::<_, i64>(1)? / 1_000,
                "answer": row.get::<_, String>(2)?,
            }))
        };
        self.db.prepare_cached(sql)?.query_map(params![letter], attempt)?.collect()
    }

    /// The last beats of a job, newest first.
    pub fn pings(&self, id: CheckId, limit: u32) -> rusqlite::Result<Vec<Value>> {
        let sql = "SELECT n, at, kind, remote, method, agent, run, duration, length(body) \
                   FROM pings WHERE check_id = ?1 ORDER BY n DESC LIMIT ?2";
        let ping = |row: &SqlRow<'_>| {
            let duration: Option<i64> = row.get(7)?;
            let kind: String = row.get(2)?;
            Ok(json!({
                "type": kind,
                "date": Timestamp(row.get(1)?).to_string(),
                "n": row.get::<_, i64>(0)?,
                "scheme": "http",
                "remote_addr": row.get::<_, String>(3)?,
                "method": row.get::<_, String>(4)?,
                "ua": row.get::<_, String>(5)?,
                "rid": row.get::<_, Option<String>>(6)?,
                "duration": duration.map(|it| Duration::from_micros(it.unsigned_abs()).as_secs_f64()),
                "has_body": row.get::<_, i64>(8)? != 0,
            }))
        };
        self.db.prepare_cached(sql)?.query_map(params![id.0, limit], ping)?.collect()
    }

    /// The body of one beat; `None` when there is no such beat or it has none.
    pub fn body(&self, id: CheckId, n: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = "SELECT body FROM pings WHERE check_id = ?1 AND n = ?2 AND length(body) <> 0";
        self.db.prepare_cached(sql)?.query_row(params![id.0, n], |row| row.get(0)).optional()
    }
}
