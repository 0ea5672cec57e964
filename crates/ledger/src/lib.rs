//! Commands to outcomes and journal records; hash chain; replay; audit.
//!
//! Pure: time is an argument, and what is durable is for the caller to say. Knows no disk, socket,
//! clock or source of randomness.
#![deny(clippy::arithmetic_side_effects)] // It is money: every sum says what happens at its end.

pub mod audit;
pub mod entry;
pub mod keys;
pub mod object;
pub mod partition;
pub mod record;
pub mod seen;

mod accounts;
mod overlay;
mod rules;
#[cfg(test)]
mod tests;

pub use crate::{
    accounts::Known,
    audit::{Auditor, What, Wrong},
    entry::Entry,
    keys::KeyEntry,
    object::{Object, ObjectKey},
    overlay::Mismatch,
    partition::{Answer, Partition, ReplayError, Staged, opens, weight},
    record::{Chain, Group, Hash, Header, Item, Left, Record, Verdict},
    rules::Unsound,
};
