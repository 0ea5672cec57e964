//! From the name of an endpoint to a connection.

use super::{
    config::{HttpEndpoint, HttpServiceConfig, ServiceTls},
    limits::{ADDRESSES_MAX, ADDRESSES_TRIED_MAX, CONNECT_MAX, RESOLVE_EVERY, RESOLVE_MAX},
};
use net::clock;
use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr},
};
use stdx::Moment;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// A connection that HTTP can be spoken on.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to one endpoint. A name is looked up when a connection is wanted and the last look-up
/// is old; while no look-up succeeds the addresses of the last good one are used.
#[derive(Debug)]
pub(super) struct Dialer {
    host: Box<str>,
    port: u16,
    tls: Option<ServiceTls>,
    /// Whom it has to prove to be within TLS.
    name: Box<str>,
    known: RefCell<Known>,
    /// Whose turn it is among the addresses.
    turn: Cell<usize>,
}

#[derive(Debug)]
enum Known {
    /// The host is an address.
    Fixed(SocketAddr),
    Looked {
        addrs: Vec<SocketAddr>,
        at: Option<Moment>,
    },
}

impl Dialer {
    pub(super) fn new(endpoint: &HttpEndpoint, service: &HttpServiceConfig) -> Dialer {
        let host = bare(&endpoint.host);
        let name = service.host.as_deref().map_or(host, name_of);
        let known = match host.parse::<IpAddr>() {
            Ok(ip) => Known::Fixed(SocketAddr::new(ip, endpoint.port)),
            Err(_) => Known::Looked { addrs: Vec::new(), at: None },
        };
        let (port, known) = (endpoint.port, RefCell::new(known));
        let (tls, name) = (service.tls.clone(), name.into());
        Dialer { host: host.into(), port, tls, name, known, turn: Cell::new(0) }
    }

    /// A connection, TLS included, within [`CONNECT_MAX`].
    pub(super) async fn dial(&self) -> io::Result<Box<dyn Connection>> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        timeout(CONNECT_MAX, self.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let stream = self.try_addresses().await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let client = tls.client.as_ref().ok_or_else(|| io::Error::other("TLS was not loaded"))?;
        Ok(client.connect(&self.name, stream).await?)
    }

    async fn try_addresses(&self) -> io::Result<TcpStream> {
        let addrs = self.addresses().await?;
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for at in 0..addrs.len().min(ADDRESSES_TRIED_MAX) {
            let addr = addrs[(first.wrapping_add(at)) % addrs.len()];
            match TcpStream::connect(addr).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(err) => failure = err,
            }
        }
        Err(failure)
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let now = clock::now();
        let old = match &*self.known.borrow() {
            Known::Fixed(addr) => return Ok(vec![*addr]),
            Known::Looked { addrs, at: Some(at) } if now.since(*at) < RESOLVE_EVERY => {
                return Ok(addrs.clone());
            }
            Known::Looked { addrs, .. } => addrs.clone(),
        };
        let looked = timeout(RESOLVE_MAX, lookup_host((&*self.host, self.port))).await;
        let looked = looked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let addrs: Vec<_> = match looked {
            Ok(found) => found.take(ADDRESSES_MAX).collect(),
            Err(err) if old.is_empty() => return Err(err),
            Err(err) => {
                tracing::warn!(host = &*self.host, %err, "look-up failed: the last addresses stay");
                old
            }
        };
        self.known.replace(Known::Looked { addrs: addrs.clone(), at: Some(now) });
        Ok(addrs)
    }
}

/// An address without the brackets that it has in URLs.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// What is sent as `Host`, without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => bare(name),
        Some(_) | None => bare(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_a_certificate_has_no_port_and_no_brackets() {
        for host in ["rates", "rates:8443"] {
            assert_eq!(name_of(host), "rates");
        }
        for host in ["[::1]", "[::1]:8443"] {
            assert_eq!(name_of(host), "::1");
        }
    }
}
