//! Addresses of other HTTP services, and of a tree spoken to from afar.

use std::fmt;

/// `http://HOST:PORT`, split up; port 80 when none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// Whether a text is meant as an address rather than a name.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Reads `http://HOST[:PORT]`, a slash at its end allowed.
pub(crate) fn parse(text: &str) -> Result<HttpUrl, String> {
    read(text).ok_or_else(|| "http://HOST:PORT, as in \"http://127.0.0.1:9100\"".to_owned())
}

fn read(text: &str) -> Option<HttpUrl> {
    let rest = text.strip_prefix("http://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        // An IPv6 address has colons of its own, all of them before the bracket.
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().ok().filter(|it| *it != 0)?)
        }
        Some(_) | None => (authority, 80),
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let clean = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it)),
    };
    (clean && !host.is_empty()).then(|| HttpUrl { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_host_and_port() {
        for (text, host, port) in [
            ("http://127.0.0.1:9100", "127.0.0.1", 9100),
            ("http://rates/", "rates", 80),
            ("http://[::1]:8080", "[::1]", 8080),
            ("http://[::1]", "[::1]", 80),
        ] {
            assert_eq!(parse(text), Ok(HttpUrl { host: host.to_owned(), port }), "{text}");
        }
        for bad in
            ["", "rates", "https://rates", "http://", "http://a:0", "http://a:x", "http://a/b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
