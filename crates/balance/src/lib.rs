//! Which endpoint gets a request.
//!
//! Pure: knows neither HTTP nor sockets. An endpoint is an index; time and chance are arguments.

mod pool;

pub use crate::pool::{NoneUp, Pool, State};
