//! The end of a connection: what hyper refuses by itself is refused in our words, and whoever is
//! still sending gets to read the answer.
//!
//! A socket that is closed while bytes wait in it is reset, and the reset overtakes the answer. So
//! after an answer that left something unread, the rest is read and thrown away for a while.

use super::{
    head,
    limits::{LINGER_BYTES_MAX, LINGER_TIME_MAX},
    stream::Stream,
};
use bytes::Bytes;
use http::Response;
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use wire::Code;

/// Longest head of hyper's own refusals: a status and three short headers.
const BARE_BYTES_MAX: usize = 256;
/// What is read at once to be thrown away.
const DISCARD_BYTES: usize = 16 * 1024;

/// What a client is told whose headers are too many to be read.
pub(super) const TOO_LARGE: (Code, &str) =
    (Code::HeadersTooLarge, "more than 100 headers or 32 KiB of them, by far");

/// Where a refusal of hyper's own begins at the end of what it writes.
///
/// It is a 4xx without a body, which no answer of ours is; and no body of ours has a line end in
/// it, so none looks like one.
pub(super) fn bare_start(written: &[u8]) -> Option<usize> {
    if !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = written.len().saturating_sub(BARE_BYTES_MAX);
    let tail = &written[from..];
    let begins = |at: &usize| {
        let rest = &tail[*at..];
        rest.starts_with(b"HTTP/1.1 4") || rest.starts_with(b"HTTP/1.0 4")
    };
    let at = (0..tail.len()).rev().find(begins)?;
    line_of(&tail[at..], "content-length: 0")?;
    line_of(&tail[at..], "connection: close")?;
    Some(from + at)
}

/// What a refusal of hyper's own means in our codes.
pub(super) fn meaning(bare: &[u8]) -> (Code, &'static str) {
    match bare.get(9..12) {
        Some(b"431") => TOO_LARGE,
        Some(b"414") => (Code::UriTooLong, "path and query are longer than 8 KiB, by far"),
        Some(_) | None => (Code::InvalidRequest, "the request is not sound HTTP/1.1"),
    }
}

/// An answer as the last bytes of a connection.
pub(super) fn last_words(answer: &Response<Bytes>) -> Vec<u8> {
    let mut words = Vec::new();
    head::write(&mut words, answer, answer.body(), Some(b"close"));
    words
}

/// The rest of the line of a head that begins with `start`.
fn line_of<'a>(head: &'a [u8], start: &str) -> Option<&'a [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_suffix(b"\r")?.strip_prefix(start.as_bytes()))
}

/// Ends a connection: sends `words`, and if the client may still be sending hears it out.
pub(super) async fn end(mut stream: Stream, words: &[u8], is_unread: bool) -> io::Result<()> {
    if words.is_empty() && !is_unread {
        return stream.shutdown().await;
    }
    let ended = timeout(LINGER_TIME_MAX, async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut scrap = vec![0; DISCARD_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while left != 0 {
            let count = stream.read(&mut scrap).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
        }
        Ok(())
    });
    ended.await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
         content-length: 0\r\ndate: Sun, 22 Nov 2026 11:00:00 GMT\r\n\r\n";

    #[test]
    fn only_what_hyper_says_by_itself_is_bare() {
        let ours = "HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
        let kept = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let done = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        for text in ["", "{}", "\r\n\r\n", ours, kept, done, &format!("{ours}{{}}")] {
            assert_eq!(bare_start(text.as_bytes()), None, "{text}");
        }
        assert_eq!(bare_start(BARE.as_bytes()), Some(0));
        let long = format!("{}{}{BARE}", "x".repeat(10_000), ours);
        assert_eq!(bare_start(long.as_bytes()), Some(10_000 + ours.len()));
        assert_eq!(bare_start(&BARE.as_bytes()[..BARE.len() - 1]), None);
    }

    #[test]
    fn the_status_is_kept_and_the_rest_is_ours() {
        assert_eq!(meaning(BARE.as_bytes()).0, Code::HeadersTooLarge);
        assert_eq!(meaning(b"HTTP/1.1 414 URI Too Long").0, Code::UriTooLong);
        assert_eq!(meaning(b"HTTP/1.1 400 Bad Request").0, Code::InvalidRequest);
        let answer = Response::builder().status(431).header("x-request-id", "r");
        let answer = answer.body(Bytes::from_static(b"{}")).unwrap();
        let words = String::from_utf8(last_words(&answer)).unwrap();
        let (head, rest) = words.split_once("date: ").unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 431 Request Header Fields Too Large\r\nx-request-id: r\r\n\
             connection: close\r\ncontent-length: 2\r\n"
        );
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert_eq!(rest, "\r\n{}");
    }
}
