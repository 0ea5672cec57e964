//! Requests and responses as messages: a head and a body, in one frame or, when long, as a stream.
//!
//! A message begins with its id and its length in all. If the first frame holds less than that, or
//! the length is [`OPEN`], data frames of the same id bring the rest, the last of them marked.

use super::{
    Kind, close,
    limits::{DATA_BYTES_MAX, FRAME_BYTES_MAX, HEAD_BYTES_MAX, MESSAGE_BYTES_MAX},
    put_u32,
};
use crate::{Decoder, Encoder, Flaw};

/// Where the id stands in a message.
pub(super) const ID_AT: usize = 0;
/// Where the length in all stands.
pub(super) const TOTAL_AT: usize = 4;
/// Length and kind, before each message.
pub(super) const FRAME_HEAD_BYTES: usize = 5;
/// Stands for the length of a message that nobody knows yet.
const OPEN: u32 = u32::MAX;

/// A message, or the first part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub id: u32,
    /// Bytes of the message in all; none when the sender does not know.
    pub total: Option<usize>,
    /// The message from its start, the id included. Its head is all there.
    pub bytes: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Part<'a>, Flaw> {
        let mut decoder = Decoder::new(bytes);
        let id = decoder.u32()?;
        let total = decoder.u32()?;
        if total == OPEN {
            return Ok(Part { id, total: None, bytes });
        }
        let total = usize::try_from(total).map_err(|_| Flaw("a message is too long"))?;
        if MESSAGE_BYTES_MAX < total {
            return Err(Flaw("a message is too long"));
        }
        if total < bytes.len() {
            return Err(Flaw("a message is longer than it says"));
        }
        Ok(Part { id, total: Some(total), bytes })
    }

    /// The message, if this is all of it.
    pub fn whole(&self) -> Option<&'a [u8]> {
        (self.total == Some(self.bytes.len())).then_some(self.bytes)
    }
}

/// What the first frame of a message says of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// That of head and body.
    Known,
    /// Nothing: more may follow than the body that is here.
    Open,
}

/// Appends the first frame of a message whose head, after id and length, `head` writes; nothing on
/// a flaw. Returns how many bytes of the body are in it: the others are to follow as data.
pub(super) fn append(
    out: &mut Vec<u8>,
    kind: Kind,
    id: u32,
    length: Length,
    head: impl FnOnce(&mut Encoder<'_>),
    body: &[u8],
) -> Result<usize, Flaw> {
    let start = out.len();
    let message = start + FRAME_HEAD_BYTES;
    let mut encoder = Encoder(out);
    encoder.u32(0);
    encoder.u8(kind as u8);
    encoder.u32(id);
    encoder.u32(0);
    head(&mut encoder);
    let head_bytes = out.len() - message;
    let total = head_bytes + body.len();
    if HEAD_BYTES_MAX < head_bytes || MESSAGE_BYTES_MAX < total {
        out.truncate(start);
        return Err(Flaw("a message is too long"));
    }
    let total = match length {
        Length::Known => u32::try_from(total).expect("at most 8 MiB"),
        Length::Open => OPEN,
    };
    put_u32(out, message + TOTAL_AT, total);
    let first = body.len().min(FRAME_BYTES_MAX - 1 - head_bytes);
    if length == Length::Open && first < body.len() {
        out.truncate(start);
        return Err(Flaw("the first part of a stream does not fit its frame"));
    }
    out.extend_from_slice(&body[..first]);
    close(&mut out[..], start);
    Ok(first)
}

/// Appends the first frame of a message that was read, under another id. Returns where it begins
/// in `out`, and how many of its bytes are in the frame: the others are to follow as data.
pub(super) fn append_forwarded(
    out: &mut Vec<u8>,
    kind: Kind,
    id: u32,
    message: &[u8],
) -> (usize, usize) {
    let start = out.len();
    let at = start + FRAME_HEAD_BYTES;
    let first = message.len().min(FRAME_BYTES_MAX - 1);
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
    out.extend_from_slice(&message[..first]);
    put_u32(out, at + ID_AT, id);
    close(&mut out[..], start);
    (at, first)
}

/// Says that a message which begins at `at` has this length, however it came.
pub(super) fn put_total(out: &mut [u8], at: usize, bytes: usize) {
    put_u32(out, at + TOTAL_AT, u32::try_from(bytes).expect("what was gathered is below 4 GiB"));
}

/// Appends a further part of the message `id`, the last one if `end`. Only that may be empty.
///
/// # Panics
/// When the bytes are more than a frame takes ([`DATA_BYTES_MAX`]), or none and not the end.
pub fn append_data(out: &mut Vec<u8>, id: u32, end: bool, bytes: &[u8]) {
    assert!(bytes.len() <= DATA_BYTES_MAX && (end || !bytes.is_empty()));
    super::append(out, Kind::Data, |encoder| {
        encoder.u32(id);
        encoder.bool(end);
        encoder.raw(bytes);
    });
}
