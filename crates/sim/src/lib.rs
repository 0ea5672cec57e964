//! The whole system on one thread, under virtual time, network and processes.
//!
//! What decides is what ships: `account`'s executor with the ledger in it, `lease`'s heir and
//! fence, the gateway's rule of what follows from an attempt. What carries is made up here: clients
//! ([`client`]), gateways without doors ([`gateway`]), nodes without threads ([`node`]), a database
//! that does one statement after the other ([`database`]), and the wires between them ([`wires`]).
//! Wires are late, lose things and are cut, each way on its own; nodes die, stand still and have
//! clocks of other rates; the database's clock is set.
//!
//! `loadgen`'s judges, who know answers and final books alone, say what is wrong; and a [`Rule`]
//! can be left out, to see whether they notice. A seed is a world: it runs the same way each time.

mod client;
mod database;
mod gateway;
mod node;
mod rule;
mod wires;
mod world;

pub use crate::{
    rule::Rule,
    world::{Lived, run},
};
