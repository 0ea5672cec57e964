//! What waits to be written on a connection.

use super::{
    limits::{
        KEPT_BUFFER_BYTES_MAX, STREAM_TURN_BYTES_MAX, STREAM_TURN_BYTES_MIN, STREAMS_TURN_BYTES,
    },
    streams::Outward,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, Waker},
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// One buffer that everybody on this thread appends to and one task writes out.
///
/// A message of one frame is appended whenever there is one. Streams take turns: between two
/// writes each may append its share of what all of them together may, so that a short message
/// never waits behind megabytes of long ones.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: RefCell<Vec<u8>>,
    finished: Cell<bool>,
    /// The writer, when it waits for bytes.
    writer: RefCell<Option<Waker>>,
    /// Whoever waits for the buffer to shrink.
    sparing: RefCell<Option<Waker>>,
    /// Counts writes.
    turn: Cell<u64>,
    /// Streams that have had their turn and want the next.
    streams: RefCell<Vec<Rc<Outward>>>,
    /// What each of them may append in this turn, and what all of them have appended.
    share: Cell<usize>,
    shared_out: Cell<usize>,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox {
            buffer: RefCell::default(),
            finished: Cell::new(false),
            writer: RefCell::default(),
            sparing: RefCell::default(),
            turn: Cell::new(1),
            streams: RefCell::default(),
            share: Cell::new(STREAM_TURN_BYTES_MAX),
            shared_out: Cell::new(0),
        }
    }
}

impl Outbox {
    /// Lets `write` append frames. The writer is woken only if there was nothing before.
    pub(super) fn append<R>(&self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut buffer = self.buffer.borrow_mut();
        let was_empty = buffer.is_empty();
        let result = write(&mut buffer);
        if was_empty && !buffer.is_empty() {
            wake(&self.writer);
        }
        result
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.buffer.borrow().len()
    }

    /// Lets the writer write what is there, close its half and end.
    pub(super) fn finish(&self) {
        self.finished.set(true);
        wake(&self.writer);
    }

    /// Returns once at most `bytes_max` wait.
    pub(super) async fn shrunk_to(&self, bytes_max: usize) {
        poll_fn(|cx| {
            if self.len() <= bytes_max {
                return Poll::Ready(());
            }
            self.sparing.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// How many of the wanted bytes a stream may append now, which it does at once; none, and it
    /// will be woken, when it or all of them have had their turn.
    pub(super) fn turn_of(&self, stream: &Rc<Outward>, wanted: usize) -> Option<usize> {
        let (turn, shared_out) = (self.turn.get(), self.shared_out.get());
        let room = STREAMS_TURN_BYTES.saturating_sub(shared_out);
        if stream.had_turn.get() != turn && room != 0 {
            let bytes = wanted.min(self.share.get()).min(room);
            stream.had_turn.set(turn);
            self.shared_out.set(shared_out + bytes);
            return Some(bytes);
        }
        // There is something to be written, then: so there is a next turn.
        if stream.asked_in.replace(turn) != turn {
            self.streams.borrow_mut().push(Rc::clone(stream));
        }
        None
    }

    /// Returns true when there are bytes, false when there will never be any.
    async fn filled(&self) -> bool {
        poll_fn(|cx| {
            if !self.buffer.borrow().is_empty() {
                return Poll::Ready(true);
            }
            if self.finished.get() {
                return Poll::Ready(false);
            }
            self.writer.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// Writes whatever gathers, until the outbox is finished or the connection breaks.
    pub(super) async fn write_out(
        self: Rc<Self>,
        mut half: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut taken = Vec::new();
        while self.filled().await {
            // Everybody who is ready now appends first: that is what makes one write of many
            // frames, without a timer.
            tokio::task::yield_now().await;
            taken.clear();
            if KEPT_BUFFER_BYTES_MAX < taken.capacity() {
                taken = Vec::new();
            }
            taken = self.buffer.replace(taken);
            wake(&self.sparing);
            self.next_turn();
            half.write_all(&taken).await?;
            half.flush().await?;
        }
        half.shutdown().await
    }

    /// Lets the streams append to the next write.
    fn next_turn(&self) {
        self.turn.set(self.turn.get() + 1);
        self.shared_out.set(0);
        if self.streams.borrow().is_empty() {
            return;
        }
        let streams = self.streams.take();
        let share = STREAMS_TURN_BYTES / streams.len();
        self.share.set(share.clamp(STREAM_TURN_BYTES_MIN, STREAM_TURN_BYTES_MAX));
        streams.iter().for_each(|stream| stream.wake());
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trunk::streams::Streams;
    use std::{pin::Pin, task::Context};
    use wire::frame::{append_data, append_ping};

    /// Takes everything and notes how much at a time.
    struct Sink(Rc<RefCell<Vec<usize>>>);

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.borrow_mut().push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// However many streams are in a hurry, a short frame never waits behind more than their common
    /// turn, and none of them is left out.
    #[test]
    fn streams_take_turns() {
        const BYTES: usize = 100_000;
        for count in [1, 7, 300, 1_000] {
            let outbox = Rc::new(Outbox::default());
            let writes = Rc::new(RefCell::new(Vec::new()));
            let streams = Streams::new(u32::MAX);
            let runtime = crate::worker::runtime().unwrap();
            runtime.block_on(async {
                let mut tasks = Vec::new();
                for id in 0..count {
                    let (outbox, stream) = (Rc::clone(&outbox), streams.open_out(id));
                    tasks.push(tokio::task::spawn_local(async move {
                        let mut left = BYTES;
                        while left != 0 {
                            let bytes = poll_fn(|cx| {
                                stream.watch(cx.waker()).unwrap();
                                outbox.turn_of(&stream, left).map_or(Poll::Pending, Poll::Ready)
                            });
                            let piece = vec![0; bytes.await];
                            left -= piece.len();
                            outbox.append(|out| append_data(out, id, false, &piece));
                            outbox.append(|out| append_ping(out, 1));
                        }
                    }));
                }
                let writer = Rc::clone(&outbox).write_out(Sink(Rc::clone(&writes)));
                let writer = tokio::task::spawn_local(writer);
                for task in tasks {
                    task.await.unwrap();
                }
                outbox.finish();
                writer.await.unwrap().unwrap();
            });
            let (writes, frames) = (writes.borrow(), usize::try_from(count).unwrap());
            let overhead = frames * (10 + 13);
            let most = writes.iter().copied().max().unwrap();
            assert!(most <= STREAMS_TURN_BYTES + overhead, "{count} streams: {most} at once");
            assert!(frames * BYTES <= writes.iter().sum::<usize>());
        }
    }
}
