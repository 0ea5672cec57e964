//! A node's pulse: a thread that renews the node's lease, over a connection of its own.
//!
//! It renews nothing while a commit has been under way for too long: a node that cannot commit
//! would otherwise stay in office and be of no use there.

use crate::{
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        limits::{COMMIT_AGE_MAX, RENEW_EVERY},
        link::{Link, param},
        schema::Schema,
        shared::Shared,
    },
};
use net::clock;
use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use stdx::fault::{self, Mutant};

/// How soon after a renewal that failed there is another.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The running thread. The node leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Pulse {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Beating {
    link: Link,
    node_id: i64,
    shared: Arc<Shared>,
    renew: String,
    leave: String,
    is_told: bool,
}

impl Pulse {
    pub(crate) fn start(
        link: Link,
        schema: &Schema,
        node_id: i64,
        shared: &Arc<Shared>,
    ) -> Result<Pulse, EngineError> {
        let place = link.place().to_owned();
        let beating = Beating {
            link,
            node_id,
            shared: Arc::clone(shared),
            renew: schema.sql(
                "UPDATE @node SET renewed_at = clock_timestamp(), is_leaving = $2, commit_ms = $3
                 WHERE node_id = $1 AND state <> 'gone' RETURNING 1",
            ),
            leave: schema.sql("UPDATE @node SET state = 'gone' WHERE node_id = $1"),
            is_told: false,
        };
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("pulse".to_owned());
        let thread = thread.spawn(move || beating.run(&stopped));
        let thread = thread.map_err(|error| EngineError::new(Kind::Unavailable, place, error))?;
        Ok(Pulse { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been told already.
            drop(thread.join());
        }
    }
}

impl Beating {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let mut rest = RENEW_EVERY;
        while stopped.recv_timeout(rest) == Err(mpsc::RecvTimeoutError::Timeout) {
            let began = clock::now();
            rest = match self.renew(clock::now()) {
                Ok(true) => RENEW_EVERY.saturating_sub(clock::now().since(began)),
                Ok(false) => return, // Another start of the process joins anew.
                Err(failure) => {
                    if !std::mem::replace(&mut self.is_told, true) {
                        let error = failure.told(self.link.place());
                        tracing::warn!(%error, "the node's lease is not renewed");
                    }
                    AGAIN_AFTER
                }
            };
        }
        if let Err(failure) = self.link.execute(&self.leave, &[param(&self.node_id)]) {
            let error = failure.told(self.link.place());
            tracing::info!(%error, "nobody is told that the node leaves: its lease runs out");
        }
    }

    /// False: others have declared this node gone.
    fn renew(&mut self, now: stdx::Moment) -> Result<bool, Failure> {
        let age = self.shared.commit_age(now);
        let age_max = match fault::has(Mutant::ShortCommits) {
            true => Duration::from_millis(500),
            false => COMMIT_AGE_MAX,
        };
        if age_max < age && !fault::has(Mutant::StuckInOffice) {
            let what = format!("a commit has been under way for {age:?}");
            return Err(EngineError::new(Kind::Unavailable, self.link.place(), what).into());
        }
        let commit_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let is_leaving = self.shared.is_leaving();
        let params = [param(&self.node_id), param(&is_leaving), param(&commit_ms)];
        let is_there = !self.link.query(&self.renew, &params)?.is_empty();
        if std::mem::replace(&mut self.is_told, false) {
            tracing::info!("the node's lease is renewed again");
        }
        // Counted from before it was asked for.
        self.shared.renewed(now);
        if !is_there && !fault::has(Mutant::TakeOnTime) {
            tracing::error!("this node was declared gone: it was silent for too long");
            self.shared.depose();
        }
        Ok(is_there)
    }
}
