//! Free loopback ports, and addresses that are taken.

use crate::{error::CliError, proc};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Where ports are looked for: below what Linux gives to outgoing connections (32768 and up), so
/// that no connection of ours takes a port before its node has started.
const PORT_MIN: u16 = 20_000;
const PORT_MAX: u16 = 32_767;

/// Ports that a tree takes together. A block is free when all of it is: so no tree gets a port of
/// another one's node that is down for a moment.
const BLOCK_PORTS: u16 = 32;
const BLOCKS: u16 = (PORT_MAX - PORT_MIN + 1) / BLOCK_PORTS;

/// Hands out addresses, and keeps them until it is dropped so that none is handed out twice.
#[derive(Debug)]
pub(super) struct Ports {
    held: Vec<TcpListener>,
    /// What is left of the block at hand.
    block: Vec<TcpListener>,
    next: u16,
    left: u16,
}

impl Ports {
    /// Starts at a random block, so that two trees that start at once seldom meet.
    pub(super) fn new() -> io::Result<Ports> {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let next = u16::from_le_bytes(bytes) % BLOCKS;
        Ok(Ports { held: Vec::new(), block: Vec::new(), next, left: BLOCKS })
    }

    /// `preferred` if it is free, else some free loopback port.
    pub(super) fn take(&mut self, preferred: Option<SocketAddr>) -> io::Result<SocketAddr> {
        if let Some(address) = preferred
            && let Ok(listener) = TcpListener::bind(address)
        {
            self.held.push(listener);
            return Ok(address);
        }
        loop {
            if let Some(listener) = self.block.pop() {
                let address = listener.local_addr()?;
                self.held.push(listener);
                return Ok(address);
            }
            let Some(left) = self.left.checked_sub(1) else {
                let none = format!("no {BLOCK_PORTS} free ports from {PORT_MIN} to {PORT_MAX}");
                return Err(io::Error::other(none));
            };
            let first = PORT_MIN + self.next * BLOCK_PORTS;
            self.left = left;
            self.next = (self.next + 1) % BLOCKS;
            let ports = (first..first + BLOCK_PORTS).rev();
            let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            self.block = ports.map(bind).collect::<io::Result<_>>().unwrap_or_default();
        }
    }

    /// `address` itself, or why it cannot be had.
    pub(super) fn claim(&mut self, address: SocketAddr) -> Result<(), CliError> {
        let error = match TcpListener::bind(address) {
            Ok(listener) => {
                self.held.push(listener);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(CliError::io(format!("cannot listen on {address}"), &error));
        }
        if self.held.iter().any(|it| it.local_addr().is_ok_and(|it| it == address)) {
            return Err(CliError::failed(format!("{address} is wanted twice in this tree")));
        }
        let whose = match proc::listener(address) {
            Some(holder) => format!("{address} is in use by {holder}"),
            None => format!("{address} is in use by a process that this user cannot see"),
        };
        Err(CliError::failed(whose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_handed_out_twice() {
        let mut ports = Ports::new().unwrap();
        let first = ports.take(None).unwrap();
        let second = ports.take(Some(first)).unwrap();
        assert_ne!(first, second);
        assert!((PORT_MIN..=PORT_MAX).contains(&second.port()));
        assert_eq!(second.port(), first.port() + 1, "of one block");
        drop(ports);
        assert_eq!(Ports::new().unwrap().take(Some(first)).unwrap(), first);
    }

    #[test]
    fn who_has_an_address_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Ports::new().unwrap().claim(address).unwrap_err();
        let wanted = format!("{address} is in use by process {} (", std::process::id());
        assert!(error.message().starts_with(&wanted), "{error}");
        drop(taken);
        let mut ports = Ports::new().unwrap();
        ports.claim(address).unwrap();
        let error = ports.claim(address).unwrap_err();
        assert_eq!(error.message(), format!("{address} is wanted twice in this tree"));
    }

    #[test]
    fn a_block_of_which_a_port_is_taken_is_another_trees() {
        let mut ports = Ports::new().unwrap();
        let first = ports.take(None).unwrap().port();
        // All of it is free but for the last: the others belong to nodes that are down.
        let last = TcpListener::bind((Ipv4Addr::LOCALHOST, first + BLOCK_PORTS - 1));
        assert!(last.is_err(), "it is held");
        let next = Ports { held: Vec::new(), block: Vec::new(), next: 0, left: BLOCKS };
        let mut other = Ports { next: (first - PORT_MIN) / BLOCK_PORTS, ..next };
        ports.block.drain(1..);
        ports.held.clear();
        let found = other.take(None).unwrap().port();
        assert!(!(first..first + BLOCK_PORTS).contains(&found), "{found}");
    }
}
