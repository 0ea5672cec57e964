//! The streams of one end of a connection: the exchanges whose messages are longer than a frame.

use super::{conn::Loss, limits::HELD_BYTES_MAX};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    task::{Poll, Waker},
};
use wire::{
    Flaw,
    frame::{
        Inflow, Outflow, Part,
        limits::{STREAM_WINDOW_BYTES, STREAMS_MAX},
    },
};

/// Grants of one stream that may be under way at its end: each is of half a window at least, and
/// together with what is not granted again they are one window.
const GRANTS_UNDER_WAY: usize = 2;

/// What comes in of one message.
#[derive(Debug)]
pub(super) struct Inward {
    state: RefCell<InwardState>,
}

#[derive(Debug)]
struct InwardState {
    flow: Inflow,
    /// Came and was not read: at most a window of it.
    chunks: VecDeque<Bytes>,
    ended: bool,
    loss: Option<Loss>,
    /// Nobody reads: what comes is thrown away and not granted again.
    unread: bool,
    reader: Option<Waker>,
}

impl Inward {
    fn new(part: &Part<'_>) -> Inward {
        Inward {
            state: RefCell::new(InwardState {
                flow: Inflow::new(part, STREAM_WINDOW_BYTES),
                chunks: VecDeque::new(),
                ended: false,
                loss: None,
                unread: false,
                reader: None,
            }),
        }
    }

