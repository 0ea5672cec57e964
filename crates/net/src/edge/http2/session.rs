//! One connection of HTTP/2, from the server's side (RFC 9113): what a client sends, and what its
//! owner makes of that.

mod requests;
mod sending;

use self::sending::FAREWELL;
use super::{
    super::limits,
    budget::Budgets,
    decoder::Decoder,
    encoder::Encoder,
    frame::{
        self, ACK, HEAD_BYTES, Head, Kind, PAYLOAD_BYTES_FIRST, PAYLOAD_BYTES_LIMIT, PREFACE,
        Reason,
    },
    head::RequestHead,
    ids::Ids,
    stream::Stream,
    window::{self, Incoming, Outgoing},
};
use bytes::Bytes;
use std::collections::VecDeque;

/// Frames that one head may be cut into, behind its first.
const CONTINUATIONS_MAX: u32 = 8;
/// What is kept of the memory that bytes wait in.
const SPARE_BYTES_MAX: usize = 64 * 1024;
/// What a client asks. `L` is what the session's owner keeps of each stream.
#[derive(Debug)]
pub(in crate::edge) enum Event<L> {
    /// A request; its body is still to come unless it ends here.
    Asked { id: u32, head: RequestHead, ends: bool },
    /// A part of a request's body.
    Data { id: u32, bytes: Bytes, is_last: bool },
    /// A request is over, and nobody waits for its answer.
    Reset(L),
    /// More may be sent on this stream than before, or on all of them.
    Room(Option<u32>),
}

/// How far the end of the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Not,
    /// The client was told to begin no more streams, and may not have heard it.
    Told,
    /// It has heard it: streams above this one are none.
    Last(u32),
}

/// A head that has begun.
#[derive(Debug)]
struct Opening {
    id: u32,
    /// It is that of a request and not of trailers.
    is_request: bool,
    ends: bool,
    depends_on_itself: bool,
    continuations: u32,
}

/// How a connection speaks HTTP/2: bytes in and out, and what they mean.
#[derive(Debug)]
pub(in crate::edge) struct Session<L> {
    /// Bytes of the preface that have come.
    preface: usize,
    /// What came and was not read, from `at` on.
    input: Vec<u8>,
    at: usize,
    /// The frame whose payload is still to come.
    frame: Option<Head>,
    is_first: bool,
    opening: Option<Opening>,
    /// What has come of a head in pieces.
    block: Vec<u8>,
    decoder: Decoder,
    ids: Ids,
    /// Streams that both sides have not ended, in order.
    streams: Vec<Stream<L>>,
    budgets: Budgets,
    incoming: Incoming,
    client_has_left: bool,
    ending: Ending,
    encoder: Encoder,
    outgoing: Outgoing,
    /// Streams that wait for room in that, in turns: a frame each.
    line: VecDeque<u32>,
    /// The window of streams that begin.
    window_first: u32,
    /// What is to be sent, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Something is held back until more was sent.
    is_held: bool,
}

