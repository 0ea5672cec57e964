//! What the edge writes on a request about where it comes from, and on an answer about itself.
//!
//! `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` (RFC 7239) tell the client; only a trusted
//! peer may have said so before, and its statement is then added to. `Via` (RFC 9110 §7.6.3) is
//! added to in any case, and stops a loop.

use super::{
    client::{Client, Via},
    trace::TraceParent,
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use wire::Code;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SERVER: HeaderValue = HeaderValue::from_static("tollgate");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Headers that a request has more after it was stamped, at most.
pub(super) const REQUEST_STAMPS_MAX: usize = 5;

/// Writes on a request where it comes from, and returns its place in a trace. An error means that it
/// has been here before.
pub(super) fn request(
    parts: &mut Parts,
    client: &Client,
    via: Option<&Via>,
) -> Result<TraceParent, (Code, &'static str)> {
    let headers = &mut parts.headers;
    let brought = Brought::with(headers);
    headers.reserve(REQUEST_STAMPS_MAX);
    if let Some(via) = via {
        if brought.via && is_loop(headers, via) {
            return Err((Code::InvalidRequest, "the request has come through here before"));
        }
        add(headers, brought.via, header::VIA, via.of(parts.version));
    }
    if brought.origin && !client.is_trusted {
        for name in [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, header::FORWARDED] {
            headers.remove(name);
        }
    }
    let is_believed = brought.origin && client.is_trusted;
    add(headers, is_believed, FORWARDED_FOR, &client.address);
    add(headers, is_believed, header::FORWARDED, &client.element);
    if !is_believed || !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, if client.is_tls { HTTPS } else { HTTP });
    }
    if (!is_believed || !headers.contains_key(FORWARDED_HOST))
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
    Ok(if brought.trace { TraceParent::following(headers) } else { TraceParent::new() })
}

/// What a request brings of what is written on it here. Nearly always that is nothing, which one
/// look at its headers' names tells.
#[derive(Default)]
struct Brought {
    via: bool,
    /// Any of those that say where it comes from.
    origin: bool,
    trace: bool,
}

impl Brought {
    fn with(headers: &HeaderMap) -> Brought {
        let mut brought = Brought::default();
        for name in headers.keys() {
            match name.as_str() {
                "via" => brought.via = true,
                "forwarded" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" => {
                    brought.origin = true;
                }
                "traceparent" | "tracestate" => brought.trace = true,
                _ => (),
            }
        }
        brought
    }
}

/// Writes on an answer who gives it.
pub(super) fn response(headers: &mut HeaderMap, via: Option<&Via>) {
    headers.entry(header::SERVER).or_insert(SERVER);
    if let Some(via) = via {
        let is_there = headers.keys().any(|name| *name == header::VIA);
        add(headers, is_there, header::VIA, via.of(http::Version::HTTP_11));
    }
}

/// Adds an element to a list that may be there, in one header.
fn add(headers: &mut HeaderMap, may_be_there: bool, name: HeaderName, element: &HeaderValue) {
    let mut given = may_be_there.then(|| headers.get_all(&name).iter()).into_iter().flatten();
    let Some(first) = given.next() else {
        headers.insert(name, element.clone());
        return;
    };
    let mut list = first.as_bytes().to_vec();
    for value in given.chain([element]) {
        list.extend_from_slice(b", ");
        list.extend_from_slice(value.as_bytes());
    }
    let list = HeaderValue::from_bytes(&list).expect("values and commas make a value");
    headers.insert(name, list);
}

