//! What was kept, read back by a process that begins.

use super::{
    log::{Log, length, read_kept},
    sql::{Database, Fields, StoreError},
};
use crate::{
    book::{Check, parse_uuid},
    core::{
        check::{CheckId, Kept},
        incident::{Incident, IncidentId},
        outbox::Letter,
        rollup::{Count, Grain, Tally},
        rule::referee::KeptTracker,
        silence::Silence,
        window::WindowSpec,
    },
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
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
    pub(super) fn read(db: &dyn Database) -> Result<(Loaded, Log), StoreError> {
        let (mut checks, mut tails) = (Vec::new(), BTreeMap::new());
        for (check, kept, tail) in self::checks(db)? {
            tails.insert(check.id, tail);
            checks.push((check, kept));
        }
        tails.retain(|_, tail| *tail != 0);
        let log = Log::read(db, &mut checks, tails)?;

        let letters = "SELECT channel, letter FROM letters WHERE state = 'waiting' ORDER BY id";
        let told = "SELECT DISTINCT channel, incident FROM letters \
                    WHERE incident IN (SELECT id FROM incidents WHERE resolved_at IS NULL)";
        let trackers = "SELECT check_id, tracker FROM trackers";
        let open = "SELECT about FROM incidents WHERE resolved_at IS NULL ORDER BY id";
        let loaded = Loaded {
            told: each(db, told, |row| Ok((row.text(0)?.to_owned(), IncidentId(row.count(1)?))))?,
            checks,
            open: list(db, open)?,
            letters: each(db, letters, |row| Ok((row.text(0)?.to_owned(), row.json(1)?)))?,
            silences: list(db, "SELECT silence FROM silences ORDER BY id")?,
            windows: list(db, "SELECT spec FROM windows ORDER BY id")?,
            trackers: each(db, trackers, |row| Ok((CheckId(row.int(0)?), row.json(1)?)))?,
            next_incident: next(db, "incidents")?,
            next_letter: next(db, "letters")?,
            alive: meta(db, "alive")?,
        };
        Ok((loaded, log))
    }
}

/// A time that is kept of the monitor itself.
pub(super) fn meta(db: &dyn Database, name: &str) -> Result<Option<Timestamp>, StoreError> {
    let row = db.row("SELECT value FROM meta WHERE name = ?1", super::sql::values![name])?;
    row.map(|row| row.time(0)).transpose()
}

fn next(db: &dyn Database, table: &str) -> Result<u64, StoreError> {
    let row = db.row(&format!("SELECT COALESCE(MAX(id), 0) + 1 FROM {table}"), &[])?;
    row.map_or(Ok(1), |row| row.count(0))
}

fn list<T: DeserializeOwned>(db: &dyn Database, sql: &str) -> Result<Vec<T>, StoreError> {
    each(db, sql, |row| row.json(0))
}

fn each<T>(
    db: &dyn Database,
    sql: &str,
    read: impl Fn(&Fields) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    db.rows(sql, &[])?.iter().map(read).collect()
}

/// Every check as its row has it, with where its last beat stands.
fn checks(db: &dyn Database) -> Result<Vec<(Check, Kept, i64)>, StoreError> {
    let sql = "SELECT id, uuid, plan, state, since, heard, run, boot, seq, last_at, beats, \
               duration, tallied, tail FROM checks ORDER BY id";
    each(db, sql, |row| {
        let (beats, last_at) = (row.count(10)?, row.maybe_int(9)?.map(Timestamp));
        // What was heard and is in no roll-up yet: of the minute of the last beat.
        let untold = Count { beats: beats.saturating_sub(row.count(12)?), ..Count::default() };
        let minute = last_at.map_or(Timestamp(0), |at| Grain::Minute.floor(at));
        let check = Check {
            id: CheckId(row.int(0)?),
            uuid: parse_uuid(row.text(1)?).unwrap_or_default(),
            plan: row.json(2)?,
            last_at,
            beats,
            last_duration: row.maybe_int(11)?.map(length),
            said: None,
            numbers: Vec::new(),
            tokens: (u32::MAX, Timestamp(0)),
            tally: Tally { minute, count: untold },
            ended: None,
        };
        Ok((check, read_kept(row, 3)?, row.int(13)?))
    })
}
