//! HTTP/1.1: every lane is a connection of its own. Per request one write and one read.

use crate::{
    driver::{BUFFER_BYTES, Bounds, Carrier, Poll},
    job::{End, Job, Next},
    lane::{Lane, Phase, Turn, closes},
    limits::BURST_MAX,
};
use net::clock;
use rustix::event::epoll::EventFlags;
use std::{collections::VecDeque, io};
use stdx::Moment;

/// Connections of one thread.
pub(crate) struct Lanes {
    bounds: Bounds,
    poll: Poll,
    lanes: Vec<Lane>,
    /// Lanes that may take a request, the one that rested longest first.
    idle: VecDeque<usize>,
    buffer: Vec<u8>,
}

impl Lanes {
    /// All without a connection yet.
    pub(crate) fn new(bounds: Bounds) -> io::Result<Lanes> {
        Ok(Lanes {
            bounds,
            poll: Poll::new()?,
            lanes: (0..bounds.connections).map(|_| Lane::new()).collect(),
            idle: VecDeque::with_capacity(bounds.connections),
            buffer: vec![0; BUFFER_BYTES],
        })
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
        let opened = lane.open(now, self.bounds.addr, self.poll.fd(), number);
        if opened.is_err() {
            lane.close(now);
        }
        opened.is_ok()
    }
}

impl Carrier for Lanes {
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
                    if let Turn::Ended(end) = lane.send(now, self.poll.fd(), number) {
                        job.ended(number, now, end);
                    }
                }
                Next::At(moment) => return moment,
                Next::Wait => return Moment::from_nanos(u64::MAX),
            }
        }
        Moment::ZERO // There may be more: only look what has come.
    }

    fn take_turns(&mut self, until: Moment, job: &mut impl Job) -> io::Result<()> {
        for at in 0..self.poll.wait(until)? {
            let (number, flags) = self.poll.event(at);
            let now = clock::now();
            let lane = &mut self.lanes[number];
            let turn = lane.turn(now, self.poll.fd(), number, flags, &mut self.buffer);
            match turn {
                Turn::Quiet => (),
                Turn::Ready => self.rest(number),
                Turn::Refused => job.unconnected(None),
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
        Ok(())
    }

    fn sweep(&mut self, now: Moment, job: &mut impl Job) {
        for number in 0..self.lanes.len() {
            let lane = &mut self.lanes[number];
            if lane.is_late(now, self.bounds.answer_time_max) {
                let was_busy = matches!(lane.phase(), Phase::Busy(_));
                lane.close(now);
                match was_busy {
                    true => job.ended(number, now, End::TimedOut),
                    false => job.unconnected(None),
                }
            }
            if let Phase::Down(until) = self.lanes[number].phase()
                && until <= now
                && !self.open(number, now)
            {
                job.unconnected(None);
            }
        }
    }
}
