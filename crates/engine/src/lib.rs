//! Keeps journals: the engine traits, the SQLite engine behind them, the projector, and `verify`.
//!
//! Everything here blocks, and is called by threads that may wait. It decides nothing about money:
//! records come from `ledger` and go back to it.

mod block;
mod change;
pub mod engine;
mod error;
pub mod sqlite;
pub mod url;
pub mod verify;

pub use crate::{
    engine::{
        Bell, Claim, Committer, Confirmer, Engine, Fate, KeyPlace, Loaded, Projector, Reader,
        Registry, Settings, Tenure, Write, mint_window,
    },
    error::{CommitError, EngineError, Kind, ProjectError},
    url::{EngineUrl, open},
};
