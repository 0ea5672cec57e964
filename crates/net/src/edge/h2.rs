//! One HTTP/2 connection: hyper and h2 speak it.

use super::{
    Service, Shared,
    client::Client,
    conn::{ConnState, InHand, Phase},
    farewell,
    frames::{self, Guard, Reason},
    head,
    reply::{Body, Outgoing},
    request, sniff,
    stream::Stream,
};
use bytes::Bytes;
use http::{Method, Response, header};
use hyper::{
    body::{Body as _, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::spawn_local,
};

/// Runs what belongs to one stream on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

pub(super) async fn serve<S: Service>(
    shared: &Rc<Shared<S>>,
    stream: Stream,
    client: &Rc<Client>,
    state: &Rc<ConnState>,
) {
    state.enter(Phase::Idle);
    let below = Rc::new(RefCell::new(Below {
        stream,
        guard: Guard::new(sniff::PREFACE.len(), state.now()),
        stopped: None,
    }));
    let mut let_go = false;
    let ended = {
        let io = Watched { below: Rc::clone(&below), state: Rc::clone(state) };
        let service = service_fn(|request: http::Request<Incoming>| {
            let (shared, state) = (Rc::clone(shared), Rc::clone(state));
            let client = Rc::clone(client);
            let in_hand = InHand::new(Rc::clone(&state));
            async move {
                let is_head = request.method() == Method::HEAD;
                let mut response = request::answer(&shared, request, &client, &state).await;
                if is_head || head::has_no_body(response.status()) {
                    without_body(&mut response, is_head);
                }
                Ok::<_, Infallible>(response.map(|body| Outgoing::new(body, in_hand)))
            }
        });
        let mut http = pin!(shared.http2.serve_connection(TokioIo::new(io), service));
        let mut shutting = None;
        let serving = poll_fn(|cx| {
            let polled = http.as_mut().poll(cx);
            if polled.is_ready() {
                return polled;
            }
            match shutting {
                None if shared.is_last(state) => {
                    shutting = Some(state.now());
                    http.as_mut().graceful_shutdown();
                    http.as_mut().poll(cx)
                }
                // The last of GOAWAY waits for a ping to come back, which a client may not bother
                // to send.
                Some(since) if state.may_let_go(since) => {
                    let_go = true;
                    Poll::Ready(Ok(()))
                }
                None | Some(_) => Poll::Pending,
            }
        });
        state.unless_cut(serving).await.unwrap_or(Ok(()))
    };
    if let Err(err) = ended {
        tracing::debug!(peer = %client.peer, %err, "connection failed");
    }
    if let Some(below) = Rc::into_inner(below) {
        let Below { stream, guard, stopped } = below.into_inner();
        let is_ours = let_go || state.is_cut();
        let reason = stopped.or_else(|| is_ours.then_some(Reason::NoError));
        let words = reason.map(|reason| frames::going_away(guard.highest(), reason));
        drop(farewell::end(stream, &words.unwrap_or_default(), true).await);
    }
}

/// Takes away the body, which HTTP/1 does by itself. To HEAD its length is told.
fn without_body(response: &mut Response<Body>, is_head: bool) {
    let body = std::mem::replace(response.body_mut(), Body::from(Bytes::new()));
    let length = body.size_hint().exact().filter(|_| is_head);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// What is below hyper's HTTP/2. It outlives that, so that a client that is still sending gets to
/// read why the connection ends.
struct Below {
    stream: Stream,
    guard: Guard,
    /// Why nothing more is read.
    stopped: Option<Reason>,
}

struct Watched {
    below: Rc<RefCell<Below>>,
    state: Rc<ConnState>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let below = &mut *self.below.borrow_mut();
        if below.stopped.is_some() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut below.stream).poll_read(cx, buf))?;
        if let Err((passing, reason)) = below.guard.scan(&buf.filled()[before..], self.state.now())
        {
            tracing::debug!(?reason, "frames against the rules");
            buf.set_filled(before + passing);
            below.stopped = Some(reason);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let below = &mut *self.below.borrow_mut();
        if below.stopped.is_some() {
            return Poll::Ready(Ok(buf.len())); // h2's own words: ours are the last.
        }
        let written = Pin::new(&mut below.stream).poll_write(cx, buf);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.below.borrow_mut().stream).poll_flush(cx);
        self.state.set_blocked(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
