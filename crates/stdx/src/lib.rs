//! What std lacks: time as a value, a map whose order replays, seeded randomness, numbers for people,
//! places to fail.
//!
//! Knows nothing of money, sockets or disks, and reads no clock.

pub mod fault;
mod grouped;
mod map;
mod moment;
mod rng;

pub use crate::{grouped::grouped, map::Map, moment::Moment, rng::Rng};
