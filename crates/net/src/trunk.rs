//! The trunk: one TCP connection, many requests.
//!
//! What makes it cheap: frames gather in one buffer per connection; whoever appends to an empty
//! one wakes the writer, and the writer lets everybody else who is ready append too before it
//! writes all of it at once. There is no timer, lock or channel per frame. A reader takes
//! everything that has come and hands each answer to the slot that its number names.
//!
//! A message that fits one frame, as nearly all do, knows nothing of the rest: longer ones stream,
//! each under a window of its own, and take turns at the writer. The frames byte by byte are in
//! docs/trunk.md.

mod ages;
mod call;
mod client;
mod conn;
mod duties;
mod greeting;
pub mod limits;
mod outbox;
mod rare;
mod reply;
mod served;
mod server;
mod slots;
mod stream;
mod streams;
mod tls;

pub use self::{
    ages::Ages,
    call::{Answer, CallSlot, Exchange, call, call_with, forward_stream, open_stream},
    client::{Link, LinkConfig, LinkEvents, Ticket},
    conn::{Loss, Pending, Refused},
    duties::Tag,
    greeting::Identity,
    reply::{ReplyTo, STATUS_DROPPED},
    server::{Handler, Server, put_together},
    stream::{StreamReader, StreamWriter, Ungathered},
    tls::{TlsFiles, TrunkTls},
};
