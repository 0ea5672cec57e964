//! The body of an answer: bytes at hand, or bytes that are still to come.

use super::conn::InHand;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Why a streamed answer broke off.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A body whose bytes are still to come; of this thread alone.
pub type StreamedBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BodyError>>>;

/// The body of an answer.
pub enum Body {
    /// All of it; empty once it was taken.
    Whole(Bytes),
    /// As it comes in from elsewhere.
    Streamed(StreamedBody),
}

impl Body {
    /// A body whose bytes are still to come.
    pub fn streamed(body: impl HttpBody<Data = Bytes, Error = BodyError> + 'static) -> Body {
        Body::Streamed(Box::pin(body))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::Whole(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Body::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Streamed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).expect("a length is a u64"))
            }
            Body::Streamed(body) => body.size_hint(),
        }
    }
}

/// An answer on its way out, which the connection knows of until the last byte is handed over.
pub(super) struct Outgoing {
    body: Body,
    in_hand: InHand,
}

impl Outgoing {
    pub(super) fn new(body: Body, mut in_hand: InHand) -> Outgoing {
        in_hand.answer_goes_on();
        Outgoing { body, in_hand }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // There is room for more: the client reads.
        self.in_hand.answer_goes_on();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.in_hand.answer_waits();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
