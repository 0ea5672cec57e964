//! A response on the trunk.

use super::{
    Headers, Kind,
    message::{self, Length},
    text,
};
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

    /// Appends the first frame of the response; nothing when a field is over its limit. Returns how
    /// much of the body is in it, which is all of it unless it is long: the rest is to follow as
    /// data frames.
    pub fn append(&self, out: &mut Vec<u8>) -> Result<usize, Flaw> {
        self.append_first(out, Length::Known)
    }

    /// As [`ResponseRef::append`] for a response whose body has no known end: data frames follow
    /// in any case. What is here of the body is to fit the first one; 4 KiB always do.
    pub fn append_open(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.append_first(out, Length::Open).map(|_| ())
    }

    fn append_first(&self, out: &mut Vec<u8>, length: Length) -> Result<usize, Flaw> {
        if NAME_BYTES_MAX < self.decided_by.len() || !(100..1_000).contains(&self.status) {
            return Err(Flaw("a name is too long, or a status is none"));
        }
        let head = |encoder: &mut Encoder<'_>| {
            encoder.u16(self.status);
            encoder.short(self.decided_by.as_bytes());
            self.headers.write(encoder);
        };
        message::append(out, Kind::Response, self.id, length, head, self.body)
    }
}

/// Appends the first frame of a response that was read or gathered whole
/// ([`ResponseRef::message`]) under another id. Returns how many of its bytes are in the frame: the
/// rest is to follow as data.
///
/// # Panics
/// When `message` is not a response's.
pub fn append_forwarded_response(out: &mut Vec<u8>, id: u32, message: &[u8]) -> usize {
    let (at, first) = message::append_forwarded(out, Kind::Response, id, message);
    message::put_total(out, at, message.len());
    first
}

/// Appends the first part of a response ([`super::Part::bytes`]) as it came, under another id: the
/// data frames that follow it are to be passed on, too.
///
/// # Panics
/// When `part` is not a response's.
pub fn append_response_part(out: &mut Vec<u8>, id: u32, part: &[u8]) {
    message::append_forwarded(out, Kind::Response, id, part);
}
