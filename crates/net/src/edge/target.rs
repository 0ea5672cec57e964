//! Whom a request is for: its target and its Host, brought to one form (RFC 9112 §3, RFC 9113 §8.3).

use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts, uri::Scheme};
use wire::Code;

type Refusal = (Code, &'static str);

/// What a request wants of the edge itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The role answers it.
    Role,
    /// `OPTIONS *`, or an OPTIONS that may go no further (RFC 9110 §9.3.7).
    Edge,
}

/// Checks the target and leaves exactly one Host, which is the one that counts.
pub(super) fn settle(parts: &mut Parts) -> Result<Aim, Refusal> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err((Code::MethodNotAllowed, "neither CONNECT nor TRACE is served"));
    }
    host(parts)?;
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let Some(path) = parts.uri.path_and_query() else {
        return Err((Code::InvalidRequest, "the request target has no path"));
    };
    let is_options = parts.method == Method::OPTIONS;
    if path.as_str() == "*" {
        return match is_options {
            true => Ok(Aim::Edge),
            false => Err((Code::InvalidRequest, "the target * is for OPTIONS only")),
        };
    }
    let goes_no_further = |value: &HeaderValue| value == "0";
    let is_last =
        is_options && parts.headers.get(header::MAX_FORWARDS).is_some_and(goes_no_further);
    Ok(if is_last { Aim::Edge } else { Aim::Role })
}

fn host(parts: &mut Parts) -> Result<(), Refusal> {
    let mut given = parts.headers.get_all(header::HOST).iter();
    let host = given.next();
    if given.next().is_some() || (host.is_none() && parts.version == Version::HTTP_11) {
        return Err((Code::InvalidRequest, "not exactly one Host header"));
    }
    if host.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err((Code::InvalidRequest, "the Host is not a name or an address"));
    }
    let Some(authority) = parts.uri.authority() else {
        return match parts.version == Version::HTTP_2 && host.is_none() {
            true => Err((Code::InvalidRequest, "neither :authority nor Host")),
            false => Ok(()),
        };
    };
    if !is_host(authority.as_str().as_bytes()) {
        return Err((Code::InvalidRequest, "the authority is not a name or an address"));
    }
    if parts.uri.scheme().is_none_or(|it| *it != Scheme::HTTP && *it != Scheme::HTTPS) {
        return Err((Code::InvalidRequest, "the scheme is neither http nor https"));
    }
    // The target of HTTP/1 counts and its Host does not; in HTTP/2 they may not differ.
    let is_other =
        |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
    if parts.version == Version::HTTP_2 && host.is_some_and(is_other) {
        return Err((Code::InvalidRequest, ":authority and Host differ"));
    }
    let host = HeaderValue::from_str(authority.as_str());
    let host = host.map_err(|_| (Code::InvalidRequest, "the authority is no header value"))?;
    parts.headers.insert(header::HOST, host);
    Ok(())
}

/// `host [":" port]` of RFC 3986 §3.2.2, and not empty.
fn is_host(value: &[u8]) -> bool {
    let (is_sound, rest) = match value.strip_prefix(b"[") {
        Some(value) => {
            let end = value.iter().position(|byte| *byte == b']');
            let Some(end) = end else { return false };
            let address = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
            (end != 0 && value[..end].iter().all(address), &value[end + 1..])
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            let name =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
            (end != 0 && value[..end].iter().all(name), &value[end..])
        }
    };
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    is_sound && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port))
}

