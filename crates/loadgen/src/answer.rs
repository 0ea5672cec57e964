//! Reads HTTP/1.1 answers (RFC 9112) from the bytes that have come so far.

use crate::limits::{ANSWER_BYTES_MAX, ANSWER_HEADERS_MAX};
use std::borrow::Cow;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
    /// The idempotency key that the tree says the request had.
    pub(crate) key: Option<&'a str>,
    /// The peer hangs up after it.
    pub(crate) closes: bool,
}

/// What the bytes come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    Whole(Answer<'a>),
    /// More is to come.
    Part,
    /// This is no answer to one request.
    Garbled(&'static str),
}

/// How the end of a body is found.
enum Framing {
    Length(usize),
    Chunked,
}

/// Reads the answer to one request; nothing may follow it, for nothing else was asked.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let start = match head.parse(bytes) {
        Ok(httparse::Status::Complete(start)) => start,
        Ok(httparse::Status::Partial) if bytes.len() < ANSWER_BYTES_MAX => return Parsed::Part,
        Ok(httparse::Status::Partial) => return Parsed::Garbled("longer than any answer"),
        Err(_) => return Parsed::Garbled("not HTTP"),
    };
    let status = head.code.unwrap_or(0);
    if (100..200).contains(&status) {
        return parse(&bytes[start..]); // Interim: the answer is what follows.
    }
    let mut framing = if matches!(status, 204 | 304) { Some(Framing::Length(0)) } else { None };
    let (mut key, mut closes) = (None, head.version == Some(0));
    for header in &*head.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let digits = std::str::from_utf8(header.value).ok();
            let Some(length) = digits.and_then(|it| it.trim().parse().ok()) else {
                return Parsed::Garbled("a length that is no number");
            };
            framing = framing.or(Some(Framing::Length(length)));
        } else if is("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if is("connection") {
            closes |= header.value.eq_ignore_ascii_case(b"close");
        } else if is("idempotency-key") {
            key = std::str::from_utf8(header.value).ok();
        }
    }
    let rest = &bytes[start..];
    let (body, end) = match framing {
        Some(Framing::Length(length)) if ANSWER_BYTES_MAX < length => {
            return Parsed::Garbled("longer than any answer");
        }
        Some(Framing::Length(length)) => match rest.get(..length) {
            Some(body) => (Cow::Borrowed(body), length),
            None => return Parsed::Part,
        },
        Some(Framing::Chunked) => match unchunked(rest) {
            Ok(Some((body, end))) => (Cow::Owned(body), end),
            Ok(None) => return Parsed::Part,
            Err(why) => return Parsed::Garbled(why),
        },
        None => return Parsed::Garbled("no length"),
    };
    match rest.len() == end {
        true => Parsed::Whole(Answer { status, body, key, closes }),
        false => Parsed::Garbled("more than one answer"),
    }
}

/// The content of a chunked body and where it ends; `None` while a part is missing.
fn unchunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let Ok(size) = httparse::parse_chunk_size(&bytes[at..]) else {
            return Err("a chunk without a size");
        };
        let httparse::Status::Complete((head, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if ANSWER_BYTES_MAX < size.saturating_add(content.len()) {
            return Err("longer than any answer");
        }
        let start = at + head;
        let end = start + size;
        let Some(after) = bytes.get(end..end + 2) else { return Ok(None) };
        if after != b"\r\n" {
            return Err("a chunk of another length, or trailers");
        }
        content.extend_from_slice(&bytes[start..end]);
        at = end + 2;
        if size == 0 {
            return Ok(Some((content, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(u16, &str), &str>) {
        let found = match parse(text.as_bytes()) {
            Parsed::Whole(answer) => {
                Ok((answer.status, String::from_utf8(answer.body.into_owned()).unwrap()))
            }
            Parsed::Part => Err("part"),
            Parsed::Garbled(why) => Err(why),
        };
        let found = found.as_ref().map(|(status, body)| (*status, body.as_str())).map_err(|it| *it);
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn answers_end_where_they_say() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Ok((200, "{}")));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            Ok((200, "x")),
        );
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n";
        check(chunks, Err("part"));
        check(&format!("{chunks}0\r\n\r\n"), Ok((200, "abcd")));
    }

    #[test]
    fn every_prefix_of_an_answer_is_a_part() {
        for text in [
            "HTTP/1.1 409 Conflict\r\nidempotency-key: k\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            for end in 0..text.len() {
                check(&text[..end], Err("part"));
            }
            check(text, Ok((if text.contains("409") { 409 } else { 200 }, "abc")));
        }
    }

    #[test]
    fn what_is_no_answer_to_one_request_is_garbled() {
        check("HTTP/1.1 200 OK\r\n\r\n", Err("no length"));
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err("a length that is no number"));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", Err("more than one answer"));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            Err("longer than any answer"),
        );
        check("220 smtp\r\n", Err("not HTTP"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}zz\r\n"), Err("a chunk without a size"));
        check(&format!("{chunked}1\r\nabcd"), Err("a chunk of another length, or trailers"));
        check(&format!("{chunked}fffffffffffffff\r\n"), Err("longer than any answer"));
    }

    #[test]
    fn headers_that_matter_are_read() {
        let text = "HTTP/1.1 503 X\r\nIdempotency-Key: tgk_1\r\nConnection: close\r\n\
                    Content-Length: 0\r\n\r\n";
        let Parsed::Whole(answer) = parse(text.as_bytes()) else { panic!() };
        assert_eq!((answer.key, answer.closes), (Some("tgk_1"), true));
    }
}
