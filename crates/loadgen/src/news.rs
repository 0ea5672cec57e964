//! What a run tells while it goes on.

use crate::tally::Point;

/// One piece of it.
#[derive(Clone, Debug)]
pub enum News<'a> {
    /// So much is done of what takes a while.
    Step { label: &'static str, done: u64, whole: u64 },
    /// A window of the load is over.
    Window { point: &'a Point, whole_ms: u64 },
}
