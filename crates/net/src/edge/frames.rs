//! The frames of an HTTP/2 client, followed by their heads before h2 reads them (RFC 9113).
//!
//! h2 decodes and answers; it is milder than the RFC with what comes after the end of a stream, and
//! it does not count what costs a client nothing and us something. This does, and stops at the
//! first frame that is against the rules or above a budget. It keeps no payload but trailers.

mod budget;
#[cfg(test)]
mod tests;
mod trailers;

use self::budget::Budgets;

const HEAD_BYTES: usize = 9;
/// Streams that a client has not ended, above which the oldest are no longer known.
const OPEN_MAX: usize = 256;
/// Frames that one head may be cut into.
const CONTINUATIONS_MAX: u32 = 8;
/// Trailers that are looked into; what is longer h2 judges alone.
const TRAILER_BYTES_MAX: usize = 1024;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;

const SETTING_INITIAL_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Why a connection ends, as GOAWAY says it (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Reason {
    NoError = 0,
    ProtocolError = 1,
    FlowControlError = 3,
    StreamClosed = 5,
    FrameSizeError = 6,
    EnhanceYourCalm = 11,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
}

/// Head of the frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    flags: u8,
    stream: u32,
    length: usize,
}

impl Head {
    fn parse(bytes: [u8; HEAD_BYTES]) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes(stream) & WINDOW_MAX;
        Head { kind: Kind::of(kind), flags, stream, length }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Follows the frames of one client, from behind its preface.
#[derive(Debug)]
pub(super) struct Guard {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// The frame at hand, and what is left of its payload.
    frame: Option<(Head, usize)>,
    is_first: bool,
    /// The highest stream that the client has begun.
    highest: u32,
    /// Streams that the client has begun and not ended, in order.
    open: Vec<u32>,
    /// Of streams up to this one it is not known whether the client ended them.
    forgotten: u32,
    /// The stream whose head has begun and not ended, and the frames that continued it.
    in_head: Option<u32>,
    continuations: u32,
    /// The part of a setting that has come.
    setting: Vec<u8>,
    /// The trailers at hand, if they are to be looked into.
    trailers: Option<Vec<u8>>,
    budgets: Budgets,
}

impl Guard {
    /// Of a connection whose first `preface` bytes are the preface.
    pub(super) fn new(preface: usize, tick: u64) -> Guard {
        Guard {
            preface,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            is_first: true,
            highest: 0,
            open: Vec::new(),
            forgotten: 0,
            in_head: None,
            continuations: 0,
            setting: Vec::new(),
            trailers: None,
            budgets: Budgets::new(tick),
        }
    }

    /// The last stream that the client began.
    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    /// Follows the next bytes, which came at this sweep. `Err` tells how many of them may be passed
    /// on, and why no more.
    pub(super) fn scan(&mut self, bytes: &[u8], tick: u64) -> Result<(), (usize, Reason)> {
        let mut at = self.preface.min(bytes.len());
        self.preface -= at;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some((head, left)) = self.frame else {
                let count = rest.len().min(HEAD_BYTES - self.head_bytes);
                self.head[self.head_bytes..self.head_bytes + count].copy_from_slice(&rest[..count]);
                self.head_bytes += count;
                if self.head_bytes == HEAD_BYTES {
                    let head = Head::parse(self.head);
                    self.begin(head, tick).map_err(|reason| (at, reason))?;
                    self.head_bytes = 0;
                    self.frame = (head.length != 0).then_some((head, head.length));
                }
                at += count;
                continue;
            };
            let count = left.min(rest.len());
            let left = left - count;
            self.payload(head, &rest[..count], left == 0)
                .map_err(|reason| (at + count - 1, reason))?;
            self.frame = (left != 0).then_some((head, left));
            at += count;
        }
        Ok(())
    }

