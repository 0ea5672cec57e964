//! The tables.
//!
//! ```text
//! meta         numbers by name: when the monitor was alive; from when on changes are complete
//! checks       what is watched, how, and what is known of it
//! pings        the last beats of jobs, with their bodies
//! flips        every change of a state
//! blind        when nobody listened
//! maintenance  when a check was in a window
//! rollups      what minutes, hours and days were made of
//! unrolled     checks of which roll-ups are to be made anew, and from when on
//! incidents, letters, attempts, trackers, windows, silences: as they are called
//! ```

/// Made where they are missing. In `checks`, `heard` counts by the clock of the process that wrote
/// it, `last_at` by the wall; `tallied` is how many of `beats` are in roll-ups.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, plan TEXT NOT NULL,
    state TEXT NOT NULL, since INTEGER NOT NULL, heard INTEGER, started INTEGER, run TEXT,
    boot INTEGER, seq INTEGER, last_at INTEGER, beats INTEGER NOT NULL, duration INTEGER,
    tallied INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS pings (
    check_id INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    remote TEXT NOT NULL, method TEXT NOT NULL, agent TEXT NOT NULL, run TEXT, duration INTEGER,
    body BLOB NOT NULL, PRIMARY KEY (check_id, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flips (
    id INTEGER PRIMARY KEY, check_id INTEGER NOT NULL, at INTEGER NOT NULL, since INTEGER NOT NULL,
    from_state TEXT NOT NULL, to_state TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS flips_of ON flips (check_id, at);
CREATE INDEX IF NOT EXISTS flips_at ON flips (at);
CREATE TABLE IF NOT EXISTS blind (from_at INTEGER NOT NULL, to_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY, opened_at INTEGER NOT NULL, resolved_at INTEGER, about TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS incidents_open ON incidents (resolved_at);
CREATE TABLE IF NOT EXISTS letters (
    id INTEGER PRIMARY KEY, channel TEXT NOT NULL, incident INTEGER NOT NULL, event TEXT NOT NULL,
    at INTEGER NOT NULL, state TEXT NOT NULL, letter TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS letters_of ON letters (incident);
CREATE INDEX IF NOT EXISTS letters_waiting ON letters (state) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS attempts (
    letter INTEGER NOT NULL, at INTEGER NOT NULL, took INTEGER NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_of ON attempts (letter);
CREATE TABLE IF NOT EXISTS trackers (
    check_id INTEGER NOT NULL, rule TEXT NOT NULL, tracker TEXT NOT NULL,
    PRIMARY KEY (check_id, rule)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS maintenance (
    check_id INTEGER NOT NULL, \"window\" TEXT NOT NULL, from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL, PRIMARY KEY (check_id, \"window\", from_at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (id INTEGER PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS silences (
    id INTEGER PRIMARY KEY, until INTEGER NOT NULL, silence TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rollups (
    check_id INTEGER NOT NULL, grain INTEGER NOT NULL, at INTEGER NOT NULL,
    beats INTEGER NOT NULL, numbers TEXT NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL,
    unknown INTEGER NOT NULL, away INTEGER NOT NULL, maintenance INTEGER NOT NULL,
    outages INTEGER NOT NULL, longest INTEGER NOT NULL, head INTEGER NOT NULL,
    tail INTEGER NOT NULL, PRIMARY KEY (check_id, grain, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unrolled (
    check_id INTEGER PRIMARY KEY, from_at INTEGER NOT NULL, turn INTEGER NOT NULL);
";
