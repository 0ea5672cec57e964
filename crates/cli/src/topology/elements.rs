//! The values of a topology file, one module each: what may be written, what the code gets.

pub(crate) mod address;
pub(crate) mod alerting;
pub(crate) mod beat;
pub(crate) mod checks;
pub(crate) mod duration;
pub(crate) mod endpoint;
pub(crate) mod engine;
pub(crate) mod front;
pub(crate) mod hash;
pub(crate) mod http_service;
pub(crate) mod name;
pub(crate) mod notify;
pub(crate) mod path;
pub(crate) mod patience;
pub(crate) mod policy;
pub(crate) mod retention;
pub(crate) mod role;
pub(crate) mod rule;
pub(crate) mod subscription;
pub(crate) mod url;
pub(crate) mod window;
