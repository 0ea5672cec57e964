//! What a session is told to send.

use super::{Ending, SPARE_BYTES_MAX, Session};
use crate::edge::{
    http2::{
        frame::{self, END_HEADERS, END_STREAM, HEAD_BYTES, Kind, PAYLOAD_BYTES_FIRST, Reason},
        window,
    },
    limits,
};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// What the ping says by which we learn that a client has heard that the connection is to end.
pub(super) const FAREWELL: &[u8; 8] = b"farewell";

impl<L: Default> Session<L> {
    /// What is kept with a stream, while there is one.
    pub(in crate::edge) fn lane(&mut self, id: u32) -> Option<&mut L> {
        self.find(id).map(|stream| &mut stream.lane)
    }

    /// What is kept with all streams.
    pub(in crate::edge) fn lanes(&mut self) -> impl Iterator<Item = &mut L> {
        self.streams.iter_mut().map(|stream| &mut stream.lane)
    }

    /// Notes that so much of a body was read, so that the client may send as much again.
    pub(in crate::edge) fn read(&mut self, id: u32, bytes: usize) {
        self.pass_over(bytes);
        let bytes = u32::try_from(bytes).expect("no more than came");
        let stream = self.find(id).filter(|stream| !stream.has_come);
        if let Some(by) = stream.and_then(|stream| stream.incoming.read(bytes)) {
            self.widen(id, by);
        }
    }

    /// Notes that so much came of a body that nobody is going to read: others may have the room.
    pub(super) fn pass_over(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("no more than came");
        if let Some(by) = self.incoming.read(bytes) {
            self.widen(0, by);
        }
    }

    /// Notes that nobody reads on in a body, to its end or not, of which `unread` bytes are there.
    pub(in crate::edge) fn unwant(&mut self, id: u32, unread: usize) {
        self.pass_over(unread);
        if let Some(stream) = self.find(id) {
            stream.is_unwanted = true;
        }
        self.settle(id);
    }

    /// Begins an answer; the edge's own headers are `date` and, where it is known, the length.
    pub(in crate::edge) fn answer(
        &mut self,
        id: u32,
        (status, headers): (StatusCode, &HeaderMap),
        date: &HeaderValue,
        length: Option<u64>,
        ends: bool,
    ) {
        if self.place(id).is_none() {
            return;
        }
        let start = self.begin_block();
        let (encoder, out) = (&mut self.encoder, &mut self.out);
        encoder.status(out, status);
        let (mut has_date, mut has_length) = (false, false);
        for (name, value) in headers {
            if is_of_connection(name) {
                continue;
            }
            has_date |= *name == header::DATE;
            has_length |= *name == header::CONTENT_LENGTH;
            encoder.header(out, name, value);
        }
        if let Some(length) = length.filter(|_| !has_length) {
            let mut digits = itoa::Buffer::new();
            encoder.once(out, &header::CONTENT_LENGTH, digits.format(length).as_bytes());
        }
        if !has_date {
            encoder.header(out, &header::DATE, date);
        }
        self.end_block(id, start, ends);
    }

    /// Ends an answer with trailers.
    pub(in crate::edge) fn answer_trailers(&mut self, id: u32, trailers: &HeaderMap) {
        if self.place(id).is_none() {
            return;
        }
        let start = self.begin_block();
        for (name, value) in trailers {
            self.encoder.header(&mut self.out, name, value);
        }
        self.end_block(id, start, true);
    }

