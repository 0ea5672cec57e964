//! One HTTP/2 connection: its socket, and a future for each request.
//!
//! What is said is [`Session`]'s; here it is read and written. Answers that become ready in one turn
//! of the loop are put into one buffer and written at once.

mod reply;
#[cfg(test)]
mod tests;

use self::reply::Reply;
use super::{
    Service, Shared,
    client::Client,
    conn::{ConnState, InHand, Phase},
    farewell,
    http2::{
        frame::Reason,
        head::RequestHead,
        session::{Event, Session},
    },
    inflow::{Inbox, Inflow, StreamBody},
    slots::Slots,
    stream::Stream,
};
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the tasks of a connection's requests share with it.
#[derive(Debug)]
pub(super) struct Link {
    session: RefCell<Session<Lane>>,
    state: Rc<ConnState>,
}

/// One request and its answer.
#[derive(Debug, Default)]
struct Lane {
    /// Where its future is.
    slot: Option<usize>,
    /// Where its body goes.
    inbox: Option<Inbox>,
    /// Its answer waits for room.
    waiting: Option<Waker>,
}

impl Link {
    /// Notes that so much of a request's body was read.
    pub(super) fn was_read(&self, id: u32, bytes: usize) {
        self.tell(|session| session.read(id, bytes));
    }

    /// Notes that nobody reads on in a request's body.
    pub(super) fn is_unwanted(&self, id: u32, unread: usize) {
        self.tell(|session| session.unwant(id, unread));
    }

    /// Breaks an answer off; its request's body will not come any more.
    fn fail(&self, id: u32) {
        let lane = self.tell(|session| session.fail(id));
        if let Some(inbox) = lane.and_then(|lane| lane.inbox) {
            inbox.break_off();
        }
    }

    /// Has the session do something, and what it says of that sent.
    fn tell<T>(&self, what: impl FnOnce(&mut Session<Lane>) -> T) -> T {
        let mut session = self.session.borrow_mut();
        let told = what(&mut session);
        if !session.unsent().is_empty() {
            self.state.wake();
        }
        told
    }

    /// Tells whoever still reads a body that nothing more will come.
    fn break_off(&self) {
        for lane in self.session.borrow_mut().lanes() {
            if let Some(inbox) = lane.inbox.take() {
                inbox.break_off();
            }
        }
    }

    /// Wakes whoever waits for room.
    fn has_room(&self) {
        for lane in self.session.borrow_mut().lanes() {
            if let Some(task) = lane.waiting.take() {
                task.wake();
            }
        }
    }

    /// Wakes whose turn it is to send.
    fn has_turn(&self) {
        if let Some(task) =
            self.session.borrow_mut().first_in_line().and_then(|it| it.waiting.take())
        {
            task.wake();
        }
    }

    /// Writes what there is to send.
    fn write(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = loop {
            let mut session = self.session.borrow_mut();
            if session.unsent().is_empty() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut *stream).poll_write(cx, session.unsent()) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.state.goes_out(session.is_held());
                    if session.has_sent(count) {
                        drop(session);
                        self.has_room();
                    }
                }
                Poll::Ready(Err(err)) => break Poll::Ready(Err(err)),
                Poll::Pending => break Poll::Pending,
            }
        };
        // Within TLS a write is taken before it is sent.
        let is_taken = matches!(written, Poll::Ready(Ok(())));
        let flushed = if is_taken { Pin::new(stream).poll_flush(cx) } else { written };
        self.state.set_blocked(flushed.is_pending());
        flushed
    }
}

/// How a connection came to its end.
enum End {
    /// The client closed it, or it broke.
    Gone(Option<io::Error>),
    /// We end it.
    Ours(Reason),
}

pub(super) async fn serve<S: Service>(
    shared: &Rc<Shared<S>>,
    stream: Stream,
    client: &Rc<Client>,
    state: &Rc<ConnState>,
) {
    state.enter(Phase::Idle);
    let session = RefCell::new(Session::new(state.now()));
    let link = Rc::new(Link { session, state: Rc::clone(state) });
    let mut stream = stream;
    let begin = |id, request, is_too_large| {
        let (shared, client) = (Rc::clone(shared), Rc::clone(client));
        let in_hand = InHand::new(Rc::clone(state));
        let reply = Reply { id, link: Rc::clone(&link), in_hand };
        async move { reply.to(&shared, &client, request, is_too_large).await }
    };
    let mut conn = Conn { shared, link: &link, begin, slots: Slots::new(), told: None };
    let serving = poll_fn(|cx| conn.poll(&mut stream, cx));
    let end = state.unless_cut(serving).await.unwrap_or(End::Ours(Reason::NoError));
    let words = match end {
        End::Gone(err) => {
            tracing::debug!(peer = %client.peer, ?err, "connection gone");
            Vec::new()
        }
        End::Ours(reason) => {
            tracing::debug!(peer = %client.peer, ?reason, "connection ended");
            link.session.borrow_mut().last_words(reason)
        }
    };
    link.break_off();
    drop(conn);
    drop(farewell::end(stream, &words, true).await);
}

