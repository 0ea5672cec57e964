//! Heads of requests and answers, as they cross: end-to-end headers only, both ways.

use super::config::{HttpServiceConfig, Protocol};
use crate::balancer::front::is_hop_by_hop;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use std::time::Duration;
use wire::{
    Flaw,
    frame::{
        HeaderList, Headers,
        limits::{HEADERS_BYTES_MAX, HEADERS_MAX},
    },
};

/// What is asked, but for its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    pub(crate) headers: Headers<'a>,
    /// Idempotency key; empty when there is none.
    pub(crate) key: &'a [u8],
    /// Whether the key is ours and not the client's.
    pub(crate) minted: bool,
    /// Text of the `traceparent`; empty when there is none.
    pub(crate) trace: &'a str,
    /// What the connection is to become.
    pub(crate) upgrade: Option<&'a str>,
    /// The client's connection can carry trailers.
    pub(crate) trailers: bool,
}

impl Head<'_> {
    /// It asks for nothing to be changed (RFC 9110 §9.2.1).
    pub(crate) fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }

    /// A second attempt can do no more than the first: by its method (RFC 9110 §9.2.2), or because
    /// the client gave it a key. A key that we minted tells a server of others nothing.
    pub(crate) fn is_repeatable(&self) -> bool {
        let keyed = !self.key.is_empty() && !self.minted;
        let repeats = self.is_safe() || matches!(self.method, "PUT" | "DELETE") || keyed;
        repeats && self.upgrade.is_none()
    }

    /// The request for an endpoint of `service` at `authority`, which is its host where nobody names
    /// another.
    pub(super) fn request(
        &self,
        service: &HttpServiceConfig,
        authority: &str,
    ) -> Result<Request<()>, Flaw> {
        let (protocol, host) = (service.protocol, service.host.as_deref());
        let mut request = Request::new(());
        *request.method_mut() =
            Method::from_bytes(self.method.as_bytes()).map_err(|_| Flaw("no method"))?;
        let headers = request.headers_mut();
        headers.reserve(self.headers.len() + 4);
        for (name, value) in self.headers.iter() {
            let name = HeaderName::from_bytes(name).map_err(|_| Flaw("no header's name"))?;
            if !is_hop_by_hop(&name) && name != header::HOST {
                headers.append(name, value_of(value)?);
            }
        }
        if !self.key.is_empty() {
            headers.insert("idempotency-key", value_of(self.key)?);
        }
        if !self.trace.is_empty() {
            headers.insert("traceparent", value_of(self.trace.as_bytes())?);
        }
        // HTTP/2 has no such thing.
        if let (Some(wanted), Protocol::Http1) = (self.upgrade, protocol) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, value_of(wanted.as_bytes())?);
        }
        if self.trailers && protocol == Protocol::Http2 {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        let given = self.headers.get("host").and_then(|it| std::str::from_utf8(it).ok());
        let host = host.or(given.filter(|it| !it.is_empty())).unwrap_or(authority);
        let path: http::uri::PathAndQuery =
            self.path.parse().map_err(|_| Flaw("no path of a request"))?;
        *request.uri_mut() = match protocol {
            Protocol::Http1 => {
                request.headers_mut().insert(header::HOST, value_of(host.as_bytes())?);
                Uri::from(path)
            }
            Protocol::Http2 => Uri::builder()
                .scheme(service.scheme())
                .authority(host)
                .path_and_query(path)
                .build()
                .map_err(|_| Flaw("no host"))?,
        };
        Ok(request)
    }
}

fn value_of(bytes: &[u8]) -> Result<HeaderValue, Flaw> {
    HeaderValue::from_bytes(bytes).map_err(|_| Flaw("no header's value"))
}

/// Why an answer cannot be passed on, if it cannot: what one reader takes for the end of it another
/// may not. hyper refuses the rest of such oddities by itself.
pub(super) fn oddity<B>(response: &Response<B>, upgrade: bool) -> Option<&'static str> {
    let headers = response.headers();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        if !upgrade || !headers.contains_key(header::UPGRADE) {
            return Some("it changed the protocol unasked");
        }
    } else if response.status().is_informational() {
        return Some("it answered with an interim status");
    }
    if codings != 0 && headers.contains_key(header::CONTENT_LENGTH) {
        return Some("it stated the length of the body in two ways");
    }
    let is_chunked =
        |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if 1 < codings || !headers.get_all(header::TRANSFER_ENCODING).iter().all(is_chunked) {
        return Some("it used a transfer coding other than chunked");
    }
    if 1 < headers.get_all(header::CONTENT_LENGTH).iter().count() {
        return Some("it stated the length of the body twice");
    }
    None
}