    fn begin_block(&mut self) -> usize {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD_BYTES]);
        self.encoder.begin(&mut self.out);
        start
    }

    fn end_block(&mut self, id: u32, start: usize, ends: bool) {
        let end_stream = if ends { END_STREAM } else { 0 };
        let length = self.out.len() - start - HEAD_BYTES;
        if length <= PAYLOAD_BYTES_FIRST {
            let head = frame::head_bytes(Kind::Headers, END_HEADERS | end_stream, id, length);
            self.out[start..start + HEAD_BYTES].copy_from_slice(&head);
        } else {
            let block = self.out.split_off(start + HEAD_BYTES);
            self.out.truncate(start);
            let pieces = block.chunks(PAYLOAD_BYTES_FIRST);
            let last = pieces.len() - 1;
            for (at, piece) in pieces.enumerate() {
                let (kind, flags) =
                    if at == 0 { (Kind::Headers, end_stream) } else { (Kind::Continuation, 0) };
                let ended = if at == last { END_HEADERS } else { 0 };
                frame::put(&mut self.out, kind, flags | ended, id, piece);
            }
        }
        if ends {
            self.answered(id);
        }
    }

    /// Sends of `bytes` what there is room for, and takes that away; true when all is sent. `ends`
    /// says whether the answer ends with them.
    pub(in crate::edge) fn send(&mut self, id: u32, bytes: &mut Bytes, ends: bool) -> bool {
        let Some(at) = self.place(id) else { return true }; // Nobody waits for it.
        let is_anothers_turn = self.line.front().is_some_and(|first| *first != id);
        if is_anothers_turn && !bytes.is_empty() {
            self.wait_in_line(id);
            return false;
        }
        loop {
            if limits::SEND_BYTES_MAX <= self.out.len() - self.sent {
                self.is_held = true;
                return false;
            }
            let stream = &mut self.streams[at];
            let room = stream.outgoing.room();
            let length = bytes.len().min(room).min(self.outgoing.room()).min(PAYLOAD_BYTES_FIRST);
            if length == 0 && !bytes.is_empty() {
                match room {
                    0 => self.leave_line(id),
                    _ => self.wait_in_line(id),
                }
                return false;
            }
            stream.outgoing.take(length);
            self.outgoing.take(length);
            let is_last = length == bytes.len();
            let flags = if is_last && ends { END_STREAM } else { 0 };
            if length != 0 || flags != 0 {
                frame::put(&mut self.out, Kind::Data, flags, id, &bytes[..length]);
            }
            bytes.advance(length);
            if is_last {
                break;
            }
            if 1 < self.line.len() {
                self.line.rotate_left(1);
                return false;
            }
        }
        self.leave_line(id);
        if ends {
            self.answered(id);
        }
        true
    }

    fn wait_in_line(&mut self, id: u32) {
        if !self.line.contains(&id) {
            self.line.push_back(id);
        }
    }

    /// Whose turn it is to send, if there is room for all streams together.
    pub(in crate::edge) fn first_in_line(&mut self) -> Option<&mut L> {
        let first = *self.line.front()?;
        if self.is_choked() {
            self.is_held = true;
            return None;
        }
        let has_room = self.outgoing.room() != 0;
        self.lane(first).filter(|_| has_room)
    }

    fn answered(&mut self, id: u32) {
        if let Some(stream) = self.find(id) {
            stream.is_answered = true;
        }
        self.settle(id);
    }

    /// Breaks an answer off, and returns what was kept with its stream.
    pub(in crate::edge) fn fail(&mut self, id: u32) -> Option<L> {
        let stream = self.take(id)?;
        self.put_reset(id, Reason::InternalError);
        Some(stream.lane)
    }

    /// Tells the client to begin no more requests.
    pub(in crate::edge) fn go_away(&mut self) {
        if self.ending == Ending::Not {
            self.ending = Ending::Told;
            frame::put_going_away(&mut self.out, window::MAX, Reason::NoError);
            frame::put(&mut self.out, Kind::Ping, 0, 0, FAREWELL);
        }
    }

    /// Whether everything was answered and nothing more can come.
    pub(in crate::edge) fn is_over(&self) -> bool {
        let is_last = self.client_has_left || matches!(self.ending, Ending::Last(_));
        is_last && self.streams.is_empty()
    }

    /// What is to be sent.
    pub(in crate::edge) fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// Whether answers wait until more was sent.
    pub(in crate::edge) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Notes that so much was sent; true when somebody waits for that.
    pub(in crate::edge) fn has_sent(&mut self, bytes: usize) -> bool {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(SPARE_BYTES_MAX);
            self.sent = 0;
        } else if limits::SEND_BYTES_MAX <= self.sent {
            // More may be put behind what waits before the last of it is taken, again and again.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        self.out.is_empty() && std::mem::take(&mut self.is_held)
    }

    /// Whether so much waits to be sent that nothing should be read.
    pub(in crate::edge) fn is_choked(&self) -> bool {
        limits::SEND_BYTES_MAX <= self.unsent().len()
    }

    /// The last bytes of the connection: what is not sent yet, and why it ends.
    pub(in crate::edge) fn last_words(&mut self, reason: Reason) -> Vec<u8> {
        let mut words = self.out.split_off(self.sent);
        match self.ending {
            Ending::Last(_) if reason == Reason::NoError => (),
            // What it was told is not looked at was not (RFC 9113 §6.8).
            Ending::Last(last) => frame::put_going_away(&mut words, last, reason),
            Ending::Not | Ending::Told => {
                frame::put_going_away(&mut words, self.ids.highest(), reason);
            }
        }
        words
    }
}

/// What is said of an HTTP/1 connection has no place in HTTP/2 (RFC 9113 §8.2.2).
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long an answer is, and though the client never takes the last of what waits.
    #[test]
    fn what_was_sent_is_not_kept() {
        let mut session = Session::<()>::new(0);
        for _ in 0..100 {
            session.out.extend_from_slice(&[0; PAYLOAD_BYTES_FIRST]);
            let unsent = session.unsent().len();
            assert!(!session.has_sent(unsent - 1));
            assert!(session.out.len() < 2 * limits::SEND_BYTES_MAX);
        }
        assert_eq!(session.unsent(), [0]);
    }
}
