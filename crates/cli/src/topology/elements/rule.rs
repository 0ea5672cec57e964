//! Rules over the numbers of nodes.

use super::{duration, policy::one_of, role::RoleName};
use crate::topology::reader::{Field, Section, Walk};
use monitor::core::{
    rule::{
        Bound, LEAST, Measure, OVER_MAX, RULES_MAX, Rule, Scope, Side, Sum, VOTES_MAX,
        defaults::defaults,
    },
    severity::Severity,
};
use std::{collections::BTreeSet, time::Duration};

const KEYS: [&str; 20] = [
    "name",
    "off",
    "role",
    "service",
    "node",
    "kind",
    "metric",
    "per",
    "over",
    "above",
    "below",
    "clear",
    "least",
    "slo",
    "for",
    "recover",
    "hits",
    "of",
    "severity",
    "consequence",
];
const KINDS: [&str; 5] = ["value", "rate", "share", "absent", "burn"];
/// The window of a rate or a share, where the file does not say.
const OVER: Duration = Duration::from_secs(60);
/// How long something has to be so, where the file does not say.
const HOLD: Duration = Duration::from_secs(60);
/// Longest pattern or name of a number.
const WORD_BYTES_MAX: usize = 100;

/// Reads `[[rules]]` over the usual rules: one of the same name takes the place of a usual one.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Vec<Rule> {
    let mut rules = defaults();
    let mut seen = BTreeSet::new();
    for (index, value) in root.list(walk, "rules").iter().enumerate() {
        let at = format!("rules[{}]", index + 1);
        let Some(table) = Section::open(walk, at, value, &KEYS) else { continue };
        let name = table.string(walk, "name", word);
        if name.is_missing() {
            walk.complaints.missing(table.line, &table.key("name"), "a name, as in \"errors\"");
        }
        let Field::Good(name) = name else { continue };
        if !seen.insert(name.value.clone()) {
            walk.complaints.unfit(&name, "a name that no rule before it has");
        }
        let off = table.boolean(walk, "off").value_or(false);
        let rule = (!off).then(|| Reader { walk: &mut *walk, table: &table }.rule(&name.value));
        rules.retain(|it| it.name != name.value);
        rules.extend(rule.flatten());
    }
    if RULES_MAX < rules.len() {
        let want = format!("at most {RULES_MAX} rules");
        walk.complaints.add(1, "rules", format!("are {}: want {want}", rules.len()));
    }
    rules
}

/// One table under `[[rules]]`.
struct Reader<'w, 'a, 's> {
    walk: &'w mut Walk<'a>,
    table: &'s Section<'a>,
}

impl<'a> Reader<'_, 'a, '_> {
    fn rule(&mut self, name: &str) -> Option<Rule> {
        let scope = Scope {
            role: self.one("role", |it| RoleName::parse(it).map(|it| it.text().to_owned())),
            service: self.one("service", word),
            node: self.one("node", word),
        };
        let kind = self.one("kind", kind).unwrap_or("value");
        let measure = self.measure(kind);
        let (of, hits) = (self.count("of"), self.count("hits"));
        let votes = (hits.unwrap_or(1), of.unwrap_or(1).max(hits.unwrap_or(1)));
        let default = if kind == "burn" { Duration::ZERO } else { HOLD };
        let hold = self.one("for", duration_or_none).unwrap_or(default);
        let severity = self.one("severity", severity);
        if kind == "burn" && severity.is_some() {
            self.complain("severity", "no severity for kind burn: it goes by the speed");
        }
        let consequence = self.table.boolean(self.walk, "consequence");
        let is_of_work = matches!(kind, "rate" | "share" | "burn");
        Some(Rule {
            name: name.to_owned(),
            scope,
            measure: measure?,
            severity: severity.unwrap_or_default(),
            hold,
            recover: self.one("recover", duration_or_none).unwrap_or(HOLD),
            hits: votes.0,
            of: votes.1,
            consequence: consequence.value_or(is_of_work),
        })
    }

