//! Open-loop load on a tree, and an audit that convicts from answers alone.
//!
//! [`run`] opens accounts, sends operations when they are due (whether or not those before have
//! been answered), counts latency from that moment, asks again about what is unknown, and then
//! reads the books and compares them with everything that was answered. It knows the public API
//! and nothing else, so it works against any service that speaks it.

mod answer;
pub mod audit;
mod batch;
mod body;
mod books;
mod driver;
mod ending;
mod errand;
mod error;
pub mod history;
mod http2;
mod job;
mod lane;
mod lanes;
mod letter;
pub mod limits;
mod load;
mod log;
mod news;
mod opening;
mod plan;
pub mod report;
mod run;
mod settling;
mod socket;
mod tally;
#[cfg(test)]
mod tests;
mod work;

pub use crate::{
    books::AuditReport,
    error::RunError,
    news::News,
    plan::{Keys, Pace, Plan, Target},
    report::Report,
    run::run,
    tally::{Counts, Point, Quantiles},
    work::{Deed, Workload},
};
