//! The duty to answer a request.

use super::{
    duties::{Hook, Tag},
    served::ServerConn,
    stream::{End, StreamWriter},
};
use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll};
use wire::frame::{ResponseRef, append_forwarded_response, append_response_part};

/// Status of an answer that was never given: the handler dropped its duty. The outcome of the
/// request is not known.
pub const STATUS_DROPPED: u16 = 500;

/// Answers one request, now or later, from the thread it came on. Dropped without an answer, it
/// sends a bodyless [`STATUS_DROPPED`], so that nobody hangs. If the asker has given the request up
/// it only hears that it is over, whatever the answer; if the connection is gone, answers go
/// nowhere.
pub struct ReplyTo {
    conn: Rc<ServerConn>,
    id: u32,
    answered: bool,
}

impl std::fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyTo").field("id", &self.id).field("answered", &self.answered).finish()
    }
}

impl ReplyTo {
    pub(super) fn new(conn: Rc<ServerConn>, id: u32) -> ReplyTo {
        ReplyTo { conn, id, answered: false }
    }

    /// Sends the answer; its id is set on the way. A long one is sent on by itself, as its reader
    /// takes it. One that is over a limit becomes a bodyless [`STATUS_DROPPED`].
    pub fn send(mut self, mut response: ResponseRef<'_>) {
        response.id = self.id;
        let mut sent = 0;
        let answered = self.conn.answer(self.id, |out| {
            sent = response.append(out)?;
            Ok(sent == response.body.len())
        });
        match answered {
            Ok(()) => {
                self.answered = true;
                self.send_rest(&response.body[sent..]);
            }
            Err(flaw) => {
                tracing::error!(%flaw, status = response.status, "answer cannot be sent");
            }
        }
    }

    /// Sends an answer that was received, as it was.
    ///
    /// # Panics
    /// When `message` is not from [`ResponseRef::message`] of a response that was received.
    pub fn forward(mut self, message: &[u8]) {
        let (id, mut sent) = (self.id, 0);
        let answered = self.conn.answer(id, |out| {
            sent = append_forwarded_response(out, id, message);
            Ok(sent == message.len())
        });
        match answered {
            Ok(()) => {
                self.answered = true;
                self.send_rest(&message[sent..]);
            }
            Err(flaw) => tracing::error!(%flaw, "answer cannot be passed on"),
        }
    }

    fn send_rest(&self, rest: &[u8]) {
        if !rest.is_empty() && self.is_wanted() {
            StreamWriter::new(self.id, Rc::clone(&self.conn) as Rc<dyn End>).send_and_finish(rest);
        }
    }

    /// Begins an answer whose end is not known yet: its head, and what is already there of its
    /// body, which is to fit one frame with it (4 KiB always do). `None` when nobody wants it any more or there is no room for a further stream: then
    /// the request is answered as if the duty had been dropped.
    pub fn begin(self, mut response: ResponseRef<'_>) -> Option<StreamWriter> {
        response.id = self.id;
        self.begin_with(|out| response.append_open(out).map(|()| false))
    }

    /// As [`ReplyTo::begin`], for an answer whose first part was received and goes on as it was.
    ///
    /// # Panics
    /// When `part` is not from [`ResponseRef::message`] of a response that was received.
    pub fn begin_forward(self, part: &[u8]) -> Option<StreamWriter> {
        let id = self.id;
        self.begin_with(|out| {
            append_response_part(out, id, part);
            Ok(false)
        })
    }

    fn begin_with(
        mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<bool, wire::Flaw>,
    ) -> Option<StreamWriter> {
        if !self.is_wanted() {
            return None;
        }
        match self.conn.answer(self.id, append) {
            Ok(()) => {
                self.answered = true;
                Some(StreamWriter::new(self.id, Rc::clone(&self.conn) as Rc<dyn End>))
            }
            Err(flaw) => {
                tracing::error!(%flaw, "answer cannot be begun");
                None
            }
        }
    }

    /// The name of the node that serves here.
    pub(super) fn node(&self) -> Arc<str> {
        Arc::clone(self.conn.node())
    }

    /// Whether the asker still waits: its connection stands and it has not given the request up.
    pub fn is_wanted(&self) -> bool {
        self.conn.is_open() && self.conn.duties().is_wanted(self.id)
    }

    /// Asks that [`super::Handler::cancelled`] be called with this tag when the request is given up.
    pub fn on_cancel(&self, tag: Tag) {
        self.conn.duties().hook(self.id, Hook::Handler(tag));
    }

    /// Returns when the request is given up; for those who have a task per request.
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            if !self.is_wanted() {
                return Poll::Ready(());
            }
            self.conn.duties().hook(self.id, Hook::Task(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let conn = Rc::clone(&self.conn);
        let mut response = ResponseRef::new(STATUS_DROPPED, conn.node(), &[]);
        response.id = self.id;
        let sent = self.conn.answer(self.id, |out| response.append(out).map(|_| true));
        sent.expect("an empty answer is within its limits");
    }
}
