//! The body of a long message, on its way from the trunk to HTTP.

use crate::quiet::Quiet;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use net::{edge::BodyError, trunk::StreamReader};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// A message of which nothing comes for so long is given up. Whoever is nearer to its writer does so
/// earlier: the edge with a client, the gateway with a service.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(75);

/// What is still to come of a message. As fast as it is taken here it is granted to whoever writes
/// it; to drop an answer before its end gives the request up at every hop.
pub(crate) struct Coming {
    /// Came and was not handed over.
    held: Bytes,
    /// Bytes that are to come after these, where the length was told.
    left: Option<u64>,
    reader: StreamReader,
    quiet: Quiet,
}

impl Coming {
    /// `first` is what came with the head, `length` what that said of the whole. `None` when the two
    /// contradict each other.
    pub(crate) fn new(first: Bytes, length: Option<&[u8]>, reader: StreamReader) -> Option<Coming> {
        let left = match length {
            None => None,
            Some(text) => {
                let length: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(length.checked_sub(count(&first))?)
            }
        };
        Some(Coming { held: first, left, reader, quiet: Quiet::new(QUIET_MAX) })
    }

    /// Keeps bytes that came; false when they are more than was told.
    fn take(&mut self, chunk: Bytes) -> bool {
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(count(&chunk)) else { return false };
            *left = rest;
        }
        self.held = chunk;
        self.quiet.moved();
        true
    }

    /// The next bytes, never none; `None` at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, &'static str>>> {
        loop {
            // The last bytes of a known length wait for the end, which is on its heels: a client
            // that has them is done, and the end would find nobody.
            if !self.held.is_empty() && self.left != Some(0) {
                return Poll::Ready(Some(Ok(std::mem::take(&mut self.held))));
            }
            match self.reader.poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    if self.left == Some(0) || !self.take(chunk) {
                        return Poll::Ready(Some(Err("more came than was told")));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Some(Err("the message broke off")));
                }
                Poll::Ready(None) if self.left.is_some_and(|left| left != 0) => {
                    return Poll::Ready(Some(Err("less came than was told")));
                }
                Poll::Ready(None) if self.held.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Ready(Some(Ok(std::mem::take(&mut self.held)))),
                Poll::Pending => {
                    ready!(self.quiet.poll(cx));
                    return Poll::Ready(Some(Err("the message stood still for too long")));
                }
            }
        }
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Coming>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.get_mut().poll_data(cx);
        polled.map(|data| data.map(|it| it.map(Frame::data).map_err(Into::into)))
    }

    fn size_hint(&self) -> SizeHint {
        let held = count(&self.held);
        self.left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(held + left))
    }
}

fn count(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a length is a u64")
}
