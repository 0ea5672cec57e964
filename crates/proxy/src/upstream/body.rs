//! Bodies on their way: to an endpoint, and from it.

use super::{conns::Lease, limits::BODY_QUIET_MAX, roster::Hold};
use crate::quiet::Quiet;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use net::edge::{BodyError, StreamedBody};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The body of a request.
pub(crate) enum Payload {
    /// All of it: it can be sent again.
    Whole(Bytes),
    /// Can be sent once.
    Stream(StreamedBody),
    /// It was a stream and is gone.
    Spent,
}

impl Payload {
    /// The body for an attempt; `None` when it is gone.
    pub(super) fn take(&mut self) -> Option<Outgoing> {
        match self {
            Payload::Whole(bytes) => Some(Outgoing::Whole(Full::new(bytes.clone()))),
            Payload::Spent => None,
            Payload::Stream(_) => match std::mem::replace(self, Payload::Spent) {
                Payload::Stream(stream) => Some(Outgoing::Stream(stream)),
                Payload::Whole(_) | Payload::Spent => None,
            },
        }
    }

    /// Takes back the body of an attempt that came to nothing before it began.
    pub(super) fn give_back(&mut self, body: Outgoing) {
        if let Outgoing::Stream(stream) = body {
            *self = Payload::Stream(stream);
        }
    }

    /// Whether it can be sent as often as need be.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Payload::Whole(_))
    }

    /// Whether there is a body to send.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Payload::Spent)
    }
}

/// The body of one attempt, as hyper sends it.
pub(super) enum Outgoing {
    Whole(Full<Bytes>),
    Stream(StreamedBody),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Outgoing>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Outgoing::Whole(full) => {
                let frame = ready!(Pin::new(full).poll_frame(cx));
                Poll::Ready(frame.map(|it| it.map_err(|never| match never {})))
            }
            Outgoing::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Whole(full) => full.is_end_stream(),
            Outgoing::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(full) => full.size_hint(),
            Outgoing::Stream(stream) => stream.size_hint(),
        }
    }
}

/// The body of an answer. Its connection becomes free when it has ended, and is closed when it is
/// dropped before that.
pub(crate) struct Arriving {
    incoming: Incoming,
    busy: Option<Busy>,
    quiet: Quiet,
}

/// What an answer keeps until its end.
struct Busy {
    lease: Lease,
    _hold: Hold,
}

impl Arriving {
    pub(super) fn new(incoming: Incoming, lease: Lease, hold: impl FnOnce() -> Hold) -> Arriving {
        let mut arriving = Arriving { incoming, busy: None, quiet: Quiet::new(BODY_QUIET_MAX) };
        if arriving.incoming.is_end_stream() {
            lease.give_back();
        } else {
            arriving.busy = Some(Busy { lease, _hold: hold() });
        }
        arriving
    }

    fn ended(&mut self) {
        self.quiet.over();
        if let Some(busy) = self.busy.take() {
            busy.lease.give_back();
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Arriving>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(None) => {
                this.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(err))) => {
                this.busy = None; // The connection is of no more use.
                Poll::Ready(Some(Err(err.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if this.incoming.is_end_stream() {
                    this.ended();
                } else {
                    this.quiet.moved();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                ready!(this.quiet.poll(cx));
                this.busy = None;
                Poll::Ready(Some(Err("the body stood still for too long".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
