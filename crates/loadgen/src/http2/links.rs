//! All connections of one thread. What one turn of the loop has for a connection goes out in one
//! write, and a read takes all that has come.

use super::{
    link::{Link, Phase},
    session::Session,
};
use crate::{
    driver::{BUFFER_BYTES, Bounds, Carrier, Poll},
    job::{End, Job, Next},
    limits::STREAMS_BURST_MAX,
};
use net::clock;
use std::{collections::VecDeque, io};
use stdx::Moment;

/// Connections, each with lanes of its own: those of the first come first.
pub(crate) struct Links {
    bounds: Bounds,
    streams: usize,
    poll: Poll,
    links: Vec<Link>,
    /// Connections that may take a request, as often as they may take one, in the order in which
    /// they came to be so.
    idle: VecDeque<usize>,
    /// Connections that have something to be written.
    listed: Vec<usize>,
    /// The request; reused.
    letter: Vec<u8>,
    buffer: Vec<u8>,
}

impl Links {
    /// All without a connection yet, for so many requests on each.
    pub(crate) fn new(bounds: Bounds, streams: usize) -> io::Result<Links> {
        let link = |_| Link::new(Session::new(streams, bounds.connection_requests));
        Ok(Links {
            bounds,
            streams,
            poll: Poll::new()?,
            links: (0..bounds.connections).map(link).collect(),
            idle: VecDeque::with_capacity(bounds.lanes()),
            listed: Vec::with_capacity(bounds.connections),
            letter: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// After something happened on a connection: what it may take, it is queued for; what it has to
    /// say, it is listed for.
    fn rest(&mut self, number: usize, now: Moment, job: &mut impl Job) {
        let link = &mut self.links[number];
        if link.session.is_spent() {
            // Nothing is in flight.
            link.close(now, &End::Lost, &mut |_: usize, _: End<'_>| ());
        }
        if let Phase::Down(until) = link.phase {
            if until <= now && link.open(now, self.bounds.addr, self.poll.fd(), number).is_err() {
                link.close(now, &End::Lost, &mut |_: usize, _: End<'_>| ());
                job.unconnected(None);
            }
            return;
        }
        while link.queued < link.session.capacity() {
            link.queued += 1;
            self.idle.push_back(number);
        }
        if !link.session.unsent().is_empty() {
            self.list(number);
        }
    }

    fn list(&mut self, number: usize) {
        let link = &mut self.links[number];
        if !link.is_listed {
            link.is_listed = true;
            self.listed.push(number);
        }
    }

    /// The connection has ended, and with it what was in flight.
    fn lose(&mut self, number: usize, now: Moment, end: &End<'static>, job: &mut impl Job) {
        let (link, first) = (&mut self.links[number], number * self.streams);
        if matches!(link.phase, Phase::Connecting(_)) {
            job.unconnected(if let End::Garbled(why) = end { Some(why) } else { None });
        }
        link.close(now, end, &mut |at: usize, end: End<'_>| job.ended(first + at, now, end));
        self.rest(number, now, job);
    }

    fn flush(&mut self, job: &mut impl Job) {
        while let Some(number) = self.listed.pop() {
            let link = &mut self.links[number];
            link.is_listed = false;
            if link.flush(self.poll.fd(), number).is_err() {
                self.lose(number, clock::now(), &End::Lost, job);
            }
        }
    }

    /// Takes back what has waited too long. A connection that has been silent since the request was
    /// sent is given up whole.
    fn give_up_late(&mut self, number: usize, now: Moment, job: &mut impl Job) {
        let first = number * self.streams;
        for at in 0..self.streams {
            let link = &mut self.links[number];
            let Some(sent) = link.session.sent(at) else { continue };
            if now.since(sent) <= self.bounds.answer_time_max {
                continue;
            }
            let is_silent = link.heard < sent;
            link.session.give_up(at);
            job.ended(first + at, now, End::TimedOut);
            if is_silent {
                return self.lose(number, now, &End::Lost, job);
            }
        }
    }
}

impl Carrier for Links {
    fn hand_out(&mut self, job: &mut impl Job) -> Moment {
        let mut wake = Moment::ZERO; // There may be more: only look what has come.
        for _ in 0..STREAMS_BURST_MAX {
            let Some(&number) = self.idle.front() else {
                wake = Moment::from_nanos(u64::MAX);
                break;
            };
            let link = &mut self.links[number];
            if link.session.capacity() == 0 {
                link.queued -= 1;
                self.idle.pop_front();
                continue;
            }
            let now = clock::now();
            self.letter.clear();
            let lane = number * self.streams + link.session.next_slot();
            match job.next(lane, now, &mut self.letter) {
                Next::Send => {
                    link.queued -= 1;
                    self.idle.pop_front();
                    link.session.request(now, &self.letter);
                    self.list(number);
                }
                Next::At(moment) => {
                    wake = moment;
                    break;
                }
                Next::Wait => {
                    wake = Moment::from_nanos(u64::MAX);
                    break;
                }
            }
        }
        self.flush(job);
        wake
    }

    fn take_turns(&mut self, until: Moment, job: &mut impl Job) -> io::Result<()> {
        for at in 0..self.poll.wait(until)? {
            let (number, flags) = self.poll.event(at);
            let now = clock::now();
            let (link, first) = (&mut self.links[number], number * self.streams);
            let mut hear = |at: usize, end: End<'_>| job.ended(first + at, now, end);
            let poll = self.poll.fd();
            match link.turn(now, poll, number, flags, &mut self.buffer, &mut hear) {
                Ok(()) => self.rest(number, now, job),
                Err(end) => self.lose(number, now, &end, job),
            }
        }
        Ok(())
    }

    fn sweep(&mut self, now: Moment, job: &mut impl Job) {
        for number in 0..self.links.len() {
            if self.links[number].is_late(now) {
                self.lose(number, now, &End::Lost, job);
            }
            self.give_up_late(number, now, job);
            self.rest(number, now, job);
        }
    }
}

#[cfg(test)]
mod tests;
