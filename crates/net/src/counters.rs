//! Numbers that workers count up and the admin server reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted by one thread, read by any: an add is a plain load and store, never a locked one.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `amount` more. To be called from one thread only, or counts are lost.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// As [`Counter::add`], for a gauge that goes down.
    pub fn sub(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(amount), Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
