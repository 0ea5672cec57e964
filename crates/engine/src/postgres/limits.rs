//! What connections are for, and how long anything on them may take.
//!
//! The database ends what takes longer than its limits; the call's own limit is for a database
//! that does not answer at all.

use std::time::Duration;
use stdx::fault::{self, Mutant};

/// A node's lease, from one renewal on.
pub(crate) const TTL: Duration = Duration::from_secs(3);
/// How long after its end nobody takes over yet.
pub(crate) const LOCK_DELAY: Duration = Duration::from_millis(500);
/// Between two renewals.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Since the last renewal, before a node is suspected, and given nothing: two were missed.
pub(crate) const QUIET_AFTER: Duration = Duration::from_millis(2_200);
/// A commit may be under way for as long as this before the node's lease is not renewed: a node
/// that cannot commit is of no use in office.
pub(crate) const COMMIT_AGE_MAX: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Makes tables, joins, verifies.
    Setup,
    /// Takes, gives, surveys.
    Lease,
    /// Renews the lease.
    Pulse,
    Commit,
    Read,
    Project,
    Confirm,
}

/// The longest that things may take.
struct Limits {
    statement: Duration,
    /// Waiting for a lock.
    lock: Duration,
    /// Between two statements of a transaction.
    idle: Duration,
    /// From the call to its answer.
    call: Duration,
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Purpose::Setup => "setup",
            Purpose::Lease => "lease",
            Purpose::Pulse => "pulse",
            Purpose::Commit => "commit",
            Purpose::Read => "read",
            Purpose::Project => "project",
            Purpose::Confirm => "confirm",
        }
    }

    pub(crate) fn call_max(self) -> Duration {
        self.limits().call
    }

    fn limits(self) -> Limits {
        let limits = |statement, lock, idle, call| {
            let ms = Duration::from_millis;
            Limits { statement: ms(statement), lock: ms(lock), idle: ms(idle), call: ms(call) }
        };
        match self {
            Purpose::Setup => limits(20_000, 10_000, 5_000, 25_000),
            Purpose::Lease => limits(4_000, 500, 2_000, 6_000),
            Purpose::Pulse => limits(800, 700, 2_000, 900),
            Purpose::Commit => limits(3_000, 500, 2_000, 5_000),
            Purpose::Read => limits(30_000, 2_000, 10_000, 35_000),
            Purpose::Project => limits(30_000, 5_000, 10_000, 35_000),
            Purpose::Confirm => limits(1_000, 500, 2_000, 1_500),
        }
    }

    /// What a session of this purpose is told at its start. A renewal waits for no standby: a
    /// lease that is lost with its database is no loss, and nodes that all wait for a standby are
    /// not dead.
    pub(crate) fn options(self) -> String {
        let Limits { statement, lock, idle, call: _ } = self.limits();
        let synchronous = match self {
            Purpose::Pulse => "local",
            Purpose::Setup
            | Purpose::Lease
            | Purpose::Commit
            | Purpose::Read
            | Purpose::Project
            | Purpose::Confirm => "on",
        };
        let synchronous = if fault::has(Mutant::LazyCommit) { "off" } else { synchronous };
        format!(
            "-c statement_timeout={} -c lock_timeout={} \
             -c idle_in_transaction_session_timeout={} -c synchronous_commit={synchronous}",
            statement.as_millis(),
            lock.as_millis(),
            idle.as_millis(),
        )
    }
}
