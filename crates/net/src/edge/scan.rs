//! The form of an HTTP/1 message, checked byte by byte before hyper reads it (RFC 9112).
//!
//! A parser that is lenient with line ends, white space or two statements of a body's length takes
//! for one request what the next hop takes for two. So what is not exactly in form goes no
//! further: not one byte of it from the first that is wrong. The scanner follows heads and bodies,
//! keeps no text and allocates nothing, and does not care how the bytes are cut into reads.

mod class;
mod field;
#[cfg(test)]
mod tests;

use self::{
    class::{Class, is, run},
    field::Field,
};
use super::limits::METHOD_BYTES_MAX;

/// Empty lines before a request that are overlooked (RFC 9112 §2.2).
const EMPTY_LINES_MAX: u8 = 1;
/// Digits of a chunk's size.
const CHUNK_DIGITS_MAX: u8 = 15;
/// Extensions of all chunks of a body, in bytes.
const EXTENSION_BYTES_MAX: u32 = 1024;
/// Trailers of a body, in bytes. They are dropped.
const TRAILER_BYTES_MAX: u32 = 8 * 1024;
const VERSION: &[u8; 7] = b"HTTP/1.";

/// Why a message is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    EmptyLines,
    Method,
    Target,
    Version,
    LineEnd,
    Name,
    Value,
    Fold,
    Length,
    Lengths,
    Coding,
    Codings,
    CodingIn10,
    LengthAndCoding,
    Chunk,
    Extensions,
    Trailers,
}

impl Flaw {
    /// What a client is told.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Flaw::EmptyLines => "empty lines stand before the request",
            Flaw::Method => "the method is not a token of at most 32 characters",
            Flaw::Target => "the request target has a character that none may have",
            Flaw::Version => "the version is neither HTTP/1.0 nor HTTP/1.1",
            Flaw::LineEnd => "a line does not end with CR LF",
            Flaw::Name => "a header's name is not a token right before its colon",
            Flaw::Value => "a header's value has a control character",
            Flaw::Fold => "a header's value is folded over lines",
            Flaw::Length => "Content-Length is not a number",
            Flaw::Lengths => "more than one Content-Length",
            Flaw::Coding => "the only Transfer-Encoding is chunked",
            Flaw::Codings => "more than one Transfer-Encoding",
            Flaw::CodingIn10 => "HTTP/1.0 has no Transfer-Encoding",
            Flaw::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Flaw::Chunk => "a chunk of the body is malformed",
            Flaw::Extensions => "chunk extensions of more than 1 KiB",
            Flaw::Trailers => "trailers of more than 8 KiB",
        }
    }
}

/// Where the scanner stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// All bytes are in form so far.
    End,
    /// From this byte on there is something after a request that asks for an upgrade.
    Upgrade(usize),
    /// This byte and what follows must not be passed on.
    Flaw(usize, Flaw),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request, after so many empty lines.
    Start(u8),
    StartLf(u8),
    Method(u8),
    Target(bool),
    /// So many characters of the version were there.
    Version(u8),
    VersionCr,
    VersionLf,
    Line,
    Name,
    Value,
    ValueLf,
    HeadLf,
    /// So many bytes of the body are left.
    Body(u64),
    Chunk(Chunk),
    Trailer(Trailer),
    /// A flaw was found.
    Broken(Flaw),
}

/// Within a body that comes in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// So many digits of a size, and what they come to.
    Size(u8, u64),
    /// White space after a size.
    Space(u64),
    Extension(u64),
    SizeLf(u64),
    /// So many bytes of the chunk are left.
    Data(u64),
    DataCr,
    DataLf,
}

const CHUNK: State = State::Chunk(Chunk::Size(0, 0));

/// After the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trailer {
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
}

/// Follows the messages of one connection.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    field: Field,
    extension_bytes: u32,
    trailer_bytes: u32,
    /// The last request asked for an upgrade, and what it comes to is not known yet.
    awaits_upgrade: bool,
    broke_in_body: bool,
    /// Requests that have begun.
    begun: u64,
}

