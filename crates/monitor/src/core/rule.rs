//! Rules over the numbers of nodes: what makes a node unwell that is alive and passes its own
//! checks.

pub mod burn;
pub mod defaults;
pub mod referee;
pub mod tracker;

use super::{severity::Severity, silence::matches};
use std::time::Duration;

/// Rules of one monitor.
pub const RULES_MAX: usize = 200;
/// Longest window of a rate or a share.
pub const OVER_MAX: Duration = Duration::from_secs(3_600);
/// Readings of which some have to be bad.
pub const VOTES_MAX: u32 = 60;
/// Traffic below which shares say nothing, where a rule does not say.
pub const LEAST: f64 = 20.0;

/// Names of numbers that are added up.
pub type Sum = Vec<String>;

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    pub scope: Scope,
    pub measure: Measure,
    pub severity: Severity,
    /// It has to be so for this long before it counts,
    pub hold: Duration,
    /// and over for this long before it is over.
    pub recover: Duration,
    /// Of the last `of` readings at least `hits` have to be bad.
    pub hits: u32,
    pub of: u32,
    /// It may be only a consequence: nobody is told while a node below, or one that shares an
    /// engine, is unwell.
    pub consequence: bool,
}

impl Rule {
    /// Whether it is about this check. A rule that names nobody is for all nodes, and for no job: jobs
    /// are named.
    pub fn is_about(&self, it: &Subject) -> bool {
        let is_node = !it.role.is_empty();
        (is_node || self.scope != Scope::default()) && self.scope.covers(it)
    }
}

/// Which checks a rule is for. What is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub role: Option<String>,
    pub service: Option<String>,
    /// A pattern as of silences; it finds jobs, too.
    pub node: Option<String>,
}

/// What a scope asks of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    /// Empty where it is no node.
    pub role: String,
    pub service: String,
}

impl Scope {
    /// Whether the check is meant.
    pub fn covers(&self, it: &Subject) -> bool {
        self.role.as_ref().is_none_or(|role| *role == it.role)
            && self.service.as_ref().is_none_or(|service| *service == it.service)
            && self.node.as_ref().is_none_or(|pattern| matches(pattern, &it.name))
    }
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// A number as it is.
    Value { metric: Sum, bound: Bound },
    /// How much a counter grows in a second.
    Rate { metric: Sum, over: Duration, bound: Bound },
    /// How much one counter grows for each that another does.
    Share { part: Sum, whole: Sum, over: Duration, least: f64, bound: Bound },
    /// The node is heard, and says nothing of this number.
    Absent { metric: Sum },
    /// An error budget is used up too fast; see [`burn`].
    Burn { part: Sum, whole: Sum, least: f64, allowed: f64 },
    /// As [`Measure::Burn`], of time: of all time that was watched, how much was the node down?
    BurnTime { allowed: f64 },
}

/// The two thresholds of one rule: it begins at the first and ends at the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub side: Side,
    pub enter: f64,
    /// Not beyond `enter`.
    pub leave: f64,
}

/// On which side of a threshold it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

impl Bound {
    /// What a reading says: it is bad; it is not good yet.
    pub fn judge(&self, value: f64) -> Vote {
        let beyond = |limit: f64| match self.side {
            Side::Above => limit < value,
            Side::Below => value < limit,
        };
        Vote { is_bad: beyond(self.enter), is_beyond: beyond(self.leave) }
    }
}

/// What one reading says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Beyond where it begins.
    pub is_bad: bool,
    /// Beyond where it ends.
    pub is_beyond: bool,
}

impl Measure {
    /// How far back it looks: after a cause is gone, it may be bad for so long.
    pub fn looks_back(&self) -> Duration {
        match self {
            Measure::Value { .. } | Measure::Absent { .. } => Duration::ZERO,
            Measure::Rate { over, .. } | Measure::Share { over, .. } => *over,
            Measure::Burn { .. } | Measure::BurnTime { .. } => burn::PAIRS[0].short,
        }
    }

