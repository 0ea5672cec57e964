//! A body that keeps something until its end.

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use net::edge::{Body, BodyError, StreamedBody};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Keeps what `guard` gives until the body has ended or nobody wants it; a body that is at hand needs
/// no guard.
pub(crate) fn held<G: Unpin + 'static>(body: Body, guard: impl FnOnce() -> G) -> Body {
    match body {
        Body::Whole(bytes) => Body::Whole(bytes),
        Body::Streamed(body) => Body::streamed(Held { body, guard: Some(guard()) }),
    }
}

struct Held<G> {
    body: StreamedBody,
    /// `None` once the body has ended.
    guard: Option<G>,
}

impl<G: Unpin> HttpBody for Held<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.body.as_mut().poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            this.guard = None;
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
