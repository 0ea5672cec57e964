//! How long an edge waits for its clients.

use super::duration;
use crate::topology::reader::{Section, Walk};
use net::edge::{Patience, limits::PATIENCE_LIMIT};
use std::time::Duration;

const KEYS: [&str; 7] = ["head", "body", "stall", "idle", "upgraded", "age", "requests"];
/// Times are kept by sweeps of half a second: a shorter one would be met by chance.
const MIN: Duration = Duration::from_secs(1);
/// More than any connection lives to see.
const REQUESTS_MAX: i64 = 1_000_000_000_000;

/// Reads `patience = { head = "10s", … }` of a node; what it leaves out stays as it is without it.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, node: &Section<'a>) -> Patience {
    let default = Patience::default();
    let Some(table) = node.table(walk, "patience", &KEYS) else { return default };
    let mut time = |key: &str, default: Duration| table.string(walk, key, parse).value_or(default);
    Patience {
        head: time("head", default.head),
        body: time("body", default.body),
        stall: time("stall", default.stall),
        idle: time("idle", default.idle),
        upgraded: time("upgraded", default.upgraded),
        age: time("age", default.age),
        requests_max: table
            .integer(walk, "requests", 1..=REQUESTS_MAX)
            .value_or(default.requests_max),
        ..default
    }
}

/// What a file can say of it, by its keys.
pub(in crate::topology) fn shown(patience: &Patience) -> [(&'static str, String); KEYS.len()] {
    // Taken apart, so that a new field cannot be forgotten.
    let Patience { head, body, stall, idle, upgraded, age, requests_max, left: _, sweep_every: _ } =
        *patience;
    let time = |length: Duration| format!("{length:?}");
    [
        ("head", time(head)),
        ("body", time(body)),
        ("stall", time(stall)),
        ("idle", time(idle)),
        ("upgraded", time(upgraded)),
        ("age", time(age)),
        ("requests", requests_max.to_string()),
    ]
}

fn parse(text: &str) -> Result<Duration, String> {
    let hours = PATIENCE_LIMIT.as_secs() / 3_600;
    let want = format!("a length of time from 1s to {hours}h, as in \"30s\"");
    duration::parse_within(text, MIN..=PATIENCE_LIMIT, &want)
}
