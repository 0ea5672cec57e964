//! What std lacks: time as a value, a map whose order replays, seeded randomness.
//!
//! Knows nothing of money, sockets or disks, and reads no clock.

mod map;
mod moment;
mod rng;

pub use crate::{map::Map, moment::Moment, rng::Rng};
