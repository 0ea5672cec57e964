//! HTTP/2 (RFC 9113), the client's side and no more than a load needs: a lane is a stream, and a
//! connection carries many.
//!
//! [`session`] takes bytes in and gives bytes out and knows no socket; [`link`] is one connection
//! and [`links`] all of a thread.

mod frame;
pub(crate) mod hpack;
mod link;
mod links;
mod session;

pub(crate) use self::links::Links;

/// What a peer did that no peer may: its connection ends.
type Flaw = &'static str;