impl<L: Default> Session<L> {
    /// A connection on which nothing was said; `tick` counts the sweeps of its worker.
    pub(in crate::edge) fn new(tick: u64) -> Session<L> {
        let mut session = Session {
            preface: 0,
            input: Vec::new(),
            at: 0,
            frame: None,
            is_first: true,
            opening: None,
            block: Vec::new(),
            decoder: Decoder::new(),
            ids: Ids::default(),
            streams: Vec::new(),
            budgets: Budgets::new(tick),
            incoming: Incoming::new(limits::CONNECTION_WINDOW_BYTES),
            client_has_left: false,
            ending: Ending::Not,
            encoder: Encoder::new(),
            outgoing: Outgoing::new(window::FIRST),
            line: VecDeque::new(),
            window_first: window::FIRST,
            out: Vec::new(),
            sent: 0,
            is_held: false,
        };
        let settings = [
            (Setting::MAX_STREAMS, limits::STREAMS_MAX),
            (Setting::WINDOW, limits::STREAM_WINDOW_BYTES),
            (Setting::HEAD_BYTES, limits::HEADER_LIST_BYTES_MAX),
        ];
        let mut payload = Vec::new();
        for (setting, value) in settings {
            payload.extend_from_slice(&setting.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        frame::put(&mut session.out, Kind::Settings, 0, 0, &payload);
        session.widen(0, limits::CONNECTION_WINDOW_BYTES - window::FIRST);
        session
    }

    /// Takes what has come.
    pub(in crate::edge) fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next thing that the client asks, if enough of it has come. After an error the connection
    /// is to end with that reason.
    pub(in crate::edge) fn next(&mut self, tick: u64) -> Result<Option<Event<L>>, Reason> {
        self.greeted()?;
        loop {
            let head = match self.frame {
                Some(head) => head,
                None => {
                    let Some(bytes) = self.input[self.at..].first_chunk() else { break };
                    let head = Head::parse(*bytes);
                    self.begin(&head, tick)?;
                    self.at += HEAD_BYTES;
                    *self.frame.insert(head)
                }
            };
            let start = self.at;
            if self.input.len() - start < head.length {
                break;
            }
            self.frame = None;
            self.at += head.length;
            let input = std::mem::take(&mut self.input);
            let event = self.payload(&head, &input[start..start + head.length]);
            self.input = input;
            if let Some(event) = event? {
                return Ok(Some(event));
            }
        }
        self.input.drain(..self.at);
        self.at = 0;
        self.input.shrink_to(SPARE_BYTES_MAX);
        Ok(None)
    }

    fn greeted(&mut self) -> Result<(), Reason> {
        while self.preface < PREFACE.len() {
            let Some(byte) = self.input.get(self.at) else { return Ok(()) };
            if *byte != PREFACE[self.preface] {
                return Err(Reason::ProtocolError);
            }
            self.preface += 1;
            self.at += 1;
        }
        Ok(())
    }

    /// Judges a frame by its head.
    fn begin(&mut self, head: &Head, tick: u64) -> Result<(), Reason> {
        if self.is_first && (head.kind != Kind::Settings || head.has(ACK)) {
            return Err(Reason::ProtocolError); // RFC 9113 §3.4.
        }
        self.is_first = false;
        head.check()?;
        // RFC 9113 §6.2, §6.10: nothing comes between the parts of a head.
        let continues = (head.kind == Kind::Continuation).then_some(head.stream);
        if self.opening.as_ref().map(|it| it.id) != continues {
            return Err(Reason::ProtocolError);
        }
        self.budgets.spend(head, tick)
    }

    fn payload(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Event<L>>, Reason> {
        match head.kind {
            Kind::Data => self.data(head, payload),
            Kind::Headers => self.headers(head, payload),
            Kind::Continuation => self.continuation(head, payload),
            Kind::Priority => match payload.first_chunk() {
                Some(on) if frame::depends_on(*on) == head.stream => Err(Reason::ProtocolError),
                Some(_) | None => Ok(None),
            },
            Kind::Reset => {
                self.ids.check_begun(head.stream)?;
                self.ids.end(head.stream);
                Ok(self.take(head.stream).map(|stream| Event::Reset(stream.lane)))
            }
            Kind::Settings if head.has(ACK) => Ok(None),
            Kind::Settings => self.settings(payload),
            Kind::Ping => {
                if !head.has(ACK) {
                    frame::put(&mut self.out, Kind::Ping, ACK, 0, payload);
                } else if payload == FAREWELL && self.ending == Ending::Told {
                    let last = self.ids.highest();
                    self.ending = Ending::Last(last);
                    frame::put_going_away(&mut self.out, last, Reason::NoError);
                }
                Ok(None)
            }
            Kind::GoAway => {
                self.client_has_left = true;
                Ok(None)
            }
            Kind::WindowUpdate => self.window_update(head.stream, payload),
            Kind::Push | Kind::Unknown => Ok(None),
        }
    }

    fn settings(&mut self, payload: &[u8]) -> Result<Option<Event<L>>, Reason> {
        for setting in payload.chunks_exact(6) {
            let [a, b, value @ ..] = setting else { continue };
            let value = value.try_into().map_or(0, u32::from_be_bytes);
            match u16::from_be_bytes([*a, *b]) {
                Setting::TABLE => self.encoder.limit(value),
                Setting::PUSH if 1 < value => return Err(Reason::ProtocolError),
                Setting::WINDOW => {
                    if window::MAX < value {
                        return Err(Reason::FlowControlError);
                    }
                    let by = i64::from(value) - i64::from(self.window_first);
                    self.window_first = value;
                    if !self.streams.iter_mut().all(|stream| stream.outgoing.widen(by)) {
                        return Err(Reason::FlowControlError);
                    }
                }
                Setting::PAYLOAD => {
                    let bytes = usize::try_from(value).unwrap_or(usize::MAX);
                    if !(PAYLOAD_BYTES_FIRST..=PAYLOAD_BYTES_LIMIT).contains(&bytes) {
                        return Err(Reason::ProtocolError);
                    }
                    // Ours are no longer than the least: others would wait behind them.
                }
                _ => (),
            }
        }
        frame::put(&mut self.out, Kind::Settings, ACK, 0, &[]);
        Ok(Some(Event::Room(None)))
    }

    fn window_update(&mut self, id: u32, payload: &[u8]) -> Result<Option<Event<L>>, Reason> {
        let by = payload.try_into().map_or(0, u32::from_be_bytes) & window::MAX;
        if id == 0 {
            if by == 0 {
                return Err(Reason::ProtocolError);
            }
            // Those that wait for it stand in line: nobody else need be told.
            return match self.outgoing.widen(by.into()) {
                true => Ok(None),
                false => Err(Reason::FlowControlError),
            };
        }
        self.ids.check_begun(id)?;
        match self.find(id) {
            None => Ok(None),
            Some(_) if by == 0 => self.reset(id, Reason::ProtocolError),
            Some(stream) => match stream.outgoing.widen(by.into()) {
                true => Ok(Some(Event::Room(Some(id)))),
                false => self.reset(id, Reason::FlowControlError),
            },
        }
    }

    /// Ends a stream for what the client did.
    fn reset(&mut self, id: u32, reason: Reason) -> Result<Option<Event<L>>, Reason> {
        self.budgets.reset()?;
        self.put_reset(id, reason);
        Ok(self.take(id).map(|stream| Event::Reset(stream.lane)))
    }

    fn put_reset(&mut self, id: u32, reason: Reason) {
        frame::put(&mut self.out, Kind::Reset, 0, id, &(reason as u32).to_be_bytes());
    }

    fn widen(&mut self, id: u32, by: u32) {
        frame::put(&mut self.out, Kind::WindowUpdate, 0, id, &by.to_be_bytes());
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    fn find(&mut self, id: u32) -> Option<&mut Stream<L>> {
        self.place(id).map(|at| &mut self.streams[at])
    }

    fn take(&mut self, id: u32) -> Option<Stream<L>> {
        self.leave_line(id);
        self.place(id).map(|at| self.streams.remove(at))
    }

    fn leave_line(&mut self, id: u32) {
        if let Some(at) = self.line.iter().position(|it| *it == id) {
            self.line.remove(at);
        }
    }

    /// Lets go of a stream that has nothing to come nor to go.
    fn settle(&mut self, id: u32) {
        let Some(at) = self.place(id) else { return };
        let stream = &self.streams[at];
        if !stream.is_answered || !(stream.has_come || stream.is_unwanted) {
            return;
        }
        if !stream.has_come {
            self.put_reset(id, Reason::NoError); // RFC 9113 §8.1.
        }
        self.streams.remove(at);
    }
}

/// Settings (RFC 9113 §6.5.2).
struct Setting;

impl Setting {
    const TABLE: u16 = 1;
    const PUSH: u16 = 2;
    const MAX_STREAMS: u16 = 3;
    const WINDOW: u16 = 4;
    const PAYLOAD: u16 = 5;
    const HEAD_BYTES: u16 = 6;
}

/// Limits as sizes.
const LIST_BYTES_MAX: usize = 48 * 1024;
const STREAMS_MAX: usize = 100;
const _: () = assert!(
    LIST_BYTES_MAX as u64 == limits::HEADER_LIST_BYTES_MAX as u64
        && STREAMS_MAX as u64 == limits::STREAMS_MAX as u64
);
