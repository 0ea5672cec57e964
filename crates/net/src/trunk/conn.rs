//! The client's end of one connection.

use super::{
    greeting::Peer,
    limits::{CLIENT_OUT_BYTES_MAX, KEEPALIVE_TICKS, PING_TICKS, QUIET_TICKS_MAX, TICK},
    outbox::Outbox,
    slots::{Found, Slots},
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::tcp::OwnedReadHalf, time::MissedTickBehavior};
use wire::{
    Flaw,
    frame::{
        Assembler, Frame, FrameBuffer, LoadReport, OwnerMap, ResponseRef, append_ping, append_pong,
        limits::IN_FLIGHT_MAX,
    },
};

/// Whoever waits for an answer. One of the two is called, once, and may send again at once.
pub trait Pending: 'static {
    /// The answer is here; it lives as long as the call.
    fn answered(self, response: ResponseRef<'_>);

    /// There will be none.
    fn lost(self, loss: Loss);
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There is no connection. Nothing was sent.
    NotConnected,
    /// As much is in flight as the connection takes. Nothing was sent.
    Full,
    /// A field is over its limit. Nothing was sent.
    TooLong,
    /// The connection ended: the request may have been executed.
    ConnectionLost,
    /// The deadline passed: the request may have been executed, or yet be.
    DeadlinePassed,
}

impl Loss {
    /// Whether the request certainly never left this node.
    pub fn is_unsent(self) -> bool {
        match self {
            Loss::NotConnected | Loss::Full | Loss::TooLong => true,
            Loss::ConnectionLost | Loss::DeadlinePassed => false,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::NotConnected => "no connection",
            Loss::Full => "too many requests in flight",
            Loss::TooLong => "a field is over its limit",
            Loss::ConnectionLost => "the connection was lost",
            Loss::DeadlinePassed => "the deadline passed",
        })
    }
}

/// A request that was not sent; `pending` is the caller's again.
#[derive(Debug)]
pub struct Refused<P> {
    pub pending: P,
    pub loss: Loss,
}

/// One connection. It outlives its link's interest in it while answers are to come.
#[derive(Debug)]
pub(super) struct Conn<P> {
    outbox: Rc<Outbox>,
    slots: RefCell<Slots<P>>,
    in_flight_max: usize,
    /// Set when nothing more is to be asked here: ends once all is answered.
    leaving: Cell<bool>,
    tick: Cell<u64>,
    /// The tick at which something was last read.
    read_at: Cell<u64>,
}

