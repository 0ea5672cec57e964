//! What the ends of one node's engine tell each other.

use crate::postgres::limits::{LOCK_DELAY, TTL};
use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use stdx::Moment;

/// One node's membership, as its threads see it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Others have declared this node gone.
    is_deposed: AtomicBool,
    is_leaving: AtomicBool,
    /// When the oldest unfinished commit began, in nanoseconds and 1; 0 when there is none.
    commit: AtomicU64,
    /// When this node's lease was last renewed, and since when it has been without a gap, in
    /// nanoseconds.
    renewed: AtomicU64,
    steady_since: AtomicU64,
    /// The bell was rung and nobody has heard it yet.
    rung: Mutex<bool>,
    ringing: Condvar,
}

impl Shared {
    pub(crate) fn is_deposed(&self) -> bool {
        self.is_deposed.load(Ordering::Relaxed)
    }

    pub(crate) fn depose(&self) {
        self.is_deposed.store(true, Ordering::Relaxed);
        self.ring();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leaving(&self, on: bool) {
        self.is_leaving.store(on, Ordering::Relaxed);
    }

    /// A commit is under way from now on, unless one is already.
    pub(crate) fn commit_began(&self, now: Moment) {
        let nanos = now.as_nanos().saturating_add(1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        // Kept where there is one: the older counts.
        _ = self.commit.compare_exchange(0, nanos, set, get);
    }

    pub(crate) fn commit_ended(&self) {
        self.commit.store(0, Ordering::Relaxed);
    }

    /// For how long the oldest unfinished commit has been under way.
    pub(crate) fn commit_age(&self, now: Moment) -> Duration {
        match self.commit.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_nanos(now.as_nanos().saturating_sub(began - 1)),
        }
    }

    /// This node's lease is renewed.
    pub(crate) fn renewed(&self, now: Moment) {
        let last = self.renewed.swap(now.as_nanos(), Ordering::Relaxed);
        if nanos(TTL) < now.as_nanos().saturating_sub(last) {
            self.steady_since.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Whether this node may judge others by their leases. After the database was away nobody has
    /// renewed anything, and whoever comes first is not to depose all others; nor is one that was
    /// paused itself.
    pub(crate) fn is_steady(&self, now: Moment) -> bool {
        let ago = |at: &AtomicU64| now.as_nanos().saturating_sub(at.load(Ordering::Relaxed));
        ago(&self.renewed) <= nanos(TTL) && nanos(TTL + LOCK_DELAY) <= ago(&self.steady_since)
    }

    pub(crate) fn ring(&self) {
        *self.rung() = true;
        self.ringing.notify_all();
    }

    /// Until the bell is rung, or was since the last time.
    pub(crate) fn wait(&self, time_max: Duration) {
        let rung = self.rung();
        let waited = self.ringing.wait_timeout_while(rung, time_max, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    fn rung(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner) // A flag is never half set.
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_its_own_makes_a_node_judge_nobody_for_a_while() {
        let shared = Shared::default();
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        (100..110).for_each(|second| shared.renewed(at(second)));
        assert!(shared.is_steady(at(110)));
        assert!(!shared.is_steady(at(113)), "it has not been renewed itself");
        shared.renewed(at(120));
        assert!(!shared.is_steady(at(120)));
        (121..124).for_each(|second| shared.renewed(at(second)));
        assert!(!shared.is_steady(at(123)));
        assert!(shared.is_steady(at(124)));
    }

    #[test]
    fn the_oldest_commit_counts_until_it_has_ended() {
        let shared = Shared::default();
        let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
        assert_eq!(shared.commit_age(at(9)), Duration::ZERO);
        shared.commit_began(at(0));
        shared.commit_began(at(5));
        assert_eq!(shared.commit_age(at(7)), Duration::from_secs(7));
        shared.commit_ended();
        assert_eq!(shared.commit_age(at(9)), Duration::ZERO);
    }

    #[test]
    fn a_bell_is_heard_once_also_by_who_comes_later() {
        let shared = Shared::default();
        shared.ring();
        shared.wait(Duration::from_secs(3_600));
        shared.wait(Duration::from_millis(1));
    }
}
