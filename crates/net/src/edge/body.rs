//! Reads a request's body, within its limit and in time.

use super::limits::BODY_TIME_MAX;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

pub(super) enum BodyError {
    TooLarge,
    Slow,
    Broken,
}

pub(super) async fn read(
    body: Incoming,
    headers: &HeaderMap,
    bytes_max: usize,
) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // hyper has checked that it is a number; one too large for that is too large for us as well.
    if let Some(length) = headers.get(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
        if length.is_none_or(|length| bytes_max < length) {
            return Err(BodyError::TooLarge);
        }
    }
    // A body that came with its head is ready at the first poll, and then no timer is set.
    timeout(BODY_TIME_MAX, gather(body, bytes_max)).await.unwrap_or(Err(BodyError::Slow))
}

async fn gather(mut body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if bytes_max < first.len() + gathered.len() + data.len() {
            return Err(BodyError::TooLarge);
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
