//! Requests and responses as messages: a head and a body, in one frame or, when long, in several.
//!
//! A message begins with its id and its length in all. If the first frame holds less than that,
//! data frames of the same id bring the rest.

use super::{
    Kind, close,
    limits::{
        DATA_BYTES_MAX, FRAME_BYTES_MAX, HEAD_BYTES_MAX, MESSAGE_BYTES_MAX, PARTIAL_BYTES_MAX,
        PARTIAL_MESSAGES_MAX,
    },
    put_u32,
};
use crate::{Decoder, Encoder, Flaw};
use std::collections::BTreeMap;

/// Where the id stands in a message.
pub(super) const ID_AT: usize = 0;
/// Where the length in all stands.
pub(super) const TOTAL_AT: usize = 4;
/// Length and kind, before each message.
pub(super) const FRAME_HEAD_BYTES: usize = 5;

/// A message, or the first part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub id: u32,
    /// Bytes of the message in all.
    pub total: usize,
    /// The message from its start, the id included.
    pub bytes: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Part<'a>, Flaw> {
        let mut decoder = Decoder::new(bytes);
        let id = decoder.u32()?;
        let total = usize::try_from(decoder.u32()?).map_err(|_| Flaw("a message is too long"))?;
        if MESSAGE_BYTES_MAX < total {
            return Err(Flaw("a message is too long"));
        }
        if total < bytes.len() {
            return Err(Flaw("a message is longer than it says"));
        }
        Ok(Part { id, total, bytes })
    }

    /// The message, if this is all of it.
    pub fn whole(&self) -> Option<&'a [u8]> {
        (self.bytes.len() == self.total).then_some(self.bytes)
    }
}

/// Appends a message whose head, after id and length, `head` writes; nothing on a flaw.
pub(super) fn append(
    out: &mut Vec<u8>,
    kind: Kind,
    id: u32,
    head: impl FnOnce(&mut Encoder<'_>),
    body: &[u8],
) -> Result<(), Flaw> {
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
    put_u32(out, message + TOTAL_AT, u32::try_from(total).expect("at most 8 MiB"));
    let (first, rest) = body.split_at(body.len().min(FRAME_BYTES_MAX - 1 - head_bytes));
    out.extend_from_slice(first);
    close(&mut out[..], start);
    append_data(out, id, rest);
    Ok(())
}

/// Appends a message that was read whole, under another id. Returns where it begins in `out`.
pub(super) fn append_forwarded(out: &mut Vec<u8>, kind: Kind, id: u32, message: &[u8]) -> usize {
    let start = out.len();
    let at = start + FRAME_HEAD_BYTES;
    let (first, rest) = message.split_at(message.len().min(FRAME_BYTES_MAX - 1));
    out.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
    out.extend_from_slice(first);
    put_u32(out, at + ID_AT, id);
    close(&mut out[..], start);
    append_data(out, id, rest);
    at
}

fn append_data(out: &mut Vec<u8>, id: u32, bytes: &[u8]) {
    for piece in bytes.chunks(DATA_BYTES_MAX) {
        super::append(out, Kind::Data, |encoder| {
            encoder.u32(id);
            encoder.raw(piece);
        });
    }
}

/// Puts long messages together. Holds only what has arrived, whatever a peer announces.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: BTreeMap<u32, Partial>,
    bytes: usize,
}

#[derive(Debug)]
struct Partial {
    total: usize,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Takes the first part of a message that is not whole.
    pub fn begin(&mut self, part: Part<'_>) -> Result<(), Flaw> {
        assert!(part.bytes.len() < part.total);
        if PARTIAL_MESSAGES_MAX <= self.partial.len() {
            return Err(Flaw("too many incomplete messages"));
        }
        self.grow(part.bytes.len())?;
        let partial = Partial { total: part.total, bytes: part.bytes.to_vec() };
        match self.partial.insert(part.id, partial) {
            None => Ok(()),
            Some(_) => Err(Flaw("two incomplete messages of one id")),
        }
    }

    /// Takes a further part; returns the message once it is whole.
    pub fn add(&mut self, id: u32, bytes: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
        let partial = self.partial.get_mut(&id).ok_or(Flaw("data for no message"))?;
        if bytes.is_empty() || partial.total - partial.bytes.len() < bytes.len() {
            return Err(Flaw("a message is longer than it says"));
        }
        partial.bytes.extend_from_slice(bytes);
        let whole = partial.bytes.len() == partial.total;
        self.grow(bytes.len())?;
        if !whole {
            return Ok(None);
        }
        let message = self.partial.remove(&id).map(|partial| partial.bytes);
        self.bytes -= message.as_ref().map_or(0, Vec::len);
        Ok(message)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.bytes += bytes;
        if PARTIAL_BYTES_MAX < self.bytes {
            return Err(Flaw("too many bytes of incomplete messages"));
        }
        Ok(())
    }
}
