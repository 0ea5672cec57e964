//! One connection's state: requests and the peer's bytes go in, bytes for the peer and the ends of
//! requests come out. It knows no socket and no clock.

mod hearing;
mod slot;
#[cfg(test)]
mod tests;

use self::slot::Slot;
use super::{
    Flaw,
    frame::{self, CANCEL, Kind, PAYLOAD_BYTES_MAX, WINDOW_FIRST},
    hpack,
};
use crate::{job::End, letter, limits::ANSWER_BYTES_MAX};
use std::collections::VecDeque;
use stdx::Moment;

/// Window of the whole connection for what the peer sends: enough for the longest answer, and for
/// many usual ones at once. What was taken of it is given back when it is a half.
const WINDOW_BYTES: u32 = 1 << 25;
/// The highest number that a stream may have.
const STREAM_LAST: u32 = (1 << 31) - 1;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// What the peer said in its settings.
#[derive(Clone, Copy, Debug)]
struct Peer {
    streams_max: usize,
    /// Window of a new stream.
    window: i64,
}

/// The head of an answer that comes in several frames.
#[derive(Debug)]
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

/// A connection and the streams under way on it. It serves one connection after the other.
#[derive(Debug)]
pub(super) struct Session {
    /// For the peer, and not yet written; and how many bytes of this connection were.
    out: Vec<u8>,
    written: u64,
    /// Answers to pings and settings in `out`.
    owed: u32,
    /// The beginning of a frame that did not come in one piece.
    input: Vec<u8>,
    /// The stream of each slot, 0 of a free one. Apart from the slots, for it is searched.
    ids: Vec<u32>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// The number of the next stream.
    next: u32,
    /// Requests that may still be begun on this connection.
    left: u64,
    /// Requests that a connection takes.
    requests_max: u64,
    /// `None` before its settings came, and without a connection.
    peer: Option<Peer>,
    /// What may be sent on all streams together.
    window: i64,
    /// What was taken of our window and not given back.
    taken: u32,
    /// The peer takes no new streams any more.
    is_going: bool,
    block: Option<Block>,
    /// Slots with bodies that wait for a window, the one that waited longest first.
    waiting: VecDeque<usize>,
    /// Answers on this connection.
    answers: u64,
}

impl Session {
    /// With room for so many requests at once, and so many on one connection.
    pub(super) fn new(streams: usize, requests_max: Option<u64>) -> Session {
        Session {
            out: Vec::new(),
            written: 0,
            owed: 0,
            input: Vec::new(),
            ids: vec![0; streams],
            slots: (0..streams).map(|_| Slot::new()).collect(),
            free: (0..streams).rev().collect(),
            next: 1,
            left: 0,
            requests_max: requests_max.unwrap_or(u64::MAX),
            peer: None,
            window: 0,
            taken: 0,
            is_going: false,
            block: None,
            waiting: VecDeque::new(),
            answers: 0,
        }
    }

    /// A new connection has come about; nothing is in flight.
    pub(super) fn begin(&mut self) {
        self.out.clear();
        self.input.clear();
        (self.written, self.owed, self.taken, self.answers) = (0, 0, 0, 0);
        (self.next, self.left) = (1, self.requests_max);
        (self.window, self.is_going, self.block) = (i64::from(WINDOW_FIRST), false, None);
        let answer_max = u32::try_from(ANSWER_BYTES_MAX).expect("16 MiB");
        self.out.extend_from_slice(frame::PREFACE);
        let settings =
            [(HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, answer_max)];
        frame::put_settings(&mut self.out, &settings);
        frame::put_number(&mut self.out, Kind::WindowUpdate, 0, WINDOW_BYTES - WINDOW_FIRST);
    }

