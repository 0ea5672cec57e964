//! Frames (RFC 9113 §4 and §6).

use super::Flaw;

/// What a client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD_BYTES: usize = 9;
/// Longest payload, of theirs and of ours: what every peer must take and none may exceed unasked.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16_384;
/// The largest that a flow-control window may be.
pub(super) const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Every window at the beginning, until settings say otherwise.
pub(super) const WINDOW_FIRST: u32 = 65_535;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;

/// Codes of errors that matter here.
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;

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

/// The first nine bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) length: usize,
}

impl Head {
    /// `None` while a part of it is missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, Flaw> {
        let Some([a, b, c, kind, flags, stream @ ..]) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        if PAYLOAD_BYTES_MAX < length {
            // An answer of HTTP/1.1 reads as such a frame, too.
            return Err("it speaks no HTTP/2, or sends longer frames than were allowed");
        }
        let stream = u32::from_be_bytes(*stream) & (u32::MAX >> 1);
        Ok(Some(Head { kind: Kind::of(*kind), flags: *flags, stream, length }))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without what only fills it.
    pub(super) fn content<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Flaw> {
        let (mut content, mut padding) = (payload, 0);
        if self.has(PADDED) {
            let Some((length, rest)) = content.split_first() else { return Err(SHORT) };
            (content, padding) = (rest, usize::from(*length));
        }
        if self.kind == Kind::Headers && self.has(PRIORITISED) {
            content = content.get(5..).ok_or(SHORT)?;
        }
        let length = content.len().checked_sub(padding).ok_or("more padding than frame")?;
        Ok(&content[..length])
    }
}

const SHORT: Flaw = "a frame too short for what it is";

/// The number that is the whole payload of some frames.
pub(super) fn number(payload: &[u8]) -> Result<u32, Flaw> {
    let bytes = <[u8; 4]>::try_from(payload).map_err(|_| "a frame of a wrong length")?;
    Ok(u32::from_be_bytes(bytes))
}

/// The last stream that a GOAWAY speaks of.
pub(super) fn last_stream(payload: &[u8]) -> Result<u32, Flaw> {
    let Some((last, rest)) = payload.split_first_chunk() else { return Err(SHORT) };
    if rest.len() < 4 {
        return Err(SHORT);
    }
    Ok(u32::from_be_bytes(*last) & (u32::MAX >> 1))
}

/// Numbers and values of settings.
pub(super) fn settings(payload: &[u8]) -> Result<impl Iterator<Item = (u16, u32)>, Flaw> {
    let (settings, []) = payload.as_chunks::<6>() else {
        return Err("settings of a wrong length");
    };
    Ok(settings
        .iter()
        .map(|[a, b, value @ ..]| (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))))
}

/// The head of a frame, whose payload of that length the caller puts behind it.
pub(super) fn put_head(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, length: usize) {
    assert!(length <= PAYLOAD_BYTES_MAX, "the caller cuts what is longer");
    let length = u32::try_from(length).expect("it is shorter").to_be_bytes();
    let [a, b, c, d] = stream.to_be_bytes();
    let [_, high, middle, low] = length;
    out.extend_from_slice(&[high, middle, low, kind.number(), flags, a, b, c, d]);
}

pub(super) fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_head(out, Kind::Settings, 0, 0, 6 * settings.len());
    for (number, value) in settings {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// A frame whose payload is a number: WINDOW_UPDATE, RST_STREAM.
pub(super) fn put_number(out: &mut Vec<u8>, kind: Kind, stream: u32, number: u32) {
    put_head(out, kind, 0, stream, 4);
    out.extend_from_slice(&number.to_be_bytes());
}
