//! All rules on all checks.

use super::{Rule, Ruled, Subject, tracker::Tracker};
use crate::core::{
    availability::Mark,
    check::{CheckId, Now},
    reading::Reading,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use stdx::Moment;

/// How often rules over time are looked at, and the most that counts of a gap between two looks.
pub const PASS_EVERY: Duration = Duration::from_secs(1);
const PASS_GAP_MAX: Duration = Duration::from_secs(5);

/// A tracker as it is stored, with the rule that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptTracker {
    pub rule: String,
    /// The rule in full: what was kept by another one is of no use.
    definition: String,
    tracker: Tracker,
}

/// The rules, and what each knows of each check.
#[derive(Clone, Debug, Default)]
pub struct Referee {
    rules: Vec<Rule>,
    subjects: BTreeMap<CheckId, Subject>,
    trackers: BTreeMap<(CheckId, usize), Tracker>,
    /// To be stored.
    dirty: BTreeSet<(CheckId, usize)>,
    passed_at: Option<Moment>,
}

impl Referee {
    /// Goes by these rules.
    pub fn new(rules: Vec<Rule>) -> Referee {
        Referee { rules, ..Referee::default() }
    }

    /// The rules in force.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Goes by other rules; those that have not changed keep what they know.
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        let old = std::mem::replace(&mut self.rules, rules);
        let place = |at: usize| self.rules.iter().position(|it| *it == old[at]);
        let moved = std::mem::take(&mut self.trackers).into_iter();
        self.trackers =
            moved.filter_map(|((id, at), tracker)| Some(((id, place(at)?), tracker))).collect();
        self.dirty.clear();
    }

    /// Rules may be about this check from now on.
    pub fn add(&mut self, id: CheckId, subject: Subject) {
        let known = self.subjects.insert(id, subject.clone());
        if known.is_some_and(|it| it != subject) {
            self.trackers.retain(|(it, _), _| *it != id);
        }
    }

    /// Forgets a check.
    pub fn remove(&mut self, id: CheckId) {
        self.subjects.remove(&id);
        self.trackers.retain(|(it, _), _| *it != id);
        self.dirty.retain(|(it, _)| *it != id);
    }

    /// Takes back what was known when the last process ended.
    pub fn restore(&mut self, id: CheckId, kept: KeptTracker) {
        let rule = |it: &Rule| it.name == kept.rule && format!("{it:?}") == kept.definition;
        if let Some(at) = self.rules.iter().position(rule)
            && self.is_about(at, id)
        {
            self.trackers.insert((id, at), kept.tracker);
        }
    }

    /// Takes the numbers of one beat in. True when the verdict is another one than before.
    pub fn observe(
        &mut self,
        at: Moment,
        id: CheckId,
        gap_max: Duration,
        reading: &Reading,
    ) -> bool {
        self.each(id, |tracker, rule| tracker.observe(rule, at, gap_max, reading))
    }

    /// Lets time pass for the rules that are over time. Returns the checks whose verdict changed.
    pub fn pass(&mut self, now: Now, mark: impl Fn(CheckId) -> Mark) -> Vec<CheckId> {
        use super::Measure;
        let is_due = self.passed_at.is_none_or(|it| PASS_EVERY <= now.moment.since(it));
        let is_over_time = |it: &Rule| matches!(it.measure, Measure::BurnTime { .. });
        if !is_due || !self.rules.iter().any(is_over_time) {
            return Vec::new();
        }
        self.passed_at = Some(now.moment);
        let ids: Vec<CheckId> = self.subjects.keys().copied().collect();
        let pass = |it: &CheckId| {
            let mark = mark(*it);
            self.each(*it, |tracker, rule| tracker.pass(rule, now.moment, PASS_GAP_MAX, mark))
        };
        ids.into_iter().filter(pass).collect()
    }

    fn each(&mut self, id: CheckId, mut step: impl FnMut(&mut Tracker, &Rule)) -> bool {
        let Some(subject) = self.subjects.get(&id) else { return false };
        let mut has_changed = false;
        for (at, rule) in self.rules.iter().enumerate().filter(|it| it.1.is_about(subject)) {
            let tracker = self.trackers.entry((id, at)).or_default();
            let before = tracker.verdict();
            step(tracker, rule);
            if tracker.verdict() != before {
                self.dirty.insert((id, at));
                has_changed = true;
            }
        }
        has_changed
    }

    fn is_about(&self, at: usize, id: CheckId) -> bool {
        self.subjects.get(&id).is_some_and(|it| self.rules[at].is_about(it))
    }

    /// The rules that a check breaks, as one.
    pub fn verdict(&self, id: CheckId) -> Option<Ruled> {
        let broken =
            self.trackers.range((id, 0)..=(id, usize::MAX)).filter_map(|(key, tracker)| {
                tracker.verdict().map(|severity| (&self.rules[key.1], severity, tracker.value()))
            });
        let mut out: Option<Ruled> = None;
        for (rule, severity, value) in broken {
            let words = format!("{}: {}", rule.name, rule.measure.words(value));
            let looks_back = rule.measure.looks_back();
            match &mut out {
                None => {
                    let (rules, consequence) = (vec![rule.name.clone()], rule.consequence);
                    out = Some(Ruled { severity, words, rules, consequence, looks_back });
                }
                Some(it) => {
                    it.severity = it.severity.max(severity);
                    it.words = format!("{}; {words}", it.words);
                    it.rules.push(rule.name.clone());
                    it.consequence &= rule.consequence;
                    it.looks_back = it.looks_back.max(looks_back);
                }
            }
        }
        out
    }

    /// What each rule measured last on a check, and how badly it is broken.
    pub fn of(&self, id: CheckId) -> impl Iterator<Item = (&Rule, &Tracker)> {
        let trackers = self.trackers.range((id, 0)..=(id, usize::MAX));
        trackers.map(|((_, at), tracker)| (&self.rules[*at], tracker))
    }

    /// The checks that break a rule, and how many it is about.
    pub fn about(&self, rule: &Rule) -> (Vec<CheckId>, usize) {
        let Some(at) = self.rules.iter().position(|it| it == rule) else { return (Vec::new(), 0) };
        let broken = self
            .trackers
            .iter()
            .filter(|((_, it), tracker)| *it == at && tracker.verdict().is_some());
        let count = self.subjects.values().filter(|it| rule.is_about(it)).count();
        (broken.map(|((id, _), _)| *id).collect(), count)
    }

    /// Everything is to be stored, not only what has changed its verdict: what is summed up over
    /// days must not be lost.
    pub fn touch(&mut self) {
        self.dirty.extend(self.trackers.keys().copied());
    }

    /// What is to be stored, each once.
    pub fn take_dirty(&mut self) -> Vec<(CheckId, KeptTracker)> {
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        dirty
            .filter_map(|key| {
                let tracker = self.trackers.get(&key)?.clone();
                let rule = &self.rules[key.1];
                let (name, definition) = (rule.name.clone(), format!("{rule:?}"));
                Some((key.0, KeptTracker { rule: name, definition, tracker }))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        rule::{Bound, Measure, Scope, Side},
        severity::Severity,
    };

    const ID: CheckId = CheckId(1);
    const GAP_MAX: Duration = Duration::from_secs(5);

    fn rule(name: &str, enter: f64, severity: Severity) -> Rule {
        let bound = Bound { side: Side::Above, enter, leave: enter };
        Rule {
            name: name.to_owned(),
            scope: Scope { role: Some("account".to_owned()), ..Scope::default() },
            measure: Measure::Value { metric: vec!["x".to_owned()], bound },
            severity,
            hold: Duration::ZERO,
            recover: Duration::ZERO,
            hits: 1,
            of: 1,
            consequence: name == "low",
        }
    }

    fn referee() -> Referee {
        let rules =
            vec![rule("low", 10.0, Severity::Warning), rule("high", 20.0, Severity::Critical)];
        let mut referee = Referee::new(rules);
        let subject = |name: &str, role: &str| Subject {
            name: name.to_owned(),
            role: role.to_owned(),
            service: String::new(),
        };
        referee.add(ID, subject("a-1", "account"));
        referee.add(CheckId(2), subject("edge", "balancer"));
        referee
    }

    fn says(referee: &mut Referee, id: CheckId, seconds: u64, x: f64) -> bool {
        let mut reading = Reading::new(1);
        reading.set("x", x);
        let at = Moment::ZERO + Duration::from_secs(seconds);
        referee.observe(at, id, GAP_MAX, &reading)
    }

    #[test]
    fn several_rules_are_one_verdict() {
        let mut referee = referee();
        assert!(!says(&mut referee, CheckId(2), 0, 99.0), "no rule is about it");
        assert!(says(&mut referee, ID, 0, 15.0));
        let ruled = referee.verdict(ID).unwrap();
        assert_eq!((ruled.severity, ruled.consequence), (Severity::Warning, true));
        assert_eq!(ruled.words, "low: x is 15, more than 10");
        assert!(says(&mut referee, ID, 2, 25.0));
        let ruled = referee.verdict(ID).unwrap();
        assert_eq!((ruled.severity, ruled.consequence), (Severity::Critical, false));
        assert_eq!(ruled.rules, ["low", "high"]);
        let rule = referee.rules()[1].clone();
        assert_eq!(referee.about(&rule), (vec![ID], 1));
        assert!(!says(&mut referee, ID, 4, 25.0), "nothing new");
        assert!(says(&mut referee, ID, 6, 5.0));
        assert_eq!(referee.verdict(ID), None);
    }

    #[test]
    fn what_is_known_outlives_the_process_and_a_reload() {
        let mut first = referee();
        says(&mut first, ID, 0, 15.0);
        let kept = first.take_dirty();
        assert_eq!(kept.len(), 1);
        assert_eq!(first.take_dirty(), []);
        let text = serde_json::to_string(&kept[0].1).unwrap();
        let mut next = referee();
        next.restore(ID, serde_json::from_str(&text).unwrap());
        assert_eq!(next.verdict(ID), first.verdict(ID));
        // A rule of the same name that says something else begins anew.
        let mut other = Referee::new(vec![rule("low", 11.0, Severity::Warning)]);
        other.add(ID, Subject { role: "account".to_owned(), ..Subject::default() });
        other.restore(ID, kept[0].1.clone());
        assert_eq!(other.verdict(ID), None);
        // A reload that moves the rule keeps it; one that strikes it out ends it.
        let rules =
            vec![rule("high", 20.0, Severity::Critical), rule("low", 10.0, Severity::Warning)];
        next.set_rules(rules);
        assert_eq!(next.verdict(ID), first.verdict(ID));
        next.set_rules(Vec::new());
        assert_eq!(next.verdict(ID), None);
    }
}
