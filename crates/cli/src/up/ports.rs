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

/// Hands out addresses, and keeps them until it is dropped so that none is handed out twice.
#[derive(Debug)]
pub(super) struct Ports {
    held: Vec<TcpListener>,
    next: u16,
    left: u16,
}

impl Ports {
    /// Starts at a random port, so that two trees that start at once seldom meet.
    pub(super) fn new() -> io::Result<Ports> {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let count = PORT_MAX - PORT_MIN + 1;
        let next = PORT_MIN + u16::from_le_bytes(bytes) % count;
        Ok(Ports { held: Vec::new(), next, left: count })
    }

    /// `preferred` if it is free, else some free loopback port.
    pub(super) fn take(&mut self, preferred: Option<SocketAddr>) -> io::Result<SocketAddr> {
        if let Some(address) = preferred
            && let Ok(listener) = TcpListener::bind(address)
        {
            self.held.push(listener);
            return Ok(address);
        }
        while let Some(left) = self.left.checked_sub(1) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.left = left;
            self.next = if self.next == PORT_MAX { PORT_MIN } else { self.next + 1 };
            if let Ok(listener) = TcpListener::bind(address) {
                self.held.push(listener);
                return Ok(address);
            }
        }
        Err(io::Error::other(format!("no free port from {PORT_MIN} to {PORT_MAX}")))
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
}
