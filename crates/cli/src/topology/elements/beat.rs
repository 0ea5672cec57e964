//! How often nodes send heartbeats, and how long after that they are given up.

use super::duration;
use crate::topology::reader::{Field, Section, Walk};
use monitor::channel::Url;
use std::time::Duration;

const KEYS: [&str; 3] = ["every", "grace", "to"];
/// A node beats at least this seldom.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// `beat = { every = "2s", grace = "3s", to = "https://…" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) grace: Duration,
    /// Where the monitor itself beats to, outside the tree.
    pub(crate) to: Option<String>,
}

impl Beat {
    /// What a monitor goes by when the file says nothing.
    pub(crate) const DEFAULT: Beat =
        Beat { every: Duration::from_secs(2), grace: Duration::from_secs(3), to: None };

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
        let to = table.string(walk, "to", |text| Url::parse(text).map(|_| text.to_owned()));
        Beat {
            to: to.good().map(|it| it.value.clone()),
            every: every.value_or(Beat::DEFAULT.every),
            grace: grace.value_or(Beat::DEFAULT.grace),
        }
    }
}
