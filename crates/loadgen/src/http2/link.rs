//! One connection: a socket and a [`Session`].

use super::session::Session;
use crate::{
    job::End,
    limits::{CONNECT_TIME_MAX, RECONNECT_PAUSE},
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

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Without a connection until then at least.
    Down(Moment),
    /// Since then; until the peer's settings have come.
    Connecting(Moment),
    Open,
}

/// A connection that carries many requests.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    stream: Option<TcpStream>,
    pub(super) session: Session,
    /// The socket took less than it was given: the rest waits for an event.
    is_full: bool,
    /// When the peer was heard last.
    pub(super) heard: Moment,
    /// How often it stands in the queue of those that may take a request.
    pub(super) queued: usize,
    /// It stands in the list of those that have something to be written.
    pub(super) is_listed: bool,
}

impl Link {
    /// Without a connection.
    pub(super) fn new(session: Session) -> Link {
        Link {
            phase: Phase::Down(Moment::ZERO),
            stream: None,
            session,
            is_full: false,
            heard: Moment::ZERO,
            queued: 0,
            is_listed: false,
        }
    }

    /// Begins to connect.
    pub(super) fn open(
        &mut self,
        now: Moment,
        addr: SocketAddr,
        poll: BorrowedFd<'_>,
        number: usize,
    ) -> io::Result<()> {
        self.stream = Some(socket::connect(addr, poll, number)?);
        self.phase = Phase::Connecting(now);
        self.session.begin();
        // What is there to be said waits for the event that says that we are connected.
        self.is_full = true;
        Ok(())
    }

    /// Hangs up; every request in flight ends like this, or as unsent. A connection that had an
    /// answer may be opened again at once, unless the peer is none that we understand.
    pub(super) fn close(
        &mut self,
        now: Moment,
        end: &End<'static>,
        hear: &mut impl FnMut(usize, End<'_>),
    ) {
        let may_hurry = self.session.has_answered() && !matches!(end, End::Garbled(_));
        let pause = if may_hurry { Duration::ZERO } else { RECONNECT_PAUSE };
        self.stream = None;
        self.phase = Phase::Down(now + pause);
        self.session.end(end, hear);
    }

    /// Writes what there is; what the socket does not take waits for an event.
    pub(super) fn flush(&mut self, poll: BorrowedFd<'_>, number: usize) -> io::Result<()> {
        if !self.is_full && !self.write()? {
            self.is_full = true;
            self.watch(poll, number, WRITING)?;
        }
        Ok(())
    }

    /// True when all is written.
    fn write(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else { return Ok(true) };
        while !self.session.unsent().is_empty() {
            match socket::write(stream, self.session.unsent())? {
                Some(count) => self.session.wrote(count),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn watch(&self, poll: BorrowedFd<'_>, number: usize, flags: EventFlags) -> io::Result<()> {
        let Some(stream) = &self.stream else { return Err(ErrorKind::NotConnected.into()) };
        socket::watch(stream, poll, number, flags)
    }

    /// Something happened on the connection; how it ended, if it did. `buffer` is where a read goes.
    pub(super) fn turn(
        &mut self,
        now: Moment,
        poll: BorrowedFd<'_>,
        number: usize,
        flags: EventFlags,
        buffer: &mut [u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), End<'static>> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if flags.contains(EventFlags::OUT) && self.is_full {
            if !socket::is_connected(stream, flags) {
                return Err(End::Lost);
            }
            self.write_on(poll, number).map_err(|_| End::Lost)?;
        }
        if flags.intersects(READING | EventFlags::HUP | EventFlags::ERR) {
            return self.read(now, buffer, hear);
        }
        Ok(())
    }

    /// Writes what the socket did not take before.
    fn write_on(&mut self, poll: BorrowedFd<'_>, number: usize) -> io::Result<()> {
        if self.write()? {
            self.is_full = false;
            self.watch(poll, number, READING)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        now: Moment,
        buffer: &mut [u8],
        hear: &mut impl FnMut(usize, End<'_>),
    ) -> Result<(), End<'static>> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let read = socket::read(stream, buffer).map_err(|_| End::Lost)?;
        let Some(count) = read else { return Ok(()) };
        self.heard = now;
        self.session.feed(&buffer[..count], hear).map_err(End::Garbled)?;
        if self.session.is_open() {
            self.phase = Phase::Open;
        }
        Ok(())
    }

    /// True when it has taken longer to come about than it may.
    pub(super) fn is_late(&self, now: Moment) -> bool {
        matches!(self.phase, Phase::Connecting(since) if CONNECT_TIME_MAX < now.since(since))
    }
}
