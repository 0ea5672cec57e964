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
}

impl SelfCheck {
    /// A check that went well unless one of the two limits is reached.
    pub fn limit(name: &str, value: u64, warn: u64, fail: u64, unit: &str) -> SelfCheck {
        let (verdict, limit) = match value {
            _ if fail <= value => (Verdict::Fail, fail),
            _ if warn <= value => (Verdict::Warn, warn),
            _ => (Verdict::Pass, warn),
        };
        let detail = match verdict {
            Verdict::Pass => format!("{value} {unit}"),
            Verdict::Warn | Verdict::Fail => format!("{value} {unit}, the limit is {limit}"),
        };
        SelfCheck { name: name.to_owned(), verdict, detail }
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
}
