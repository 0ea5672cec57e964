//! One HTTP/1 connection: what is plain is served at once; with the first request that is not,
//! hyper takes over, parses and writes, and what it would let pass is stopped before it.

use super::{
    Service, Shared,
    client::Client,
    conn::{ConnState, InHand, Phase},
    farewell,
    inflow::Inflow,
    plain,
    reply::Outgoing,
    request, stamp,
    stream::Stream,
    upgrade::Upgraded,
    watch::{Refusal, Rest, Watched},
};
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::sync::oneshot;
use wire::Code;

pub(super) async fn serve<S: Service>(
    shared: &Rc<Shared<S>>,
    stream: Stream,
    client: &Rc<Client>,
    state: &Rc<ConnState>,
) {
    let mut stream = stream;
    let answered = match plain::serve(shared, &mut stream, client, state).await {
        plain::Left::ToHyper(answered) => Cell::new(answered),
        // Whatever was to be said was said.
        plain::Left::Over => return drop(farewell::end(stream, &[], state.is_unread()).await),
    };
    let stream = Rc::new(RefCell::new(stream));
    let io = TokioIo::new(Watched::new(Rc::clone(&stream), Rc::clone(state)));
    let service = service_fn(|request: http::Request<Incoming>| {
        let (shared, state) = (Rc::clone(shared), Rc::clone(state));
        let client = Rc::clone(client);
        let answered = answered.take();
        async move {
            let (mut response, in_hand) = match answered {
                Some(answered) => answered,
                None => {
                    let in_hand = InHand::new(Rc::clone(&state));
                    (
                        request::answer(&shared, request.map(Inflow::Hyper), &client, &state).await,
                        in_hand,
                    )
                }
            };
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                state.promise(None);
            }
            if shared.is_last(&state) {
                request::last(response.headers_mut());
            }
            Ok::<_, Infallible>(response.map(|body| Outgoing::new(body, in_hand)))
        }
    });
    let mut http = shared.http1.serve_connection(io, service);
    let mut shutting = false;
    let serving = poll_fn(|cx| {
        let polled = Pin::new(&mut http).poll(cx);
        // A request that is on its way in is still taken; its answer says that it is the last.
        if shared.draining.get() && polled.is_pending() && state.may_shut() {
            if state.is_idle() {
                return Poll::Ready(Ok(()));
            }
            if !shutting {
                shutting = true;
                Pin::new(&mut http).graceful_shutdown();
                return Pin::new(&mut http).poll(cx);
            }
        }
        if polled.is_pending() && is_gone(&stream.borrow(), state, cx) {
            return Poll::Ready(Ok(()));
        }
        polled
    });
    let ended = state.unless_cut(serving).await.unwrap_or(Ok(()));
    let parts = http.into_parts();
    let Rest { held, refusal } = parts.io.into_inner().into_rest();
    let Some(stream) = Rc::into_inner(stream) else { return }; // Nobody else has it any more.
    let stream = stream.into_inner();
    if let Err(err) = &ended {
        tracing::debug!(peer = %client.peer, %err, "connection failed");
    } else if !state.is_cut()
        && let Some(heir) = state.promised()
    {
        let mut early = BytesMut::from(parts.read_buf);
        early.extend_from_slice(&held);
        return hand_over(heir, stream, early.freeze(), state).await;
    }
    let words = last_words(shared, state, refusal.as_ref());
    let is_unread = state.is_unread() || !words.is_empty();
    // A client that is gone has heard enough.
    drop(farewell::end(stream, &words, is_unread).await);
}

/// Whether the client has reset the connection while it was waited on: nobody is left to hear the
/// answer, so the request is given up. One that closed its half is answered for a while yet.
pub(super) fn is_gone(stream: &Stream, state: &ConnState, cx: &mut Context<'_>) -> bool {
    if !state.is_handling() {
        return false; // hyper reads, and hears of it itself.
    }
    match stream.poll_peek(cx) {
        Poll::Ready(Ok(0)) => {
            state.leave();
            false
        }
        Poll::Ready(Ok(_)) | Poll::Pending => false,
        Poll::Ready(Err(_)) => true,
    }
}

/// Gives the connection to whoever it was promised, and returns when that is done with it.
async fn hand_over(
    heir: oneshot::Sender<Upgraded>,
    mut stream: Stream,
    early: Bytes,
    state: &Rc<ConnState>,
) {
    state.enter(Phase::Upgraded);
    stream.unread(early);
    let (held, released) = oneshot::channel();
    let upgraded = Upgraded::new(stream, Rc::clone(state), held);
    if heir.send(upgraded).is_ok() {
        // An error is what ends it: the other side was dropped.
        drop(released.await);
    }
}

/// What a client is told whose request never came to be one; empty when there is nothing to tell.
fn last_words<S: Service>(
    shared: &Shared<S>,
    state: &ConnState,
    refusal: Option<&Refusal>,
) -> Vec<u8> {
    let (code, detail) = match refusal {
        Some(Refusal::Head(flaw)) => (Code::InvalidRequest, flaw.detail()),
        Some(Refusal::Bare(bare)) => farewell::meaning(bare),
        None if state.is_cut() && state.is_late_head() => {
            (Code::RequestTimeout, "the head of the request did not arrive in time")
        }
        Some(Refusal::Body) | None => return Vec::new(),
    };
    let (parts, ()) = http::Request::new(()).into_parts();
    let mut answer: Response<Bytes> = shared.service.refuse(&parts, code, detail);
    stamp::response(answer.headers_mut(), shared.via.as_ref());
    farewell::last_words(&answer)
}
