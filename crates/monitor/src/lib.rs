//! The monitor: takes beats in, notices what is missing, late or unwell, and tells people.
//!
//! What it decides is in [`core`], which names no clock, socket or disk. Around it: the [`book`]
//! of checks, the [`store`], the node itself with its HTTP side, and the channels.

pub mod book;
pub mod channel;
pub mod config;
pub mod core;
mod http;
mod node;
pub mod store;

pub use crate::node::run;
