//! How often nodes send heartbeats, and how long after that they are given up.

use super::duration;
use crate::topology::reader::{Field, Section, Walk};
use std::time::Duration;

const KEYS: [&str; 2] = ["every", "grace"];
/// A node beats at least this seldom.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// `beat = { every = "2s", grace = "3s" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) grace: Duration,
}

impl Beat {
    /// What a monitor goes by when the file says nothing.
    pub(crate) const DEFAULT: Beat =
        Beat { every: Duration::from_secs(2), grace: Duration::from_secs(3) };

    /// Reads the `beat` of a monitor, the default where a part is missing.
    pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, node: &Section<'a>) -> Beat {
        let Some(table) = node.table(walk, "beat", &KEYS) else { return Beat::DEFAULT };
        let every = table.string(walk, "every", duration::parse);
        let grace = table.string(walk, "grace", duration::parse);
        if let Field::Good(every) = &every
            && every.value < EVERY_MIN
        {
            walk.complaints.unfit(every, "1s or longer");
        }
        Beat {
            every: every.value_or(Beat::DEFAULT.every),
            grace: grace.value_or(Beat::DEFAULT.grace),
        }
    }
}
