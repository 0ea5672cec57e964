//! Where a running node gets its configuration anew, and who asks for that.

use super::Refusal;
use std::fmt;
use tokio::sync::watch;
use wire::Timestamp;

/// A configuration that was read anew and is sound.
#[derive(Debug)]
pub struct Loaded<C> {
    /// `None` when nothing changes for this node.
    pub config: Option<C>,
    /// What changes, one line each.
    pub changes: Vec<String>,
}

/// Reads and checks the configuration; the errors are all that is wrong with it.
pub type Loader<C> = Box<dyn Fn() -> Result<Loaded<C>, Vec<String>> + Send + Sync>;

/// How a node reloads.
pub struct Reload<C> {
    pub(super) hangups: Hangups,
    pub(super) load: Loader<C>,
}

impl<C> Reload<C> {
    /// Reloads by `load` at each of the `hangups`, and when the admin address asks for it.
    pub fn new(hangups: Hangups, load: Loader<C>) -> Reload<C> {
        Reload { hangups, load }
    }

    /// A node whose configuration is in no file.
    pub fn never() -> Reload<C> {
        let (_, hangups) = hangups();
        let load = || Err(vec!["this node has no file to reload".to_owned()]);
        Reload { hangups, load: Box::new(load) }
    }
}

impl<C> fmt::Debug for Reload<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload(…)")
    }
}

/// What came of the last reload.
#[derive(Clone, Debug)]
pub struct LastReload {
    pub at: Timestamp,
    /// What changed, or why nothing did.
    pub result: Result<Vec<String>, Refusal>,
}

/// Counts SIGHUPs.
#[derive(Clone, Debug)]
pub struct Hangups {
    count: watch::Receiver<u64>,
}

/// Tells [`Hangups`] of one more.
#[derive(Debug)]
pub struct HangupSender {
    count: watch::Sender<u64>,
}

/// A sender and its receiver.
pub fn hangups() -> (HangupSender, Hangups) {
    let (sender, receiver) = watch::channel(0);
    (HangupSender { count: sender }, Hangups { count: receiver })
}

impl HangupSender {
    /// One more.
    pub fn hang_up(&self) {
        self.count.send_modify(|count| *count += 1);
    }
}

impl Hangups {
    /// Returns at the next one; several that come at once count as one. False: there will be none.
    pub async fn next(&mut self) -> bool {
        self.count.changed().await.is_ok()
    }
}
