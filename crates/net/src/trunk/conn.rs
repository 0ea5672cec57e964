//! The client's end of one connection.

use super::{
    ages::Ages,
    client::Ticket,
    greeting::Peer,
    limits::{
        CLIENT_OUT_BYTES_MAX, KEEPALIVE_TICKS, PING_TICKS, QUIET_TICKS_MAX, SHORT_BODY_BYTES_MAX,
        TICK,
    },
    outbox::Outbox,
    rare::RareFrames,
    slots::{Found, Slots},
    stream::{End, StreamReader, StreamWriter, Ungathered},
    streams::Streams,
};
use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::Notify,
    task::spawn_local,
    time::MissedTickBehavior,
};
use wire::{
    Flaw,
    frame::{
        Farewell, Frame, FrameBuffer, LoadReport, OwnerMap, Part, ResetReason, ResponseRef,
        append_ping, append_pong, append_reset, limits::IN_FLIGHT_MAX,
    },
};

/// Whoever waits for an answer. After `sent` one of the others is called, once, and may send again
/// at once.
pub trait Pending: Sized + 'static {
    /// The request is on its way, and can be given up with [`super::Link::cancel`].
    fn sent(&self, ticket: Ticket) {
        _ = ticket;
    }

    /// The answer is here; it lives as long as the call.
    fn answered(self, response: ResponseRef<'_>);

    /// The first part of a long answer is here; it lives as long as the call. Unless it is
    /// implemented the answer is put together and then [`Pending::answered`].
    fn streamed(self, head: ResponseRef<'_>, body: StreamReader) {
        let message = head.message().to_vec();
        drop(spawn_local(async move {
            let gathered = body.gather(&message).await;
            match gathered.as_deref().map(ResponseRef::read) {
                Ok(Ok(response)) => self.answered(response),
                Ok(Err(_)) => self.lost(Loss::Reset),
                Err(Ungathered::Lost(loss)) => self.lost(*loss),
                Err(Ungathered::TooLong | Ungathered::Full) => self.lost(Loss::Reset),
            }
        }));
    }

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
    /// The request was given up, by whoever sent it or by the peer in the middle of the answer: it
    /// may have been executed.
    Reset,
}

