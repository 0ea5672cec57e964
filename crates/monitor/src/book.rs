//! The checks: what each is called, how it is watched, and what was last heard of it.

use crate::core::{
    check::{CheckId, Terms},
    contract::{Contract, Pace},
    reading::Number,
    rollup::Tally,
    schedule::Schedule,
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use wire::Timestamp;

/// Checks of one monitor.
pub const CHECKS_MAX: usize = 100_000;
/// Failing beats in a row before a node counts as sick.
const NODE_FAILS_MIN: u32 = 2;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A node of the tree, by its agent.
    Node,
    /// Anything that makes an HTTP request when it has done its work.
    Job,
    /// A way to tell people, by what becomes of the letters.
    Channel,
}

/// What people say of a check; stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub kind: Kind,
    pub name: String,
    #[serde(default)]
    pub slug: String,
    #[serde(default)]
    pub tags: String,
    #[serde(default)]
    pub desc: String,
    /// Of a node.
    #[serde(default)]
    pub role: String,
    pub every_ms: u64,
    pub grace_ms: u64,
    /// A cron expression, or calendar events; then `every_ms` does not count.
    #[serde(default)]
    pub schedule: String,
    #[serde(default)]
    pub tz: String,
    /// A paused check stays so when it is heard.
    #[serde(default)]
    pub manual_resume: bool,
    /// Only POST counts as a beat.
    #[serde(default)]
    pub post_only: bool,
    #[serde(default)]
    pub created: i64,
    /// How long a run takes at least and at most; 0 leaves it open.
    #[serde(default)]
    pub run_min_ms: u64,
    #[serde(default)]
    pub run_max_ms: u64,
}

impl Plan {
    /// A job as it is when nobody says anything: once a day, an hour of grace.
    pub fn job(name: &str, slug: &str, now: Timestamp) -> Plan {
        Plan {
            kind: Kind::Job,
            name: name.to_owned(),
            slug: slug.to_owned(),
            tags: String::new(),
            desc: String::new(),
            role: String::new(),
            every_ms: 86_400_000,
            grace_ms: 3_600_000,
            schedule: String::new(),
            tz: "UTC".to_owned(),
            manual_resume: false,
            post_only: false,
            created: now.0,
            run_min_ms: 0,
            run_max_ms: 0,
        }
    }

    /// Grace as a length of time.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// How it is watched; `Err` says what is wrong with its schedule.
    pub fn terms(&self) -> Result<Terms, String> {
        let pace = if self.schedule.is_empty() {
            Pace::Every(Duration::from_millis(self.every_ms))
        } else {
            Pace::At(Box::new(Schedule::parse_with(&self.schedule, zone(&self.tz)?, |it| {
                zone(it).ok()
            })?))
        };
        let is_node = self.kind == Kind::Node;
        Ok(Terms {
            contract: Contract { pace, grace: self.grace() },
            fails_min: if is_node { NODE_FAILS_MIN } else { 1 },
            is_statistical: is_node,
            is_probed: is_node,
            run_min: Duration::from_millis(self.run_min_ms),
            run_max: Some(Duration::from_millis(self.run_max_ms)).filter(|it| !it.is_zero()),
        })
    }
}

/// The zone of this IANA name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        name => TimeZone::get(name).map_err(|_| format!("a time zone instead of {name:?}")),
    }
}

/// A check and what was last heard of it.
#[derive(Clone, Debug)]
pub struct Check {
    pub id: CheckId,
    pub uuid: u128,
    pub plan: Plan,
    /// True wall time of the last beat.
    pub last_at: Option<Timestamp>,
    pub beats: u64,
    /// How long the last run took.
    pub last_duration: Option<Duration>,
    /// Of a node: its last beat, as it sent it.
    pub said: Option<net::agent::beat::Beat>,
    /// Of a job: the numbers that it told last.
    pub numbers: Vec<Number>,
    /// Beats that may come now: a bucket of tokens and when it was filled last.
    pub tokens: (u32, Timestamp),
    /// The beats of the minute that is under way.
    pub tally: Tally,
    /// A minute that has ended and is not stored yet: that is done for all checks together.
    pub ended: Option<Box<Ended>>,
}

