//! The event loop of one thread: connections, one epoll, and a job that says what to send.
//!
//! It shares its processor with what it measures, so it must be lean: no timer, no task, no
//! allocation per request, and a share of one wait. Waits are to the nanosecond (`epoll_pwait2`,
//! Linux 5.11), so that a request that is due is not late by up to a millisecond.

use crate::{
    http2::Links,
    job::Job,
    lanes::Lanes,
    limits::{EVENTS_MAX, SWEEP_EVERY},
};
use net::clock;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventFlags},
};
use std::{io, net::SocketAddr, os::fd::AsFd, os::fd::BorrowedFd, os::fd::OwnedFd, time::Duration};
use stdx::Moment;

/// Where a read goes first; longer answers are put together elsewhere.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;

/// What a driver is told once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) addr: SocketAddr,
    pub(crate) connections: usize,
    /// Of HTTP/2: how many requests are in flight on each connection. `None` is HTTP/1.1.
    pub(crate) streams: Option<usize>,
    pub(crate) answer_time_max: Duration,
    pub(crate) connection_requests: Option<u64>,
}

impl Bounds {
    /// How many requests can be in flight: the lanes that a job hears of are numbered below this.
    pub(crate) fn lanes(&self) -> usize {
        self.connections * self.streams.unwrap_or(1)
    }
}

/// Connections that carry a job's requests.
pub(crate) trait Carrier {
    /// Gives requests to idle lanes and sends them; when to look again at the latest.
    fn hand_out(&mut self, job: &mut impl Job) -> Moment;

    /// Waits for events, until then at the latest, and takes what has come.
    fn take_turns(&mut self, until: Moment, job: &mut impl Job) -> io::Result<()>;

    /// Gives up what is late, and opens what is down.
    fn sweep(&mut self, now: Moment, job: &mut impl Job);
}

/// Opens all connections and sends what `job` has until it has nothing any more.
pub(crate) fn drive(bounds: Bounds, job: &mut impl Job) -> io::Result<()> {
    match bounds.streams {
        None => drive_on(&mut Lanes::new(bounds)?, job),
        Some(streams) => drive_on(&mut Links::new(bounds, streams)?, job),
    }
}

fn drive_on(carrier: &mut impl Carrier, job: &mut impl Job) -> io::Result<()> {
    let mut swept = clock::now();
    carrier.sweep(swept, job);
    loop {
        let now = clock::now();
        if swept + SWEEP_EVERY <= now {
            swept = now;
            carrier.sweep(now, job);
            job.tick(now);
        }
        if job.is_done(now) {
            return Ok(());
        }
        let wake = carrier.hand_out(job);
        carrier.take_turns(wake.min(swept + SWEEP_EVERY), job)?;
    }
}

/// One epoll and what it said last.
pub(crate) struct Poll {
    fd: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Poll> {
        let fd = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Poll { fd, events: Vec::with_capacity(EVENTS_MAX) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Waits for events, until then at the latest; how many there are.
    pub(crate) fn wait(&mut self, until: Moment) -> io::Result<usize> {
        let rest = until.since(clock::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        };
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.fd, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.events.len()),
            Err(err) => Err(err.into()),
        }
    }

    /// The number of the connection that an event is of, and what happened.
    pub(crate) fn event(&self, at: usize) -> (usize, EventFlags) {
        let (data, flags) = (self.events[at].data.u64(), self.events[at].flags);
        (usize::try_from(data).expect("the number of a connection"), flags)
    }
}