    /// What is to be written.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.out
    }

    /// So much of it has been.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written += u64::try_from(count).expect("a length");
        if count == self.out.len() {
            self.out.clear();
            self.owed = 0;
        } else {
            self.out.drain(..count);
        }
    }

    /// The peer's settings have come.
    pub(super) fn is_open(&self) -> bool {
        self.peer.is_some()
    }

    /// Something was answered on this connection.
    pub(super) fn has_answered(&self) -> bool {
        self.answers != 0
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The peer takes no more requests on this connection, or we send no more.
    fn is_ending(&self) -> bool {
        self.is_going || self.left == 0 || STREAM_LAST < self.next
    }

    /// How many requests may be begun now.
    pub(super) fn capacity(&self) -> usize {
        let Some(peer) = self.peer else { return 0 };
        if self.is_ending() {
            return 0;
        }
        let streams = peer.streams_max.min(self.slots.len()).saturating_sub(self.in_flight());
        streams.min(usize::try_from(self.left).unwrap_or(usize::MAX))
    }

    /// The connection has done all it can, and is to be closed.
    pub(super) fn is_spent(&self) -> bool {
        self.peer.is_some() && self.is_ending() && self.in_flight() == 0
    }

    /// The slot that the next request gets, while there is capacity.
    pub(super) fn next_slot(&self) -> usize {
        *self.free.last().expect("there is capacity")
    }

    /// Begins a request in the next slot; see [`letter::split`].
    pub(super) fn request(&mut self, now: Moment, letter: &[u8]) {
        let at = self.free.pop().expect("there is capacity");
        let id = self.next;
        (self.next, self.left) = (id + 2, self.left - 1);
        self.ids[at] = id;
        let (head, body) = letter::split(letter);
        let slot = &mut self.slots[at];
        slot.sent = now;
        slot.begins = self.written + u64::try_from(self.out.len()).expect("a length");
        slot.window = self.peer.map_or(0, |it| it.window);
        self.put_head(id, head, body.is_empty());
        let poured = self.pour(at, body);
        if poured < body.len() {
            self.slots[at].rest.extend_from_slice(&body[poured..]);
            self.waiting.push_back(at);
        }
    }

    fn put_head(&mut self, id: u32, head: &[u8], ends: bool) {
        let end = if ends { frame::END_STREAM } else { 0 };
        // Once on every connection; it is still true on the next.
        let first: &[u8] = if id == 1 { &[hpack::NO_TABLE] } else { &[] };
        let room = PAYLOAD_BYTES_MAX - first.len();
        let (begin, mut rest) = head.split_at(head.len().min(room));
        let whole = if rest.is_empty() { frame::END_HEADERS } else { 0 };
        let length = first.len() + begin.len();
        frame::put_head(&mut self.out, Kind::Headers, end | whole, id, length);
        self.out.extend_from_slice(first);
        self.out.extend_from_slice(begin);
        while !rest.is_empty() {
            let (part, more) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
            let whole = if more.is_empty() { frame::END_HEADERS } else { 0 };
            frame::put_head(&mut self.out, Kind::Continuation, whole, id, part.len());
            self.out.extend_from_slice(part);
            rest = more;
        }
    }

    /// Sends of a body what the windows let through; how much that was.
    fn pour(&mut self, at: usize, body: &[u8]) -> usize {
        let (slot, id) = (&mut self.slots[at], self.ids[at]);
        let open = slot.window.min(self.window);
        let count = usize::try_from(open).unwrap_or(0).min(body.len());
        let (now, later) = body.split_at(count);
        let mut parts = now.chunks(PAYLOAD_BYTES_MAX).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none() && later.is_empty();
            let flags = if is_last { frame::END_STREAM } else { 0 };
            frame::put_head(&mut self.out, Kind::Data, flags, id, part.len());
            self.out.extend_from_slice(part);
        }
        let spent = i64::try_from(count).expect("below a window");
        slot.window -= spent;
        self.window -= spent;
        count
    }

    /// Sends what waited, now that windows have been opened.
    fn pour_on(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(at) = self.waiting.pop_front() else { return };
            let rest = std::mem::take(&mut self.slots[at].rest);
            let poured = self.pour(at, &rest[self.slots[at].poured..]);
            let slot = &mut self.slots[at];
            slot.poured += poured;
            if slot.poured == rest.len() {
                (slot.poured, slot.rest) = (0, slot::emptied(rest));
            } else {
                slot.rest = rest;
                self.waiting.push_back(at);
            }
        }
    }

    /// When the request of this slot was sent; `None` of a free one.
    pub(super) fn sent(&self, at: usize) -> Option<Moment> {
        (self.ids[at] != 0).then(|| self.slots[at].sent)
    }

    /// Takes back the request of this slot; what still comes of it is passed over.
    pub(super) fn give_up(&mut self, at: usize) {
        frame::put_number(&mut self.out, Kind::Reset, self.ids[at], CANCEL);
        self.release(at);
    }

    fn release(&mut self, at: usize) {
        self.ids[at] = 0;
        self.free.push(at);
        if self.slots[at].clear() {
            self.waiting.retain(|it| *it != at);
        }
    }

    /// The connection is no more: every request in flight ends like this, or as unsent if nothing of
    /// it was written.
    pub(super) fn end(&mut self, end: &End<'static>, hear: &mut impl FnMut(usize, End<'_>)) {
        for at in 0..self.slots.len() {
            if self.ids[at] == 0 {
                continue;
            }
            let is_unsent = self.written <= self.slots[at].begins;
            self.release(at);
            hear(at, if is_unsent { End::Unsent } else { end.clone() });
        }
        self.out.clear();
        self.peer = None;
    }

    /// Takes what has come from the peer; `hear` is told of every request that ends by it.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let mut rest = bytes;
        // A frame that did not come in one piece is put together elsewhere, the others are read
        // where they lie.
        while !self.input.is_empty() {
            let missing = match frame::Head::parse(&self.input)? {
                None => frame::HEAD_BYTES - self.input.len(),
                Some(head) => frame::HEAD_BYTES + head.length - self.input.len(),
            };
            let (more, after) = rest.split_at(rest.len().min(missing));
            self.input.extend_from_slice(more);
            rest = after;
            match frame::Head::parse(&self.input)? {
                Some(head) if self.input.len() == frame::HEAD_BYTES + head.length => {
                    let mut input = std::mem::take(&mut self.input);
                    self.take(head, &input[frame::HEAD_BYTES..], hear)?;
                    input.clear();
                    self.input = input;
                    break;
                }
                Some(_) | None if rest.is_empty() => return Ok(()),
                Some(_) | None => (),
            }
        }
        while let Some(head) = frame::Head::parse(rest)? {
            let Some((frame, after)) = rest.split_at_checked(frame::HEAD_BYTES + head.length)
            else {
                break;
            };
            self.take(head, &frame[frame::HEAD_BYTES..], hear)?;
            rest = after;
        }
        self.input.extend_from_slice(rest);
        Ok(())
    }
}
