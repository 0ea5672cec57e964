//! Addresses of other HTTP services, and of a tree spoken to from afar.

use std::fmt;

/// `http://HOST:PORT` or `https://…`, split up; the scheme's own port when none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    /// Its server has to prove that it is this host.
    pub(crate) tls: bool,
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HttpUrl {
    /// Where no TLS is spoken.
    pub(crate) fn plain(host: String, port: u16) -> HttpUrl {
        HttpUrl { tls: false, host, port }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Whether a text is meant as an address rather than a name.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Reads `http://HOST[:PORT]` or `https://…`, a slash at its end allowed.
pub(crate) fn parse(text: &str) -> Result<HttpUrl, String> {
    read(text).ok_or_else(|| "http(s)://HOST:PORT, as in \"http://127.0.0.1:9100\"".to_owned())
}

/// As [`parse`], without TLS.
pub(crate) fn parse_plain(text: &str) -> Result<HttpUrl, String> {
    let want = || "http://HOST:PORT, as in \"http://127.0.0.1:9100\"".to_owned();
    read(text).filter(|it| !it.tls).ok_or_else(want)
}

fn read(text: &str) -> Option<HttpUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let (tls, usual_port) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return None,
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        // An IPv6 address has colons of its own, all of them before the bracket.
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().ok().filter(|it| *it != 0)?)
        }
        Some(_) | None => (authority, usual_port),
    };
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let clean = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it)),
    };
    (clean && !host.is_empty()).then(|| HttpUrl { tls, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_host_and_port() {
        for (text, host, port) in [
            ("https://rates", "rates", 443),
            ("https://rates:8443/", "rates", 8443),
            ("http://127.0.0.1:9100", "127.0.0.1", 9100),
            ("http://rates/", "rates", 80),
            ("http://[::1]:8080", "[::1]", 8080),
            ("http://[::1]", "[::1]", 80),
        ] {
            assert_eq!(
                parse(text),
                Ok(HttpUrl { tls: text.starts_with("https"), host: host.to_owned(), port }),
                "{text}"
            );
        }
        for bad in [
            "",
            "rates",
            "ftp://rates",
            "http://",
            "https://",
            "http://a:0",
            "http://a:x",
            "http://a/b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
