//! The monitor: takes beats in, notices what is missing, late or unwell, and tells people.
//!
//! What it decides is in [`core`], which names no clock, socket or disk.

pub mod core;
