//! The trunk and the edge over real sockets of the loopback.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod age;
mod cancel;
mod control;
mod edge;
mod exchange;
mod fetch;
mod greeting;
mod harness;
mod load;
mod local;
mod loss;
mod streams;
mod tls;
