//! A request on the trunk.

use super::{
    Headers, Kind,
    limits::{METHOD_BYTES_MAX, PATH_BYTES_MAX, TRACE_BYTES_MAX},
    message::{self, Length},
    put_u32, short, text,
};
use crate::{
    Decoder, Encoder, Flaw, PartitionId,
    limits::{KEY_BYTES_MAX, NAME_BYTES_MAX, PARTITIONS_MAX},
};

const DEADLINE_AT: usize = 8;
const ATTEMPT_AT: usize = 12;
const TARGET_HTTP: u8 = 0;
const TARGET_LEDGER: u8 = 1;

/// A request, borrowed: from the bytes it was read from, or from what its sender holds.
#[derive(Clone, Copy, Debug)]
pub struct RequestRef<'a> {
    /// The sender's number for it on this connection. Who sends through a link leaves it 0.
    pub id: u32,
    /// Milliseconds left until nobody wants the answer.
    pub deadline_ms: u32,
    /// How often it was sent before, over all hops.
    pub attempt: u8,
    /// Whether the idempotency key is ours and not the client's.
    pub minted: bool,
    /// Idempotency key; empty when there is none.
    pub key: &'a [u8],
    /// Text of the `traceparent`; empty when there is none.
    pub trace: &'a str,
    pub target: Target<'a>,
    pub body: &'a [u8],
    message: &'a [u8],
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The public API, as the client asked it.
    Http { method: &'a str, path: &'a str, headers: Headers<'a> },
    /// The owner of a partition; the body is a `Call`. The count lets the owner check that both
    /// mean the same split.
    Ledger { service: &'a str, partition: PartitionId, partitions: u16 },
}

impl<'a> RequestRef<'a> {
    /// A first attempt, without key or trace. The rest is set through the fields.
    pub fn new(target: Target<'a>, deadline_ms: u32, body: &'a [u8]) -> RequestRef<'a> {
        RequestRef {
            id: 0,
            deadline_ms,
            attempt: 0,
            minted: false,
            key: &[],
            trace: "",
            target,
            body,
            message: &[],
        }
    }

    /// Reads a whole message.
    pub fn read(message: &'a [u8]) -> Result<RequestRef<'a>, Flaw> {
        let mut decoder = Decoder::new(message);
        let id = decoder.u32()?;
        decoder.u32()?; // The length in all: whoever put the message together has seen to it.
        let deadline_ms = decoder.u32()?;
        let attempt = decoder.u8()?;
        let minted = decoder.bool()?;
        let key = short(&mut decoder, KEY_BYTES_MAX)?;
        let trace = text(&mut decoder, TRACE_BYTES_MAX)?;
        let target = Target::read(&mut decoder)?;
        let body = decoder.rest();
        Ok(RequestRef { id, deadline_ms, attempt, minted, key, trace, target, body, message })
    }

    /// The bytes it was read from, for [`append_forwarded_request`]; empty if it was not read.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Appends the first frame of the request; nothing when a field is over its limit. Returns how
    /// much of the body is in it, which is all of it unless it is long: the rest is to follow as
    /// data frames.
    pub fn append(&self, out: &mut Vec<u8>) -> Result<usize, Flaw> {
        self.append_first(out, Length::Known)
    }

    /// As [`RequestRef::append`] for a request whose body has no known end: data frames follow in
    /// any case. What is here of the body is to fit the first one; 4 KiB always do.
    pub fn append_open(&self, out: &mut Vec<u8>) -> Result<(), Flaw> {
        self.append_first(out, Length::Open).map(|_| ())
    }

    fn append_first(&self, out: &mut Vec<u8>, length: Length) -> Result<usize, Flaw> {
        self.check()?;
        let head = |encoder: &mut Encoder<'_>| {
            encoder.u32(self.deadline_ms);
            encoder.u8(self.attempt);
            encoder.bool(self.minted);
            encoder.short(self.key);
            encoder.short(self.trace.as_bytes());
            self.target.write(encoder);
        };
        message::append(out, Kind::Request, self.id, length, head, self.body)
    }

    fn check(&self) -> Result<(), Flaw> {
        let target_fits = match self.target {
            Target::Http { method, path, .. } => {
                method.len() <= METHOD_BYTES_MAX && path.len() <= PATH_BYTES_MAX
            }
            Target::Ledger { service, partition, partitions } => {
                service.len() <= NAME_BYTES_MAX && is_partition(partition, partitions)
            }
        };
        let fits = self.key.len() <= KEY_BYTES_MAX && self.trace.len() <= TRACE_BYTES_MAX;
        if target_fits && fits { Ok(()) } else { Err(Flaw("a field is too long")) }
    }
}

fn is_partition(partition: PartitionId, partitions: u16) -> bool {
    partition.0 < partitions && partitions <= PARTITIONS_MAX
}

impl<'a> Target<'a> {
    fn read(decoder: &mut Decoder<'a>) -> Result<Target<'a>, Flaw> {
        match decoder.u8()? {
            TARGET_HTTP => Ok(Target::Http {
                method: text(decoder, METHOD_BYTES_MAX)?,
                path: text(decoder, PATH_BYTES_MAX)?,
                headers: Headers::read(decoder)?,
            }),
            TARGET_LEDGER => {
                let service = text(decoder, NAME_BYTES_MAX)?;
                let (partition, partitions) = (PartitionId(decoder.u16()?), decoder.u16()?);
                if !is_partition(partition, partitions) {
                    return Err(Flaw("a partition beyond their count"));
                }
                Ok(Target::Ledger { service, partition, partitions })
            }
            _ => Err(Flaw("a request for an unknown kind of target")),
        }
    }

    fn write(&self, encoder: &mut Encoder<'_>) {
        match self {
            Target::Http { method, path, headers } => {
                encoder.u8(TARGET_HTTP);
                encoder.short(method.as_bytes());
                encoder.short(path.as_bytes());
                headers.write(encoder);
            }
            Target::Ledger { service, partition, partitions } => {
                encoder.u8(TARGET_LEDGER);
                encoder.short(service.as_bytes());
                encoder.u16(partition.0);
                encoder.u16(*partitions);
            }
        }
    }
}

/// What a relay changes in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub deadline_ms: u32,
    pub attempt: u8,
}

/// Appends the first frame of a request that was read or gathered whole ([`RequestRef::message`])
/// under another id. Returns how many of its bytes are in the frame: the rest is to follow as data.
///
/// # Panics
/// When `message` is not a request's.
pub fn append_forwarded_request(out: &mut Vec<u8>, id: u32, patch: Patch, message: &[u8]) -> usize {
    let (at, first) = message::append_forwarded(out, Kind::Request, id, message);
    message::put_total(out, at, message.len());
    patch.put(out, at);
    first
}

/// Appends the first part of a request ([`super::Part::bytes`]) as it came, under another id: the
/// data frames that follow it are to be passed on, too.
///
/// # Panics
/// When `part` is not a request's.
pub fn append_request_part(out: &mut Vec<u8>, id: u32, patch: Patch, part: &[u8]) {
    let (at, _) = message::append_forwarded(out, Kind::Request, id, part);
    patch.put(out, at);
}

impl Patch {
    fn put(self, out: &mut [u8], at: usize) {
        put_u32(out, at + DEADLINE_AT, self.deadline_ms);
        out[at + ATTEMPT_AT] = self.attempt;
    }
}
