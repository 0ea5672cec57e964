//! One HTTP/2 connection: hyper and h2 speak it.

use super::{
    Service, Shared,
    conn::{ConnState, InHand},
    farewell,
    reply::{Body, Outgoing},
    request::{self, Client},
    stream::Stream,
};
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
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
    task::{Context, Poll},
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
    client: Client,
    state: &Rc<ConnState>,
) {
    let stream = Rc::new(RefCell::new(stream));
    let ended = {
        let io = Watched { stream: Rc::clone(&stream), state: Rc::clone(state) };
        let service = service_fn(|request: http::Request<Incoming>| {
            let (shared, state) = (Rc::clone(shared), Rc::clone(state));
            let in_hand = InHand::new(Rc::clone(&state));
            async move {
                let is_head = request.method() == Method::HEAD;
                let mut response = request::answer(&shared.service, request, client, &state).await;
                if is_head || has_no_body(response.status()) {
                    without_body(&mut response, is_head);
                }
                Ok::<_, Infallible>(response.map(|body| Outgoing::new(body, in_hand)))
            }
        });
        let mut http = pin!(shared.http2.serve_connection(TokioIo::new(io), service));
        let mut shutting = false;
        poll_fn(|cx| {
            state.watch(cx);
            if state.is_cut() {
                return Poll::Ready(Ok(()));
            }
            let polled = http.as_mut().poll(cx);
            if (shared.draining.get() || state.is_old()) && !shutting && polled.is_pending() {
                shutting = true;
                http.as_mut().graceful_shutdown();
                return http.as_mut().poll(cx);
            }
            polled
        })
        .await
    };
    if let Err(err) = ended {
        tracing::debug!(peer = %client.peer, %err, "connection failed");
    }
    if let Some(stream) = Rc::into_inner(stream) {
        drop(farewell::end(stream.into_inner(), &[], true).await);
    }
}

/// RFC 9110 §15.3.5, §15.4.5.
fn has_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Takes away the body, which HTTP/1 does by itself. To HEAD its length is told.
fn without_body(response: &mut Response<Body>, is_head: bool) {
    let body = std::mem::replace(response.body_mut(), Body::from(Bytes::new()));
    let length = body.size_hint().exact().filter(|_| is_head);
    if let Some(length) = length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// The stream below HTTP/2. It stays open when hyper is done with it, so that a client that is
/// still sending gets to read why.
struct Watched {
    stream: Rc<RefCell<Stream>>,
    state: Rc<ConnState>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, buf);
        self.state.set_blocked(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
