//! The monitor from outside: simulated on virtual time, and over sockets.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
#![expect(clippy::print_stdout, reason = "figures that a failing test is judged by")]

mod archive;
mod channels;
mod delivery;
mod dialects;
mod peers;
mod sim;
mod wire;
