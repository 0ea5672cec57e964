//! A hash map whose order is the same in every run.

/// A hash map with a fixed hasher: std's is seeded at random, and a simulation must replay.
///
/// Keys that a client chooses reach one only behind a cap on the number of entries, so the worst
/// that chosen collisions buy is a slow answer to whoever chose them.
pub type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::FixedState>;