impl Loss {
    /// Whether the request certainly never left this node.
    pub fn is_unsent(self) -> bool {
        match self {
            Loss::NotConnected | Loss::Full | Loss::TooLong => true,
            Loss::ConnectionLost | Loss::DeadlinePassed | Loss::Reset => false,
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
            Loss::Reset => "the request was given up",
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
    /// The link's number for it.
    pub(super) serial: u32,
    outbox: Rc<Outbox>,
    slots: RefCell<Slots<P>>,
    streams: Streams,
    rare: RareFrames,
    in_flight_max: usize,
    /// Set when nothing more is to be asked here: ends once all is answered.
    leaving: Cell<bool>,
    ages: Ages,
    tick: Cell<u64>,
    /// The tick at which something was last read.
    read_at: Cell<u64>,
    /// The tick from which on it is being left.
    left_at: Cell<u64>,
    /// Told when the connection is to be cut.
    pub(super) cut: Notify,
}

/// What a reader tells the link.
pub(super) enum Notice<'a> {
    Owners(OwnerMap<'a>),
    Load(LoadReport),
    GoingAway(Farewell, &'a str),
}

/// Why a connection ends, and what the peer is told of it, if it was the peer's fault.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) why: String,
    pub(super) farewell: Option<(Farewell, String)>,
}

impl Ending {
    pub(super) fn breach(flaw: Flaw) -> Ending {
        let farewell = Some((Farewell::Breach, flaw.0.to_owned()));
        Ending { why: format!("it broke the protocol: {flaw}"), farewell }
    }

    pub(super) fn silence(limit: Duration) -> Ending {
        let why = format!("it was silent for {limit:?}");
        let farewell = Some((Farewell::Silent, why.clone()));
        Ending { why, farewell }
    }
}

impl<T: fmt::Display> From<T> for Ending {
    fn from(why: T) -> Ending {
        Ending { why: why.to_string(), farewell: None }
    }
}

impl<P: Pending> Conn<P> {
    pub(super) fn new(serial: u32, ages: Ages, peer: &Peer) -> Conn<P> {
        let in_flight_max = peer.in_flight_max.min(IN_FLIGHT_MAX);
        Conn {
            serial,
            outbox: Rc::default(),
            slots: RefCell::new(Slots::new()),
            streams: Streams::new(peer.stream_window),
            rare: RareFrames::new(),
            in_flight_max: usize::try_from(in_flight_max).expect("it fits a usize"),
            leaving: Cell::new(false),
            ages,
            tick: Cell::new(0),
            read_at: Cell::new(0),
            left_at: Cell::new(0),
            cut: Notify::new(),
        }
    }

    pub(super) fn outbox(&self) -> &Rc<Outbox> {
        &self.outbox
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Lets `append` write the request's first frame under the number it is given, and takes a
    /// slot. Returns the number.
    pub(super) fn submit(
        &self,
        deadline_ms: u32,
        body_bytes: usize,
        pending: P,
        append: impl FnOnce(&P, &mut Vec<u8>, u32) -> Result<(), Flaw>,
    ) -> Result<u32, Refused<P>> {
        let mut slots = self.slots.borrow_mut();
        if self.in_flight_max <= slots.len()
            || CLIENT_OUT_BYTES_MAX <= self.outbox.len()
            || (SHORT_BODY_BYTES_MAX < body_bytes && self.streams.is_full())
        {
            return Err(Refused { pending, loss: Loss::Full });
        }
        let id = slots.next_id();
        if self.outbox.append(|out| append(&pending, out, id)).is_err() {
            return Err(Refused { pending, loss: Loss::TooLong });
        }
        pending.sent(Ticket { serial: self.serial, id });
        // The tick under way counts for nothing: never early, at most a tick late.
        let tick_ms = u64::try_from(TICK.as_millis()).expect("a tick is short");
        let ticks = u64::from(deadline_ms).div_ceil(tick_ms) + 1;
        slots.insert(pending, self.tick.get() + ticks);
        Ok(id)
    }

    /// Sends the rest of a request as its reader takes it.
    pub(super) fn send_rest(self: &Rc<Self>, id: u32, rest: &[u8]) {
        if !rest.is_empty() {
            self.writer(id).send_and_finish(rest);
        }
    }

    /// Writes what follows the first frame of a request.
    pub(super) fn writer(self: &Rc<Self>, id: u32) -> StreamWriter {
        StreamWriter::new(id, Rc::clone(self) as Rc<dyn End>)
    }

    /// Gives a request up, and tells the peer; returns who waited for the answer. The slot is free
    /// again when the peer says that the request is over.
    pub(super) fn give_up(&self, id: u32, reason: ResetReason) -> Option<P> {
        let found = self.slots.borrow_mut().abandon(id);
        let pending = match found {
            Found::Waiting(pending) => Some(pending),
            Found::Streaming => None,
            Found::Abandoned | Found::Nothing => return None,
        };
        self.tell_given_up(id, reason);
        pending
    }

    fn tell_given_up(&self, id: u32, reason: ResetReason) {
        self.outbox.append(|out| append_reset(out, id, reason));
        if !self.streams.is_empty() {
            self.streams.give_up(id, Loss::Reset);
        }
    }

    /// Asks nothing more; the connection ends when all is answered.
    pub(super) fn leave(&self) {
        if !self.leaving.replace(true) {
            self.left_at.set(self.tick.get());
        }
        self.end_if_left();
    }

    fn end_if_left(&self) {
        if self.leaving.get() && self.slots.borrow().len() == 0 {
            self.outbox.finish();
        }
    }

    /// The connection is gone.
    pub(super) fn lose_all(&self) {
        self.streams.close_all(Loss::ConnectionLost);
        // Taken out first: who is told may send again, on another connection.
        let waiting = self.slots.borrow_mut().drain();
        for pending in waiting {
            pending.lost(Loss::ConnectionLost);
        }
    }

    /// Reads until the connection ends, and returns why.
    pub(super) async fn read_in(
        self: Rc<Self>,
        mut half: impl AsyncRead + Unpin,
        mut buffer: FrameBuffer,
        notice: impl Fn(Notice<'_>),
    ) -> Ending {
        loop {
            // First what came with the greeting.
            if let Err(flaw) = self.take_frames(&mut buffer, &notice) {
                return Ending::breach(flaw);
            }
            match half.read(buffer.space()).await {
                Ok(0) => return "it closed the connection".into(),
                Ok(count) => buffer.filled(count),
                Err(err) => return err.into(),
            }
            self.read_at.set(self.tick.get());
        }
    }

    fn take_frames(
        self: &Rc<Self>,
        buffer: &mut FrameBuffer,
        notice: &impl Fn(Notice<'_>),
    ) -> Result<(), Flaw> {
        while let Some(frame) = buffer.next_frame()? {
            match frame {
                Frame::Response(part) => match part.whole() {
                    Some(message) => self.answer(message)?,
                    None => self.begin(part)?,
                },
                Frame::Data { id, end, bytes } => {
                    if self.streams.take_data(id, end, bytes)? {
                        self.end(id)?;
                    }
                }
                Frame::Window { id, credit } => {
                    if !self.streams.widen(id, credit)? {
                        self.rare.count()?;
                    }
                }
                Frame::Reset { id, .. } => self.reset(id)?,
                Frame::Ping(number) => {
                    self.rare.count()?;
                    self.outbox.append(|out| append_pong(out, number));
                }
                Frame::Pong(_) => self.rare.count()?,
                Frame::LoadReport(report) => {
                    self.rare.count()?;
                    notice(Notice::Load(report));
                }
                Frame::OwnerMap(owners) => {
                    self.rare.count()?;
                    notice(Notice::Owners(owners));
                }
                Frame::GoingAway { why, reason } => {
                    self.rare.count()?;
                    notice(Notice::GoingAway(why, reason));
                    match why {
                        // Left when another one has taken its place.
                        Farewell::Aged => (),
                        Farewell::Draining | Farewell::Silent | Farewell::Breach => self.leave(),
                    }
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
        if !self.streams.is_empty() {
            self.streams.close(response.id, Loss::Reset);
        }
        match found {
            Found::Waiting(pending) => pending.answered(response),
            Found::Abandoned => (),
            Found::Streaming => return Err(Flaw("a second answer")),
            Found::Nothing => return Err(Flaw("an answer to nothing")),
        }
        if self.leaving.get() {
            self.end_if_left();
        }
        Ok(())
    }

    /// The first part of a long answer.
    fn begin(self: &Rc<Self>, part: Part<'_>) -> Result<(), Flaw> {
        let response = ResponseRef::read(part.bytes)?;
        let (found, expires) = self.slots.borrow_mut().begin(part.id);
        match found {
            Found::Waiting(pending) => {
                let inward = self.streams.open_in(&part)?;
                let left = ticks(expires.saturating_sub(self.tick.get()));
                let end = Rc::clone(self) as Rc<dyn End>;
                pending.streamed(response, StreamReader::new(part.id, inward, end, left));
            }
            Found::Abandoned => self.streams.open_in(&part)?.discard(),
            Found::Streaming => return Err(Flaw("a second answer")),
            Found::Nothing => return Err(Flaw("an answer to nothing")),
        }
        Ok(())
    }

    /// The last part of a long answer was taken.
    fn end(&self, id: u32) -> Result<(), Flaw> {
        let found = self.slots.borrow_mut().remove(id);
        self.streams.close(id, Loss::Reset);
        match found {
            Found::Streaming | Found::Abandoned => (),
            Found::Waiting(_) | Found::Nothing => return Err(Flaw("the end of no answer")),
        }
        self.end_if_left();
        Ok(())
    }

    /// There is no answer, or no more of it: as we asked, or the peer could not bring it to an end.
    fn reset(&self, id: u32) -> Result<(), Flaw> {
        let found = self.slots.borrow_mut().remove(id);
        self.streams.close(id, Loss::Reset);
        match found {
            Found::Waiting(pending) => pending.lost(Loss::Reset),
            Found::Streaming | Found::Abandoned => (),
            Found::Nothing => self.rare.count()?,
        }
        self.end_if_left();
        Ok(())
    }

    /// Gives up on requests past their deadline and pings a silent peer, and says so when it does
    /// not answer; returns why the connection is to be taken for lost.
    pub(super) async fn keep(&self, missed_check: impl Fn()) -> Ending {
        let mut interval = tokio::time::interval(TICK);
        // After a pause of this process the peer gets its time to answer all the same.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expired = Vec::new();
        loop {
            interval.tick().await;
            let tick = self.tick.get() + 1;
            self.tick.set(tick);
            self.slots.borrow_mut().expire(tick, &mut expired);
            for (id, pending) in expired.drain(..) {
                self.tell_given_up(id, ResetReason::Late);
                pending.lost(Loss::DeadlinePassed);
            }
            let left = ticks(tick - self.left_at.get());
            if self.leaving.get() && self.ages.is_over(left, !self.streams.is_empty()) {
                return format!("it was left {left:?} ago").into();
            }
            let quiet = tick - self.read_at.get();
            if QUIET_TICKS_MAX <= quiet {
                return Ending::silence(ticks(QUIET_TICKS_MAX));
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

impl<P: Pending> End for Conn<P> {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Whoever does not want the rest of the answer does not want the request.
    fn unread(&self, id: u32) {
        if let Some(pending) = self.give_up(id, ResetReason::Cancelled) {
            pending.lost(Loss::Reset);
        }
    }

    fn written(&self, id: u32) {
        self.streams.close_out(id);
    }

    fn unwritten(&self, id: u32) {
        if let Some(pending) = self.give_up(id, ResetReason::Aborted) {
            pending.lost(Loss::Reset);
        }
    }
}

fn ticks(count: u64) -> Duration {
    TICK * u32::try_from(count).unwrap_or(u32::MAX)
}
