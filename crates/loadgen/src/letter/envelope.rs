//! How a request is written: as the text of HTTP/1.1, or for HTTP/2 as a head in HPACK.

use super::put;
use crate::http2::hpack::{self, Name};
use std::fmt::Arguments;

/// Of a letter for HTTP/2: so many bytes before its head say how long that is.
const LENGTH_BYTES: usize = 4;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(crate) enum Envelope {
    Http1 {
        /// From the end of the path to the last header that all share.
        after: Vec<u8>,
    },
    /// A letter is the length of its head, the head, and the body.
    Http2 {
        /// The fields from the method to the path.
        before: Vec<u8>,
        /// Those after the path.
        after: Vec<u8>,
    },
}

impl Envelope {
    pub(crate) fn http1(host: &str, api_key: &str) -> Envelope {
        let after = format!(" HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {api_key}\r\n");
        Envelope::Http1 { after: after.into_bytes() }
    }

    pub(crate) fn http2(host: &str, api_key: &str) -> Envelope {
        let (mut before, mut after) = (vec![hpack::SCHEME_HTTP], Vec::new());
        hpack::put_field(&mut before, Name::Authority, |out| put(out, format_args!("{host}")));
        hpack::put_field(&mut after, Name::Authorization, |out| {
            put(out, format_args!("Bearer {api_key}"));
        });
        Envelope::Http2 { before, after }
    }

    /// A whole request without a body.
    pub(crate) fn get(&self, out: &mut Vec<u8>, path: Arguments<'_>) {
        match self {
            Envelope::Http1 { after } => {
                out.extend_from_slice(b"GET ");
                put(out, path);
                out.extend_from_slice(after);
                out.extend_from_slice(b"\r\n");
            }
            Envelope::Http2 { before, after } => {
                begin(out, hpack::METHOD_GET, before, path, after);
                end(out);
            }
        }
    }

    /// All of a request but its body, which is so long.
    pub(crate) fn post(
        &self,
        out: &mut Vec<u8>,
        path: Arguments<'_>,
        key: Option<Arguments<'_>>,
        length: usize,
    ) {
        match self {
            Envelope::Http1 { after } => {
                out.extend_from_slice(b"POST ");
                put(out, path);
                out.extend_from_slice(after);
                if let Some(key) = key {
                    out.extend_from_slice(b"Idempotency-Key: ");
                    put(out, key);
                    out.extend_from_slice(b"\r\n");
                }
                put(
                    out,
                    format_args!("Content-Type: application/json\r\nContent-Length: {length}"),
                );
                out.extend_from_slice(b"\r\n\r\n");
            }
            Envelope::Http2 { before, after } => {
                begin(out, hpack::METHOD_POST, before, path, after);
                if let Some(key) = key {
                    hpack::put_field(out, Name::IdempotencyKey, |out| put(out, key));
                }
                hpack::put_field(out, Name::ContentType, |out| {
                    out.extend_from_slice(b"application/json");
                });
                let length = format_args!("{length}");
                hpack::put_field(out, Name::ContentLength, |out| put(out, length));
                end(out);
            }
        }
    }
}

fn begin(out: &mut Vec<u8>, method: u8, before: &[u8], path: Arguments<'_>, after: &[u8]) {
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(method);
    out.extend_from_slice(before);
    hpack::put_field(out, Name::Path, |out| put(out, path));
    out.extend_from_slice(after);
}

/// The letter began with the buffer.
fn end(out: &mut [u8]) {
    let length = u32::try_from(out.len() - LENGTH_BYTES).expect("the head of a request is short");
    out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// Head and body of a letter for HTTP/2.
pub(crate) fn split(letter: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = letter.split_first_chunk().expect("a letter begins with a length");
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("it was one");
    rest.split_at(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_for_http2_is_a_head_and_a_body() {
        let envelope = Envelope::http2("tree", "secret");
        let mut out = Vec::new();
        envelope.post(&mut out, format_args!("/v1/{}", "x"), Some(format_args!("k-{}", 1)), 2);
        out.extend_from_slice(b"{}");
        let (head, body) = split(&out);
        let wanted: &[&[u8]] = &[
            b"\x83\x86\x01\x04tree\x04\x05/v1/x\x1f\x08\x0dBearer secret",
            b"\x00\x0fidempotency-key\x03k-1\x0f\x10\x10application/json\x0f\x0d\x012",
        ];
        assert_eq!((head, body), (wanted.concat().as_slice(), b"{}".as_slice()));
        out.clear();
        envelope.get(&mut out, format_args!("/v1/x"));
        let (head, body) = split(&out);
        let wanted = b"\x82\x86\x01\x04tree\x04\x05/v1/x\x1f\x08\x0dBearer secret";
        assert_eq!((head, body), (wanted.as_slice(), b"".as_slice()));
    }
}
