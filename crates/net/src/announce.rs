//! How a node tells its supervisor that it listens.

use std::io::{self, Write};

/// Prints the one line `ready NAME DETAILS` to standard output.
pub fn ready(name: &str, details: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {name} {details}")?;
    out.flush()
}