impl Scanner {
    pub(super) fn new() -> Scanner {
        Scanner {
            state: State::Start(0),
            field: Field::default(),
            extension_bytes: 0,
            trailer_bytes: 0,
            awaits_upgrade: false,
            broke_in_body: false,
            begun: 0,
        }
    }

    /// Whether a request's head has begun to come and not ended.
    pub(super) fn is_mid_head(&self) -> bool {
        match self.state {
            State::Method(_)
            | State::Target(_)
            | State::Version(_)
            | State::VersionCr
            | State::VersionLf
            | State::Line
            | State::Name
            | State::Value
            | State::ValueLf
            | State::HeadLf => true,
            State::Start(_)
            | State::StartLf(_)
            | State::Body(_)
            | State::Chunk(_)
            | State::Trailer(_)
            | State::Broken(_) => false,
        }
    }

    /// Whether nothing of a request is there that has not come to its end.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Start(0)
    }

    /// Requests that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Whether the last request asked for an upgrade that was neither granted nor refused.
    pub(super) fn awaits_upgrade(&self) -> bool {
        self.awaits_upgrade
    }

    /// The upgrade was not granted: what follows is the next request.
    pub(super) fn go_on(&mut self) {
        self.awaits_upgrade = false;
    }

    /// Whether the flaw that was found is one of a body, whose head was passed on.
    pub(super) fn broke_in_body(&self) -> bool {
        self.broke_in_body
    }

    /// Checks the next bytes of the connection.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Stop {
        let mut at = 0;
        while at < bytes.len() {
            if self.awaits_upgrade && self.state == State::Start(0) {
                return Stop::Upgrade(at);
            }
            match self.step(&bytes[at..]) {
                Ok(count) => at += count,
                Err(flaw) => {
                    self.broke_in_body = matches!(self.state, State::Chunk(_) | State::Trailer(_));
                    self.state = State::Broken(flaw);
                    return Stop::Flaw(at, flaw);
                }
            }
        }
        Stop::End
    }

    /// Takes at least one byte of `rest`, which has one.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Flaw> {
        let byte = rest[0];
        let mut count = 1;
        self.state = match self.state {
            State::Start(lines) => self.start(lines, byte)?,
            State::StartLf(lines) => lf(byte, State::Start(lines))?,
            State::Method(length) => {
                let room = METHOD_BYTES_MAX - usize::from(length);
                count = run(rest, Class::Token).min(room);
                if count == 0 {
                    count = 1;
                    method(length, byte)?
                } else {
                    State::Method(length + u8::try_from(count).expect("a method is short"))
                }
            }
            State::Target(is_empty) => {
                count = run(rest, Class::Target);
                match (count, byte) {
                    (1.., _) => State::Target(false),
                    (0, b' ') if !is_empty => {
                        count = 1;
                        State::Version(0)
                    }
                    (0, _) => return Err(Flaw::Target),
                }
            }
            State::Version(matched) => {
                let expected = &VERSION[usize::from(matched)..];
                count = rest.iter().zip(expected).take_while(|(it, other)| it == other).count();
                if count == 0 {
                    count = 1;
                    self.version(expected, byte)?
                } else {
                    State::Version(matched + u8::try_from(count).expect("seven at most"))
                }
            }
            State::VersionCr => cr(byte, State::VersionLf).map_err(|_| Flaw::Version)?,
            State::VersionLf => lf(byte, State::Line)?,
            State::Line if is(byte, Class::Token) => {
                self.field.begin();
                let (taken, next) = self.name(rest);
                count = taken;
                next
            }
            State::Line => self.line(byte)?,
            State::Name => {
                let (taken, next) = self.name(rest);
                count = taken.max(1);
                if taken == 0 { self.name_end(byte)? } else { next }
            }
            State::Value => {
                let (taken, next) = self.value(rest)?;
                count = taken.max(1);
                match taken {
                    0 => cr(byte, State::ValueLf).map_err(|_| line_end(byte))?,
                    _ => next,
                }
            }
            State::ValueLf => {
                let next = lf(byte, State::Line)?;
                self.field.end()?;
                next
            }
            State::HeadLf => self.head_end(byte)?,
            State::Body(left) => {
                let (taken, left) = take(rest, left);
                count = taken;
                if left == 0 { State::Start(0) } else { State::Body(left) }
            }
            State::Chunk(Chunk::Data(left)) => {
                let (taken, left) = take(rest, left);
                count = taken;
                State::Chunk(if left == 0 { Chunk::DataCr } else { Chunk::Data(left) })
            }
            State::Chunk(chunk) => self.chunk(chunk, byte)?,
            State::Trailer(trailer) => self.trailer(trailer, byte)?,
            State::Broken(flaw) => return Err(flaw),
        };
        Ok(count)
    }

    fn start(&mut self, lines: u8, byte: u8) -> Result<State, Flaw> {
        if byte == b'\r' {
            return if lines < EMPTY_LINES_MAX {
                Ok(State::StartLf(lines + 1))
            } else {
                Err(Flaw::EmptyLines)
            };
        }
        self.field = Field::default();
        self.extension_bytes = 0;
        self.trailer_bytes = 0;
        self.begun += 1;
        method(0, byte)
    }

    /// Takes a byte of the version that is not the next of the `expected`.
    fn version(&mut self, expected: &[u8], byte: u8) -> Result<State, Flaw> {
        self.field.is_1_0 = byte == b'0';
        match byte {
            b'0' | b'1' if expected.is_empty() => Ok(State::VersionCr),
            _ => Err(Flaw::Version),
        }
    }

    fn line(&mut self, byte: u8) -> Result<State, Flaw> {
        match byte {
            b'\r' => {
                // Whatever is wrong with the head as a whole shows before its last byte goes on.
                self.field.check()?;
                Ok(State::HeadLf)
            }
            b' ' | b'\t' => Err(Flaw::Fold),
            b'\n' => Err(Flaw::LineEnd),
            _ => Err(Flaw::Name),
        }
    }

    /// Takes what is here of a header's name, and its colon if all is well so far: a flaw is to be
    /// told from that very byte on, by the next step.
    fn name(&mut self, rest: &[u8]) -> (usize, State) {
        let count = run(rest, Class::Token);
        self.field.name(&rest[..count]);
        let is_over = rest.get(count) == Some(&b':') && self.field.name_end().is_ok();
        if is_over { (count + 1, State::Value) } else { (count, State::Name) }
    }

    /// Takes what is here of a header's value, and the end of its line.
    fn value(&mut self, rest: &[u8]) -> Result<(usize, State), Flaw> {
        if self.field.is_framing() {
            // One byte at a time, so that a flaw is told from its very byte on.
            let count = run(&rest[..1], Class::Value);
            self.field.value(&rest[..count])?;
            return Ok((count, State::Value));
        }
        let count = run(rest, Class::Value);
        let is_over = rest[count..].starts_with(b"\r\n");
        Ok(if is_over { (count + 2, State::Line) } else { (count, State::Value) })
    }

    fn name_end(&mut self, byte: u8) -> Result<State, Flaw> {
        match byte {
            b':' => self.field.name_end().map(|()| State::Value),
            b'\n' => Err(Flaw::LineEnd),
            _ => Err(Flaw::Name),
        }
    }

    fn head_end(&mut self, byte: u8) -> Result<State, Flaw> {
        let body = match self.field.body_length() {
            None => CHUNK,
            Some(0) => State::Start(0),
            Some(length) => State::Body(length),
        };
        let next = lf(byte, body)?;
        self.awaits_upgrade = self.field.is_upgrade();
        Ok(next)
    }

    fn chunk(&mut self, chunk: Chunk, byte: u8) -> Result<State, Flaw> {
        let next = match chunk {
            Chunk::Size(1.., size) if byte == b'\r' => Chunk::SizeLf(size),
            Chunk::Size(1.., size) if byte == b';' => Chunk::Extension(size),
            Chunk::Size(1.., size) if byte == b' ' || byte == b'\t' => Chunk::Space(size),
            Chunk::Size(digits, size) => {
                let digit = char::from(byte).to_digit(16).ok_or(Flaw::Chunk)?;
                if digits == CHUNK_DIGITS_MAX {
                    return Err(Flaw::Chunk);
                }
                Chunk::Size(digits + 1, (size << 4) | u64::from(digit))
            }
            Chunk::Space(size) | Chunk::Extension(size) => {
                self.extension_bytes += 1;
                if EXTENSION_BYTES_MAX < self.extension_bytes {
                    return Err(Flaw::Extensions);
                }
                let is_extension = matches!(chunk, Chunk::Extension(_));
                match byte {
                    b'\r' if is_extension => Chunk::SizeLf(size),
                    _ if is_extension && is(byte, Class::Value) => Chunk::Extension(size),
                    b' ' | b'\t' => Chunk::Space(size),
                    b';' => Chunk::Extension(size),
                    _ => return Err(Flaw::Chunk),
                }
            }
            Chunk::SizeLf(0) => return lf(byte, State::Trailer(Trailer::Line)),
            Chunk::SizeLf(size) => return lf(byte, State::Chunk(Chunk::Data(size))),
            Chunk::Data(_) => unreachable!("data is taken whole"),
            Chunk::DataCr if byte == b'\r' => Chunk::DataLf,
            Chunk::DataLf if byte == b'\n' => return Ok(CHUNK),
            Chunk::DataCr | Chunk::DataLf => return Err(Flaw::Chunk),
        };
        Ok(State::Chunk(next))
    }

    fn trailer(&mut self, trailer: Trailer, byte: u8) -> Result<State, Flaw> {
        self.trailer_bytes += 1;
        if TRAILER_BYTES_MAX < self.trailer_bytes {
            return Err(Flaw::Trailers);
        }
        let next = match (trailer, byte) {
            (Trailer::Line, b'\r') => Trailer::EndLf,
            (Trailer::Line, b' ' | b'\t') => return Err(Flaw::Fold),
            (Trailer::Name, b':') => Trailer::Value,
            (Trailer::Line | Trailer::Name, _) if is(byte, Class::Token) => Trailer::Name,
            (Trailer::Line | Trailer::Name, _) => return Err(Flaw::Name),
            (Trailer::Value, b'\r') => Trailer::ValueLf,
            (Trailer::Value, _) if is(byte, Class::Value) => Trailer::Value,
            (Trailer::Value, _) => return Err(line_end(byte)),
            (Trailer::ValueLf, _) => return lf(byte, State::Trailer(Trailer::Line)),
            (Trailer::EndLf, _) => return lf(byte, State::Start(0)),
        };
        Ok(State::Trailer(next))
    }
}

fn method(length: u8, byte: u8) -> Result<State, Flaw> {
    match byte {
        b' ' if length != 0 => Ok(State::Target(true)),
        _ if is(byte, Class::Token) && usize::from(length) < METHOD_BYTES_MAX => {
            Ok(State::Method(length + 1))
        }
        _ => Err(Flaw::Method),
    }
}

/// How many of `rest` belong to what has `left` bytes, and what is left of that then.
fn take(rest: &[u8], left: u64) -> (usize, u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    (count, left - u64::try_from(count).expect("a count is a u64"))
}

fn cr(byte: u8, next: State) -> Result<State, Flaw> {
    if byte == b'\r' { Ok(next) } else { Err(Flaw::LineEnd) }
}

fn lf(byte: u8, next: State) -> Result<State, Flaw> {
    if byte == b'\n' { Ok(next) } else { Err(Flaw::LineEnd) }
}

/// What a byte means that no value may have.
fn line_end(byte: u8) -> Flaw {
    if byte == b'\n' { Flaw::LineEnd } else { Flaw::Value }
}
