//! The tables.
//!
//! ```text
//! meta         numbers by name: when the monitor was alive; from when on changes are complete
//! checks       what is watched, how, and what is known of it
//! beats        what came in, in this order; of jobs with what it said
//! flips        every change of a state
//! blind        when nobody listened
//! maintenance  when a check was in a window
//! rollups      what minutes, hours and days were made of
//! unrolled     checks of which roll-ups are to be made anew, and from when on
//! incidents, letters, attempts, trackers, windows, silences: as they are called
//! ```

/// All of them.
pub(super) const NAMES: [&str; 14] = [
    "meta",
    "checks",
    "beats",
    "flips",
    "blind",
    "maintenance",
    "rollups",
    "unrolled",
    "incidents",
    "letters",
    "attempts",
    "trackers",
    "windows",
    "silences",
];

/// Made where they are missing. In `checks`, `heard` counts by the clock of the process that wrote
/// it, `last_at` by the wall; `tallied` is how many of `beats` are in roll-ups; `tail` is the last beat
/// of a job in `beats`, where `prev` is the one before it and `kind` is empty for nodes.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checks (
    id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, plan TEXT NOT NULL,
    state TEXT NOT NULL, since INTEGER NOT NULL, heard INTEGER, run TEXT,
    boot INTEGER, seq INTEGER, last_at INTEGER, beats INTEGER NOT NULL, duration INTEGER,
    tallied INTEGER NOT NULL DEFAULT 0, tail INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS beats (
    id INTEGER PRIMARY KEY, check_id INTEGER NOT NULL, n INTEGER NOT NULL, prev INTEGER NOT NULL,
    at INTEGER NOT NULL, kind TEXT NOT NULL, remote TEXT NOT NULL, method TEXT NOT NULL,
    agent TEXT NOT NULL, run TEXT, duration INTEGER, body BLOB NOT NULL, state TEXT NOT NULL,
    since INTEGER NOT NULL, heard INTEGER, runs TEXT, boot INTEGER, seq INTEGER, last_at INTEGER,
    last_duration INTEGER);
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

/// What makes the log of the beats that an earlier version kept by check and number.
pub(super) const LOG_OF_PINGS: &str = "
BEGIN;
ALTER TABLE checks ADD COLUMN tail INTEGER NOT NULL DEFAULT 0;
INSERT INTO beats (check_id, n, prev, at, kind, remote, method, agent, run, duration, body, state, since)
    SELECT check_id, n, 0, at, kind, remote, method, agent, run, duration, body, 'new', 0
    FROM pings ORDER BY check_id, n;
UPDATE beats SET prev = id - 1 WHERE EXISTS
    (SELECT 1 FROM beats AS last WHERE last.id = beats.id - 1 AND last.check_id = beats.check_id);
UPDATE checks SET tail = last.id
    FROM (SELECT check_id, MAX(id) AS id FROM beats GROUP BY check_id) AS last
    WHERE last.check_id = checks.id;
INSERT OR REPLACE INTO meta SELECT 'folded', COALESCE(MAX(id), 0) FROM beats;
DROP TABLE pings;
COMMIT;
";

/// The same in the words of PostgreSQL, and what makes it hand out the numbers of changes.
pub(super) fn tables_of_postgres() -> String {
    let numbered = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, check_id BIGINT";
    let tables = TABLES
        .replace(" WITHOUT ROWID", "")
        .replace("INTEGER", "BIGINT")
        .replace("BLOB", "BYTEA")
        .replace(
            "flips (\n    id BIGINT PRIMARY KEY, check_id BIGINT",
            &format!("flips (id {numbered}"),
        );
    // Of a version before this one, whose beats are not taken over.
    format!(
        "{tables}; ALTER TABLE checks ADD COLUMN IF NOT EXISTS tail BIGINT NOT NULL DEFAULT 0; \
         DROP TABLE IF EXISTS pings;"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_named() {
        let made = TABLES.matches("CREATE TABLE IF NOT EXISTS ").count();
        assert_eq!(made, NAMES.len());
        for name in NAMES {
            assert!(TABLES.contains(&format!("CREATE TABLE IF NOT EXISTS {name} (")), "{name}");
        }
        let theirs = tables_of_postgres();
        assert!(theirs.contains("flips (id BIGINT GENERATED"), "{theirs}");
        assert!(!theirs.contains("INTEGER") && !theirs.contains("BLOB"), "{theirs}");
    }
}
