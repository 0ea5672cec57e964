//! The trunk: one TCP connection, many requests.
//!
//! What makes it cheap: frames gather in one buffer per connection; whoever appends to an empty
//! one wakes the writer, and the writer lets everybody else who is ready append too before it
//! writes all of it at once. There is no timer, lock or channel per frame. A reader takes
//! everything that has come and hands each answer to the slot that its number names.

mod call;
mod client;
mod conn;
mod greeting;
pub mod limits;
mod outbox;
mod reply;
mod server;
mod slots;

pub use self::{
    call::{Answer, CallSlot, call},
    client::{Link, LinkConfig, LinkEvents},
    conn::{Loss, Pending, Refused},
    greeting::Identity,
    reply::{ReplyTo, STATUS_DROPPED},
    server::{Handler, Server},
};