/// HTTP/2 lets a client send a cookie in pieces; everybody behind expects it in one (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (pieces.next(), pieces.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for piece in headers.get_all(header::COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(piece.as_bytes());
    }
    let joined = HeaderValue::from_bytes(&joined).expect("values and \"; \" make a value");
    headers.insert(header::COOKIE, joined);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    /// What comes of a request: the Host that counts, or a status.
    fn settled(version: Version, method: &str, uri: &str, hosts: &[&str]) -> Result<String, u16> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        match settle(&mut parts) {
            Ok(Aim::Edge) => Ok("edge".to_owned()),
            Ok(Aim::Role) => {
                let hosts: Vec<_> = parts.headers.get_all("host").iter().collect();
                Ok(hosts.iter().map(|it| it.to_str().unwrap()).collect())
            }
            Err((code, _)) => Err(code.status()),
        }
    }

    #[test]
    fn one_host_counts() {
        use Version as V;
        for (version, method, uri, hosts, expected) in [
            (V::HTTP_11, "GET", "/", &["a"][..], Ok("a")),
            (V::HTTP_11, "GET", "/", &["[::1]:80"], Ok("[::1]:80")),
            (V::HTTP_11, "GET", "/", &["a:"], Ok("a:")),
            (V::HTTP_11, "GET", "/", &[], Err(400)),
            (V::HTTP_11, "GET", "/", &["a", "a"], Err(400)),
            (V::HTTP_10, "GET", "/", &[], Ok("")),
            (V::HTTP_10, "GET", "/", &["a", "b"], Err(400)),
            (V::HTTP_11, "GET", "/", &[""], Err(400)),
            (V::HTTP_11, "GET", "/", &["a b"], Err(400)),
            (V::HTTP_11, "GET", "/", &["a/b"], Err(400)),
            (V::HTTP_11, "GET", "/", &["a@b"], Err(400)),
            (V::HTTP_11, "GET", "/", &["a,b"], Ok("a,b")),
            (V::HTTP_11, "GET", "/", &["a:80:80"], Err(400)),
            (V::HTTP_11, "GET", "/", &["a:x"], Err(400)),
            (V::HTTP_11, "GET", "/", &["a:123456"], Err(400)),
            (V::HTTP_11, "GET", "/", &["[::1"], Err(400)),
            (V::HTTP_11, "GET", "/", &["[]"], Err(400)),
            (V::HTTP_11, "GET", "/", &["[::1]x"], Err(400)),
            (V::HTTP_11, "GET", "http://b:8/", &["a"], Ok("b:8")),
            (V::HTTP_11, "GET", "http://b/", &[], Err(400)),
            (V::HTTP_11, "GET", "http://u@b/", &["a"], Err(400)),
            (V::HTTP_11, "GET", "ftp://b/", &["a"], Err(400)),
            (V::HTTP_11, "GET", "b:443", &["a"], Err(400)),
            (V::HTTP_11, "CONNECT", "b:443", &["b"], Err(405)),
            (V::HTTP_11, "TRACE", "/", &["b"], Err(405)),
            (V::HTTP_11, "OPTIONS", "*", &["b"], Ok("edge")),
            (V::HTTP_11, "GET", "*", &["b"], Err(400)),
            (V::HTTP_2, "GET", "http://b/", &[], Ok("b")),
            (V::HTTP_2, "GET", "https://b/", &["B"], Ok("b")),
            (V::HTTP_2, "GET", "http://b/", &["a"], Err(400)),
            (V::HTTP_2, "GET", "/", &["a"], Ok("a")),
            (V::HTTP_2, "GET", "/", &[], Err(400)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(settled(version, method, uri, hosts), expected, "{method} {uri} {hosts:?}");
        }
    }

    #[test]
    fn an_options_that_may_go_no_further_ends_here() {
        for (left, expected) in [("0", Aim::Edge), ("1", Aim::Role)] {
            let request = Request::builder().method("OPTIONS").uri("/").header("host", "a");
            let request = request.header("max-forwards", left).body(()).unwrap();
            assert_eq!(settle(&mut request.into_parts().0), Ok(expected));
        }
    }

    #[test]
    fn a_cookie_in_pieces_becomes_one() {
        let request = Request::builder().version(Version::HTTP_2).uri("http://a/");
        let request = request.header("cookie", "a=b").header("cookie", "c=d");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(settle(&mut parts), Ok(Aim::Role));
        let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=b; c=d"]);
    }
}