/// A minute of a check that has ended: its beats, and all beats up to its end.
#[derive(Clone, Debug)]
pub struct Ended {
    pub check: CheckId,
    pub tally: Tally,
    pub total: u64,
}

impl Check {
    /// Counts a beat. A minute comes back if two have ended and nobody has asked for them.
    pub fn count(&mut self, at: Timestamp) -> Option<Ended> {
        let (check, total) = (self.id, self.beats);
        self.beats += 1;
        let tally = self.tally.beat(at)?;
        self.ended.replace(Box::new(Ended { check, tally, total })).map(|it| *it)
    }

    /// What was counted of minutes before this one, in order.
    pub fn end_minute(&mut self, minute: Timestamp) -> impl Iterator<Item = Ended> + use<> {
        let (check, total) = (self.id, self.beats);
        let last = self.tally.end(minute).map(|tally| Ended { check, tally, total });
        self.ended.take().map(|it| *it).into_iter().chain(last)
    }
}

/// All checks, by number, by id and by slug.
#[derive(Debug, Default)]
pub struct Book {
    checks: BTreeMap<CheckId, Check>,
    by_uuid: BTreeMap<u128, CheckId>,
    by_slug: BTreeMap<String, Vec<CheckId>>,
    nodes: BTreeMap<String, CheckId>,
    next: i64,
}

/// What a slug stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    One(CheckId),
    None,
    /// More than one check bears it.
    Many,
}

impl Book {
    /// Enters a check, over the one of the same number if there is one.
    pub fn put(&mut self, check: Check) {
        self.remove(check.id);
        self.next = self.next.max(check.id.0 + 1);
        self.by_uuid.insert(check.uuid, check.id);
        match check.plan.kind {
            Kind::Node => {
                self.nodes.insert(check.plan.name.clone(), check.id);
            }
            Kind::Job if !check.plan.slug.is_empty() => {
                self.by_slug.entry(check.plan.slug.clone()).or_default().push(check.id);
            }
            Kind::Job | Kind::Channel => {}
        }
        self.checks.insert(check.id, check);
    }

    /// Strikes a check out.
    pub fn remove(&mut self, id: CheckId) -> Option<Check> {
        let check = self.checks.remove(&id)?;
        self.by_uuid.remove(&check.uuid);
        if check.plan.kind == Kind::Node {
            self.nodes.remove(&check.plan.name);
        }
        if let Some(ids) = self.by_slug.get_mut(&check.plan.slug) {
            ids.retain(|it| *it != id);
            if ids.is_empty() {
                self.by_slug.remove(&check.plan.slug);
            }
        }
        Some(check)
    }

    /// A new check, or `None` when there are too many.
    pub fn create(&mut self, uuid: u128, plan: Plan) -> Option<&Check> {
        if CHECKS_MAX <= self.checks.len() {
            return None;
        }
        let id = CheckId(self.next.max(1));
        let tokens = (u32::MAX, Timestamp(0));
        self.put(Check {
            id,
            uuid,
            plan,
            last_at: None,
            beats: 0,
            last_duration: None,
            said: None,
            numbers: Vec::new(),
            tokens,
            tally: Tally::default(),
            ended: None,
        });
        self.checks.get(&id)
    }

    pub fn get(&self, id: CheckId) -> Option<&Check> {
        self.checks.get(&id)
    }

    pub fn get_mut(&mut self, id: CheckId) -> Option<&mut Check> {
        self.checks.get_mut(&id)
    }

    pub fn by_uuid(&self, uuid: u128) -> Option<CheckId> {
        self.by_uuid.get(&uuid).copied()
    }

    pub fn by_slug(&self, slug: &str) -> Found {
        match self.by_slug.get(slug).map(Vec::as_slice) {
            Some([id]) => Found::One(*id),
            Some([_, _, ..]) => Found::Many,
            Some([]) | None => Found::None,
        }
    }

