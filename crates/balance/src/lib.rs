//! Which endpoint gets a request, whether it gets one at all, and how often it may be tried again.
//!
//! Pure: knows neither HTTP nor sockets. An endpoint is an index; time and chance are arguments.
//! [`Pool`] chooses, with a [`breaker`] for each endpoint; [`Budget`] bounds retries, [`Limit`]
//! bounds what is in flight, [`LoadMeter`] measures what a node reports.

pub mod breaker;
mod budget;
mod check;
mod endpoint;
mod estimate;
mod limit;
mod policy;
mod pool;
mod window;

pub use crate::{
    budget::Budget,
    check::{Check, CheckRule, Health},
    endpoint::{Outcome, Report, Spec, State},
    estimate::{Arrival, LoadMeter, Paused},
    limit::{Limit, LimitSettings},
    policy::Policy,
    pool::{Ask, Choice, NoneUp, Pool, Ticket},
};
