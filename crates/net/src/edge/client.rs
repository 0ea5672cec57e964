//! Whom a connection comes from, with all that can be written about it once and for all.

use super::config::EdgeConfig;
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};

/// What a node calls itself to its neighbours, as `Via` has it (RFC 9110 §7.6.3).
#[derive(Debug)]
pub(super) struct Via {
    pub(super) pseudonym: Box<[u8]>,
    http_1_0: HeaderValue,
    http_1_1: HeaderValue,
    http_2: HeaderValue,
}

impl Via {
    pub(super) fn new(pseudonym: &str) -> Via {
        let value = |version: &str| {
            let text = format!("{version} {pseudonym}");
            HeaderValue::from_str(&text).expect("a node's name is ASCII")
        };
        Via {
            pseudonym: pseudonym.as_bytes().into(),
            http_1_0: value("1.0"),
            http_1_1: value("1.1"),
            http_2: value("2"),
        }
    }

    /// What says that a message came in this version.
    pub(super) fn of(&self, version: http::Version) -> &HeaderValue {
        match version {
            http::Version::HTTP_10 => &self.http_1_0,
            http::Version::HTTP_2 => &self.http_2,
            _ => &self.http_1_1,
        }
    }
}

/// Whom a connection comes from.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) is_tls: bool,
    /// What it says of others is believed.
    pub(super) is_trusted: bool,
    /// Its address, for `X-Forwarded-For`.
    pub(super) address: HeaderValue,
    /// Its element of `Forwarded` (RFC 7239 §4).
    pub(super) element: HeaderValue,
}

impl Client {
    /// The client at `peer`.
    pub(super) fn new(peer: SocketAddr, is_tls: bool, config: &EdgeConfig) -> Client {
        let is_trusted = config.trusted.iter().any(|it| it.contains(peer.ip()));
        let address = peer.ip().to_canonical();
        let proto = if is_tls { "https" } else { "http" };
        let element = match address {
            IpAddr::V4(address) => format!("for={address};proto={proto}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={proto}"),
        };
        let value = |text: &str| HeaderValue::from_str(text).expect("an address is ASCII");
        Client {
            peer,
            is_tls,
            is_trusted,
            address: value(&address.to_string()),
            element: value(&element),
        }
    }
}
