//! How a node tells its supervisor that it listens.

use crate::worker::{Door, Listening};
use std::{
    fmt::Write as _,
    io::{self, Write},
    net::SocketAddr,
};

/// Where a node listens, as [`ready`] tells it: `http=… trunk=… admin=…`.
pub fn details(listening: &[Listening], admin: SocketAddr) -> io::Result<String> {
    let mut details = String::new();
    for listening in listening {
        let name = match listening.door {
            Door::Http => "http",
            Door::Trunk => "trunk",
        };
        _ = write!(details, "{name}={} ", listening.local_addr()?); // A string takes all.
    }
    _ = write!(details, "admin={admin}");
    Ok(details)
}

/// Prints the one line `ready NAME DETAILS` to standard output.
pub fn ready(name: &str, details: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {name} {details}")?;
    out.flush()
}
