//! A request's body: read whole, within its limit and in time, or handed on as it comes.

use super::{
    conn::{Awaited, ConnState},
    inflow::{Inflow, InflowError},
    limits::{BODY_RATE_MIN, LINGER_BYTES_MAX, LINGER_TIME_MAX},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    borrow::Cow,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    task::spawn_local,
    time::{Instant, sleep_until, timeout},
};
use wire::Code;

/// A request's body as it comes in, without its trailers. Whoever does not poll it holds the client
/// back; a client that sends nothing of it for [`STALL_MAX`](super::limits::STALL_MAX) is cut off.
#[derive(Debug)]
pub struct BodyStream {
    incoming: Inflow,
    awaited: Awaited,
}

impl BodyStream {
    pub(super) fn new(incoming: Inflow, state: Rc<ConnState>) -> BodyStream {
        BodyStream { incoming, awaited: Awaited::new(state) }
    }
}

impl Body for BodyStream {
    type Data = Bytes;
    type Error = InflowError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InflowError>>> {
        loop {
            let polled = Pin::new(&mut self.incoming).poll_frame(cx);
            self.awaited.set_waiting(polled.is_pending());
            let is_trailers = match &polled {
                Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => false,
            };
            if !is_trailers {
                return polled;
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

pub(super) enum ReadError {
    TooLarge,
    Slow,
    Broken,
}

impl ReadError {
    /// What a client is told.
    pub(super) fn meaning(self, bytes_max: usize) -> (Code, Cow<'static, str>) {
        match self {
            ReadError::TooLarge => {
                let detail = format!("a body of more than {} KiB", bytes_max >> 10);
                (Code::BodyTooLarge, detail.into())
            }
            ReadError::Slow => (Code::RequestTimeout, "the body did not arrive in time".into()),
            ReadError::Broken => {
                (Code::InvalidRequest, "the body broke off or is malformed".into())
            }
        }
    }
}

/// Reads a body whole; `time_max` is what one may take that comes slower than [`BODY_RATE_MIN`].
pub(super) async fn read(
    body: &mut Inflow,
    headers: &HeaderMap,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, ReadError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // It was checked that it is a number; one too large for that is too large for us as well.
    if let Some(length) = headers.get(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
        if length.is_none_or(|length| bytes_max < length) {
            return Err(ReadError::TooLarge);
        }
    }
    gather(body, bytes_max, time_max).await
}

async fn gather(
    body: &mut Inflow,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, ReadError> {
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    let mut late = None;
    loop {
        let frame = match std::future::poll_fn(|cx| Poll::Ready(poll_now(body, cx))).await {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                // A body that came with its head is ready at the first poll: then no timer is set.
                let begun = *late.get_or_insert_with(|| Instant::now() + time_max);
                let until = begun + earned(first.len() + gathered.len());
                tokio::select! {
                    frame = body.frame() => frame,
                    () = sleep_until(until) => return Err(ReadError::Slow),
                }
            }
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if bytes_max < first.len() + gathered.len() + data.len() {
            return Err(ReadError::TooLarge);
        }
        if first.is_empty() && gathered.is_empty() {
            first = data; // Mostly the only one, and then never copied.
            continue;
        }
        if !first.is_empty() {
            gathered.extend_from_slice(&first);
            first = Bytes::new();
        }
        gathered.extend_from_slice(&data);
    }
    Ok(if gathered.is_empty() { first } else { gathered.freeze() })
}

/// Hears out what is left of a refused body, for a while, so that its stream is not reset before
/// the client has read why: some take the reset for the answer.
pub(super) fn hear_out(mut body: Inflow) {
    if body.is_end_stream() {
        return;
    }
    drop(spawn_local(timeout(LINGER_TIME_MAX, async move {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let count = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    })));
}

fn poll_now(
    body: &mut Inflow,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, InflowError>>> {
    pin!(body).poll_frame(cx)
}

/// How much later a body may end for what has come of it.
fn earned(bytes: usize) -> Duration {
    Duration::from_millis(u64::try_from(bytes / BODY_RATE_MIN).unwrap_or(u64::MAX))
}
