//! Active checks: when an endpoint that is asked from time to time counts as well, and when not.

use std::num::NonZeroU32;

/// How many checks in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckRule {
    /// Passed ones, until one that was sick is well.
    pub rise: NonZeroU32,
    /// Missed ones, until one that was well is sick.
    pub fall: NonZeroU32,
}

/// What the checks say of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It was not checked yet: it may be tried.
    #[default]
    Unknown,
    Well,
    Sick,
}

/// The checks of one endpoint.
///
/// Invariant: the streak is shorter than the rule asks for, and zero unless the last check spoke
/// against the present health.
#[derive(Clone, Debug)]
pub struct Check {
    rule: CheckRule,
    health: Health,
    /// Checks in a row that speak against the present health.
    streak: u32,
}

impl Check {
    /// Nothing is known yet.
    pub fn new(rule: CheckRule) -> Check {
        Check { rule, health: Health::Unknown, streak: 0 }
    }

    /// What the checks say now.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes the result of one check; the first decides at once. Returns the health if it changed.
    pub fn saw(&mut self, passed: bool) -> Option<Health> {
        let (said, wanted) = match passed {
            true => (Health::Well, self.rule.rise.get()),
            false => (Health::Sick, self.rule.fall.get()),
        };
        if said == self.health {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        if self.health != Health::Unknown && self.streak < wanted {
            return None;
        }
        self.streak = 0;
        self.health = said;
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rise: u32, fall: u32) -> CheckRule {
        CheckRule { rise: NonZeroU32::new(rise).unwrap(), fall: NonZeroU32::new(fall).unwrap() }
    }

    /// `+` passed, `-` missed; the healths in between as W, S or `.` for no change.
    #[track_caller]
    fn table(rule: CheckRule, checks: &str, changes: &str) {
        let mut check = Check::new(rule);
        let seen: String = checks
            .chars()
            .map(|it| match check.saw(it == '+') {
                None => '.',
                Some(Health::Well) => 'W',
                Some(Health::Sick) => 'S',
                Some(Health::Unknown) => '?',
            })
            .collect();
        assert_eq!(seen, changes, "{checks}");
    }

    #[test]
    fn the_first_check_decides_and_then_it_takes_a_row() {
        table(rule(2, 3), "+---", "W..S");
        table(rule(2, 3), "-++", "S.W");
        table(rule(2, 3), "+--+---", "W.....S");
        table(rule(2, 3), "-+-+-++", "S.....W");
        table(rule(1, 1), "+-+-", "WSWS");
    }

    #[test]
    fn any_sequence_of_twelve_agrees_with_looking_back() {
        for rule in [rule(1, 1), rule(2, 3), rule(3, 2)] {
            for bits in 0..1_u32 << 12 {
                let results: Vec<bool> = (0..12).map(|at| bits & 1 << at != 0).collect();
                let mut check = Check::new(rule);
                let mut expected = Health::Unknown;
                for at in 0..results.len() {
                    check.saw(results[at]);
                    let since = |passed: bool, count: u32| {
                        let last = results[..=at].iter().rev().take_while(|it| **it == passed);
                        count <= u32::try_from(last.count()).unwrap()
                    };
                    expected = match expected {
                        Health::Unknown if results[at] => Health::Well,
                        Health::Unknown => Health::Sick,
                        Health::Sick if since(true, rule.rise.get()) => Health::Well,
                        Health::Well if since(false, rule.fall.get()) => Health::Sick,
                        same @ (Health::Sick | Health::Well) => same,
                    };
                    assert_eq!(check.health(), expected, "{results:?} at {at}");
                }
            }
        }
    }
}
