//! The duty to answer a request.

use super::server::ServerConn;
use std::rc::Rc;
use wire::frame::{ResponseRef, append_forwarded_response};

/// Status of an answer that was never given: the handler dropped its duty. The outcome of the
/// request is not known.
pub const STATUS_DROPPED: u16 = 500;

/// Answers one request, now or later, from the thread it came on. Dropped without an answer, it
/// sends a bodyless [`STATUS_DROPPED`], so that nobody hangs. If the connection is gone, answers
/// go nowhere.
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

    /// Sends the answer; its id is set on the way. One that is over a limit becomes a bodyless
    /// [`STATUS_DROPPED`].
    pub fn send(mut self, mut response: ResponseRef<'_>) {
        self.answered = true;
        response.id = self.id;
        if let Err(flaw) = self.conn.answer(|out| response.append(out)) {
            tracing::error!(%flaw, status = response.status, "answer cannot be sent");
            self.answered = false; // The drop answers.
        }
    }

    /// Sends an answer that was received, as it was.
    ///
    /// # Panics
    /// When `message` is not from [`ResponseRef::message`] of a response that was received.
    pub fn forward(mut self, message: &[u8]) {
        self.answered = true;
        let id = self.id;
        let sent = self.conn.answer(|out| {
            append_forwarded_response(out, id, message);
            Ok(())
        });
        sent.expect("what was received is within its limits");
    }

    /// Whether the asker's connection still stands.
    pub fn is_wanted(&self) -> bool {
        self.conn.is_open()
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
        self.conn.answer(|out| response.append(out)).expect("an empty answer is within its limits");
    }
}