/// What the server says of how long it keeps an idle connection.
pub(super) fn keeps_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split(',').find_map(|it| it.trim().strip_prefix("timeout="))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Leaves an answer its end-to-end headers. The length stays where there is no body to tell it.
pub(super) fn strip(headers: &mut HeaderMap, bodiless: bool) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != header::CONTENT_LENGTH || !bodiless)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if !bodiless {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// The headers of an answer for the trunk; a flaw when they are more than it carries.
pub(super) fn list(headers: &HeaderMap) -> Result<HeaderList, Flaw> {
    let mut list = HeaderList::new();
    for (name, value) in headers {
        if *name != header::CONTENT_LENGTH {
            list.push(name.as_str(), value.as_bytes())?;
        }
    }
    Ok(list)
}

const _: () = {
    // What an endpoint may answer with, and what our fronts add, must have room on the trunk.
    assert!(super::limits::RESPONSE_HEADERS_MAX < HEADERS_MAX);
    assert!(HEADERS_BYTES_MAX < super::limits::RESPONSE_HEAD_BYTES_MAX);
};

#[cfg(test)]
mod tests {
    use super::super::config::{CheckConfig, ServiceTls};
    use super::*;

    fn list_of(pairs: &[(&str, &str)]) -> HeaderList {
        let mut list = HeaderList::new();
        for (name, value) in pairs {
            list.push(name, value.as_bytes()).unwrap();
        }
        list
    }

    fn head<'a>(method: &'a str, headers: &'a HeaderList) -> Head<'a> {
        Head {
            method,
            path: "/a?b=1",
            headers: headers.as_ref(),
            key: b"",
            minted: false,
            trace: "",
            upgrade: None,
            trailers: false,
        }
    }

    fn service(protocol: Protocol, host: Option<&str>) -> HttpServiceConfig {
        HttpServiceConfig {
            name: "rates".to_owned(),
            endpoints: Vec::new(),
            protocol,
            tls: None,
            host: host.map(str::to_owned),
            policy: balance::Policy::LeastLoad,
            hash: crate::config::HashBy::Account,
            check: CheckConfig::default(),
        }
    }

    #[test]
    fn only_end_to_end_headers_go_on() {
        let headers = list_of(&[
            ("host", "shop.example"),
            ("authorization", "Bearer theirs"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]);
        let mut head = head("GET", &headers);
        (head.key, head.trace) = (b"k1", "00-a");
        let request = head.request(&service(Protocol::Http1, None), "10.0.0.1:80").unwrap();
        let mut seen: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                "authorization: Bearer theirs",
                "host: shop.example",
                "idempotency-key: k1",
                "traceparent: 00-a",
                "x-a: 1",
                "x-a: 2"
            ]
        );
        assert_eq!(request.uri(), "/a?b=1");
    }

    #[test]
    fn the_host_is_the_clients_unless_one_is_set() {
        for (given, set, expected) in [
            (Some("shop.example"), None, "shop.example"),
            (Some("shop.example"), Some("rates.internal"), "rates.internal"),
            (None, None, "10.0.0.1:80"),
        ] {
            let headers = list_of(&given.map(|it| ("host", it)).into_iter().collect::<Vec<_>>());
            let head = head("GET", &headers);
            let one = head.request(&service(Protocol::Http1, set), "10.0.0.1:80").unwrap();
            assert_eq!(one.headers()["host"], expected);
            let two = head.request(&service(Protocol::Http2, set), "10.0.0.1:80").unwrap();
            assert_eq!(two.uri().to_string(), format!("http://{expected}/a?b=1"));
            assert!(!two.headers().contains_key("host"));
            let tls = Some(ServiceTls::default());
            let within = HttpServiceConfig { tls, ..service(Protocol::Http2, set) };
            let within = head.request(&within, "10.0.0.1:80").unwrap();
            assert_eq!(within.uri().scheme_str(), Some("https"));
        }
    }

    #[test]
    fn what_may_be_repeated_is_told_by_the_method_or_a_key_of_the_clients() {
        let headers = HeaderList::new();
        for (method, key, minted, repeatable) in [
            ("GET", "", false, true),
            ("PUT", "", false, true),
            ("DELETE", "", false, true),
            ("POST", "", false, false),
            ("POST", "k", true, false),
            ("POST", "k", false, true),
            ("PATCH", "", false, false),
        ] {
            let mut head = head(method, &headers);
            (head.key, head.minted) = (key.as_bytes(), minted);
            assert_eq!(head.is_repeatable(), repeatable, "{method} {key} {minted}");
            head.upgrade = Some("websocket");
            assert!(!head.is_repeatable());
        }
    }

    #[test]
    fn answers_of_doubtful_length_are_odd() {
        let check = |status: u16, headers: &[(&str, &str)], upgrade, odd: bool| {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let said = oddity(&response.body(()).unwrap(), upgrade);
            assert_eq!(said.is_some(), odd, "{status} {headers:?}: {said:?}");
        };
        check(200, &[("content-length", "5")], false, false);
        check(200, &[("transfer-encoding", "chunked")], false, false);
        check(200, &[("transfer-encoding", "chunked"), ("content-length", "5")], false, true);
        check(200, &[("transfer-encoding", "gzip, chunked")], false, true);
        check(200, &[("content-length", "5"), ("content-length", "5")], false, true);
        check(101, &[("upgrade", "websocket")], true, false);
        check(101, &[("upgrade", "websocket")], false, true);
        check(101, &[], true, true);
        check(103, &[], false, true);
    }

    #[test]
    fn an_answer_keeps_what_is_not_between_it_and_us() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=7, max=9"),
            ("content-length", "5"),
            ("etag", "\"a\""),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(keeps_for(&headers), Some(Duration::from_secs(7)));
        let mut of_head = headers.clone();
        strip(&mut headers, false);
        strip(&mut of_head, true);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
        assert_eq!(of_head.len(), 2);
    }
}