/// What a reader tells the link.
pub(super) enum Notice<'a> {
    Owners(OwnerMap<'a>),
    Load(LoadReport),
    GoingAway(&'a str),
}

impl<P: Pending> Conn<P> {
    pub(super) fn new(peer: &Peer) -> Conn<P> {
        let in_flight_max = peer.in_flight_max.min(IN_FLIGHT_MAX);
        Conn {
            outbox: Rc::default(),
            slots: RefCell::new(Slots::new()),
            in_flight_max: usize::try_from(in_flight_max).expect("it fits a usize"),
            leaving: Cell::new(false),
            tick: Cell::new(0),
            read_at: Cell::new(0),
        }
    }

    pub(super) fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Lets `append` write the request's frames under the number it is given, and takes a slot.
    pub(super) fn submit(
        &self,
        deadline_ms: u32,
        pending: P,
        append: impl FnOnce(&P, &mut Vec<u8>, u32) -> Result<(), Flaw>,
    ) -> Result<(), Refused<P>> {
        let mut slots = self.slots.borrow_mut();
        if self.in_flight_max <= slots.len() || CLIENT_OUT_BYTES_MAX <= self.outbox.len() {
            return Err(Refused { pending, loss: Loss::Full });
        }
        let id = slots.next_id();
        if self.outbox.append(|out| append(&pending, out, id)).is_err() {
            return Err(Refused { pending, loss: Loss::TooLong });
        }
        // The tick under way counts for nothing: never early, at most a tick late.
        let tick_ms = u64::try_from(TICK.as_millis()).expect("a tick is short");
        let ticks = u64::from(deadline_ms).div_ceil(tick_ms) + 1;
        slots.insert(pending, self.tick.get() + ticks);
        Ok(())
    }

    /// Asks nothing more; the connection ends when all is answered.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
        self.end_if_left();
    }

    fn end_if_left(&self) {
        if self.leaving.get() && self.slots.borrow().len() == 0 {
            self.outbox.finish();
        }
    }

    /// The connection is gone.
    pub(super) fn lose_all(&self) {
        // Taken out first: who is told may send again, on another connection.
        let waiting = self.slots.borrow_mut().drain();
        for pending in waiting {
            pending.lost(Loss::ConnectionLost);
        }
    }

    /// Reads until the connection ends, and returns why.
    pub(super) async fn read_in(
        &self,
        mut half: OwnedReadHalf,
        mut buffer: FrameBuffer,
        notice: impl Fn(Notice<'_>),
    ) -> String {
        let mut assembler = Assembler::default();
        loop {
            // First what came with the greeting.
            if let Err(flaw) = self.take_frames(&mut buffer, &mut assembler, &notice) {
                return format!("it broke the protocol: {flaw}");
            }
            match half.read(buffer.space()).await {
                Ok(0) => return "it closed the connection".to_owned(),
                Ok(count) => buffer.filled(count),
                Err(err) => return err.to_string(),
            }
            self.read_at.set(self.tick.get());
        }
    }

    fn take_frames(
        &self,
        buffer: &mut FrameBuffer,
        assembler: &mut Assembler,
        notice: &impl Fn(Notice<'_>),
    ) -> Result<(), Flaw> {
        while let Some(frame) = buffer.next_frame()? {
            match frame {
                Frame::Response(part) => match part.whole() {
                    Some(message) => self.answer(message)?,
                    None => assembler.begin(part)?,
                },
                Frame::Data { id, bytes } => {
                    if let Some(message) = assembler.add(id, bytes)? {
                        self.answer(&message)?;
                    }
                }
                Frame::Ping(number) => self.outbox.append(|out| append_pong(out, number)),
                Frame::Pong(_) => (),
                Frame::LoadReport(report) => notice(Notice::Load(report)),
                Frame::OwnerMap(owners) => notice(Notice::Owners(owners)),
                Frame::GoingAway(reason) => {
                    notice(Notice::GoingAway(reason));
                    self.leave();
                }
                Frame::Hello(_) | Frame::Proof(_) => return Err(Flaw("a second greeting")),
                Frame::Request(_) => return Err(Flaw("a request from the side that answers")),
            }
        }
        Ok(())
    }

    fn answer(&self, message: &[u8]) -> Result<(), Flaw> {
        let response = ResponseRef::read(message)?;
        let found = self.slots.borrow_mut().remove(response.id);
        match found {
            Found::Waiting(pending) => pending.answered(response),
            Found::Abandoned => (),
            Found::Nothing => return Err(Flaw("an answer to nothing")),
        }
        if self.leaving.get() {
            self.end_if_left();
        }
        Ok(())
    }

    /// Gives up on requests past their deadline and pings a silent peer, and says so when it does
    /// not answer; returns why the connection is to be taken for lost.
    pub(super) async fn keep(&self, missed_check: impl Fn()) -> String {
        let mut interval = tokio::time::interval(TICK);
        // After a pause of this process the peer gets its time to answer all the same.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired = Vec::new();
        loop {
            interval.tick().await;
            let tick = self.tick.get() + 1;
            self.tick.set(tick);
            self.slots.borrow_mut().expire(tick, &mut expired);
            for pending in expired.drain(..) {
                pending.lost(Loss::DeadlinePassed);
            }
            let quiet = tick - self.read_at.get();
            if QUIET_TICKS_MAX <= quiet {
                let limit: Duration = TICK * u32::try_from(QUIET_TICKS_MAX).expect("60 ticks");
                return format!("it was silent for {limit:?}");
            }
            if quiet != 0 && quiet.is_multiple_of(PING_TICKS) {
                if PING_TICKS < quiet {
                    missed_check();
                }
                self.outbox.append(|out| append_ping(out, tick));
            } else if tick.is_multiple_of(KEEPALIVE_TICKS) {
                self.outbox.append(|out| append_ping(out, tick));
            }
        }
    }
}
