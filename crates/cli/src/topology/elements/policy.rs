//! How a balancer chooses among its endpoints.

use crate::topology::complaint::nearest;
use balance::Policy;

/// The policy of this name.
pub(crate) fn parse(text: &str) -> Result<Policy, String> {
    let found = Policy::ALL.into_iter().find(|policy| policy.text() == text);
    found.ok_or_else(|| one_of(text, &Policy::ALL.map(Policy::text)))
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
    fn five_policies() {
        for policy in Policy::ALL {
            assert_eq!(parse(policy.text()), Ok(policy));
        }
        assert_eq!(
            parse("round_robin").unwrap_err(),
            "one of least-load, least-requests, round-robin, weighted, hash \
             (did you mean \"round-robin\"?)"
        );
    }
}
