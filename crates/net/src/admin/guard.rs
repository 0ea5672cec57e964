//! Who may change something by way of the admin address.
//!
//! The address is on loopback unless the node was told otherwise, and whoever may run a program on
//! this machine may use it. What must not use it is a page of the web in a browser on this machine.
//! So an order needs a content type that no form can send, comes from no foreign page, and was
//! addressed to an IP address or localhost: not to a name that was made to point here.

use http::{HeaderMap, header};
use std::net::IpAddr;

/// A header that no page may set without asking first: stands in for the content type where there
/// is no body.
pub(super) const ASKING_HEADER: &str = "x-tollgate";

/// Why an order is not taken; `None` when it is.
pub(super) fn objection(headers: &HeaderMap, peer: IpAddr) -> Option<&'static str> {
    if !peer.to_canonical().is_loopback() {
        return Some("orders are taken from this machine only");
    }
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = text(header::HOST.as_str()).unwrap_or_default();
    if !is_literal(host) {
        return Some("orders must be sent to an IP address or to localhost, not to a name");
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let own = origin.to_str().ok().and_then(|it| it.split_once("://"));
        if own.is_none_or(|(_, authority)| !authority.eq_ignore_ascii_case(host)) {
            return Some("orders from pages of other sites are not taken");
        }
    }
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Some("orders from pages of other sites are not taken");
    }
    let is_json = text(header::CONTENT_TYPE.as_str()).is_some_and(|it| {
        let kind = it.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json && !headers.contains_key(ASKING_HEADER) {
        return Some("want Content-Type: application/json, or a header X-Tollgate");
    }
    None
}

/// An IP address or `localhost`, with or without a port.
fn is_literal(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(peer: &str, pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        objection(&headers, peer.parse().unwrap()).is_none()
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const HERE: (&str, &str) = ("host", "127.0.0.1:7");

    #[test]
    fn programs_of_this_machine_may() {
        for host in ["127.0.0.1:7", "[::1]:7", "localhost", "LOCALHOST:7", "10.0.0.1:7"] {
            assert!(takes("127.0.0.1", &[("host", host), JSON]), "{host}");
        }
        assert!(takes("::1", &[HERE, ("x-tollgate", "1")]));
        assert!(takes("::ffff:127.0.0.1", &[HERE, JSON]));
        assert!(takes("127.0.0.1", &[HERE, JSON, ("origin", "http://127.0.0.1:7")]));
        assert!(takes("127.0.0.1", &[HERE, JSON, ("sec-fetch-site", "same-origin")]));
    }

    #[test]
    fn pages_and_other_machines_may_not() {
        assert!(!takes("10.0.0.2", &[HERE, JSON]));
        assert!(!takes("127.0.0.1", &[HERE]));
        assert!(!takes("127.0.0.1", &[HERE, ("content-type", "text/plain")]));
        assert!(!takes("127.0.0.1", &[JSON]));
        for host in ["evil.example:7", "127.0.0.1.evil.example", "[::1", ""] {
            assert!(!takes("127.0.0.1", &[("host", host), JSON]), "{host}");
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8", "x"] {
            assert!(!takes("127.0.0.1", &[HERE, JSON, ("origin", origin)]), "{origin}");
        }
        assert!(!takes("127.0.0.1", &[HERE, JSON, ("sec-fetch-site", "cross-site")]));
    }
}
