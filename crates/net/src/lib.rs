//! The shell kit: the only crate that reads a clock or opens a socket for the roles.

pub mod admin;
pub mod agent;
pub mod announce;
pub mod clock;
pub mod control;
pub mod counters;
pub mod edge;
pub mod fetch;
pub mod ids;
pub mod latency;
pub mod node;
pub mod openapi;
pub mod priority;
pub mod pulse;
pub mod shutdown;
pub mod tls;
pub mod trunk;
pub mod worker;