struct Conn<'a, S, B, F> {
    shared: &'a Rc<Shared<S>>,
    link: &'a Rc<Link>,
    /// Answers a request.
    begin: B,
    /// Requests that are being answered.
    slots: Slots<F>,
    /// The sweep at which the client was told to end.
    told: Option<u64>,
}

impl<S: Service, B, F> Conn<'_, S, B, F>
where
    B: Fn(u32, http::Request<Inflow>, bool) -> F,
    F: Future<Output = ()>,
{
    fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<End> {
        let state = &self.link.state;
        loop {
            match self.told {
                None if self.shared.is_last(state) => {
                    self.told = Some(state.now());
                    self.link.session.borrow_mut().go_away();
                }
                // A client may not bother to send back the ping that follows GOAWAY.
                Some(since) if state.may_let_go(since) => {
                    return Poll::Ready(End::Ours(Reason::NoError));
                }
                None | Some(_) => (),
            }
            self.slots.poll(cx);
            match self.link.write(stream, cx) {
                Poll::Ready(Ok(())) if self.link.session.borrow().is_over() => {
                    return Poll::Ready(End::Ours(Reason::NoError));
                }
                Poll::Ready(Err(err)) => return Poll::Ready(End::Gone(Some(err))),
                Poll::Pending if self.link.session.borrow().is_choked() => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending => (),
            }
            match ready!(self.read(stream, cx)) {
                Ok(0) => return Poll::Ready(End::Gone(None)),
                Ok(_) => (),
                Err(err) => return Poll::Ready(End::Gone(Some(err))),
            }
            if let Err(reason) = self.take() {
                return Poll::Ready(End::Ours(reason));
            }
        }
    }

    /// Reads once.
    fn read(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.shared.scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        self.link.session.borrow_mut().push(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Does what the client asks by what has come.
    fn take(&mut self) -> Result<(), Reason> {
        let mut has_room = false;
        loop {
            let event = self.link.session.borrow_mut().next(self.link.state.now())?;
            match event {
                None => break,
                Some(Event::Asked { id, head, ends }) => self.begin(id, head, ends),
                Some(Event::Data { id, bytes, is_last }) => {
                    let mut session = self.link.session.borrow_mut();
                    if let Some(inbox) = session.lane(id).and_then(|lane| lane.inbox.as_ref()) {
                        inbox.put(bytes, is_last);
                    }
                }
                Some(Event::Reset(lane)) => {
                    if let Some(inbox) = lane.inbox {
                        inbox.break_off();
                    }
                    if let Some(slot) = lane.slot {
                        self.slots.drop_at(slot);
                    }
                }
                Some(Event::Room(Some(id))) => {
                    let mut session = self.link.session.borrow_mut();
                    if let Some(task) = session.lane(id).and_then(|lane| lane.waiting.take()) {
                        task.wake();
                    }
                }
                Some(Event::Room(None)) => has_room = true,
            }
        }
        if has_room {
            self.link.has_room();
        }
        // There may be room for all together, or it was the turn of one that was given up.
        self.link.has_turn();
        Ok(())
    }

    /// Begins to answer a request.
    fn begin(&mut self, id: u32, head: RequestHead, ends: bool) {
        let link = self.link;
        let inbox = (!ends).then(|| Inbox::new(head.length));
        let body = inbox.clone().map_or(Inflow::Empty, |inbox| {
            Inflow::Stream(StreamBody::new(id, inbox, Rc::clone(link)))
        });
        let answering = (self.begin)(id, head.request.map(|()| body), head.is_too_large);
        let Some(slot) = self.slots.put(answering) else {
            // There are more places than streams that may be open.
            return link.fail(id);
        };
        if let Some(lane) = link.session.borrow_mut().lane(id) {
            lane.inbox = inbox;
            lane.slot = Some(slot);
        }
    }
}