    fn begin(&mut self, head: Head, tick: u64) -> Result<(), Reason> {
        if self.is_first && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Reason::ProtocolError); // RFC 9113 §3.4.
        }
        self.is_first = false;
        check_length(&head)?;
        // RFC 9113 §6.2, §6.10: nothing comes between the parts of a head.
        let continues = (head.kind == Kind::Continuation).then_some(head.stream);
        if self.in_head != continues {
            return Err(Reason::ProtocolError);
        }
        self.budgets.spend(head.kind, &head, tick)?;
        match head.kind {
            Kind::Headers => {
                self.headers(&head)?;
                self.in_head = (!head.has(END_HEADERS)).then_some(head.stream);
            }
            Kind::Continuation => {
                if head.has(END_HEADERS) {
                    self.in_head = None;
                }
                self.continuations += 1;
                if CONTINUATIONS_MAX < self.continuations {
                    return Err(Reason::EnhanceYourCalm);
                }
            }
            Kind::Data => {
                self.check_open(head.stream)?;
                if head.has(END_STREAM) {
                    self.close(head.stream);
                }
            }
            Kind::Reset => self.close(head.stream),
            Kind::Settings => self.setting.clear(),
            Kind::Priority
            | Kind::Push
            | Kind::Ping
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::Unknown => (),
        }
        Ok(())
    }

    fn headers(&mut self, head: &Head) -> Result<(), Reason> {
        self.continuations = 0;
        self.trailers = None;
        if self.highest < head.stream {
            self.highest = head.stream;
            if !head.has(END_STREAM) {
                self.open.push(head.stream);
                if OPEN_MAX < self.open.len() {
                    self.forgotten = self.open.remove(0);
                }
            }
            return Ok(());
        }
        self.check_open(head.stream)?;
        if head.has(END_HEADERS) && head.length <= TRAILER_BYTES_MAX {
            self.trailers = Some(Vec::with_capacity(head.length));
        }
        if head.has(END_STREAM) {
            self.close(head.stream);
        }
        Ok(())
    }

    /// Whether the client may still send on a stream. One that it never began h2 judges.
    fn check_open(&self, stream: u32) -> Result<(), Reason> {
        let is_known = self.forgotten < stream && stream <= self.highest;
        let has_ended = is_known && self.open.binary_search(&stream).is_err();
        if has_ended { Err(Reason::StreamClosed) } else { Ok(()) }
    }

    fn close(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search(&stream) {
            self.open.remove(at);
        }
    }

    fn payload(&mut self, head: Head, bytes: &[u8], is_last: bool) -> Result<(), Reason> {
        match head.kind {
            Kind::Settings => {
                for byte in bytes {
                    self.setting.push(*byte);
                    if let Ok([a, b, value @ ..]) = <[u8; 6]>::try_from(&self.setting[..]) {
                        let value = u32::from_be_bytes(value);
                        let is_window = u16::from_be_bytes([a, b]) == SETTING_INITIAL_WINDOW;
                        if is_window && WINDOW_MAX < value {
                            return Err(Reason::FlowControlError);
                        }
                        self.setting.clear();
                    }
                }
            }
            Kind::Headers => {
                if let Some(trailers) = &mut self.trailers {
                    trailers.extend_from_slice(bytes);
                    let flags = (head.has(PADDED), head.has(PRIORITISED));
                    if is_last && trailers::have_pseudo_headers(trailers, flags) {
                        return Err(Reason::ProtocolError); // RFC 9113 §8.1.
                    }
                }
            }
            Kind::Data
            | Kind::Priority
            | Kind::Reset
            | Kind::Push
            | Kind::Ping
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::Continuation
            | Kind::Unknown => (),
        }
        Ok(())
    }
}

/// Frames of one length only (RFC 9113 §6).
fn check_length(head: &Head) -> Result<(), Reason> {
    let length = head.length;
    let is_right = match head.kind {
        Kind::Priority => length == 5,
        Kind::Reset | Kind::WindowUpdate => length == 4,
        Kind::Settings if head.has(ACK) => length == 0,
        Kind::Settings => length.is_multiple_of(6),
        Kind::Ping => length == 8,
        Kind::GoAway => 8 <= length,
        Kind::Data | Kind::Headers | Kind::Push | Kind::Continuation | Kind::Unknown => true,
    };
    if is_right { Ok(()) } else { Err(Reason::FrameSizeError) }
}

/// The frame that ends a connection (RFC 9113 §6.8).
pub(super) fn going_away(last: u32, reason: Reason) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&last.to_be_bytes());
    bytes.extend_from_slice(&(reason as u32).to_be_bytes());
    bytes
}
