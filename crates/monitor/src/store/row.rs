//! One thing to be written down, as part of a transaction.

use crate::{
    book::{Check, uuid_text},
    core::{
        check::{Change, CheckId, Kept, micros},
        incident::Incident,
        outbox::{Letter, LetterId},
        rule::referee::KeptTracker,
        silence::Silence,
        window::{Span, WindowSpec},
    },
};
use rusqlite::{Connection, params};
use std::time::Duration;
use wire::Timestamp;

/// Beats of a job that are kept with their bodies.
const PINGS_MAX: u64 = 100;

/// A beat of a job, for the record.
#[derive(Clone, Debug)]
pub struct Ping {
    pub n: u64,
    pub at: Timestamp,
    /// `success`, `fail`, `start`, `log` or `ign`.
    pub kind: &'static str,
    pub remote: String,
    pub method: String,
    pub agent: String,
    pub run: Option<u128>,
    pub duration: Option<Duration>,
    pub body: Vec<u8>,
}

/// One thing to be written down.
#[derive(Clone, Debug)]
pub enum Row {
    /// A check as it is now.
    Check(Box<Check>, Kept),
    /// A check is gone, with all that was kept of it.
    Forget(CheckId),
    /// What a beat changes: what is known, when it was last heard, its count, its last duration.
    Heard(CheckId, Kept, Option<Timestamp>, u64, Option<Duration>),
    Ping(CheckId, Box<Ping>),
    Flip(Change),
    Blind(Timestamp, Timestamp),
    Incident(Box<Incident>),
    /// A letter in the queue of a channel.
    Letter(String, Box<Letter>),
    /// It waits no more.
    LetterEnded(LetterId, &'static str),
    Attempt {
        letter: LetterId,
        at: Timestamp,
        took: Duration,
        answer: String,
    },
    /// What a rule knows of a check.
    Tracker(CheckId, Box<KeptTracker>),
    Silence(Silence),
    SilenceEnded(u64),
    /// A check is in a maintenance window.
    Maintenance(CheckId, String, Span),
    /// And not until the end that was planned.
    MaintenanceEnded(CheckId, Timestamp),
    /// A maintenance window made by hand.
    Window(u64, Box<WindowSpec>),
    WindowEnded(u64),
    /// The monitor lived at this time, by its own clock.
    Alive(Timestamp),
    /// What is older than this is not needed any more.
    Prune(Timestamp),
}

impl Row {
    /// Writes it.
    pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Row::Check(it, kept) => check(db, it, kept),
            Row::Forget(id) => {
                for table in ["pings", "flips", "trackers", "maintenance"] {
                    run(db, &format!("DELETE FROM {table} WHERE check_id = ?1"), params![id.0])?;
                }
                run(db, "DELETE FROM checks WHERE id = ?1", params![id.0])
            }
            Row::Heard(id, kept, last_at, beats, duration) => {
                heard(db, *id, kept, *last_at, *beats, *duration)
            }
            Row::Ping(id, it) => ping(db, *id, it),
            Row::Flip(it) => flip(db, it),
            Row::Blind(from, to) => {
                run(db, "INSERT INTO blind VALUES (?1, ?2)", params![from.0, to.0])
            }
            Row::Incident(it) => run(
                db,
                "INSERT INTO incidents VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE \
                 SET resolved_at = ?3, about = ?4",
                params![
                    number(it.id.0),
                    it.opened_at.0,
                    it.resolved_at.map(|at| at.0),
                    json(&**it)?
                ],
            ),
            Row::Letter(channel, it) => letter(db, channel, it),
            Row::LetterEnded(id, state) => {
                run(db, "UPDATE letters SET state = ?2 WHERE id = ?1", params![number(id.0), state])
            }
            Row::Attempt { letter, at, took, answer } => run(
                db,
                "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4)",
                params![number(letter.0), at.0, micros(*took), answer],
            ),
            Row::Tracker(id, it) => run(
                db,
                "INSERT OR REPLACE INTO trackers VALUES (?1, ?2, ?3)",
                params![id.0, it.rule, json(&**it)?],
            ),
            Row::Silence(it) => run(
                db,
                "INSERT OR REPLACE INTO silences VALUES (?1, ?2, ?3)",
                params![number(it.id), it.until.0, json(it)?],
            ),
            Row::SilenceEnded(id) => {
                run(db, "DELETE FROM silences WHERE id = ?1", params![number(*id)])
            }
            Row::Maintenance(id, window, (from, until)) => run(
                db,
                "INSERT OR REPLACE INTO maintenance VALUES (?1, ?2, ?3, ?4)",
                params![id.0, window, from.0, until.0],
            ),
            Row::MaintenanceEnded(id, at) => run(
                db,
                "UPDATE maintenance SET to_at = ?2 WHERE check_id = ?1 AND ?2 < to_at",
                params![id.0, at.0],
            ),
            Row::Window(id, it) => run(
                db,
                "INSERT OR REPLACE INTO windows VALUES (?1, ?2)",
                params![number(*id), json(&**it)?],
            ),
            Row::WindowEnded(id) => {
                run(db, "DELETE FROM windows WHERE id = ?1", params![number(*id)])
            }
            Row::Alive(at) => {
                run(db, "INSERT OR REPLACE INTO meta VALUES ('alive', ?1)", params![at.0])
            }
            Row::Prune(before) => prune(db, *before),
        }
    }
}

