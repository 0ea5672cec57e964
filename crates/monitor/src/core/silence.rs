//! Silences: nobody is told of what matches, for a while. Everything is still watched.

use serde::{Deserialize, Serialize};
use wire::Timestamp;

/// Silences in force at once.
pub const SILENCES_MAX: usize = 1_000;

/// A silence. It always ends, and always says by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: u64,
    /// Names of checks, `*` for any run of characters.
    pub pattern: String,
    pub by: String,
    pub reason: String,
    #[serde(with = "super::stamp")]
    pub from: Timestamp,
    #[serde(with = "super::stamp")]
    pub until: Timestamp,
    /// Somebody ended it before that.
    #[serde(default)]
    pub is_ended: bool,
}

impl Silence {
    /// Whether it is the one that another monitor knows by another number.
    pub fn is_same(&self, other: &Silence) -> bool {
        (&self.pattern, &self.by, self.from) == (&other.pattern, &other.by, other.from)
    }

    /// Whether it holds for a check of this name now.
    pub fn covers(&self, name: &str, now: Timestamp) -> bool {
        self.from <= now && now < self.until && matches(&self.pattern, name)
    }
}

/// Whether `name` is of the form `pattern`, in which `*` stands for any run of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, want) in [
            ("a-1", "a-1", true),
            ("a-1", "a-12", false),
            ("a-*", "a-12", true),
            ("*", "", true),
            ("*-1", "gateway-1", true),
            ("*-1", "gateway-12", false),
            ("g*y-*1", "gateway-1", true),
            ("g*y-*11", "gateway-1", false),
            ("a*a", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
