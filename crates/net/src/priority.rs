//! Which of a node's threads go first when the processors are short.

use rustix::process::nice;

/// How much nicer a thread is that works for many requests at once: a third of the weight of one
/// that works for each. See `sched(7)`; anybody may raise his own.
const BEHIND: i32 = 5;
/// The same of one that only hands work to another process, and waits.
const FAR_BEHIND: i32 = 12;

/// Puts the calling thread behind those that take requests in and give answers out.
///
/// A thread whose batch grows while it waits loses nothing by waiting for a processor that somebody
/// else needs: the next batch takes more, and each request in it costs less. On a machine with a
/// processor to spare nothing changes.
pub fn go_behind() {
    be_nicer(BEHIND);
}

/// The same for a thread whose batches cost another process far more than itself: an engine's, on
/// this very machine, that no niceness of ours reaches.
pub fn go_far_behind() {
    be_nicer(FAR_BEHIND);
}

fn be_nicer(by: i32) {
    // On Linux niceness belongs to the thread. Without it the node is only slower.
    if let Err(error) = nice(by) {
        tracing::debug!(%error, "the thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_calling_thread_goes_behind() {
        let before = getpriority_process(None).unwrap();
        let after = |go: fn()| {
            let thread = std::thread::spawn(move || {
                go();
                getpriority_process(None).unwrap()
            });
            thread.join().unwrap()
        };
        assert_eq!(after(go_behind), (before + BEHIND).min(19));
        assert_eq!(after(go_far_behind), (before + FAR_BEHIND).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
