//! How a balancer chooses among its endpoints.

use crate::topology::complaint::nearest;

/// The policies of a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    LeastLoad,
    RoundRobin,
    Weighted,
    LeastRequests,
    Hash,
}

impl Policy {
    const ALL: [Policy; 5] = [
        Policy::LeastLoad,
        Policy::RoundRobin,
        Policy::Weighted,
        Policy::LeastRequests,
        Policy::Hash,
    ];

    /// As it is written in the file.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Policy::LeastLoad => "least-load",
            Policy::RoundRobin => "round-robin",
            Policy::Weighted => "weighted",
            Policy::LeastRequests => "least-requests",
            Policy::Hash => "hash",
        }
    }

    /// The policy that a balancer goes by when the file names this one: the others are not built
    /// yet.
    pub(crate) fn in_force(self) -> Policy {
        Policy::LeastRequests
    }

    /// What is in force, and what it stands for.
    pub(crate) fn honest_text(self) -> String {
        match (self.in_force(), self) {
            (force, named) if force == named => named.text().to_owned(),
            (force, named) => format!("{} (for {})", force.text(), named.text()),
        }
    }

    /// The policy of this name.
    pub(crate) fn parse(text: &str) -> Result<Policy, String> {
        let found = Policy::ALL.into_iter().find(|policy| policy.text() == text);
        found.ok_or_else(|| one_of(text, &Policy::ALL.map(Policy::text)))
    }
}

/// What was wanted: one of `known`, the nearest of them named.
pub(super) fn one_of(text: &str, known: &[&str]) -> String {
    let list = format!("one of {}", known.join(", "));
    match nearest(text, known.iter().copied()) {
        Some(meant) => format!("{list} (did you mean {meant:?}?)"),
        None => list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_said() {
        assert_eq!(Policy::LeastRequests.honest_text(), "least-requests");
        assert_eq!(Policy::LeastLoad.honest_text(), "least-requests (for least-load)");
    }

    #[test]
    fn five_policies() {
        for policy in Policy::ALL {
            assert_eq!(Policy::parse(policy.text()), Ok(policy));
        }
        assert_eq!(
            Policy::parse("round_robin").unwrap_err(),
            "one of least-load, round-robin, weighted, least-requests, hash \
             (did you mean \"round-robin\"?)"
        );
    }
}
