//! The answer to one request over HTTP/2, from when the request is there until all of it is sent.

use super::Link;
use crate::edge::{
    Service, Shared, client::Client, conn::InHand, head, inflow::Inflow, reply::Body, request,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use hyper::body::Body as _;
use std::{future::poll_fn, rc::Rc, task::Poll};

/// An answer on its way out.
pub(super) struct Reply {
    pub(super) id: u32,
    pub(super) link: Rc<Link>,
    pub(super) in_hand: InHand,
}

impl Drop for Reply {
    /// Its place is somebody else's next.
    fn drop(&mut self) {
        if let Some(lane) = self.link.session.borrow_mut().lane(self.id) {
            lane.slot = None;
        }
    }
}

impl Reply {
    /// Answers a request.
    pub(super) async fn to<S: Service>(
        self,
        shared: &Shared<S>,
        client: &Client,
        request: http::Request<Inflow>,
        is_too_large: bool,
    ) {
        let is_head = request.method() == Method::HEAD;
        let answer = if is_too_large {
            request::answer_too_large(shared, request)
        } else {
            request::answer(shared, request, client, &self.link.state).await
        };
        self.send(answer, is_head).await;
    }

    async fn send(mut self, answer: Response<Body>, is_head: bool) {
        self.in_hand.answer_goes_on();
        let (parts, body) = answer.into_parts();
        // To HEAD the length is told, and nothing else of the body.
        let length = body.size_hint().exact().filter(|it| is_head || *it != 0);
        let length = length.filter(|_| !head::has_no_body(parts.status));
        let ends = is_head || head::has_no_body(parts.status) || body.is_end_stream();
        self.link.tell(|session| {
            head::with_date(|date| {
                session.answer(self.id, (parts.status, &parts.headers), date, length, ends);
            });
        });
        match body {
            _ if ends => (),
            Body::Whole(bytes) => self.data(bytes, true).await,
            Body::Streamed(mut body) => loop {
                let frame = poll_fn(|cx| {
                    let polled = body.as_mut().poll_frame(cx);
                    if polled.is_pending() {
                        self.in_hand.answer_waits();
                    }
                    polled
                });
                let frame = frame.await;
                self.in_hand.answer_goes_on();
                match frame.map(|it| it.map(|it| it.into_data())) {
                    Some(Ok(Ok(bytes))) => {
                        let ends = body.is_end_stream();
                        self.data(bytes, ends).await;
                        if ends {
                            return;
                        }
                    }
                    Some(Ok(Err(frame))) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return self.trailers(&trailers);
                        }
                    }
                    Some(Err(err)) => {
                        tracing::debug!(%err, "an answer breaks off");
                        return self.link.fail(self.id);
                    }
                    None => return self.data(Bytes::new(), true).await,
                }
            },
        }
    }

    /// Sends bytes, as there is room for them.
    async fn data(&mut self, mut bytes: Bytes, ends: bool) {
        poll_fn(|cx| {
            let before = bytes.len();
            let is_sent = self.link.tell(|session| {
                let is_sent = session.send(self.id, &mut bytes, ends);
                if !is_sent && let Some(lane) = session.lane(self.id) {
                    lane.waiting = Some(cx.waker().clone());
                }
                if let Some(next) = session.first_in_line().and_then(|lane| lane.waiting.take()) {
                    next.wake();
                }
                is_sent
            });
            if bytes.len() != before {
                self.in_hand.answer_goes_on();
            }
            if is_sent { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn trailers(&self, trailers: &HeaderMap) {
        self.link.tell(|session| session.answer_trailers(self.id, trailers));
    }
}
