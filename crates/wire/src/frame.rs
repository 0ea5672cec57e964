//! The frames of the trunk: a `u32` length, a `u8` kind, a body.
//!
//! Pure: bytes in, borrowed values out; values in, bytes appended to a buffer that the caller
//! reuses. Every limit is in [`limits`], and every breach of one is a [`Flaw`].

mod buffer;
mod control;
mod headers;
mod hello;
pub mod limits;
mod message;
mod request;
mod response;
mod stream;
#[cfg(test)]
mod tests;

pub use self::{
    buffer::FrameBuffer,
    control::{Farewell, LoadReport, OwnerMap, ResetReason, append_going_away},
    control::{append_load_report, append_owner_map, append_ping, append_pong},
    control::{append_reset, append_window},
    headers::{HeaderList, Headers},
    hello::{Hello, HelloLimits, Proof, Side},
    message::{Part, append_data},
    request::{Patch, RequestRef, Target, append_forwarded_request, append_request_part},
    response::{ResponseRef, append_forwarded_response, append_response_part},
    stream::{Inflow, Outflow},
};

use crate::{Decoder, Encoder, Flaw};

/// What the first byte after a frame's length says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Hello = 1,
    Proof = 2,
    Request = 3,
    Response = 4,
    Data = 5,
    Ping = 6,
    Pong = 7,
    OwnerMap = 8,
    GoingAway = 9,
    LoadReport = 10,
    Reset = 11,
    Window = 12,
}

/// One frame, borrowed from the bytes it was read from.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The first frame of each side.
    Hello(Hello<'a>),
    /// Answers the other side's challenge.
    Proof(Proof),
    /// A request, or the first part of a long one.
    Request(Part<'a>),
    /// A response, or the first part of a long one.
    Response(Part<'a>),
    /// A further part of a long message in the same direction, the last one if `end`.
    Data { id: u32, end: bool, bytes: &'a [u8] },
    /// From the side that asks: nobody wants the answer any more. From the side that answers: there
    /// is none, or no more of it, and the id is free.
    Reset { id: u32, reason: ResetReason },
    /// So many bytes more of the message from the other side may be sent.
    Window { id: u32, credit: u32 },
    /// To be answered by a pong of the same number.
    Ping(u64),
    /// The answer to a ping.
    Pong(u64),
    /// What an account node owns, all of it.
    OwnerMap(OwnerMap<'a>),
    /// The sender wants to be rid of this connection; why, and in words.
    GoingAway { why: Farewell, reason: &'a str },
    /// What the sender says of its load.
    LoadReport(LoadReport),
}

impl<'a> Frame<'a> {
    /// Reads a frame whose length has been cut off: the kind and the body.
    pub fn read(bytes: &'a [u8]) -> Result<Frame<'a>, Flaw> {
        let (&kind, body) = bytes.split_first().ok_or(Flaw("an empty frame"))?;
        if kind == Kind::Request as u8 {
            return Part::read(body).map(Frame::Request);
        }
        if kind == Kind::Response as u8 {
            return Part::read(body).map(Frame::Response);
        }
        Frame::read_rare(kind, body)
    }

    fn read_rare(kind: u8, body: &'a [u8]) -> Result<Frame<'a>, Flaw> {
        let mut decoder = Decoder::new(body);
        let frame = match kind {
            kind if kind == Kind::Hello as u8 => Frame::Hello(Hello::read(&mut decoder)?),
            kind if kind == Kind::Proof as u8 => Frame::Proof(Proof(decoder.array()?)),
            kind if kind == Kind::Data as u8 => {
                let (id, end) = (decoder.u32()?, decoder.bool()?);
                let bytes = decoder.rest();
                decoder.raw(bytes.len())?;
                if bytes.is_empty() && !end {
                    return Err(Flaw("data without bytes"));
                }
                Frame::Data { id, end, bytes }
            }
            kind if kind == Kind::Reset as u8 => {
                Frame::Reset { id: decoder.u32()?, reason: ResetReason::read(&mut decoder)? }
            }
            kind if kind == Kind::Window as u8 => {
                Frame::Window { id: decoder.u32()?, credit: decoder.u32()? }
            }
            kind if kind == Kind::Ping as u8 => Frame::Ping(decoder.u64()?),
            kind if kind == Kind::Pong as u8 => Frame::Pong(decoder.u64()?),
            kind if kind == Kind::OwnerMap as u8 => Frame::OwnerMap(OwnerMap::read(&mut decoder)?),
            kind if kind == Kind::GoingAway as u8 => {
                let why = Farewell::read(&mut decoder)?;
                Frame::GoingAway { why, reason: text(&mut decoder, limits::REASON_BYTES_MAX)? }
            }
            kind if kind == Kind::LoadReport as u8 => {
                Frame::LoadReport(LoadReport::read(&mut decoder)?)
            }
            _ => return Err(Flaw("a frame of an unknown kind")),
        };
        decoder.end()?;
        Ok(frame)
    }
}

/// Appends a frame whose body `write` appends.
fn append(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Encoder<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    write(&mut Encoder(out));
    close(out, start);
}

/// Writes the length of the frame that begins at `start` and ends where `out` does.
fn close(out: &mut [u8], start: usize) {
    let bytes = out.len() - start - 4;
    assert!(bytes <= limits::FRAME_BYTES_MAX);
    put_u32(out, start, u32::try_from(bytes).expect("a frame is below 4 GiB"));
}

fn put_u32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn short<'a>(decoder: &mut Decoder<'a>, bytes_max: usize) -> Result<&'a [u8], Flaw> {
    let bytes = decoder.short()?;
    if bytes_max < bytes.len() { Err(Flaw("a field is too long")) } else { Ok(bytes) }
}

fn text<'a>(decoder: &mut Decoder<'a>, bytes_max: usize) -> Result<&'a str, Flaw> {
    let bytes = short(decoder, bytes_max)?;
    std::str::from_utf8(bytes).map_err(|_| Flaw("a text is not UTF-8"))
}

/// The longest beginning of `text` that fits.
fn clip(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}
