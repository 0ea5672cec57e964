//! What the monitors of a tree alarm about, whom, and when not: rules, subscriptions, maintenance
//! windows; and how long
//! they remember.

use super::{retention, rule, subscription, window};
use crate::topology::reader::{Placed, Section, Walk};
use monitor::{
    config::Retention,
    core::{audience::Subscription, rule::Rule, window::Window},
};

/// The keys of a file that are read here.
pub(in crate::topology) const KEYS: [&str; 4] = ["rules", "subscriptions", "windows", "retention"];

/// Everything that a monitor goes by beside the tree itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alerting {
    /// The usual ones, those of the file in their place.
    pub(crate) rules: Vec<Rule>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) windows: Vec<Window>,
    pub(crate) retention: Retention,
    /// Names of channels where they are written, to be found among the monitors'.
    pub(in crate::topology) channels: Vec<Placed<String>>,
}

impl Alerting {
    /// Reads the tables of a file.
    pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, root: &Section<'a>) -> Alerting {
        let (subscriptions, channels) = subscription::read(walk, root);
        Alerting {
            rules: rule::read(walk, root),
            subscriptions,
            windows: window::read(walk, root),
            retention: retention::read(walk, root),
            channels,
        }
    }
}
