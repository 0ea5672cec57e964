//! The program as its users meet it: arguments in; exit code, stdout and stderr out.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
#![expect(clippy::print_stdout, reason = "what a tree says is of use when a test fails")]

mod alerts;
mod backup;
mod bad_input;
mod batch;
mod bench;
mod check;
#[path = "../../../engine/tests/it/cluster.rs"]
#[expect(dead_code, reason = "the engine's own tests use the rest of it")]
mod cluster;
mod crash;
mod description;
mod events;
mod failover;
mod faults;
mod harness;
mod history;
mod http;
mod keys;
mod kills;
mod load;
mod metrics;
mod mission;
mod money;
mod monitors;
mod operations;
mod postgres;
mod reload;
mod rotation;
mod statement;
mod sync;
mod tree;
mod up;
mod upstreams;
mod usage;
