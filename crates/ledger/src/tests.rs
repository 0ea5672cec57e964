//! Tests of the ledger at its boundary.
#![expect(clippy::arithmetic_side_effects, reason = "a sum that overflows fails its test")]

mod bench;
mod damage;
mod frozen;
#[path = "../../wire/tests/it/generate.rs"]
mod generate;
mod memory;
mod model;
mod objects;
mod statement;
mod teller;
mod transfers;
