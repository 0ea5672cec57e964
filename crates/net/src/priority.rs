//! Which of a node's threads go first when the processors are short.

use rustix::process::nice;

/// How much nicer a thread is that works for many requests at once: a third of the weight of one
/// that works for each. See `sched(7)`; anybody may raise his own.
const BEHIND: i32 = 5;

/// Puts the calling thread behind those that take requests in and give answers out.
///
/// A thread whose batch grows while it waits loses nothing by waiting for a processor that somebody
/// else needs: the next batch takes more, and each request in it costs less. On a machine with a
/// processor to spare nothing changes.
pub fn go_behind() {
    // On Linux niceness belongs to the thread. Without it the node is only slower.
    if let Err(error) = nice(BEHIND) {
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
        let thread = std::thread::spawn(|| {
            go_behind();
            getpriority_process(None).unwrap()
        });
        assert_eq!(thread.join().unwrap(), (before + BEHIND).min(19));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
