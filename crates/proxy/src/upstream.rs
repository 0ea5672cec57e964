//! HTTP services that are not ours, behind a gateway's routes or a balancer.
//!
//! An [`HttpService`] is what a node knows of one; every worker has a group of its own on it:
//! kept-alive connections to each endpoint (`conns`), a `balance::Pool` that chooses, a budget for
//! repeats. One worker checks the endpoints for all (`checker`). `door` is how requests come in,
//! [`node`] the balancer that has nothing else behind it.

mod body;
mod checker;
pub mod config;
mod conns;
mod dial;
pub(crate) mod door;
mod failure;
pub(crate) mod group;
mod head;
pub mod limits;
pub mod node;
mod post;
mod roster;
mod service;
pub(crate) mod status;
pub(crate) mod tunnel;

pub use self::service::{EndpointState, HttpService, HttpServices, ServiceTotals};
pub(crate) use self::{body::Payload, group::Group};
