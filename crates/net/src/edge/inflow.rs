//! A request's body as it comes in, whoever reads HTTP: hyper, or our own HTTP/2.

use super::h2::Link;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use thiserror::Error;

/// Parts of a body are put together up to so many bytes while nobody reads them.
const PART_BYTES: usize = 4_096;

/// Why a body ends too early.
#[derive(Debug, Error)]
pub enum InflowError {
    /// hyper's word for it.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// The client has reset the request, or gone.
    #[error("the client gave the request up")]
    GivenUp,
}

/// A request's body as it comes in.
#[derive(Debug)]
pub(super) enum Inflow {
    /// Of HTTP/1.
    Hyper(Incoming),
    /// Of HTTP/2.
    Stream(StreamBody),
    /// There is none.
    Empty,
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = InflowError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InflowError>>> {
        match self.get_mut() {
            Inflow::Hyper(incoming) => {
                Pin::new(incoming).poll_frame(cx).map_err(InflowError::Hyper)
            }
            Inflow::Stream(body) => body.poll(cx).map(|it| it.map(|it| it.map(Frame::data))),
            Inflow::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Inflow::Hyper(incoming) => incoming.is_end_stream(),
            Inflow::Stream(body) => body.inbox.0.borrow().is_over(),
            Inflow::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Inflow::Hyper(incoming) => incoming.size_hint(),
            Inflow::Stream(body) => {
                body.inbox.0.borrow().left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Inflow::Empty => SizeHint::with_exact(0),
        }
    }
}

/// The reader's end of an [`Inbox`].
#[derive(Debug)]
pub(super) struct StreamBody {
    id: u32,
    inbox: Inbox,
    link: Rc<Link>,
}

impl StreamBody {
    pub(super) fn new(id: u32, inbox: Inbox, link: Rc<Link>) -> StreamBody {
        StreamBody { id, inbox, link }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, InflowError>>> {
        let mut inbox = self.inbox.0.borrow_mut();
        let Some(bytes) = inbox.parts.pop_front() else {
            if inbox.is_ended {
                return Poll::Ready(None);
            }
            if inbox.is_broken {
                return Poll::Ready(Some(Err(InflowError::GivenUp)));
            }
            inbox.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if let Some(left) = &mut inbox.left {
            *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        drop(inbox);
        self.link.was_read(self.id, bytes.len());
        Poll::Ready(Some(Ok(bytes)))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let unread = self.inbox.0.borrow_mut().parts.drain(..).map(|it| it.len()).sum();
        self.link.is_unwanted(self.id, unread);
    }
}

/// What has come of a body and was not read. It is no more than the stream's window.
#[derive(Clone, Debug)]
pub(super) struct Inbox(Rc<RefCell<Parts>>);

#[derive(Debug)]
struct Parts {
    parts: VecDeque<Bytes>,
    /// What is still to be read, where the length was told.
    left: Option<u64>,
    is_ended: bool,
    is_broken: bool,
    reader: Option<Waker>,
}

impl Parts {
    fn is_over(&self) -> bool {
        self.is_ended && self.parts.is_empty()
    }
}

impl Inbox {
    /// Of a body of this length, if it was told.
    pub(super) fn new(length: Option<u64>) -> Inbox {
        Inbox(Rc::new(RefCell::new(Parts {
            parts: VecDeque::new(),
            left: length,
            is_ended: false,
            is_broken: false,
            reader: None,
        })))
    }

    /// Takes a part, which may be the last.
    pub(super) fn put(&self, bytes: Bytes, is_last: bool) {
        let mut inbox = self.0.borrow_mut();
        match inbox.parts.back_mut() {
            _ if bytes.is_empty() => (),
            // A part takes more memory than a few bytes, and a window may be filled with such.
            Some(last) if last.len() + bytes.len() <= PART_BYTES => {
                let mut joined = BytesMut::from(std::mem::take(last));
                joined.extend_from_slice(&bytes);
                *last = joined.freeze();
            }
            Some(_) | None => inbox.parts.push_back(bytes),
        }
        inbox.is_ended |= is_last;
        wake(inbox.reader.take());
    }

    /// Notes that nothing more will come.
    pub(super) fn break_off(&self) {
        let mut inbox = self.0.borrow_mut();
        inbox.is_broken = !inbox.is_ended;
        wake(inbox.reader.take());
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part takes more memory than a few bytes do, and a client may send them one by one.
    #[test]
    fn small_parts_are_put_together() {
        let inbox = Inbox::new(None);
        for at in 0..=u16::MAX {
            inbox.put(Bytes::copy_from_slice(&at.to_be_bytes()[1..]), false);
        }
        inbox.put(Bytes::from(vec![7; PART_BYTES]), true);
        let parts = &inbox.0.borrow().parts;
        assert_eq!(parts.len(), 65_536 / PART_BYTES + 1);
        let all: Vec<u8> = parts.iter().flatten().copied().collect();
        assert_eq!(all.len(), 65_536 + PART_BYTES);
        assert!((0..=255).cycle().zip(&all[..65_536]).all(|(at, it)| at == *it));
    }
}
