//! The monitor from outside: simulated on virtual time, and over sockets.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
#![expect(clippy::print_stdout, reason = "figures that a failing test is judged by")]

mod archive;
mod channels;
#[path = "../../../engine/tests/it/cluster.rs"]
#[expect(dead_code, reason = "the tests of another crate use more of it")]
mod cluster;
mod database;
mod delivery;
mod dialects;
mod peers;
mod sim;
mod wire;
