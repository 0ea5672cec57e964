//! What the peer's frames mean.

use super::{
    Block, ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, Peer, Session,
    WINDOW_BYTES,
};
use crate::{
    answer::Answer,
    http2::{
        Flaw,
        frame::{self, Head, Kind, REFUSED_STREAM, WINDOW_FIRST, WINDOW_MAX},
        hpack,
    },
    job::End,
    limits::ANSWER_BYTES_MAX,
};
use std::{borrow::Cow, str};

/// Longest head of an answer. A longer one ends the connection.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// Answers to pings and settings that may wait to be written. A peer that asks for more and reads
/// none of them ends the connection.
const OWED_MAX: u32 = 1_000;

/// What a frame on a stream is about.
enum Stream {
    /// The slot of it.
    Open(usize),
    /// It has ended, for us at least.
    Ended,
}

impl Session {
    /// One frame.
    pub(super) fn take(
        &mut self,
        head: Head,
        payload: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        if self.peer.is_none() && (head.kind != Kind::Settings || head.has(frame::ACK)) {
            return Err("a connection that does not begin with settings");
        }
        let is_next = |it: &Block| head.kind == Kind::Continuation && it.stream == head.stream;
        if self.block.as_ref().is_some_and(|it| !is_next(it)) {
            return Err("a head with another frame in it");
        }
        match head.kind {
            Kind::Data => self.data(head, payload, hear),
            Kind::Headers => self.headers(head, payload, hear),
            Kind::Continuation => self.continuation(head, payload, hear),
            Kind::Reset => self.reset(head, payload, hear),
            Kind::Settings => self.settings(head, payload),
            Kind::Ping => self.ping(head, payload),
            Kind::GoAway => self.going(payload, hear),
            Kind::WindowUpdate => self.window_update(head, payload),
            Kind::Push => Err("a push that was not allowed"),
            Kind::Priority | Kind::Unknown => Ok(()),
        }
    }

    /// The slot of a stream that we began.
    fn find(&self, stream: u32) -> Result<Stream, Flaw> {
        if stream.is_multiple_of(2) || self.next <= stream {
            return Err("a stream that nobody began");
        }
        let slot = self.ids.iter().position(|it| *it == stream);
        Ok(slot.map_or(Stream::Ended, Stream::Open))
    }

    fn data(
        &mut self,
        head: Head,
        payload: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let stream = self.find(head.stream)?;
        self.taken += u32::try_from(head.length).expect("the length of a frame");
        if WINDOW_BYTES / 2 <= self.taken {
            frame::put_number(&mut self.out, Kind::WindowUpdate, 0, self.taken);
            self.taken = 0;
        }
        let content = head.content(payload)?;
        let Stream::Open(at) = stream else { return Ok(()) };
        let slot = &mut self.slots[at];
        if slot.status == 0 {
            return Err("a body before its head");
        }
        if ANSWER_BYTES_MAX < slot.body.len() + content.len() {
            return Err("longer than any answer");
        }
        if head.has(frame::END_STREAM) {
            self.answered(at, content, hear);
        } else {
            slot.body.extend_from_slice(content);
        }
        Ok(())
    }

    fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let (stream, ends_stream) = (head.stream, head.has(frame::END_STREAM));
        let content = head.content(payload)?;
        if head.has(frame::END_HEADERS) {
            return self.head(stream, ends_stream, content, hear);
        }
        self.block = Some(Block { stream, ends_stream, bytes: content.to_vec() });
        Ok(())
    }

    fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let Some(mut block) = self.block.take() else { return Err("the end of no head") };
        block.bytes.extend_from_slice(payload);
        if BLOCK_BYTES_MAX < block.bytes.len() {
            return Err("a head longer than any");
        }
        if head.has(frame::END_HEADERS) {
            return self.head(block.stream, block.ends_stream, &block.bytes, hear);
        }
        // An empty part brings it no nearer to its end.
        if payload.is_empty() {
            return Err("a part of a head with nothing in it");
        }
        self.block = Some(block);
        Ok(())
    }

    /// A whole head: of an answer, of one in the interim, or trailers.
    fn head(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let Stream::Open(at) = self.find(stream)? else { return Ok(()) };
        let slot = &mut self.slots[at];
        if slot.status != 0 {
            let told = hpack::read(block, &mut Vec::new())?;
            if !ends || told.status.is_some() {
                return Err("two heads of one answer");
            }
            self.answered(at, &[], hear);
            return Ok(());
        }
        let told = hpack::read(block, &mut slot.key)?;
        match told.status {
            None => return Err("an answer without a status"),
            Some(100..200) if ends => return Err("an answer in the interim that is the last"),
            Some(100..200) => return Ok(()),
            Some(status) => (slot.status, slot.has_key) = (status, told.has_key),
        }
        if ends {
            self.answered(at, &[], hear);
        }
        Ok(())
    }

    /// The answer is whole with these last bytes of its body.
    fn answered(&mut self, at: usize, last: &[u8], hear: &mut impl FnMut(usize, End<'_>)) {
        let slot = &mut self.slots[at];
        let body = if slot.body.is_empty() {
            last
        } else {
            slot.body.extend_from_slice(last);
            slot.body.as_slice()
        };
        let key = if slot.has_key { str::from_utf8(&slot.key).ok() } else { None };
        let (status, body) = (slot.status, Cow::Borrowed(body));
        hear(at, End::Answer(Answer { status, body, key, closes: false }));
        self.answers += 1;
        // The peer has said all without hearing all: the stream is still open on our side.
        match slot.rest.is_empty() {
            true => self.release(at),
            false => self.give_up(at),
        }
    }

    fn reset(
        &mut self,
        head: Head,
        payload: &[u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), Flaw> {
        let why = frame::number(payload)?;
        if let Stream::Open(at) = self.find(head.stream)? {
            self.release(at);
            hear(at, if why == REFUSED_STREAM { End::Unsent } else { End::Lost });
        }
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Flaw> {
        if head.stream != 0 {
            return Err("settings of a stream");
        }
        if head.has(frame::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err("settings of a wrong length") };
        }
        let first = Peer { streams_max: usize::MAX, window: i64::from(WINDOW_FIRST) };
        let before = self.peer.unwrap_or(first);
        let mut peer = before;
        for (number, value) in frame::settings(payload)? {
            match (number, value) {
                (MAX_CONCURRENT_STREAMS, _) => {
                    peer.streams_max = usize::try_from(value).unwrap_or(usize::MAX);
                }
                (INITIAL_WINDOW_SIZE, _) => peer.window = i64::from(value),
                (ENABLE_PUSH, 1..) | (MAX_FRAME_SIZE, ..16_384 | 16_777_216..) => {
                    return Err("a setting that is not allowed");
                }
                // We need no table, and no longer frames than any peer takes.
                (_, _) => (),
            }
        }
        if WINDOW_MAX < peer.window {
            return Err("a window larger than any");
        }
        self.peer = Some(peer);
        for (id, slot) in self.ids.iter().zip(&mut self.slots) {
            slot.window += if *id == 0 { 0 } else { peer.window - before.window };
            if WINDOW_MAX < slot.window {
                return Err("a window larger than any");
            }
        }
        self.owe()?;
        frame::put_head(&mut self.out, Kind::Settings, frame::ACK, 0, 0);
        self.pour_on();
        Ok(())
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Flaw> {
        if payload.len() != 8 || head.stream != 0 {
            return Err("what is no ping");
        }
        if !head.has(frame::ACK) {
            self.owe()?;
            frame::put_head(&mut self.out, Kind::Ping, frame::ACK, 0, payload.len());
            self.out.extend_from_slice(payload);
        }
        Ok(())
    }

    fn owe(&mut self) -> Result<(), Flaw> {
        self.owed += 1;
        if OWED_MAX < self.owed { Err("more questions than it reads answers") } else { Ok(()) }
    }

    /// What the peer has not begun it never will.
    fn going(&mut self, payload: &[u8], hear: &mut impl FnMut(usize, End<'_>)) -> Result<(), Flaw> {
        let last = frame::last_stream(payload)?;
        self.is_going = true;
        for at in 0..self.slots.len() {
            if last < self.ids[at] {
                self.release(at);
                hear(at, End::Unsent);
            }
        }
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Flaw> {
        let more = i64::from(frame::number(payload)? & (u32::MAX >> 1));
        let window = match head.stream {
            0 => &mut self.window,
            stream => match self.find(stream)? {
                Stream::Open(at) => &mut self.slots[at].window,
                Stream::Ended => return Ok(()),
            },
        };
        *window += more;
        if more == 0 || WINDOW_MAX < *window {
            return Err("a window larger than any, or opened by nothing");
        }
        self.pour_on();
        Ok(())
    }
}
