//! The tiers between clients and account nodes: balancer and gateway.

pub mod balancer;
mod coming;
pub mod config;
mod doors;
mod gate;
pub mod gateway;
pub mod problem;
pub mod upstream;