fn check(db: &Connection, it: &Check, kept: &Kept) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT INTO checks (id, uuid, plan, state, since, beats) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (id) DO UPDATE \
         SET uuid = ?2, plan = ?3, state = ?4, since = ?5, beats = ?6",
        params![
            it.id.0,
            uuid_text(it.uuid),
            json(&it.plan)?,
            kept.state.text(),
            kept.since.0,
            number(it.beats)
        ],
    )?;
    heard(db, it.id, kept, it.last_at, it.beats, it.last_duration)
}

fn flip(db: &Connection, it: &Change) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT INTO flips (check_id, at, since, from_state, to_state, why) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![it.check.0, it.at.0, it.since.0, it.from.text(), it.to.text(), it.why.text()],
    )
}

fn letter(db: &Connection, channel: &str, it: &Letter) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO letters VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6)",
        params![
            number(it.id.0),
            channel,
            number(it.notice.incident.0),
            it.notice.event.text(),
            it.notice.at.0,
            json(it)?
        ],
    )
}

fn heard(
    db: &Connection,
    id: CheckId,
    kept: &Kept,
    last_at: Option<Timestamp>,
    beats: u64,
    duration: Option<Duration>,
) -> rusqlite::Result<()> {
    let runs: Vec<(i64, Option<String>)> =
        kept.runs.iter().map(|(at, run)| (at.0, run.map(uuid_text))).collect();
    let started = kept.runs.last().map(|(at, _)| at.0);
    let runs = started.map(|_| json(&runs)).transpose()?;
    run(
        db,
        "UPDATE checks SET state = ?2, since = ?3, heard = ?4, started = ?5, run = ?6, boot = ?7, \
         seq = ?8, last_at = ?9, beats = ?10, duration = ?11 WHERE id = ?1",
        params![
            id.0,
            kept.state.text(),
            kept.since.0,
            kept.heard.map(|at| at.0),
            started,
            runs,
            kept.origin.map(|it| it.boot.cast_signed()),
            kept.origin.map(|it| number(it.seq)),
            last_at.map(|at| at.0),
            number(beats),
            duration.map(micros),
        ],
    )
}

fn ping(db: &Connection, id: CheckId, it: &Ping) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT OR REPLACE INTO pings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            id.0,
            number(it.n),
            it.at.0,
            it.kind,
            it.remote,
            it.method,
            it.agent,
            it.run.map(uuid_text),
            it.duration.map(micros),
            it.body
        ],
    )?;
    run(
        db,
        "DELETE FROM pings WHERE check_id = ?1 AND n <= ?2",
        params![id.0, number(it.n.saturating_sub(PINGS_MAX))],
    )
}

fn prune(db: &Connection, before: Timestamp) -> rusqlite::Result<()> {
    for statement in [
        "DELETE FROM flips WHERE at < ?1",
        "DELETE FROM blind WHERE to_at < ?1",
        "DELETE FROM maintenance WHERE to_at < ?1",
        "DELETE FROM attempts WHERE at < ?1",
        "DELETE FROM letters WHERE at < ?1 AND state <> 'waiting'",
        "DELETE FROM incidents WHERE resolved_at < ?1",
        "DELETE FROM silences WHERE until < ?1",
    ] {
        run(db, statement, params![before.0])?;
    }
    Ok(())
}

fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|err| rusqlite::Error::ToSqlConversionFailure(Box::new(err)))
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