    /// What is looked at; says what is missing and what is of no use.
    fn measure(&mut self, kind: &str) -> Option<Measure> {
        let (metric, per) = (self.names("metric"), self.names("per"));
        let needs_metric = kind != "burn" || per.is_some();
        if needs_metric && metric.is_none() && self.is_absent("metric") {
            self.want("metric", "the name of a number, as in \"check.disk\"");
        }
        if (kind == "share" || (kind == "burn" && metric.is_some())) && self.is_absent("per") {
            self.want("per", "the number that it is a share of, as in \"requests\"");
        }
        self.refuse(kind);
        let over = self.one("over", window).unwrap_or(OVER);
        let least = self.number("least", 0.0..=1e15);
        match kind {
            "value" => {
                let bound = self.bound();
                Some(Measure::Value { metric: metric?, bound: bound? })
            }
            "rate" => {
                let bound = self.bound();
                Some(Measure::Rate { metric: metric?, over, bound: bound? })
            }
            "share" => {
                let (bound, least) = (self.bound(), least.unwrap_or(LEAST));
                Some(Measure::Share { part: metric?, whole: per?, over, least, bound: bound? })
            }
            "absent" => Some(Measure::Absent { metric: metric? }),
            _ => {
                if self.is_absent("slo") {
                    self.want("slo", "the percentage that is to be good, as in 99.9");
                }
                let slo = self.number("slo", 50.0..=99.999)?;
                let allowed = (100.0 - slo) / 100.0;
                match (metric, per) {
                    (Some(part), Some(whole)) => {
                        let least = least.unwrap_or(LEAST);
                        Some(Measure::Burn { part, whole, least, allowed })
                    }
                    (None, None) => Some(Measure::BurnTime { allowed }),
                    (Some(_), None) | (None, Some(_)) => None,
                }
            }
        }
    }

    /// Keys that say nothing for a kind.
    fn refuse(&mut self, kind: &str) {
        for (key, kinds) in [
            ("per", &["share", "burn"][..]),
            ("over", &["rate", "share"]),
            ("above", &["value", "rate", "share"]),
            ("below", &["value", "rate", "share"]),
            ("clear", &["value", "rate", "share"]),
            ("least", &["share", "burn"]),
            ("slo", &["burn"]),
        ] {
            if !kinds.contains(&kind) && !self.is_absent(key) {
                self.complain(key, &format!("no {key} for kind {kind}"));
            }
        }
    }

    fn bound(&mut self) -> Option<Bound> {
        let range = -1e15..=1e15;
        let above = self.number("above", range.clone());
        let below = self.number("below", range.clone());
        let clear = self.number("clear", range);
        let (side, enter) = match (above, below) {
            (Some(enter), None) => (Side::Above, enter),
            (None, Some(enter)) => (Side::Below, enter),
            (Some(_), Some(_)) => {
                self.complain("below", "above or below, not both");
                return None;
            }
            (None, None) => {
                if self.is_absent("above") && self.is_absent("below") {
                    self.want("above", "the number beyond which it is bad (or below)");
                }
                return None;
            }
        };
        let leave = clear.unwrap_or(enter);
        let is_beyond = match side {
            Side::Above => enter < leave,
            Side::Below => leave < enter,
        };
        if is_beyond {
            self.complain("clear", "a number on the good side of where it begins");
            return None;
        }
        Some(Bound { side, enter, leave })
    }

    fn one<T: Clone>(&mut self, key: &str, element: fn(&str) -> Result<T, String>) -> Option<T> {
        self.table.string(self.walk, key, element).good().map(|it| it.value.clone())
    }

    fn names(&mut self, key: &str) -> Option<Sum> {
        let names = self.table.strings(self.walk, key, word);
        let names = names.good().map(|it| it.value.iter().map(|it| it.value.clone()).collect());
        names.filter(|it: &Sum| !it.is_empty())
    }

    fn count(&mut self, key: &str) -> Option<u32> {
        let field = self.table.integer::<u32>(self.walk, key, 1..=i64::from(VOTES_MAX));
        field.good().map(|it| it.value)
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        self.table.number(self.walk, key, range).good().map(|it| it.value)
    }

    fn is_absent(&self, key: &str) -> bool {
        self.table.line_of(self.walk, key).is_none()
    }

    fn want(&mut self, key: &str, want: &str) {
        self.walk.complaints.missing(self.table.line, &self.table.key(key), want);
    }

    fn complain(&mut self, key: &str, want: &str) {
        let line = self.table.line_of(self.walk, key).unwrap_or(self.table.line);
        self.walk.complaints.add(line, &self.table.key(key), format!("does not fit: want {want}"));
    }
}

/// A name or a pattern.
pub(super) fn word(text: &str) -> Result<String, String> {
    let is_good =
        (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
    let want = || format!("1 to {WORD_BYTES_MAX} characters without a space");
    is_good.then(|| text.to_owned()).ok_or_else(want)
}

fn kind(text: &str) -> Result<&'static str, String> {
    let found = KINDS.into_iter().find(|it| *it == text);
    found.ok_or_else(|| one_of(text, &KINDS))
}

/// The severity of this word.
pub(super) fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| one_of(text, &Severity::ALL.map(Severity::text)))
}

fn window(text: &str) -> Result<Duration, String> {
    let length = duration::parse(text)?;
    let want = || format!("at most {} s", OVER_MAX.as_secs());
    (length <= OVER_MAX).then_some(length).ok_or_else(want)
}

/// A length of time, or none at all.
fn duration_or_none(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { duration::parse(text) }
}
