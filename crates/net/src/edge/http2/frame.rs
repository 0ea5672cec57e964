//! Frames, and what a frame may be by itself (RFC 9113 §4 and §6).

/// What a client says first.
pub(in crate::edge) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD_BYTES: usize = 9;
/// The payload that every peer takes.
pub(super) const PAYLOAD_BYTES_FIRST: usize = 16 * 1024;
/// The largest that a payload may be, if its receiver wants it.
pub(super) const PAYLOAD_BYTES_LIMIT: usize = (1 << 24) - 1;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITISED: u8 = 32;

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(in crate::edge) enum Reason {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    CompressionError = 9,
    EnhanceYourCalm = 11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl Kind {
    fn of(number: u8) -> Kind {
        match number {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::Reset,
            4 => Kind::Settings,
            5 => Kind::Push,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Unknown,
        }
    }

    fn number(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::Reset => 3,
            Kind::Settings => 4,
            Kind::Push => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::Unknown => u8::MAX,
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
}

impl Head {
    pub(super) fn parse(bytes: [u8; HEAD_BYTES]) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The highest bit is reserved.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Head { kind: Kind::of(kind), flags, stream, length }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What a frame of this kind and length may be, whatever went before.
    pub(super) fn check(&self) -> Result<(), Reason> {
        let length = self.length;
        let is_right = match self.kind {
            Kind::Priority => length == 5,
            Kind::Reset | Kind::WindowUpdate => length == 4,
            Kind::Settings if self.has(ACK) => length == 0,
            Kind::Settings => length.is_multiple_of(6),
            Kind::Ping => length == 8,
            Kind::GoAway => 8 <= length,
            Kind::Data | Kind::Headers | Kind::Push | Kind::Continuation | Kind::Unknown => true,
        };
        if !is_right || PAYLOAD_BYTES_FIRST < length {
            return Err(Reason::FrameSizeError);
        }
        let is_of_a_stream = match self.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::Reset | Kind::Continuation => true,
            Kind::Settings | Kind::Ping | Kind::GoAway => false,
            Kind::Push => return Err(Reason::ProtocolError), // Clients push nothing.
            Kind::WindowUpdate | Kind::Unknown => return Ok(()),
        };
        if is_of_a_stream == (self.stream != 0) { Ok(()) } else { Err(Reason::ProtocolError) }
    }

    /// The payload of DATA or HEADERS without its padding, and for HEADERS the stream that it says
    /// it depends on.
    pub(super) fn content<'a>(&self, payload: &'a [u8]) -> Result<(&'a [u8], Option<u32>), Reason> {
        let mut rest = payload;
        if self.has(PADDED) {
            let (padding, after) = rest.split_first().ok_or(Reason::ProtocolError)?;
            let end = after.len().checked_sub(usize::from(*padding));
            rest = &after[..end.ok_or(Reason::ProtocolError)?];
        }
        if self.kind != Kind::Headers || !self.has(PRIORITISED) {
            return Ok((rest, None));
        }
        let (on, after) = rest.split_first_chunk().ok_or(Reason::FrameSizeError)?;
        let block = after.get(1..).ok_or(Reason::FrameSizeError)?; // behind its weight
        Ok((block, Some(depends_on(*on))))
    }
}

/// The stream that a priority names.
pub(super) fn depends_on(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & (u32::MAX >> 1)
}

/// Writes the head of a frame; its payload is to follow.
pub(super) fn put_head(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, length: usize) {
    out.extend_from_slice(&head_bytes(kind, flags, stream, length));
}

pub(super) fn head_bytes(kind: Kind, flags: u8, stream: u32, length: usize) -> [u8; HEAD_BYTES] {
    assert!(length <= PAYLOAD_BYTES_LIMIT, "payloads are cut");
    let [.., a, b, c] = length.to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind.number(), flags, d, e, f, g]
}

/// Writes a frame.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    put_head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Writes the frame that ends a connection, or says that it is to end; streams above `last` were not
/// looked at.
pub(super) fn put_going_away(out: &mut Vec<u8>, last: u32, reason: Reason) {
    let [a, b, c, d] = last.to_be_bytes();
    let [e, f, g, h] = (reason as u32).to_be_bytes();
    put(out, Kind::GoAway, 0, 0, &[a, b, c, d, e, f, g, h]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for kind in 0..=10 {
            let head = Head { kind: Kind::of(kind), flags: 5, stream: 7, length: 70_000 };
            let mut out = Vec::new();
            put_head(&mut out, head.kind, 5, 7, 70_000);
            assert_eq!(Head::parse(out.try_into().unwrap()), head);
        }
    }

    #[test]
    fn lengths_and_streams_are_checked() {
        use Reason::{FrameSizeError as Size, ProtocolError as Protocol};
        for (kind, flags, stream, length, expected) in [
            (Kind::Priority, 0, 1, 4, Err(Size)),
            (Kind::Reset, 0, 1, 3, Err(Size)),
            (Kind::Settings, 0, 0, 5, Err(Size)),
            (Kind::Settings, ACK, 0, 6, Err(Size)),
            (Kind::Ping, 0, 0, 7, Err(Size)),
            (Kind::GoAway, 0, 0, 7, Err(Size)),
            (Kind::WindowUpdate, 0, 0, 5, Err(Size)),
            (Kind::Data, 0, 1, 16_385, Err(Size)),
            (Kind::Data, 0, 1, 16_384, Ok(())),
            (Kind::Data, 0, 0, 1, Err(Protocol)),
            (Kind::Ping, 0, 1, 8, Err(Protocol)),
            (Kind::Push, 0, 1, 8, Err(Protocol)),
            (Kind::WindowUpdate, 0, 0, 4, Ok(())),
            (Kind::WindowUpdate, 0, 1, 4, Ok(())),
            (Kind::Unknown, 0xff, 1, 9_999, Ok(())),
        ] {
            let head = Head { kind, flags, stream, length };
            assert_eq!(head.check(), expected, "{head:?}");
        }
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let content = |flags, payload: &'static [u8]| {
            let length = payload.len();
            Head { kind: Kind::Headers, flags, stream: 1, length }.content(payload)
        };
        assert_eq!(content(0, b"abc"), Ok((&b"abc"[..], None)));
        assert_eq!(content(PADDED, b"\x02abc"), Ok((&b"a"[..], None)));
        assert_eq!(content(PADDED, b"\x03abc"), Ok((&b""[..], None)));
        assert_eq!(content(PADDED, b"\x04abc"), Err(Reason::ProtocolError));
        assert_eq!(content(PADDED, b""), Err(Reason::ProtocolError));
        assert_eq!(content(PRIORITISED, b"\x80\0\0\x05\xffa"), Ok((&b"a"[..], Some(5))));
        assert_eq!(content(PRIORITISED, b"\0\0\0\x05"), Err(Reason::FrameSizeError));
        assert_eq!(
            content(PADDED | PRIORITISED, b"\x01\0\0\0\x05\xffab"),
            Ok((&b"a"[..], Some(5)))
        );
    }

    #[test]
    fn the_last_frame_says_why() {
        let mut out = Vec::new();
        put_going_away(&mut out, 7, Reason::StreamClosed);
        assert_eq!(out, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 5]);
    }
}
