//! Maintenance windows.

use super::{
    duration, rule,
    subscription::{read_scope, read_zone},
};
use crate::topology::reader::{Field, Section, Walk};
use monitor::{
    book::zone,
    core::window::{WINDOWS_MAX, Window, WindowSpec},
};
use std::time::Duration;
use wire::Timestamp;

const KEYS: [&str; 9] =
    ["name", "node", "role", "service", "from", "schedule", "tz", "for", "reason"];

/// Reads `[[windows]]`.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Vec<Window> {
    let all = root.list(walk, "windows");
    if WINDOWS_MAX < all.len() {
        let text = format!("are {}: want at most {WINDOWS_MAX}", all.len());
        walk.complaints.add(1, "windows", text);
    }
    let mut out = Vec::new();
    for (index, value) in all.iter().enumerate() {
        let at = format!("windows[{}]", index + 1);
        let Some(table) = Section::open(walk, at, value, &KEYS) else { continue };
        out.extend(read_one(walk, &table));
    }
    out
}

fn read_one<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<Window> {
    let name = table.string(walk, "name", rule::word);
    if name.is_missing() {
        let want = "a name, as in \"upgrade\"";
        walk.complaints.missing(table.line, &table.key("name"), want);
    }
    let length = table.string(walk, "for", duration::parse);
    if length.is_missing() {
        walk.complaints.missing(table.line, &table.key("for"), "how long, as in \"2h\"");
    }
    let scope = read_scope(walk, table);
    let from = table.string(walk, "from", parse_time);
    let schedule = table.string(walk, "schedule", |it| Ok(it.to_owned()));
    let tz = read_zone(walk, table);
    let reason = table.string(walk, "reason", |it| Ok(it.to_owned()));
    let is_bad = matches!((&from, &schedule), (Field::Bad, _) | (_, Field::Bad));
    let (Field::Good(name), Field::Good(length), false) = (name, length, is_bad) else {
        return None;
    };
    let length: Duration = length.value;
    let spec = WindowSpec {
        name: name.value,
        node: scope.node,
        role: scope.role,
        service: scope.service,
        from: from.good().map(|it| it.value),
        schedule: schedule.value_or(String::new()),
        tz,
        length_s: length.as_secs(),
        by: "the topology file".to_owned(),
        reason: reason.value_or(String::new()),
        id: None,
    };
    let window = zone(&spec.tz).and_then(|zone| Window::build(spec, zone));
    let complain = |want: String| {
        walk.complaints.add(table.line, &table.path, format!("is no window: want {want}"));
    };
    window.map_err(complain).ok()
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time, as in \"2026-11-22T02:00:00+01:00\"".to_owned())
}
