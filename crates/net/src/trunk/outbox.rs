//! What waits to be written on a connection.

use super::limits::KEPT_BUFFER_BYTES_MAX;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, Waker},
};
use tokio::{io::AsyncWriteExt, net::tcp::OwnedWriteHalf};

/// One buffer that everybody on this thread appends to and one task writes out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: RefCell<Vec<u8>>,
    finished: Cell<bool>,
    /// The writer, when it waits for bytes.
    writer: RefCell<Option<Waker>>,
    /// Whoever waits for the buffer to shrink.
    sparing: RefCell<Option<Waker>>,
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
    pub(super) async fn write_out(self: Rc<Self>, mut half: OwnedWriteHalf) -> io::Result<()> {
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
            half.write_all(&taken).await?;
        }
        half.shutdown().await
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
