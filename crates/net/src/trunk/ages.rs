//! How old connections of the trunk become.

use super::limits;
use std::time::Duration;

/// Limits by age of a node's trunk connections, in both directions. The default is that of
/// [`limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// At which a link replaces its connection by a fresh one; up to a quarter less.
    pub renewed: Duration,
    /// At which a server asks for that.
    pub served: Duration,
    /// For the answers that are still to come on one that was replaced.
    pub leaving: Duration,
    /// The same while something streams on it.
    pub streams: Duration,
}

impl Default for Ages {
    fn default() -> Ages {
        Ages {
            renewed: limits::CONNECTION_AGE_MAX,
            served: limits::SERVED_AGE_MAX,
            leaving: limits::LEAVING_MAX,
            streams: limits::STREAM_AGE_MAX,
        }
    }
}

impl Ages {
    /// For connections that are replaced at this age, and streams that then live so long.
    pub fn of(renewed: Duration, streams: Duration) -> Ages {
        // A server asks where its client has not done it by itself.
        Ages { renewed, served: renewed * 3 / 2, streams, ..Ages::default() }
    }

    /// The youngest that connections may be replaced when streams live so long: as many as are
    /// replaced meanwhile are kept.
    pub fn renewed_min(streams: Duration) -> Duration {
        let kept = u32::try_from(limits::LEAVING_CONNS_MAX).unwrap_or(u32::MAX);
        streams * 4 / 3 / kept
    }

    /// Whether a connection that was replaced so long ago is to be cut off.
    pub(super) fn is_over(&self, left: Duration, streams: bool) -> bool {
        self.leaving <= left && (!streams || self.streams <= left)
    }
}
