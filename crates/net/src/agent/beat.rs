//! What a node says of itself in a heartbeat, as JSON.

use crate::node::ClusterKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Beats that one request may carry: those of now and those that could not be sent before.
pub const BEATS_MAX: usize = 8;
/// Longest request with beats.
pub const BEATS_BYTES_MAX: usize = 256 * 1024;
/// Where a monitor takes them.
pub const BEATS_PATH: &str = "/beats";
/// The header that proves that the sender knows the cluster's key.
pub const PROOF_HEADER: &str = "tollgate-proof";
/// What sets this use of the key apart from every other.
const PROOF_CONTEXT: &str = "tollgate 2026-11 heartbeat proof";

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Starting,
    Up,
    Draining,
    Stopped,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One self check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfCheck {
    pub name: String,
    pub verdict: Verdict,
    /// For people.
    pub detail: String,
    /// What was measured, where it is a number; in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What the number was held against.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// From which number on a check warns, and from which it fails. `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<u64>,
}

impl Limits {
    /// Nothing is ever too much.
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }

    /// These, and where they say nothing, `others`.
    pub fn or(self, others: Limits) -> Limits {
        Limits { warn: self.warn.or(others.warn), fail: self.fail.or(others.fail) }
    }
}

impl SelfCheck {
    /// A check without a number.
    pub fn of(name: &str, verdict: Verdict, detail: String) -> SelfCheck {
        SelfCheck {
            name: name.to_owned(),
            verdict,
            detail,
            value: None,
            unit: String::new(),
            limits: Limits::default(),
        }
    }

    /// A check that went well unless one of the two limits is reached.
    pub fn limit(name: &str, value: u64, warn: u64, fail: u64, unit: &str) -> SelfCheck {
        let limits = Limits { warn: Some(warn), fail: Some(fail).filter(|it| *it != u64::MAX) };
        let check = SelfCheck::of(name, Verdict::Pass, String::new());
        SelfCheck { value: Some(value), unit: unit.to_owned(), ..check }.judged_by(limits)
    }

    /// The same measurement, held against other limits. A check without a number, or one that
    /// fails by other means, stays as it is.
    #[must_use]
    pub fn judged_by(mut self, limits: Limits) -> SelfCheck {
        let Some(value) = self.value.filter(|_| !self.unit.is_empty()) else { return self };
        let reached = |limit: Option<u64>| limit.filter(|it| *it <= value);
        let unit = &self.unit;
        (self.verdict, self.detail) = match (reached(limits.fail), reached(limits.warn)) {
            (Some(limit), _) => (Verdict::Fail, format!("{value} {unit}, the limit is {limit}")),
            (None, Some(limit)) => (Verdict::Warn, format!("{value} {unit}, the limit is {limit}")),
            (None, None) => (Verdict::Pass, format!("{value} {unit}")),
        };
        self.limits = limits;
        self
    }

    /// With a number that rules may go by, and that this check does not judge.
    #[must_use]
    pub fn with_value(self, value: u64) -> SelfCheck {
        SelfCheck { value: Some(value), ..self }
    }
}

/// One heartbeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beat {
    pub node: String,
    pub role: String,
    /// Of this process, as 16 hexadecimal digits: another one after each start.
    pub boot: String,
    /// Counts the beats of this process from 0.
    pub seq: u64,
    /// When it was made, RFC 3339.
    pub at: String,
    /// How long it waited to be sent.
    #[serde(default)]
    pub ago_ms: u64,
    /// The sender's own period.
    pub every_ms: u64,
    pub phase: Phase,
    /// The worst of `checks`.
    pub verdict: Verdict,
    #[serde(default)]
    pub checks: Vec<SelfCheck>,
    #[serde(default)]
    pub version: String,
    /// What the node's admin pages tell, numbers above all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Box<RawValue>>,
}

/// Proves that whoever sends `body` knows the cluster's key, without showing it.
pub fn proof(key: &ClusterKey, body: &[u8]) -> String {
    let derived = blake3::derive_key(PROOF_CONTEXT, &key.0);
    blake3::keyed_hash(&derived, body).to_hex().to_string()
}

/// Checks a proof, in constant time.
pub fn is_proof(key: &ClusterKey, body: &[u8], proof: &[u8]) -> bool {
    let derived = blake3::derive_key(PROOF_CONTEXT, &key.0);
    let given = std::str::from_utf8(proof).ok().and_then(|it| blake3::Hash::from_hex(it).ok());
    given.is_some_and(|given| given == blake3::keyed_hash(&derived, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_proof_is_for_one_key_and_one_body() {
        let key = |text: &[u8]| ClusterKey(Arc::from(text));
        let given = proof(&key(b"secret"), b"[]");
        assert!(is_proof(&key(b"secret"), b"[]", given.as_bytes()));
        for (other, body) in [(&b"Secret"[..], &b"[]"[..]), (b"secret", b"[ ]")] {
            assert!(!is_proof(&key(other), body, given.as_bytes()));
        }
        assert!(!is_proof(&key(b"secret"), b"[]", b""));
        assert!(!is_proof(&key(b"secret"), b"[]", b"\xff"));
    }

    #[test]
    fn limits_have_two_steps() {
        let verdict = |value| SelfCheck::limit("x", value, 10, 20, "ms").verdict;
        assert_eq!([9, 10, 19, 20].map(verdict), {
            use Verdict::{Fail, Pass, Warn};
            [Pass, Warn, Warn, Fail]
        });
    }

    #[test]
    fn other_limits_give_another_verdict() {
        let check = SelfCheck::limit("disk", 85, 90, 99, "% full");
        assert_eq!((check.verdict, check.detail.as_str()), (Verdict::Pass, "85 % full"));
        let stricter = Limits { warn: None, fail: Some(80) };
        let check = check.clone().judged_by(stricter.or(check.limits));
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.detail, "85 % full, the limit is 80");
        assert_eq!(check.limits, Limits { warn: Some(90), fail: Some(80) });
        // What is no measurement keeps its verdict.
        let cut = SelfCheck::of("endpoints", Verdict::Fail, "none".to_owned()).with_value(100);
        assert_eq!(cut.clone().judged_by(Limits::default()), cut);
    }

    #[test]
    fn an_older_nodes_checks_are_read() {
        let text = r#"{"name":"loop","verdict":"pass","detail":"0 ms behind"}"#;
        let check: SelfCheck = serde_json::from_str(text).unwrap();
        assert_eq!(check, SelfCheck::of("loop", Verdict::Pass, "0 ms behind".to_owned()));
        assert_eq!(serde_json::to_string(&check).unwrap(), text);
    }
}
