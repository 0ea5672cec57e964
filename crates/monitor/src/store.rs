//! What the monitor keeps: SQLite in a folder of its own.
//!
//! Whatever belongs together is one transaction: a change of state, its incident and the letters
//! about it. Transactions of many beats are committed together by one thread, so that a beat is
//! durable before it is answered and ten thousand a second still fit one disk.

mod load;
mod row;
mod writer;

pub use self::{
    load::{History, Letters, Loaded},
    row::{Ping, Row},
    writer::{Store, StoreError},
};

/// The tables. `heard` counts by the clock of the process that wrote it, `last_at` by the wall.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, plan TEXT NOT NULL,
    state TEXT NOT NULL, since INTEGER NOT NULL, heard INTEGER, started INTEGER, run TEXT,
    boot INTEGER, seq INTEGER, last_at INTEGER, beats INTEGER NOT NULL, duration INTEGER);
CREATE TABLE IF NOT EXISTS pings (
    check_id INTEGER NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    remote TEXT NOT NULL, method TEXT NOT NULL, agent TEXT NOT NULL, run TEXT, duration INTEGER,
    body BLOB NOT NULL, PRIMARY KEY (check_id, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flips (
    id INTEGER PRIMARY KEY, check_id INTEGER NOT NULL, at INTEGER NOT NULL, since INTEGER NOT NULL,
    from_state TEXT NOT NULL, to_state TEXT NOT NULL, why TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS flips_of ON flips (check_id, at);
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
    check_id INTEGER NOT NULL, window TEXT NOT NULL, from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL, PRIMARY KEY (check_id, window, from_at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (id INTEGER PRIMARY KEY, spec TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS silences (id INTEGER PRIMARY KEY, until INTEGER NOT NULL, silence TEXT NOT NULL);
";
