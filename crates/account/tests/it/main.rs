//! The executor of an account node against a store in memory, without clock, disk or socket.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod away;
mod batches;
mod courier;
mod duel;
mod executor;
mod lookup;
mod objects;
mod seeds;
mod world;
