//! The rules that hold when nobody writes any: one for each thing that usually goes wrong, lenient
//! enough to be right when they speak. A rule of the file with the same name takes the place of
//! one of these.

use super::{Bound, LEAST, Measure, Rule, Scope, Side, Sum};
use crate::core::severity::Severity;
use std::time::Duration;

/// Traffic of an hour below which a burning budget is no news.
const BURN_LEAST: f64 = 1_000.0;
/// The share of requests that may fail within 30 days: 99.9 % are to succeed.
const ALLOWED: f64 = 0.001;
const MINUTE: Duration = Duration::from_secs(60);

fn sum(names: &[&str]) -> Sum {
    names.iter().map(|it| (*it).to_owned()).collect()
}

fn above(enter: f64, leave: f64) -> Bound {
    Bound { side: Side::Above, enter, leave }
}

fn rule(name: &str, role: Option<&str>, measure: Measure) -> Rule {
    Rule {
        name: name.to_owned(),
        scope: Scope { role: role.map(str::to_owned), ..Scope::default() },
        measure,
        severity: Severity::Warning,
        hold: MINUTE,
        recover: MINUTE,
        hits: 1,
        of: 1,
        consequence: true,
    }
}

fn value(name: &str, role: Option<&str>, enter: f64, leave: f64) -> Rule {
    let metric = sum(&[&format!("check.{name}")]);
    rule(name, role, Measure::Value { metric, bound: above(enter, leave) })
}

fn share(name: &str, role: &str, part: &[&str], whole: &[&str], enter: f64, leave: f64) -> Rule {
    let measure = Measure::Share {
        part: sum(part),
        whole: sum(whole),
        over: MINUTE,
        least: LEAST,
        bound: above(enter, leave),
    };
    rule(name, Some(role), measure)
}

/// All of them, for every role.
pub fn defaults() -> Vec<Rule> {
    let gateway_errors = ["unavailable", "unknown"];
    let balancer_errors = ["unsent", "unknown"];
    let critical = |it: Rule| Rule { severity: Severity::Critical, ..it };
    let own = |it: Rule| Rule { consequence: false, ..it };
    let slow = |it: Rule| Rule { hold: MINUTE * 5, recover: MINUTE * 5, ..it };
    let below = Bound { side: Side::Below, enter: 50.0, leave: 75.0 };
    vec![
        critical(share("errors", "gateway", &gateway_errors, &["requests"], 0.05, 0.02)),
        critical(share("balancer-errors", "balancer", &balancer_errors, &["requests"], 0.05, 0.02)),
        share("gateway-shed", "gateway", &["shed"], &["requests", "shed"], 0.05, 0.01),
        share("balancer-shed", "balancer", &["shed"], &["requests", "shed"], 0.05, 0.01),
        share("account-shed", "account", &["shed"], &["requests", "shed"], 0.05, 0.01),
        rule(
            "budget",
            Some("gateway"),
            Measure::Burn {
                part: sum(&gateway_errors),
                whole: sum(&["requests"]),
                least: BURN_LEAST,
                allowed: ALLOWED,
            },
        ),
        rule(
            "endpoints",
            Some("balancer"),
            Measure::Value { metric: sum(&["check.endpoints"]), bound: below },
        ),
        value("commit", Some("account"), 2_000.0, 1_000.0),
        value("queue", Some("account"), 70.0, 50.0),
        slow(value("views", Some("account"), 80.0, 60.0)),
        Rule { hits: 3, of: 5, ..value("loop", None, 1_000.0, 500.0) },
        own(value("files", None, 80.0, 70.0)),
        own(slow(value("memory", None, 80.0, 70.0))),
        own(slow(value("disk", None, 95.0, 93.0))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_thresholds_the_right_way_round() {
        let rules = defaults();
        let names: BTreeSet<&str> = rules.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.len(), rules.len());
        for rule in &rules {
            let bound = match &rule.measure {
                Measure::Value { bound, .. }
                | Measure::Rate { bound, .. }
                | Measure::Share { bound, .. } => bound,
                Measure::Absent { .. } | Measure::Burn { .. } | Measure::BurnTime { .. } => {
                    continue;
                }
            };
            assert!(bound.judge(bound.enter).is_beyond, "{}", rule.name);
            assert!(!bound.judge(bound.leave).is_bad, "{}", rule.name);
            assert!(MINUTE <= rule.hold && MINUTE <= rule.recover, "{}", rule.name);
        }
    }
}
