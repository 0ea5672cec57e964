//! Who is told of what, at which hours, and how soon.

use super::{duration, role::RoleName, rule};
use crate::topology::reader::{Field, Placed, Section, Walk};
use monitor::{
    book::zone,
    core::{
        audience::{SUBSCRIPTIONS_MAX, Subscription},
        hours::Hours,
        rule::Scope,
    },
};
use std::time::Duration;

const KEYS: [&str; 9] =
    ["channel", "node", "role", "service", "severity", "hours", "tz", "after", "remind"];

/// Reads `[[subscriptions]]`, and the channels that they name, which have to be there.
pub(in crate::topology) fn read<'a>(
    walk: &mut Walk<'a>,
    root: &Section<'a>,
) -> (Vec<Subscription>, Vec<Placed<String>>) {
    let (mut out, mut channels) = (Vec::new(), Vec::new());
    let all = root.list(walk, "subscriptions");
    if SUBSCRIPTIONS_MAX < all.len() {
        let text = format!("are {}: want at most {SUBSCRIPTIONS_MAX}", all.len());
        walk.complaints.add(1, "subscriptions", text);
    }
    for (index, value) in all.iter().enumerate() {
        let at = format!("subscriptions[{}]", index + 1);
        let Some(table) = Section::open(walk, at, value, &KEYS) else { continue };
        let channel = table.string(walk, "channel", rule::word);
        if channel.is_missing() {
            let want = "the name of a channel, as in \"webhook-1\"";
            walk.complaints.missing(table.line, &table.key("channel"), want);
        }
        let scope = read_scope(walk, &table);
        let hours = read_hours(walk, &table);
        let severity = table.string(walk, "severity", rule::severity);
        let after = table.string(walk, "after", duration::parse);
        let remind = table.string(walk, "remind", duration::parse);
        let Field::Good(channel) = channel else { continue };
        let usual = Subscription::to_all(&channel.value);
        out.push(Subscription {
            scope,
            hours,
            severity: severity.value_or(usual.severity),
            after: after.value_or(Duration::ZERO),
            remind: remind.value_or(usual.remind),
            ..usual
        });
        channels.push(channel);
    }
    (out, channels)
}

/// `node`, `role` and `service` of a table.
pub(super) fn read_scope<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Scope {
    let role = table.string(walk, "role", RoleName::parse);
    Scope {
        role: role.good().map(|it| it.value.text().to_owned()),
        service: table.string(walk, "service", rule::word).good().map(|it| it.value.clone()),
        node: table.string(walk, "node", rule::word).good().map(|it| it.value.clone()),
    }
}

/// `tz` of a table, as a name that is known.
pub(super) fn read_zone<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> String {
    let tz = table.string(walk, "tz", |it| zone(it).map(|_| it.to_owned()));
    tz.value_or("UTC".to_owned())
}

fn read_hours<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<Hours> {
    let tz = read_zone(walk, table);
    let text = table.string(walk, "hours", |it| Ok(it.to_owned()));
    if let (Field::Missing, Some(line)) = (&text, table.line_of(walk, "tz")) {
        walk.complaints.add(line, &table.key("tz"), "is of no use without hours");
    }
    let Field::Good(text) = text else { return None };
    // The zone was complained of where it is not known.
    let hours = zone(&tz).and_then(|zone| Hours::parse(&text.value, zone));
    hours.map_err(|want| walk.complaints.unfit(&text, &want)).ok()
}
