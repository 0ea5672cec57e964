//! What std lacks: time as a value, a map whose order replays, seeded randomness, numbers for people.
//!
//! Knows nothing of money, sockets or disks, and reads no clock.

mod grouped;
mod map;
mod moment;
mod rng;

pub use crate::{grouped::grouped, map::Map, moment::Moment, rng::Rng};
