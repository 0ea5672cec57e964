//! The two ends of a stream, for whoever reads or writes a message longer than a frame.

use super::{
    conn::Loss,
    limits::{HELD_BYTES_MAX, STREAM_STALL_MAX},
    outbox::Outbox,
    streams::{Inward, Outward, Streams, Taken},
};
use bytes::Bytes;
use std::{
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{task::spawn_local, time::timeout};
use wire::frame::{append_data, append_window, limits::MESSAGE_BYTES_MAX};

/// An end of a connection, as its streams know it.
pub(super) trait End {
    fn outbox(&self) -> &Outbox;
    fn streams(&self) -> &Streams;

    /// A reader left before the end of its message.
    fn unread(&self, id: u32);

    /// A writer has written all of its message.
    fn written(&self, id: u32);

    /// A writer left before the end of its message.
    fn unwritten(&self, id: u32);
}

/// Reads a message beyond its first frame. What is not read holds up its writer and nobody else. To
/// drop it before the end gives the rest up: a client cancels its request with it.
pub struct StreamReader {
    id: u32,
    inward: Rc<Inward>,
    end: Rc<dyn End>,
    left: Duration,
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a message is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ungathered {
    /// It is longer than a message may be ([`MESSAGE_BYTES_MAX`]).
    TooLong,
    /// Too much is being gathered already.
    Full,
    /// It broke off, or did not come within the time that its request had left.
    Lost(Loss),
}

impl StreamReader {
    pub(super) fn new(
        id: u32,
        inward: Rc<Inward>,
        end: Rc<dyn End>,
        left: Duration,
    ) -> StreamReader {
        StreamReader { id, inward, end, left }
    }

    /// The time that was left of the request's deadline when the stream began.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The next bytes, never none; `None` at the end of the message. An error is the end, too.
    pub async fn next(&mut self) -> Option<Result<Bytes, Loss>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`StreamReader::next`], for those who are polled themselves.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Loss>>> {
        self.inward.poll_next(cx.waker()).map_ok(|Taken { chunk, credit }| {
            if let Some(credit) = credit {
                self.end.outbox().append(|out| append_window(out, self.id, credit));
            }
            chunk
        })
    }

    /// Puts the message together after `first`, which its first frame brought.
    pub async fn gather(mut self, first: &[u8]) -> Result<Vec<u8>, Ungathered> {
        let left = self.left;
        let gathered = timeout(left, self.gather_rest(first)).await;
        gathered.unwrap_or(Err(Ungathered::Lost(Loss::DeadlinePassed)))
    }

    async fn gather_rest(&mut self, first: &[u8]) -> Result<Vec<u8>, Ungathered> {
        let mut held = Held::new(Rc::clone(&self.end));
        let mut message = first.to_vec();
        held.grow(message.len())?;
        while let Some(chunk) = self.next().await {
            let chunk = chunk.map_err(Ungathered::Lost)?;
            if MESSAGE_BYTES_MAX < message.len() + chunk.len() {
                return Err(Ungathered::TooLong);
            }
            held.grow(chunk.len())?;
            message.extend_from_slice(&chunk);
        }
        Ok(message)
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        if !self.inward.is_over() {
            self.end.unread(self.id);
        }
    }
}

/// Writes a message beyond its first frame. To drop it before [`StreamWriter::finish`] breaks the
/// message off: a client cancels its request with it, a server its answer.
pub struct StreamWriter {
    id: u32,
    outward: Rc<Outward>,
    end: Rc<dyn End>,
    finished: bool,
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter").field("id", &self.id).finish_non_exhaustive()
    }
}

impl StreamWriter {
    pub(super) fn new(id: u32, end: Rc<dyn End>) -> StreamWriter {
        let outward = end.streams().open_out(id);
        StreamWriter { id, outward, end, finished: false }
    }

    /// Sends the bytes as the reader and the other streams of the connection leave room for them.
    ///
    /// # Errors
    /// When nobody wants more of the message: the exchange is over, was cancelled, or its reader
    /// has read nothing for [`STREAM_STALL_MAX`].
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), Loss> {
        while !bytes.is_empty() {
            let piece = timeout(STREAM_STALL_MAX, self.piece(bytes.len())).await;
            let piece = bytes.split_to(piece.unwrap_or(Err(Loss::Reset))?);
            self.end.outbox().append(|out| append_data(out, self.id, false, &piece));
        }
        Ok(())
    }

    /// How much may be sent now, once that is something.
    async fn piece(&self, wanted: usize) -> Result<usize, Loss> {
        poll_fn(|cx| {
            self.outward.watch(cx.waker())?;
            let wanted = wanted.min(self.outward.granted());
            if wanted == 0 {
                return Poll::Pending;
            }
            match self.end.outbox().turn_of(&self.outward, wanted) {
                Some(share) => Poll::Ready(Ok(self.outward.take(share))),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Returns when nobody wants more of the message.
    pub async fn closed(&self) -> Loss {
        poll_fn(|cx| match self.outward.watch(cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(loss) => Poll::Ready(loss),
        })
        .await
    }

    /// Ends the message.
    pub fn finish(mut self) {
        // Otherwise the drop says that it broke off.
        if self.outward.loss().is_none() {
            self.finished = true;
            self.end.outbox().append(|out| append_data(out, self.id, true, &[]));
            self.end.written(self.id);
        }
    }

    /// Sends the last bytes from a task of their own, which needs no more of the caller.
    pub(super) fn send_and_finish(mut self, rest: &[u8]) {
        let bytes = Bytes::copy_from_slice(rest);
        let mut held = Held::new(Rc::clone(&self.end));
        // Whoever began the message has looked at the limit: there was room for one more.
        _ = held.grow(bytes.len());
        drop(spawn_local(async move {
            let _held = held;
            if self.send(bytes).await.is_ok() {
                self.finish();
            }
        }));
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.end.unwritten(self.id);
        }
    }
}

/// Counts bytes that an end keeps, for as long as it does.
struct Held {
    end: Rc<dyn End>,
    bytes: usize,
}

impl Held {
    fn new(end: Rc<dyn End>) -> Held {
        Held { end, bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Ungathered> {
        let held = self.end.streams().held();
        held.set(held.get() + bytes);
        self.bytes += bytes;
        if HELD_BYTES_MAX < held.get() { Err(Ungathered::Full) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.end.streams().held();
        held.set(held.get() - self.bytes);
    }
}
