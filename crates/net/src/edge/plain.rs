//! Plain requests, which are nearly all of them, served without hyper.
//!
//! A request that is whole in one read, in form by [`Scanner`], and asks nothing of the connection
//! itself needs no state machine: it is parsed where it lies, answered, and the answer written in
//! one go. That leaves a fifth of what the edge costs a request undone, and an idle connection has
//! no buffers. Whatever is not that plain, and every answer that is not, goes to hyper with all
//! that was read of it, and the connection stays there.

use super::{
    Body, BodyMode, Service, Shared,
    client::Client,
    conn::{ConnState, InHand},
    h1, head, request,
    scan::{Scanner, Stop},
    stamp,
    stream::Stream,
    unless_let_go,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header, request::Parts};
use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once. A longer request is hyper's.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// Headers of a plain request. Few have ten.
const HEADERS_MAX: usize = 32;
/// What is kept of the memory in which answers are written.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Why no more is served here.
pub(super) enum Left {
    /// The connection has ended, or is to be ended.
    Over,
    /// What was read last was put back and is hyper's; if it has been answered already, this way.
    ToHyper(Option<Answered>),
}

/// An answer to a request that hyper has not seen yet.
pub(super) type Answered = (Response<Body>, InHand);

/// A request that needs no hyper. Its role takes bodies of up to `bytes_max`.
struct Plain {
    parts: Parts,
    body: Bytes,
    bytes_max: usize,
}

impl Plain {
    /// The request in `bytes`, which are one and in form.
    fn of<S: Service>(service: &S, bytes: &Bytes) -> Option<Plain> {
        let (parts, body) = parsed(bytes)?;
        match service.body_mode(&parts) {
            BodyMode::Whole { bytes_max } => Some(Plain { parts, body, bytes_max }),
            BodyMode::Stream => None,
        }
    }
}

/// Serves a connection for as long as what comes on it is plain.
pub(super) async fn serve<S: Service>(
    shared: &Shared<S>,
    stream: &mut Stream,
    client: &Client,
    state: &Rc<ConnState>,
) -> Left {
    let mut scanner = Scanner::new();
    loop {
        let Some(bytes) = read(shared, stream, state).await else { return Left::Over };
        let is_in_form = is_one_in_form(&mut scanner, &bytes);
        let plain = || Plain::of(&shared.service, &bytes);
        let Some(mut asked) = is_in_form.then(plain).flatten() else {
            stream.unread(bytes);
            return Left::ToHyper(None);
        };
        let in_hand = InHand::new(Rc::clone(state));
        if shared.service.is_full() && !shared.is_last(state) {
            // Many may wait: each with what it sent. Two kilobytes of headers made of it, for each of
            // thousands, drive so much out of the caches that goodput falls by a twelfth.
            drop(asked);
            let room = pin!(shared.service.room());
            let Some(has_room) = unless_gone(stream, state, room).await else { return Left::Over };
            let Some(again) = plain() else { return Left::Over }; // It was plain before.
            if !has_room {
                let mut answer = shared.service.turn_away(&again.parts);
                stamp::response(answer.headers_mut(), shared.via.as_ref());
                let written = write(shared, stream, state, &answer, answer.body(), false).await;
                match written {
                    Ok(()) => continue,
                    Err(_) => return Left::Over,
                }
            }
            asked = again;
        }
        let Plain { parts, body, bytes_max } = asked;
        // Where it is it stays: it holds the request and is not to be moved about.
        let answer = pin!(request::answer_whole(shared, parts, body, bytes_max, client));
        let Some(answer) = unless_gone(stream, state, answer).await else {
            return Left::Over;
        };
        let Some(body) = whole(&answer) else {
            stream.unread(bytes);
            return Left::ToHyper(Some((answer, in_hand)));
        };
        let is_last = shared.is_last(state);
        let written = write(shared, stream, state, &answer, body, is_last).await;
        if is_last || written.is_err() {
            return Left::Over;
        }
    }
}

/// Whether these are one whole request, and in form.
fn is_one_in_form(scanner: &mut Scanner, bytes: &[u8]) -> bool {
    let begun = scanner.begun();
    scanner.scan(bytes) == Stop::End
        && !scanner.awaits_upgrade()
        && scanner.is_between()
        && scanner.begun() == begun + 1
}