    /// The next bytes and what is to be granted for them; `None` at the end.
    pub(super) fn poll_next(&self, waker: &Waker) -> Poll<Option<Result<Taken, Loss>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.chunks.pop_front() {
            let is_over = state.ended || state.loss.is_some();
            let credit = if is_over { None } else { state.flow.consume(chunk.len()) };
            return Poll::Ready(Some(Ok(Taken { chunk, credit })));
        }
        if let Some(loss) = state.loss {
            return Poll::Ready(Some(Err(loss)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(waker.clone());
        Poll::Pending
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.ended || state.loss.is_some()
    }

    /// Nobody reads any more.
    pub(super) fn discard(&self) {
        let mut state = self.state.borrow_mut();
        state.unread = true;
        state.chunks.clear();
    }

    fn take(&self, end: bool, bytes: &[u8]) -> Result<(), Flaw> {
        let mut state = self.state.borrow_mut();
        state.flow.take(bytes.len(), end)?;
        state.ended = end;
        if !state.unread && !bytes.is_empty() {
            state.chunks.push_back(Bytes::copy_from_slice(bytes));
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// Breaks the stream off; returns what its writer may still send before it hears of it.
    fn lose(&self, loss: Loss) -> usize {
        let mut state = self.state.borrow_mut();
        if state.ended {
            return 0;
        }
        state.loss.get_or_insert(loss);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        state.flow.granted()
    }
}

/// What a reader got.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) chunk: Bytes,
    /// To be granted with a window frame.
    pub(super) credit: Option<u32>,
}

/// What goes out of one message.
#[derive(Debug)]
pub(super) struct Outward {
    flow: RefCell<Outflow>,
    loss: Cell<Option<Loss>>,
    writer: RefCell<Option<Waker>>,
    /// The outbox's turns in which it last appended and last asked for the next.
    pub(super) had_turn: Cell<u64>,
    pub(super) asked_in: Cell<u64>,
}

impl Outward {
    pub(super) fn wake(&self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Why nothing more can be sent, if so. The waker is told of any change.
    pub(super) fn watch(&self, waker: &Waker) -> Result<(), Loss> {
        self.writer.replace(Some(waker.clone()));
        self.loss.get().map_or(Ok(()), Err)
    }

    /// How many bytes the window leaves.
    pub(super) fn granted(&self) -> usize {
        self.flow.borrow().granted()
    }

    /// How many of the wanted bytes may go now; they count as sent.
    pub(super) fn take(&self, wanted: usize) -> usize {
        self.flow.borrow_mut().take(wanted)
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.loss.get()
    }

    fn lose(&self, loss: Loss) {
        if self.loss.get().is_none() {
            self.loss.set(Some(loss));
        }
        self.wake();
    }
}

/// All streams of one end. An exchange that fits two frames never comes here.
#[derive(Debug)]
pub(super) struct Streams {
    /// The window that the peer promised.
    window: u32,
    pairs: RefCell<BTreeMap<u32, Pair>>,
    /// Exchanges in `pairs`, to be looked at on the way of every message.
    count: Cell<usize>,
    /// Data that may still come for exchanges that are over.
    stray: Cell<usize>,
    /// Grants that may still come for messages of ours that are at their end.
    stray_grants: Cell<usize>,
    /// Bytes that are kept to be sent or gathered to be whole.
    held: Cell<usize>,
}

#[derive(Debug, Default)]
struct Pair {
    inward: Option<Rc<Inward>>,
    outward: Option<Rc<Outward>>,
}

impl Streams {
    pub(super) fn new(window: u32) -> Streams {
        Streams {
            window,
            pairs: RefCell::default(),
            count: Cell::new(0),
            stray: Cell::new(0),
            stray_grants: Cell::new(0),
            held: Cell::new(0),
        }
    }

    /// Whether no exchange has a stream.
    pub(super) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Whether no further long message may be sent.
    pub(super) fn is_full(&self) -> bool {
        STREAMS_MAX <= self.count.get() || HELD_BYTES_MAX <= self.held.get()
    }

    pub(super) fn held(&self) -> &Cell<usize> {
        &self.held
    }

    /// The stream that a peer begins with `part`.
    pub(super) fn open_in(&self, part: &Part<'_>) -> Result<Rc<Inward>, Flaw> {
        let inward = Rc::new(Inward::new(part));
        let mut pairs = self.pairs.borrow_mut();
        if STREAMS_MAX <= pairs.values().filter(|pair| pair.inward.is_some()).count() {
            return Err(Flaw("too many streams"));
        }
        let before = pairs.entry(part.id).or_default().inward.replace(Rc::clone(&inward));
        self.count.set(pairs.len());
        if before.is_some() {
            return Err(Flaw("two streams of one id"));
        }
        Ok(inward)
    }

    /// A stream of ours.
    pub(super) fn open_out(&self, id: u32) -> Rc<Outward> {
        let outward = Rc::new(Outward {
            flow: RefCell::new(Outflow::new(self.window)),
            loss: Cell::new(None),
            writer: RefCell::default(),
            had_turn: Cell::new(0),
            asked_in: Cell::new(0),
        });
        let mut pairs = self.pairs.borrow_mut();
        pairs.entry(id).or_default().outward = Some(Rc::clone(&outward));
        self.count.set(pairs.len());
        outward
    }

    /// Takes data that came; returns true when it was the last of its message.
    pub(super) fn take_data(&self, id: u32, end: bool, bytes: &[u8]) -> Result<bool, Flaw> {
        let mut pairs = self.pairs.borrow_mut();
        let Some(pair) = pairs.get_mut(&id) else { return self.take_stray(bytes.len()) };
        let Some(inward) = &pair.inward else { return self.take_stray(bytes.len()) };
        inward.take(end, bytes)?;
        if end {
            pair.inward = None;
            if pair.outward.is_none() {
                pairs.remove(&id);
            }
            self.count.set(pairs.len());
        }
        Ok(end)
    }

    /// Data may have crossed the end of its exchange, but no more than its window allowed.
    fn take_stray(&self, bytes: usize) -> Result<bool, Flaw> {
        let stray = self.stray.get().checked_sub(bytes).ok_or(Flaw("data for no message"))?;
        self.stray.set(stray);
        Ok(false)
    }

    /// Takes a grant; false when it is for no stream of ours, nor for one that was.
    pub(super) fn widen(&self, id: u32, credit: u32) -> Result<bool, Flaw> {
        let pairs = self.pairs.borrow();
        let outward = pairs.get(&id).and_then(|pair| pair.outward.as_ref());
        let Some(outward) = outward else {
            let left = self.stray_grants.get().checked_sub(1);
            self.stray_grants.set(left.unwrap_or(0));
            return Ok(left.is_some());
        };
        outward.flow.borrow_mut().widen(credit)?;
        outward.wake();
        Ok(true)
    }

    /// Nobody reads what comes in of this exchange.
    pub(super) fn discard(&self, id: u32) {
        let inward = self.pairs.borrow().get(&id).and_then(|pair| pair.inward.clone());
        if let Some(inward) = inward {
            inward.discard();
        }
    }

    /// Our message is at its end.
    pub(super) fn close_out(&self, id: u32) {
        let mut pairs = self.pairs.borrow_mut();
        if let Some(pair) = pairs.get_mut(&id) {
            self.forgive(pair.outward.take().is_some());
            if pair.inward.is_none() {
                pairs.remove(&id);
            }
            self.count.set(pairs.len());
        }
    }

    /// Breaks off what we send of an exchange and what its reader gets. What may still come is
    /// thrown away; [`Streams::close`] is to follow when the exchange is over.
    pub(super) fn give_up(&self, id: u32, loss: Loss) {
        let mut pairs = self.pairs.borrow_mut();
        if let Some(pair) = pairs.get_mut(&id) {
            if let Some(outward) = pair.outward.take() {
                self.forgive(true);
                outward.lose(loss);
            }
            match &pair.inward {
                Some(inward) => {
                    inward.lose(loss);
                    inward.discard();
                }
                None => drop(pairs.remove(&id)),
            }
            self.count.set(pairs.len());
        }
    }

    /// The exchange is over: breaks off whatever of it still streams.
    pub(super) fn close(&self, id: u32, loss: Loss) {
        let mut pairs = self.pairs.borrow_mut();
        if let Some(Pair { inward, outward }) = pairs.remove(&id) {
            self.count.set(pairs.len());
            drop(pairs);
            let left = inward.map_or(0, |inward| inward.lose(loss));
            self.stray.set(self.stray.get().saturating_add(left));
            if let Some(outward) = outward {
                self.forgive(true);
                outward.lose(loss);
            }
        }
    }

    /// A message of ours is at its end: grants for it may be under way.
    fn forgive(&self, was_open: bool) {
        if was_open {
            let grants = self.stray_grants.get().saturating_add(GRANTS_UNDER_WAY);
            self.stray_grants.set(grants);
        }
    }

    /// The connection is gone.
    pub(super) fn close_all(&self, loss: Loss) {
        let pairs = self.pairs.take();
        self.count.set(0);
        for Pair { inward, outward } in pairs.into_values() {
            if let Some(inward) = inward {
                inward.lose(loss);
            }
            if let Some(outward) = outward {
                outward.lose(loss);
            }
        }
    }
}
