//! From where on the self checks of a node warn and fail.

use crate::topology::reader::{Section, Walk};
use net::agent::beat::Limits;
use std::collections::BTreeMap;

const KEYS: [&str; 2] = ["warn", "fail"];
/// Milliseconds: an hour.
const MILLIS_MAX: i64 = 3_600_000;
/// Every check that has limits, with the most that makes sense.
const CHECKS: [(&str, i64); 7] = [
    ("loop", MILLIS_MAX),
    ("commit", MILLIS_MAX),
    ("files", 100),
    ("memory", 100),
    ("disk", 100),
    ("queue", 100),
    ("views", 100),
];

/// Limits by the name of the check; what is not named keeps the usual ones.
pub(crate) type Checks = BTreeMap<String, Limits>;

/// Reads `checks = { disk = { warn = 80, fail = 95 }, commit = { fail = 2000 } }`.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, parent: &Section<'a>) -> Checks {
    let mut out = Checks::new();
    let names = CHECKS.map(|(name, _)| name);
    let Some(table) = parent.table(walk, "checks", &names) else { return out };
    for (name, most) in CHECKS {
        let Some(one) = table.table(walk, name, &KEYS) else { continue };
        let warn = one.integer::<u64>(walk, "warn", 1..=most);
        let fail = one.integer::<u64>(walk, "fail", 1..=most);
        if let (Some(warn), Some(fail)) = (warn.good(), fail.good())
            && fail.value < warn.value
        {
            walk.complaints.unfit(fail, "at least as much as warn");
        }
        let value = |it: &crate::topology::reader::Field<u64>| it.good().map(|it| it.value);
        out.insert(name.to_owned(), Limits { warn: value(&warn), fail: value(&fail) });
    }
    out
}

/// What a node goes by: its own limits, and those of the file where it says nothing.
pub(in crate::topology) fn merged(own: &Checks, file: &Checks) -> Checks {
    let mut out = file.clone();
    for (name, limits) in own {
        let of_file = out.get(name).copied().unwrap_or_default();
        out.insert(name.clone(), limits.or(of_file));
    }
    out
}

/// For people who compare two files.
pub(in crate::topology) fn shown(checks: &Checks) -> String {
    let one = |(name, limits): (&String, &Limits)| {
        let number = |it: Option<u64>| it.map_or("usual".to_owned(), |it| it.to_string());
        format!("{name} {}/{}", number(limits.warn), number(limits.fail))
    };
    if checks.is_empty() { "the usual".to_owned() } else { joined(checks.iter().map(one)) }
}

fn joined(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(", ")
}
