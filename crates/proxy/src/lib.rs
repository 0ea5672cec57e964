//! The tiers between clients and account nodes: balancer and gateway.

pub mod balancer;
mod coming;
pub mod config;
mod doors;
mod escapes;
mod gate;
pub mod gateway;
mod held;
pub mod keys;
pub mod problem;
mod quiet;
pub mod upstream;
