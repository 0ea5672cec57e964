//! What was read from certificate files, and may be read again while connections are made by it.

use std::sync::{Arc, PoisonError, RwLock};

/// Something made of files, shared by all its clones. Whoever takes it has it as it is at that
/// moment: a connection keeps what it began with.
#[derive(Debug)]
pub(crate) struct Renewable<T> {
    current: Arc<RwLock<Loaded<T>>>,
}

#[derive(Clone, Debug)]
struct Loaded<T> {
    value: T,
    /// Of the files.
    fingerprint: blake3::Hash,
}

impl<T> Clone for Renewable<T> {
    fn clone(&self) -> Renewable<T> {
        Renewable { current: Arc::clone(&self.current) }
    }
}

impl<T: Clone> Renewable<T> {
    pub(crate) fn new(value: T, fingerprint: blake3::Hash) -> Renewable<T> {
        Renewable { current: Arc::new(RwLock::new(Loaded { value, fingerprint })) }
    }

    /// As it is now.
    pub(crate) fn get(&self) -> T {
        self.loaded().value
    }

    /// From now on it is as `fresh` is; false when that was made of the same files.
    pub(crate) fn renew(&self, fresh: &Renewable<T>) -> bool {
        let fresh = fresh.loaded();
        // What is replaced whole is sound whoever panicked.
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let differs = current.fingerprint != fresh.fingerprint;
        if differs {
            *current = fresh;
        }
        differs
    }

    fn loaded(&self) -> Loaded<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
