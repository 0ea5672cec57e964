//! An answer where hyper does not write it: in the words of HTTP/1.1, and what is the same in HTTP/2.

use crate::clock;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

const MICROS_PER_SECOND: u64 = 1_000_000;

/// Writes an answer and its body at the end of `out`; `connection` is what becomes of the
/// connection. The answer has neither `Content-Length` nor `Connection` among its headers.
pub(super) fn write<B>(
    out: &mut Vec<u8>,
    answer: &Response<B>,
    body: &[u8],
    connection: Option<&[u8]>,
) {
    let status = answer.status();
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut line = |name: &HeaderName, value: &[u8]| {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    let mut has_date = false;
    for (name, value) in answer.headers() {
        has_date |= *name == header::DATE;
        line(name, value.as_bytes());
    }
    if let Some(connection) = connection {
        line(&header::CONNECTION, connection);
    }
    line(&header::CONTENT_LENGTH, itoa::Buffer::new().format(body.len()).as_bytes());
    if !has_date {
        with_date(|date| line(&header::DATE, date.as_bytes()));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// RFC 9110 §15.3.5, §15.4.5.
pub(super) fn has_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Gives `read` the time now as HTTP writes it (RFC 9110 §5.6.7). It changes once a second.
pub(super) fn with_date<T>(read: impl FnOnce(&HeaderValue) -> T) -> T {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> =
            const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
    }
    let second = u64::try_from(clock::wall().0).unwrap_or(0) / MICROS_PER_SECOND;
    LAST.with_borrow_mut(|(of, value)| {
        if *of != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *value = HeaderValue::from_str(&text).expect("a date is ASCII");
            *of = second;
        }
        read(value)
    })
}
