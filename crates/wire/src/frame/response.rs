//! A response on the trunk.

use super::{Headers, Kind, message, text};
use crate::{Decoder, Encoder, Flaw, limits::NAME_BYTES_MAX};

/// A response, borrowed: from the bytes it was read from, or from what its sender holds.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRef<'a> {
    /// The asker's number for the request. Who sends through a `ReplyTo` leaves it 0.
    pub id: u32,
    /// HTTP status. To a ledger request: 200 when the body is a `Reply`.
    pub status: u16,
    /// Name of the node that decided it.
    pub decided_by: &'a str,
    pub headers: Headers<'a>,
    pub body: &'a [u8],
    message: &'a [u8],
}

impl<'a> ResponseRef<'a> {
    /// Without headers. The rest is set through the fields.
    pub fn new(status: u16, decided_by: &'a str, body: &'a [u8]) -> ResponseRef<'a> {
        ResponseRef { id: 0, status, decided_by, headers: Headers::NONE, body, message: &[] }
    }

    /// Reads a whole message.
    pub fn read(message: &'a [u8]) -> Result<ResponseRef<'a>, Flaw> {
        let mut decoder = Decoder::new(message);
        let id = decoder.u32()?;
        decoder.u32()?; // The length in all: whoever put the message together has seen to it.
        let status = decoder.u16()?;
        if !(100..1_000).contains(&status) {
            return Err(Flaw("a status of other than three digits"));
        }
        let decided_by = text(&mut decoder, NAME_BYTES_MAX)?;
        let headers = Headers::read(&mut decoder)?;
        Ok(ResponseRef { id, status, decided_by, headers, body: decoder.rest(), message })
    }

    /// The bytes it was read from, for [`append_forwarded_response`]; empty if it was not read.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Appends the response as one or more frames; nothing when a field is over its limit.
    pub fn append(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        if NAME_BYTES_MAX < self.decided_by.len() || !(100..1_000).contains(&self.status) {
            return Err(Flaw("a name is too long, or a status is none"));
        }
        let head = |encoder: &mut Encoder<'_>| {
            encoder.u16(self.status);
            encoder.short(self.decided_by.as_bytes());
            self.headers.write(encoder);
        };
        message::append(out, Kind::Response, self.id, head, self.body)
    }
}

/// Appends a response that was read ([`ResponseRef::message`]) under another id.
///
/// # Panics
/// When `message` is not a response's.
pub fn append_forwarded_response(out: &mut Vec<u8>, id: u32, message: &[u8]) {
    message::append_forwarded(out, Kind::Response, id, message);
}
