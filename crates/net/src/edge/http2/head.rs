//! The head of a request, put together from its fields (RFC 9113 §8.2 and §8.3).

use super::field::{Field, Name, Value};
use http::{
    HeaderMap, Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Room for the headers of most requests, and what the edge adds.
const HEADERS_FIRST: usize = 12;

/// The head of a request as it is read.
#[derive(Debug)]
pub(super) struct HeadFields {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
    bytes: usize,
    bytes_max: usize,
    is_flawed: bool,
}

/// A request whose head was read.
#[derive(Debug)]
pub(in crate::edge) struct RequestHead {
    pub(in crate::edge) request: Request<()>,
    /// What it says its body's length is.
    pub(in crate::edge) length: Option<u64>,
    /// Its headers are more than are kept, and some are missing.
    pub(in crate::edge) is_too_large: bool,
}

/// The request is none, and whoever sent it is told so by a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl HeadFields {
    /// Keeps so many bytes of headers at most.
    pub(super) fn new(bytes_max: usize) -> HeadFields {
        HeadFields {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            headers: HeaderMap::with_capacity(HEADERS_FIRST),
            bytes: 0,
            bytes_max,
            is_flawed: false,
        }
    }

    pub(super) fn add(&mut self, field: Field) {
        self.bytes += field.bytes;
        let is_first = match field.value {
            Value::Header(value) => {
                if let Name::Header(name) = field.name
                    && self.bytes <= self.bytes_max
                {
                    self.headers.append(name, value);
                }
                return;
            }
            // Pseudo headers stand before the others, and once.
            Value::Flawed => false,
            _ if !self.headers.is_empty() => false,
            Value::Method(it) => self.method.replace(it).is_none(),
            Value::Scheme(it) => self.scheme.replace(it).is_none(),
            Value::Authority(it) => self.authority.replace(it).is_none(),
            Value::Path(it) => self.path.replace(it).is_none(),
        };
        self.is_flawed |= !is_first;
    }

    /// The request, whose body is still to come unless it `ends` here.
    pub(super) fn finish(self, ends: bool) -> Result<RequestHead, Malformed> {
        let method = self.method.filter(|_| !self.is_flawed).ok_or(Malformed)?;
        let is_connect = method == Method::CONNECT;
        if self.scheme.is_some() == is_connect || self.path.is_some() == is_connect {
            return Err(Malformed);
        }
        let length = length(&self.headers)?;
        if ends && length.is_some_and(|it| it != 0) {
            return Err(Malformed);
        }
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = self.path;
        if self.authority.is_some() {
            // There is no telling a scheme without an authority in a URI.
            (uri.scheme, uri.authority) = (self.scheme, self.authority);
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Malformed)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        Ok(RequestHead { request, length, is_too_large: self.bytes_max < self.bytes })
    }
}

/// What the headers say a body's length is. Said twice it is malformed, as in HTTP/1, though both may
/// say the same.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut given = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value.to_str().ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
        let length: u64 = digits.and_then(|it| it.parse().ok()).ok_or(Malformed)?;
        if given.replace(length).is_some() {
            return Err(Malformed);
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)], ends: bool) -> Result<RequestHead, Malformed> {
        let mut head = HeadFields::new(400);
        for (name, value) in fields {
            head.add(Field::new(Name::of(name.as_bytes()), name.len(), value.as_bytes()));
        }
        head.finish(ends)
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "c:1")];

    #[test]
    fn a_request_is_put_together() {
        let fields = [&GET[..], &[("x", "1"), ("x", "2"), ("content-length", "7")]].concat();
        let RequestHead { request, length, is_too_large } = head(&fields, false).unwrap();
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_2));
        assert_eq!(request.uri(), "https://c:1/a?b");
        assert_eq!(request.headers().get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((length, is_too_large), (Some(7), false));
        assert_eq!(head(&GET[..3], true).unwrap().request.uri(), "/a?b");
        let connect = head(&[(":method", "CONNECT"), (":authority", "a:1")], true).unwrap();
        assert_eq!(connect.request.uri(), "a:1");
    }

    #[test]
    fn what_makes_no_request_is_malformed() {
        let with = |more: &[(&'static str, &'static str)]| [&GET[..], more].concat();
        for fields in [
            GET[1..].to_vec(),
            [&GET[..1], &GET[2..]].concat(),
            [&GET[..2], &GET[3..]].concat(),
            with(&[(":path", "/")]),
            with(&[(":status", "200")]),
            with(&[(":protocol", "websocket")]),
            with(&[("X", "y")]),
            with(&[("connection", "close")]),
            with(&[("content-length", "1"), ("content-length", "1")]),
            with(&[("content-length", "+1")]),
            with(&[("content-length", "")]),
            with(&[("content-length", "18446744073709551616")]),
            [&[("x", "y")], &GET[..]].concat(),
            vec![(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
        ] {
            assert!(head(&fields, false).is_err(), "{fields:?}");
        }
        let length = with(&[("content-length", "1")]);
        assert_eq!(head(&length, false).unwrap().length, Some(1));
        assert_eq!(head(&length, true).unwrap_err(), Malformed);
        assert!(head(&with(&[("content-length", "0")]), true).is_ok());
    }

    #[test]
    fn what_is_too_large_is_told_and_not_kept() {
        let long = "x".repeat(300);
        let fields = [&GET[..], &[("x", long.as_str()), ("content-length", "1")]].concat();
        let head = head(&fields, false).unwrap();
        assert!(head.is_too_large);
        assert!(head.request.headers().is_empty());
    }
}
