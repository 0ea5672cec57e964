//! HTTP/2 as a server speaks it (RFC 9113), without sockets, tasks or time.
//!
//! [`session::Session`] takes bytes of a client and tells what they ask; it is told what to answer,
//! and has the bytes to send. Nothing here waits.

pub(super) mod budget;
pub(super) mod decoder;
pub(super) mod encoder;
pub(super) mod field;
pub(super) mod frame;
pub(super) mod head;
pub(super) mod ids;
pub(super) mod session;
pub(super) mod stream;
#[cfg(test)]
mod tests;
pub(super) mod window;
