//! How long monitors keep what has been.

use super::duration;
use crate::topology::reader::{Field, Section, Walk};
use monitor::config::Retention;
use std::time::Duration;

const KEYS: [&str; 5] = ["beats", "minutes", "hours", "days", "changes"];

/// Reads `[retention]`, what is usual where a key is missing.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Retention {
    let usual = Retention::USUAL;
    let Some(table) = root.table(walk, "retention", &KEYS) else { return usual };
    let mut length = |key: &str, usual: Duration, least: Duration| {
        let field = table.string(walk, key, duration::parse);
        if let Field::Good(it) = &field
            && !(least..=Retention::MAX).contains(&it.value)
        {
            let hours = |it: Duration| it.as_secs() / 3_600;
            let want = format!("{}h to {}d", hours(least), hours(Retention::MAX) / 24);
            walk.complaints.unfit(it, &want);
        }
        field.value_or(usual)
    };
    Retention {
        beats: length("beats", usual.beats, Retention::MINUTES_MIN),
        minutes: length("minutes", usual.minutes, Retention::MINUTES_MIN),
        hours: length("hours", usual.hours, Retention::HOURS_MIN),
        days: length("days", usual.days, Retention::HOURS_MIN),
        changes: length("changes", usual.changes, Retention::HOURS_MIN),
    }
}
