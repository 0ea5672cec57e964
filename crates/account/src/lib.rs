//! The account node: one thread of I/O and executors, and a thread each that commits, looks up,
//! reads history, projects, confirms that the node is still the owner, and takes and gives
//! partitions.
//!
//! Decides nothing about money itself: `ledger` does. [`executor`] and [`desk`] are pure, and so are
//! `pace` and `backlog`, which say when to commit and when to project; the rest is the shell around
//! them.

pub mod config;
pub mod desk;
pub mod executor;
pub mod gathering;
pub mod lookup;
pub mod scan;

mod backlog;
mod commits;
mod front;
mod history;
mod intake;
mod knocker;
mod load;
mod node;
mod pace;
mod post;
mod projection;
mod round;
mod status;
mod steward;
mod threads;
mod turns;

#[cfg(test)]
mod journal_of_three;

pub use crate::{config::AccountConfig, node::run};
