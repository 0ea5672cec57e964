//! What must hold of leases, whatever happens: I1 to I7 of the crate's page, and the spread.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
#![expect(clippy::print_stdout, reason = "how much was looked at is of use when a test fails")]

mod heirs;
mod limits;
mod rules;
mod small_world;
mod world;