/// What comes next; `None` when nothing will, or nothing is wanted any more.
async fn read<S>(shared: &Shared<S>, stream: &mut Stream, state: &ConnState) -> Option<Bytes> {
    let once = poll_fn(|cx| {
        let mut scratch = shared.scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf));
        let is_some = read.is_ok() && !buf.filled().is_empty();
        Poll::Ready(is_some.then(|| Bytes::copy_from_slice(buf.filled())))
    });
    let bytes = unless_let_go(shared, state, once).await.flatten()?;
    state.hear();
    Some(bytes)
}

/// What a request waits for; `None` once the connection is cut off or its client is gone.
async fn unless_gone<T>(
    stream: &Stream,
    state: &ConnState,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let waiting = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(it) => Poll::Ready(Some(it)),
        Poll::Pending if h1::is_gone(stream, state, cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    state.unless_cut(waiting).await.flatten()
}

/// The request in `bytes`, which are one whole message in form, unless it is one for hyper.
fn parsed(bytes: &Bytes) -> Option<(Parts, Bytes)> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut read = httparse::Request::new(&mut []);
    let head = match read.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) | Err(_) => return None,
    };
    let (method, path) = (read.method?, read.path?);
    if read.version != Some(1) || !path.starts_with('/') {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    if *request.method() == Method::HEAD {
        return None; // Its answer has a length and no body.
    }
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(path.as_bytes())).ok()?;
    request.headers_mut().reserve(read.headers.len() + stamp::REQUEST_STAMPS_MAX);
    for given in &*read.headers {
        let name = HeaderName::from_bytes(given.name.as_bytes()).ok()?;
        if is_of_the_connection(&name, given.value) {
            return None;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(given.value)).ok()?;
        request.headers_mut().append(name, value);
    }
    Some((request.into_parts().0, bytes.slice(head..)))
}

/// Whether a header changes what becomes of the connection, or how a message ends.
fn is_of_the_connection(name: &HeaderName, value: &[u8]) -> bool {
    *name == header::EXPECT
        || *name == header::UPGRADE
        || *name == header::TRANSFER_ENCODING
        || (*name == header::CONNECTION && !value.eq_ignore_ascii_case(b"keep-alive"))
}

/// The body of an answer, if it is one that we write; hyper knows about the others.
fn whole(answer: &Response<Body>) -> Option<&Bytes> {
    let status = answer.status();
    let is_bare = status.is_informational() || head::has_no_body(status);
    let is_framed = answer.headers().keys().any(|name| {
        *name == header::CONTENT_LENGTH
            || *name == header::TRANSFER_ENCODING
            || *name == header::CONNECTION
    });
    match answer.body() {
        Body::Whole(body) if !is_bare && !is_framed => Some(body),
        Body::Whole(_) | Body::Streamed(_) => None,
    }
}

/// Writes an answer; an error ends the connection.
async fn write<S, B>(
    shared: &Shared<S>,
    stream: &mut Stream,
    state: &ConnState,
    answer: &Response<B>,
    body: &[u8],
    is_last: bool,
) -> io::Result<()> {
    // What the socket did not take at once: nearly always it takes all.
    let mut rest: Option<(Vec<u8>, usize)> = None;
    let writing = poll_fn(|cx| {
        let polled = if let Some((bytes, sent)) = &mut rest {
            send(stream, bytes, sent, cx)
        } else {
            let mut out = shared.out.borrow_mut();
            head::write(&mut out, answer, body, is_last.then_some(b"close"));
            let mut sent = 0;
            let polled = send(stream, &out, &mut sent, cx);
            if polled.is_pending() {
                rest = Some((out[sent..].to_vec(), 0));
            }
            out.clear();
            out.shrink_to(SPARE_BYTES_MAX);
            polled
        };
        state.set_blocked(polled.is_pending());
        polled
    });
    let cut = || Err(io::ErrorKind::ConnectionAborted.into());
    state.unless_cut(writing).await.unwrap_or_else(cut)
}

fn send(
    stream: &mut Stream,
    bytes: &[u8],
    sent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *sent < bytes.len() {
        match ready!(Pin::new(&mut *stream).poll_write(cx, &bytes[*sent..]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => *sent += count,
        }
    }
    // Within TLS a write is taken before it is sent.
    Pin::new(stream).poll_flush(cx)
}
