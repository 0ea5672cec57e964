//! One connection: kept alive, one request at a time, opened again when it breaks.

use crate::{
    answer::{Answer, Parsed, parse},
    job::End,
    limits::{ANSWER_BYTES_MAX, CONNECT_TIME_MAX, RECONNECT_PAUSE},
    socket::{self, READING, WRITING},
};
use rustix::event::epoll::EventFlags;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    os::fd::BorrowedFd,
    time::Duration,
};
use stdx::Moment;

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Without a connection until then at least.
    Down(Moment),
    /// Since then.
    Connecting(Moment),
    Idle,
    /// A request was sent, or a part of it, at that moment.
    Busy(Moment),
}

/// What an event on the connection came to.
pub(crate) enum Turn<'a> {
    /// Nothing that anybody need know.
    Quiet,
    /// It may take a request now.
    Ready,
    /// The attempt to connect failed.
    Refused,
    /// The request ended.
    Ended(End<'a>),
}

/// A connection and what is under way on it.
#[derive(Debug)]
pub(crate) struct Lane {
    progress: Progress,
    stream: Option<TcpStream>,
    /// The request; reused.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The beginning of an answer that did not come in one piece.
    input: Vec<u8>,
    /// It stands in the driver's queue of idle lanes.
    pub(crate) is_queued: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    phase: Phase,
    /// Answers on this connection.
    answered: u64,
}

impl Progress {
    /// What the bytes so far come to.
    fn conclude<'a>(
        &mut self,
        parsed: Parsed<'a>,
        now: Moment,
        stream: &mut Option<TcpStream>,
    ) -> Turn<'a> {
        match parsed {
            Parsed::Part => Turn::Quiet,
            Parsed::Garbled(why) => {
                *stream = None;
                self.phase = Phase::Down(now + RECONNECT_PAUSE);
                Turn::Ended(End::Garbled(why))
            }
            Parsed::Whole(answer) => {
                self.phase = Phase::Idle;
                self.answered += 1;
                Turn::Ended(End::Answer(answer))
            }
        }
    }
}

impl Lane {
    /// Without a connection.
    pub(crate) fn new() -> Lane {
        Lane {
            progress: Progress { phase: Phase::Down(Moment::ZERO), answered: 0 },
            stream: None,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
            is_queued: false,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.progress.phase
    }

    /// Begins to connect.
    pub(crate) fn open(
        &mut self,
        now: Moment,
        addr: SocketAddr,
        poll: BorrowedFd<'_>,
        number: usize,
    ) -> io::Result<()> {
        self.stream = Some(socket::connect(addr, poll, number)?);
        self.input.clear();
        self.progress.phase = Phase::Connecting(now);
        self.progress.answered = 0;
        Ok(())
    }

    /// Hangs up. A lane that got an answer on this connection may connect again at once.
    pub(crate) fn close(&mut self, now: Moment) {
        let pause = if 0 < self.progress.answered { Duration::ZERO } else { RECONNECT_PAUSE };
        self.stream = None;
        self.input = Vec::new();
        self.progress.phase = Phase::Down(now + pause);
    }

    /// Sends what was written to `out`.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        poll: BorrowedFd<'_>,
        number: usize,
    ) -> Turn<'static> {
        self.written = 0;
        self.progress.phase = Phase::Busy(now);
        match self.flush() {
            Ok(true) => Turn::Quiet,
            Ok(false) => match self.watch(poll, number, WRITING) {
                Ok(()) => Turn::Quiet,
                Err(_) => self.broken(now),
            },
            Err(_) => self.broken(now),
        }
    }

    /// True when all is written.
    fn flush(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Err(ErrorKind::NotConnected.into()) };
        while self.written < self.out.len() {
            match socket::write(stream, &self.out[self.written..])? {
                Some(count) => self.written += count,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn watch(&self, poll: BorrowedFd<'_>, number: usize, flags: EventFlags) -> io::Result<()> {
        let Some(stream) = &self.stream else { return Err(ErrorKind::NotConnected.into()) };
        socket::watch(stream, poll, number, flags)
    }

    fn broken(&mut self, now: Moment) -> Turn<'static> {
        let end = if self.written == 0 { End::Unsent } else { End::Lost };
        let phase = self.progress.phase;
        self.close(now);
        match phase {
            Phase::Busy(_) => Turn::Ended(end),
            Phase::Connecting(_) => Turn::Refused,
            Phase::Idle | Phase::Down(_) => Turn::Quiet,
        }
    }

    /// Something happened on the connection. `buffer` is where a read goes first.
    pub(crate) fn turn<'a>(
        &'a mut self,
        now: Moment,
        poll: BorrowedFd<'_>,
        number: usize,
        flags: EventFlags,
        buffer: &'a mut [u8],
    ) -> Turn<'a> {
        match self.progress.phase {
            Phase::Down(_) => Turn::Quiet,
            Phase::Connecting(_) => {
                let connected =
                    self.stream.as_ref().is_some_and(|it| socket::is_connected(it, flags));
                if connected && self.watch(poll, number, READING).is_ok() {
                    self.progress.phase = Phase::Idle;
                    return Turn::Ready;
                }
                self.broken(now)
            }
            Phase::Idle => {
                // Nothing was asked: whatever comes now is a farewell.
                self.close(now);
                Turn::Quiet
            }
            Phase::Busy(_) => {
                if flags.contains(EventFlags::OUT) {
                    match self.flush() {
                        Ok(true) if self.watch(poll, number, READING).is_err() => {
                            return self.broken(now);
                        }
                        Ok(_) => (),
                        Err(_) => return self.broken(now),
                    }
                }
                if flags.intersects(READING | EventFlags::HUP | EventFlags::ERR) {
                    return self.read(now, buffer);
                }
                Turn::Quiet
            }
        }
    }

    fn read<'a>(&'a mut self, now: Moment, buffer: &'a mut [u8]) -> Turn<'a> {
        let Some(stream) = &self.stream else { return Turn::Quiet };
        let count = match socket::read(stream, buffer) {
            Ok(Some(count)) => count,
            Ok(None) => return Turn::Quiet,
            Err(_) => return self.broken(now),
        };
        // The usual answer comes in one piece and is read where it lies.
        if self.input.is_empty() {
            let parsed = parse(&buffer[..count]);
            if parsed == Parsed::Part {
                self.input.extend_from_slice(&buffer[..count]);
            }
            return self.progress.conclude(parsed, now, &mut self.stream);
        }
        if ANSWER_BYTES_MAX < self.input.len() + count {
            self.close(now);
            return Turn::Ended(End::Garbled("longer than any answer"));
        }
        self.input.extend_from_slice(&buffer[..count]);
        self.progress.conclude(parse(&self.input), now, &mut self.stream)
    }

    /// After an answer: forgets its bytes; hangs up where the peer or the plan wants it so.
    pub(crate) fn settle(&mut self, now: Moment, closes: bool, requests_max: Option<u64>) {
        self.input.clear();
        if closes || requests_max.is_some_and(|max| max <= self.progress.answered) {
            self.close(now);
        }
    }

    /// True when it has waited longer than it may.
    pub(crate) fn is_late(&self, now: Moment, answer_time_max: Duration) -> bool {
        match self.progress.phase {
            Phase::Busy(since) => answer_time_max < now.since(since),
            Phase::Connecting(since) => CONNECT_TIME_MAX < now.since(since),
            Phase::Idle | Phase::Down(_) => false,
        }
    }
}

/// True when the peer or either side hangs up after this.
pub(crate) fn closes(end: &End<'_>) -> bool {
    matches!(end, End::Answer(Answer { closes: true, .. }))
}
