//! Balancers over real sockets of the loopback: HTTP in front, endpoints of the trunk behind.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod admin;
mod failure;
mod harness;
mod load;
mod overload;
mod passing;
mod streams;
