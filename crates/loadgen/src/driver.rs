//! The event loop of one thread: lanes, one epoll, and a job that says what to send.
//!
//! It shares its processor with what it measures, so it must be lean: per request one write and
//! one read, a share of one wait, no timer, no task, no allocation. Waits are to the nanosecond
//! (`epoll_pwait2`, Linux 5.11), so that a request that is due is not late by up to a millisecond.

use crate::{
    job::{End, Job, Next},
    lane::{Lane, Phase, Turn, closes},
    limits::{BURST_MAX, EVENTS_MAX, SWEEP_EVERY},
};
use net::clock;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventFlags},
};
use std::{
    collections::VecDeque, io, net::SocketAddr, os::fd::AsFd, os::fd::OwnedFd, time::Duration,
};
use stdx::Moment;

/// Where a read goes first; longer answers are put together elsewhere.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a driver is told once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) addr: SocketAddr,
    pub(crate) lanes: usize,
    pub(crate) answer_time_max: Duration,
    pub(crate) connection_requests: Option<u64>,
}

/// Connections of one thread.
pub(crate) struct Driver {
    bounds: Bounds,
    poll: OwnedFd,
    lanes: Vec<Lane>,
    /// Lanes that may take a request, the one that rested longest first.
    idle: VecDeque<usize>,
    buffer: Vec<u8>,
    events: Vec<Event>,
    swept: Moment,
}

impl Driver {
    /// Begins to open all connections.
    pub(crate) fn new(bounds: Bounds) -> io::Result<Driver> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let lanes = (0..bounds.lanes).map(|_| Lane::new()).collect();
        Ok(Driver {
            bounds,
            poll,
            lanes,
            idle: VecDeque::with_capacity(bounds.lanes),
            buffer: vec![0; BUFFER_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
            swept: Moment::ZERO,
        })
    }

    /// Sends what `job` has until it has nothing any more.
    pub(crate) fn drive(&mut self, job: &mut impl Job) -> io::Result<()> {
        self.sweep(job);
        loop {
            let now = clock::now();
            if self.swept + SWEEP_EVERY <= now {
                self.sweep(job);
                job.tick(now);
            }
            if job.is_done(now) {
                return Ok(());
            }
            let wake = self.hand_out(job);
            self.wait(wake.min(self.swept + SWEEP_EVERY))?;
            self.take_turns(job);
        }
    }

    /// Gives requests to idle lanes; when to look again at the latest.
    fn hand_out(&mut self, job: &mut impl Job) -> Moment {
        for _ in 0..BURST_MAX {
            let Some(&number) = self.idle.front() else { return Moment::from_nanos(u64::MAX) };
            let lane = &mut self.lanes[number];
            if lane.phase() != Phase::Idle {
                lane.is_queued = false;
                self.idle.pop_front();
                continue;
            }
            let now = clock::now();
            lane.out.clear();
            match job.next(number, now, &mut lane.out) {
                Next::Send => {
                    lane.is_queued = false;
                    self.idle.pop_front();
                    if let Turn::Ended(end) = lane.send(now, &self.poll, as_u64(number)) {
                        job.ended(number, now, end);
                    }
                }
                Next::At(moment) => return moment,
                Next::Wait => return Moment::from_nanos(u64::MAX),
            }
        }
        Moment::ZERO // There may be more: only look what has come.
    }

    fn wait(&mut self, until: Moment) -> io::Result<()> {
        let rest = until.since(clock::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        };
        self.events.clear();
        match epoll::wait(
            &self.poll,
            rustix::buffer::spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    fn take_turns(&mut self, job: &mut impl Job) {
        for at in 0..self.events.len() {
            let (data, flags) = (self.events[at].data.u64(), self.events[at].flags);
            let number = usize::try_from(data).expect("the number of a lane");
            let now = clock::now();
            let lane = &mut self.lanes[number];
            let turn = lane.turn(now, self.poll.as_fd(), data, flags, &mut self.buffer);
            match turn {
                Turn::Quiet => (),
                Turn::Ready => self.rest(number),
                Turn::Refused => job.unconnected(),
                Turn::Ended(end) => {
                    // A peer that has hung up after its answer takes no further request.
                    let closes = closes(&end) || flags.contains(EventFlags::RDHUP);
                    job.ended(number, now, end);
                    if lane.phase() == Phase::Idle {
                        lane.settle(now, closes, self.bounds.connection_requests);
                    }
                    self.rest(number);
                }
            }
        }
    }

    /// Puts a lane into the queue, or opens it again if it may be opened at once.
    fn rest(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        match lane.phase() {
            Phase::Idle if !lane.is_queued => {
                lane.is_queued = true;
                self.idle.push_back(number);
            }
            Phase::Idle | Phase::Busy(_) | Phase::Connecting(_) => (),
            Phase::Down(until) => {
                let now = clock::now();
                if until <= now {
                    self.open(number, now);
                }
            }
        }
    }

    fn open(&mut self, number: usize, now: Moment) -> bool {
        let lane = &mut self.lanes[number];
        let opened = lane.open(now, self.bounds.addr, &self.poll, as_u64(number));
        if opened.is_err() {
            lane.close(now);
        }
        opened.is_ok()
    }

    /// Gives up what is late, and opens what is down.
    fn sweep(&mut self, job: &mut impl Job) {
        let now = clock::now();
        self.swept = now;
        for number in 0..self.lanes.len() {
            let lane = &mut self.lanes[number];
            if lane.is_late(now, self.bounds.answer_time_max) {
                let was_busy = matches!(lane.phase(), Phase::Busy(_));
                lane.close(now);
                match was_busy {
                    true => job.ended(number, now, End::TimedOut),
                    false => job.unconnected(),
                }
            }
            if let Phase::Down(until) = self.lanes[number].phase()
                && until <= now
                && !self.open(number, now)
            {
                job.unconnected();
            }
        }
    }
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).expect("a number of lanes")
}
