//! Which HTTP a connection speaks, told by its first bytes.

use super::{http2::frame::PREFACE, stream::Stream};
use bytes::BytesMut;
use std::io;
use tokio::io::AsyncReadExt;

/// Bytes of it that no HTTP/1 request begins with: `PRI` is reserved.
const TELLING_BYTES: usize = 14;
/// What is read at first: mostly the whole of a first request.
const FIRST_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads until it is clear what is spoken, and puts back what it has read.
pub(super) async fn version(stream: &mut Stream) -> io::Result<Version> {
    let mut first = BytesMut::with_capacity(FIRST_BYTES);
    let version = loop {
        let count = stream.read_buf(&mut first).await?;
        match told_by(&first) {
            Some(version) => break version,
            None if count == 0 => break Version::Http1,
            None => (),
        }
    };
    stream.unread(first.freeze());
    Ok(version)
}

fn told_by(first: &[u8]) -> Option<Version> {
    let count = first.len().min(TELLING_BYTES);
    match first[..count] == PREFACE[..count] {
        false => Some(Version::Http1),
        true if count == TELLING_BYTES => Some(Version::Http2),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_tells() {
        for end in 0..TELLING_BYTES {
            assert_eq!(told_by(&PREFACE[..end]), None);
            let mut other = PREFACE[..=end].to_vec();
            other[end] ^= 1;
            assert_eq!(told_by(&other), Some(Version::Http1), "{end}");
        }
        assert_eq!(told_by(PREFACE), Some(Version::Http2));
        assert_eq!(told_by(b"PRI * HTTP/2.0\r\nx"), Some(Version::Http2));
        assert_eq!(told_by(b"GET / HTTP/1.1\r\n"), Some(Version::Http1));
    }
}
