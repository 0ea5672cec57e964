//! What is refused before it is parsed, while a node is full.
//!
//! A refusal is worth the less the longer it takes, and what it costs is lost to the requests that
//! are served. So a plain request that came whole in one read is answered in the same turn, without
//! hyper ever seeing it. Whatever is not that plain takes the long way, and is refused there.

use http::{HeaderName, HeaderValue, Method, Request, request::Parts};

/// Headers of a request that its refusal gives back.
pub static ECHOED: [HeaderName; 2] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("idempotency-key")];

/// Headers with which a request takes the long way: they change what its answer is to the
/// connection.
const LONG_WAY: [&str; 3] = ["connection", "expect", "upgrade"];

/// What a refusal needs to know of a request. `bytes` are one whole request, and in form.
pub(super) fn plain(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = lines.next()?;
    let method = first.split(|byte| *byte == b' ').next()?;
    if !first.ends_with(b" HTTP/1.1") || method == b"HEAD" {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    for line in lines.take_while(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = &line[..at];
        if LONG_WAY.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes())) {
            return None;
        }
        let echoed = ECHOED.iter().find(|it| name.eq_ignore_ascii_case(it.as_str().as_bytes()));
        if let Some(echoed) = echoed {
            let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
            request.headers_mut().append(echoed.clone(), value);
        }
    }
    Some(request.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plain_is_taken_the_short_way() {
        let head = "POST /x HTTP/1.1\r\nhost: a\r\nIDEMPOTENCY-Key:  k 1 \r\n";
        let parts = plain(format!("{head}x-request-id:r\r\n\r\nx-request-id: body").as_bytes());
        let parts = parts.unwrap();
        assert_eq!((parts.method, parts.headers.len()), (Method::POST, 2));
        assert_eq!([&parts.headers[&ECHOED[0]], &parts.headers[&ECHOED[1]]], ["r", "k 1"]);
        for more in ["Connection: close", "expect: 100-continue", "upgrade: x"] {
            assert!(plain(format!("{head}{more}\r\n\r\n").as_bytes()).is_none(), "{more}");
        }
        for first in ["HEAD / HTTP/1.1", "GET / HTTP/1.0"] {
            assert!(plain(format!("{first}\r\nhost: a\r\n\r\n").as_bytes()).is_none(), "{first}");
        }
    }
}
