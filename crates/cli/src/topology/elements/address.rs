//! `ip:port` of a socket.

use std::net::SocketAddr;

const WANT: &str = "ip:port with a port other than 0, as in \"127.0.0.1:7101\"";

/// Where a node listens.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) | Err(_) => Err(WANT.to_owned()),
    }
}

/// Where a node listens for its peers, which read the same line to find it.
pub(crate) fn parse_reachable(text: &str) -> Result<SocketAddr, String> {
    let address = parse(text)?;
    if address.ip().is_unspecified() {
        return Err("an address that the other nodes can connect to".to_owned());
    }
    Ok(address)
}

/// True when both cannot be listened on at once: the same port on the same or on every interface.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_and_port() {
        for good in ["127.0.0.1:1", "[::1]:8080", "0.0.0.0:65535"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost:80", "127.0.0.1", ":80", "127.0.0.1:0", "127.0.0.1:65536"] {
            assert_eq!(parse(bad), Err(WANT.to_owned()), "{bad}");
        }
        assert!(parse_reachable("0.0.0.0:80").is_err());
    }

    #[test]
    fn every_interface_takes_in_each() {
        let at = |text| parse(text).unwrap();
        assert!(collide(at("127.0.0.1:1"), at("127.0.0.1:1")));
        assert!(collide(at("127.0.0.1:1"), at("0.0.0.0:1")));
        assert!(!collide(at("127.0.0.1:1"), at("127.0.0.2:1")));
        assert!(!collide(at("127.0.0.1:1"), at("127.0.0.1:2")));
    }
}