    pub fn node(&self, name: &str) -> Option<CheckId> {
        self.nodes.get(name).copied()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Check> {
        self.checks.values_mut()
    }

    /// By its number in the order of creation.
    pub fn iter(&self) -> impl Iterator<Item = &Check> {
        self.checks.values()
    }

    /// A check by a word of a person's: uuid, the name of a node, a slug, or a name.
    pub fn named(&self, word: &str) -> Option<CheckId> {
        let by_uuid = parse_uuid(word).and_then(|it| self.by_uuid(it));
        let by_slug = || match self.by_slug(word) {
            Found::One(id) => Some(id),
            Found::None | Found::Many => None,
        };
        let by_name = || self.iter().find(|it| it.plan.name == word).map(|it| it.id);
        by_uuid.or_else(|| self.node(word)).or_else(by_slug).or_else(by_name)
    }
}

/// The usual text form of a UUID.
pub fn uuid_text(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Reads the usual text form, and nothing else.
pub fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    let dashes = [8, 13, 18, 23];
    let is_form = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match dashes.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        });
    is_form.then(|| u128::from_str_radix(&text.replace('-', ""), 16).ok()).flatten()
}

/// A random UUID (version 4), from random bits.
pub fn make_uuid(random: u128) -> u128 {
    random & !(0xf << 76) & !(0x3 << 62) | (4 << 76) | (2 << 62)
}

/// A slug for a name: lower case letters, digits and dashes, as Django makes them.
pub fn slugify(name: &str) -> String {
    let mut out = String::new();
    for char in name.trim().chars() {
        match char {
            'a'..='z' | '0'..='9' | '_' => out.push(char),
            'A'..='Z' => out.push(char.to_ascii_lowercase()),
            ' ' | '-' if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.trim_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_one_form() {
        let uuid = make_uuid(u128::MAX);
        let text = uuid_text(uuid);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(parse_uuid(&text), Some(uuid));
        for bad in [
            "",
            "ffffffff-ffff-4fff-bfff-fffffffffff",
            "ffffffffffff4fffbfffffffffffffff0000",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "ffffffff-ffff-4fff-bfff_ffffffffffff",
        ] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn slugs_are_made_of_names() {
        for (name, slug) in [("My Backup", "my-backup"), (" a_b--c! ", "a_b-c"), ("é", "")] {
            assert_eq!(slugify(name), slug);
        }
    }

    #[test]
    fn minutes_that_have_ended_are_told_once_and_in_order() {
        let at = |second: i64| Timestamp(second * 1_000_000);
        let mut book = Book::default();
        let id = book.create(1, Plan::job("a", "x", at(0))).unwrap().id;
        let check = book.get_mut(id).unwrap();
        let told = |it: Ended| (it.tally.minute, it.tally.count.beats, it.total);
        assert!([10, 20, 70].map(|it| check.count(at(it))).iter().all(Option::is_none));
        assert_eq!(check.end_minute(at(60)).map(told).collect::<Vec<_>>(), [(at(0), 2, 2)]);
        assert!(check.count(at(130)).is_none());
        let first = check.count(at(190)).map(told);
        assert_eq!(first, Some((at(60), 1, 3)), "nobody has asked for two minutes");
        let rest: Vec<_> = check.end_minute(at(240)).map(told).collect();
        assert_eq!(rest, [(at(120), 1, 4), (at(180), 1, 5)]);
        assert_eq!(check.end_minute(at(300)).count(), 0);
    }

    #[test]
    fn a_slug_may_be_ambiguous() {
        let mut book = Book::default();
        let now = Timestamp(0);
        let first = book.create(1, Plan::job("a", "x", now)).unwrap().id;
        assert_eq!(book.by_slug("x"), Found::One(first));
        let second = book.create(2, Plan::job("b", "x", now)).unwrap().id;
        assert_eq!(book.by_slug("x"), Found::Many);
        book.remove(first);
        assert_eq!(book.by_slug("x"), Found::One(second));
        assert_eq!(book.named("b"), Some(second));
    }
}