    /// The kind, as it is written in the topology file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Measure::Value { .. } => "value",
            Measure::Rate { .. } => "rate",
            Measure::Share { .. } => "share",
            Measure::Absent { .. } => "absent",
            Measure::Burn { .. } | Measure::BurnTime { .. } => "burn",
        }
    }

    /// What is wrong, in a few words for people.
    fn words(&self, value: f64) -> String {
        let names = |it: &Sum| it.join(" + ");
        match self {
            Measure::Value { metric, bound } => {
                format!("{} is {}, {}", names(metric), short(value), bound.words(1.0, ""))
            }
            Measure::Rate { metric, over, bound } => format!(
                "{} {} a second over {} s, {}",
                short(value),
                names(metric),
                over.as_secs(),
                bound.words(1.0, "")
            ),
            Measure::Share { part, whole, over, bound, .. } => format!(
                "{} of {} {} % over {} s, {}",
                names(part),
                names(whole),
                short(value * 100.0),
                over.as_secs(),
                bound.words(100.0, " %")
            ),
            Measure::Absent { metric } => format!("says nothing of {}", names(metric)),
            Measure::Burn { .. } | Measure::BurnTime { .. } => {
                format!("the error budget of 30 days burns {} times too fast", short(value))
            }
        }
    }
}

impl Bound {
    fn words(&self, scale: f64, unit: &str) -> String {
        let side = match self.side {
            Side::Above => "more than",
            Side::Below => "less than",
        };
        format!("{side} {}{unit}", short(self.enter * scale))
    }
}

/// Two digits after the point, and none where they are nought.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What the rules say of a check that breaks one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    pub severity: Severity,
    /// The rules by name, and what is wrong.
    pub words: String,
    pub rules: Vec<String>,
    /// All of them may be mere consequences,
    pub consequence: bool,
    /// and look back this far.
    pub looks_back: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_asks_only_what_it_names() {
        let a1 = Subject { name: "a-1".into(), role: "account".into(), service: "a".into() };
        let scope = |role: &str, service: &str, node: &str| {
            let some = |it: &str| (!it.is_empty()).then(|| it.to_owned());
            Scope { role: some(role), service: some(service), node: some(node) }
        };
        for (it, want) in [
            (scope("", "", ""), true),
            (scope("account", "a", "a-*"), true),
            (scope("gateway", "", ""), false),
            (scope("", "b", ""), false),
            (scope("", "", "b-*"), false),
        ] {
            assert_eq!(it.covers(&a1), want, "{it:?}");
        }
    }

    #[test]
    fn a_rule_that_names_nobody_is_for_nodes() {
        let subject = |name: &str, role: &str| Subject {
            name: name.to_owned(),
            role: role.to_owned(),
            ..Subject::default()
        };
        let rule = |node: Option<&str>| Rule {
            scope: Scope { node: node.map(str::to_owned), ..Scope::default() },
            ..defaults::defaults().remove(0)
        };
        for (node, of_node, of_job) in
            [(None, true, false), (Some("night*"), false, true), (Some("*"), true, true)]
        {
            assert_eq!(rule(node).is_about(&subject("a-1", "account")), of_node, "{node:?}");
            assert_eq!(rule(node).is_about(&subject("nightly", "")), of_job, "{node:?}");
        }
    }

    #[test]
    fn words_name_the_number_and_the_limit() {
        let bound = Bound { side: Side::Above, enter: 0.05, leave: 0.02 };
        let share = Measure::Share {
            part: vec!["unavailable".into(), "unknown".into()],
            whole: vec!["requests".into()],
            over: Duration::from_secs(60),
            least: LEAST,
            bound,
        };
        let words = "unavailable + unknown of requests 7.5 % over 60 s, more than 5 %";
        assert_eq!(share.words(0.075), words);
        let bound = Bound { side: Side::Below, enter: 3.0, leave: 3.0 };
        let value = Measure::Value { metric: vec!["x".into()], bound };
        assert_eq!(value.words(2.0), "x is 2, less than 3");
    }
}