fn is_loop(headers: &HeaderMap, via: &Via) -> bool {
    headers.get_all(header::VIA).iter().any(|value| {
        let mut elements = value.as_bytes().split(|byte| *byte == b',');
        elements.any(|element| {
            let mut words = element.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.nth(1).is_some_and(|by| *by == *via.pseudonym)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{config::EdgeConfig, trace::continued},
        *,
    };
    use http::Request;

    fn client(trusted: &str, is_tls: bool) -> Client {
        let config =
            EdgeConfig { trusted: [trusted.parse().unwrap()].into(), ..EdgeConfig::default() };
        let peer = "10.1.2.3:4".parse().unwrap();
        Client::new(peer, is_tls, &config)
    }

    /// The headers of a request after the edge.
    fn stamped(client: &Client, given: &[(&str, &str)]) -> Result<HeaderMap, u16> {
        let mut builder = Request::builder().header("host", "a");
        for (name, value) in given {
            builder = builder.header(*name, *value);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        let via = Via::new("edge-1");
        let parent = request(&mut parts, client, Some(&via)).map_err(|(code, _)| code.status())?;
        parts.headers.insert("traceparent", parent.as_str().parse().unwrap());
        Ok(parts.headers)
    }

    #[track_caller]
    fn has(headers: &HeaderMap, name: &str, expected: &str) {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values, [expected], "{name}");
    }

    const CLAIMS: &[(&str, &str)] = &[
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b"),
        ("forwarded", "for=1.1.1.1"),
    ];

    #[test]
    fn a_stranger_is_not_believed_and_a_trusted_peer_is() {
        let headers = stamped(&client("10.9.0.0/16", false), CLAIMS).unwrap();
        has(&headers, "x-forwarded-for", "10.1.2.3");
        has(&headers, "x-forwarded-proto", "http");
        has(&headers, "x-forwarded-host", "a");
        has(&headers, "forwarded", "for=10.1.2.3;proto=http");
        let headers = stamped(&client("10.0.0.0/8", true), CLAIMS).unwrap();
        has(&headers, "x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.1.2.3");
        has(&headers, "x-forwarded-proto", "https");
        has(&headers, "x-forwarded-host", "b");
        has(&headers, "forwarded", "for=1.1.1.1, for=10.1.2.3;proto=https");
        let peer = "[::1]:4".parse().unwrap();
        let other = Client::new(peer, false, &EdgeConfig::default());
        let headers = stamped(&other, &[]).unwrap();
        has(&headers, "x-forwarded-for", "::1");
        has(&headers, "forwarded", "for=\"[::1]\";proto=http");
    }

    #[test]
    fn a_way_that_loops_is_refused() {
        let client = client("10.0.0.0/8", false);
        has(&stamped(&client, &[]).unwrap(), "via", "1.1 edge-1");
        let headers = stamped(&client, &[("via", "1.0 fred, HTTP/1.1 edge-10 (x)")]).unwrap();
        has(&headers, "via", "1.0 fred, HTTP/1.1 edge-10 (x), 1.1 edge-1");
        for via in ["1.1 edge-1", "1.0 fred, 1.1 edge-1 (x)", "1.0 fred,HTTP/2  edge-1"] {
            assert_eq!(stamped(&client, &[("via", via)]).unwrap_err(), 400, "{via}");
        }
        let mut headers = HeaderMap::new();
        response(&mut headers, Some(&Via::new("edge-1")));
        has(&headers, "server", "tollgate");
        has(&headers, "via", "1.1 edge-1");
    }

    #[test]
    fn a_sound_trace_goes_on_and_another_begins_anew() {
        let client = client("10.0.0.0/8", false);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent =
            |version: &str, rest: &str| format!("{version}-{trace}-00f067aa0ba902b7-{rest}");
        for (given, goes_on) in [
            (parent("00", "01"), Some("01")),
            (parent("00", "fe"), Some("00")),
            (parent("cc", "03"), Some("01")),
            (parent("cc", "01-what-comes"), Some("01")),
            (parent("cc", "01.what-comes"), None),
            (parent("00", "01-x"), None),
            (parent("ff", "01"), None),
            (parent("00", "0g"), None),
            (parent("00", "01").to_uppercase(), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            ("00".to_owned(), None),
        ] {
            let sent = [("traceparent", given.as_str()), ("tracestate", "a=b")];
            let headers = stamped(&client, &sent).unwrap();
            let now = headers["traceparent"].to_str().unwrap();
            assert!(continued(now.as_bytes()).is_some(), "{now}");
            assert!(!now.contains("00f067aa0ba902b7"), "{given}");
            assert_eq!(now.contains(trace), goes_on.is_some(), "{given}");
            assert_eq!(headers.contains_key("tracestate"), goes_on.is_some(), "{given}");
            assert!(now.ends_with(goes_on.unwrap_or("00")), "{given}");
        }
        let twice = [("traceparent", &*parent("00", "01")), ("traceparent", &*parent("00", "01"))];
        assert!(
            !stamped(&client, &twice).unwrap()["traceparent"].to_str().unwrap().contains(trace)
        );
    }
}
