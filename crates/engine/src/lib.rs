//! Keeps journals: the engine traits, the SQLite and the PostgreSQL engine behind them, the projector, and `verify`.
//!
//! Everything here blocks, and is called by threads that may wait. It decides nothing about money:
//! records come from `ledger` and go back to it.

mod block;
mod change;
mod copy;
mod ends;
pub mod engine;
mod error;
pub mod export;
mod history;
mod key_days;
mod key_scan;
mod listing;
mod merges;
mod near;
pub mod postgres;
mod records;
mod runs;
pub mod sqlite;
mod tail;
pub mod url;
pub mod verify;
mod views;

pub use crate::{
    engine::{
        Bell, Claim, Committer, Confirmer, Engine, Fate, KeyMark, KeyPlace, KeyScan, Loaded, Place,
        Projector, Reader, Registry, Settings, Tenure, Write, mint_window,
    },
    error::{CommitError, EngineError, Kind, ProjectError},
    url::{EngineUrl, open},
};
