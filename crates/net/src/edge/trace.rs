//! The place of a request in a trace (W3C Trace Context): one that is sound goes on, with the edge as
//! the new parent, else a new trace begins here.

use crate::ids;
use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-`, 32 digits of the trace, `-`, 16 of the parent, `-`, 2 of flags.
const TRACEPARENT_BYTES: usize = 55;

/// A `traceparent` of version 00, with the edge as the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; TRACEPARENT_BYTES]);

impl TraceParent {
    /// A trace that begins here.
    pub(super) fn new() -> TraceParent {
        let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&ids::trace_id(), &mut parent[3..35]);
        TraceParent::over(parent)
    }

    /// The trace of a request that brings one, if it is sound. Else a new one begins, and the state
    /// that came with the other goes.
    pub(super) fn following(headers: &mut HeaderMap) -> TraceParent {
        let mut given = headers.get_all(TRACEPARENT).iter();
        let sound = match (given.next(), given.next()) {
            (Some(one), None) => continued(one.as_bytes()),
            (None | Some(_), _) => None,
        };
        sound.map(TraceParent::over).unwrap_or_else(|| {
            headers.remove(TRACESTATE);
            TraceParent::new()
        })
    }

    fn over(mut parent: [u8; TRACEPARENT_BYTES]) -> TraceParent {
        hex(&ids::span_id(), &mut parent[36..52]);
        TraceParent(parent)
    }

    /// The value of the header.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and hyphens")
    }
}

/// The version 00 form of a sound `traceparent`, of whatever version (W3C Trace Context §4.1).
pub(super) fn continued(value: &[u8]) -> Option<[u8; TRACEPARENT_BYTES]> {
    let known: &[u8; TRACEPARENT_BYTES] = value.first_chunk()?;
    let is_sound = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
    });
    let is_whole = match &known[..2] {
        b"00" => value.len() == TRACEPARENT_BYTES,
        b"ff" => false,
        _ => value.get(TRACEPARENT_BYTES).is_none_or(|byte| *byte == b'-'),
    };
    let is_zero = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    if !is_sound || !is_whole || is_zero(&known[3..35]) || is_zero(&known[36..52]) {
        return None;
    }
    let mut parent = *known;
    parent[..2].copy_from_slice(b"00");
    // Of the flags only the first is known in version 00: sampled.
    parent[53] = b'0';
    parent[54] = if matches!(known[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f') {
        b'1'
    } else {
        b'0'
    };
    Some(parent)
}

fn hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}
