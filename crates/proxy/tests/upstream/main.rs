//! A balancer before HTTP services that misbehave, over real sockets of the loopback.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod checks;
mod edge;
mod failure;
mod harness;
mod http2;
mod passing;
mod peer;
mod runtime;
mod streaming;
mod tls;
mod tree;
mod trunk;
mod upgrade;
