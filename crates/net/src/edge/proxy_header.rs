//! The PROXY protocol, version 2: how a load balancer of somebody else's in front of ours says whom
//! it speaks for (haproxy.org, "The PROXY protocol", §2.2). Version 1, the text form, is refused.

use super::stream::Stream;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::io::AsyncReadExt;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_BYTES: usize = 16;
/// Addresses and what else a header may bear.
const REST_BYTES_MAX: usize = 4 * 1024;
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyFlaw {
    NoSignature,
    Version,
    Command,
    /// Neither TCP nor unspecified.
    Transport,
    TooLong,
    /// Fewer bytes than the addresses have.
    TooShort,
}

/// The first 16 bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    speaks_for: Speaker,
    /// Bytes that follow.
    rest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// The sender speaks for itself, or does not know for whom.
    Itself,
    Ipv4,
    Ipv6,
}

impl Head {
    fn parse(bytes: [u8; HEAD_BYTES]) -> Result<Head, ProxyFlaw> {
        let [signature @ .., version, family, high, low] = bytes;
        if signature != *SIGNATURE {
            return Err(ProxyFlaw::NoSignature);
        }
        if version >> 4 != 2 {
            return Err(ProxyFlaw::Version);
        }
        let rest = usize::from(u16::from_be_bytes([high, low]));
        let (speaks_for, least) = match (version & 0xf, family) {
            (0, _) | (1, 0x00) => (Speaker::Itself, 0),
            (1, 0x11) => (Speaker::Ipv4, IPV4_BYTES),
            (1, 0x21) => (Speaker::Ipv6, IPV6_BYTES),
            (1, _) => return Err(ProxyFlaw::Transport),
            (_, _) => return Err(ProxyFlaw::Command),
        };
        if rest < least {
            return Err(ProxyFlaw::TooShort);
        }
        if REST_BYTES_MAX < rest {
            return Err(ProxyFlaw::TooLong);
        }
        Ok(Head { speaks_for, rest })
    }

    /// The client, out of what follows the head; `None` when the sender speaks for itself.
    fn client(self, rest: &[u8]) -> Option<SocketAddr> {
        let port = |at: usize| Some(u16::from_be_bytes(*rest.get(at..)?.first_chunk()?));
        match self.speaks_for {
            Speaker::Itself => None,
            Speaker::Ipv4 => {
                let addr: [u8; 4] = *rest.first_chunk()?;
                Some(SocketAddr::from((Ipv4Addr::from(addr), port(8)?)))
            }
            Speaker::Ipv6 => {
                let addr: [u8; 16] = *rest.first_chunk()?;
                Some(SocketAddr::from((Ipv6Addr::from(addr), port(32)?)))
            }
        }
    }
}

/// Reads the header that stands before everything else; the client it names, if it names one.
pub(super) async fn read(stream: &mut Stream) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let refused = |flaw| io::Error::new(io::ErrorKind::InvalidData, format!("PROXY: {flaw:?}"));
    let head = Head::parse(head).map_err(refused)?;
    let mut rest = vec![0; head.rest];
    stream.read_exact(&mut rest).await?;
    Ok(head.client(&rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u8, family: u8, rest: u16) -> [u8; HEAD_BYTES] {
        let [high, low] = rest.to_be_bytes();
        let bytes = [&SIGNATURE[..], &[version, family, high, low]].concat();
        bytes.try_into().unwrap()
    }

    #[test]
    fn heads_are_told_apart() {
        for (version, family, rest, expected) in [
            (0x21, 0x11, 12, Ok((Speaker::Ipv4, 12))),
            (0x21, 0x11, 200, Ok((Speaker::Ipv4, 200))),
            (0x21, 0x21, 36, Ok((Speaker::Ipv6, 36))),
            (0x20, 0x00, 0, Ok((Speaker::Itself, 0))),
            (0x20, 0x11, 12, Ok((Speaker::Itself, 12))),
            (0x21, 0x00, 4_096, Ok((Speaker::Itself, 4_096))),
            (0x21, 0x11, 11, Err(ProxyFlaw::TooShort)),
            (0x21, 0x21, 35, Err(ProxyFlaw::TooShort)),
            (0x21, 0x11, 4_097, Err(ProxyFlaw::TooLong)),
            (0x21, 0x12, 12, Err(ProxyFlaw::Transport)),
            (0x21, 0x31, 216, Err(ProxyFlaw::Transport)),
            (0x22, 0x11, 12, Err(ProxyFlaw::Command)),
            (0x11, 0x11, 12, Err(ProxyFlaw::Version)),
        ] {
            let parsed = Head::parse(head(version, family, rest));
            assert_eq!(parsed.map(|it| (it.speaks_for, it.rest)), expected);
        }
        assert_eq!(Head::parse(*b"PROXY TCP4 1.2.3"), Err(ProxyFlaw::NoSignature));
    }

    #[test]
    fn the_client_is_the_source() {
        let ipv4 = Head { speaks_for: Speaker::Ipv4, rest: 12 };
        let rest = [1, 2, 3, 4, 9, 9, 9, 9, 0x30, 0x39, 0, 80];
        assert_eq!(ipv4.client(&rest), Some("1.2.3.4:12345".parse().unwrap()));
        let ipv6 = Head { speaks_for: Speaker::Ipv6, rest: 36 };
        let mut rest = [0; 36];
        rest[15] = 1;
        rest[33] = 7;
        assert_eq!(ipv6.client(&rest), Some("[::1]:7".parse().unwrap()));
        let itself = Head { speaks_for: Speaker::Itself, rest: 0 };
        assert_eq!(itself.client(&[]), None);
    }
}
