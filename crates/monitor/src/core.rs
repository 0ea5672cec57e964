//! What the monitor decides, as values: no clock, socket or disk is named below here, and
//! `cargo xtask tidy` says so. Time is an argument.

pub mod arrival;
pub mod audience;
pub mod availability;
pub mod check;
pub mod contract;
pub mod desk;
pub mod detector;
pub mod flap;
pub mod guard;
pub mod hours;
pub mod incident;
pub mod notice;
pub mod outbox;
pub mod reading;
pub mod rollup;
pub mod rule;
pub mod schedule;
pub mod severity;
pub mod shared;
pub mod silence;
pub mod stamp;
pub mod standby;
pub mod tree;
pub mod window;
