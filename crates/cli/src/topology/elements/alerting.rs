//! What the monitors of a tree alarm about, and whom: rules.

use super::rule;
use crate::topology::reader::{Section, Walk};
use monitor::core::rule::Rule;

/// The keys of a file that are read here.
pub(in crate::topology) const KEYS: [&str; 1] = ["rules"];

/// Everything that a monitor goes by beside the tree itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alerting {
    /// The usual ones, those of the file in their place.
    pub(crate) rules: Vec<Rule>,
}

impl Alerting {
    /// Reads the tables of a file.
    pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Alerting {
        Alerting { rules: rule::read(walk, root) }
    }
}
