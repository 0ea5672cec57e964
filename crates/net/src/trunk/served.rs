//! One connection as the server has it.

use super::{
    conn::Loss,
    duties::Duties,
    limits::{REPORT_IDLE_TICKS, SERVER_OUT_BYTES_MAX, SERVER_OUT_BYTES_PAUSE},
    outbox::Outbox,
    rare::RareFrames,
    server::LoadSource,
    stream::End,
    streams::Streams,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Notify;
use wire::{
    Flaw,
    frame::{ResetReason, append_load_report, append_reset},
};

/// The server's end of one connection.
pub(super) struct ServerConn {
    pub(super) outbox: Rc<Outbox>,
    /// Who serves here: blamed for what is never answered.
    pub(super) node: Arc<str>,
    pub(super) load: RefCell<Option<Rc<LoadSource>>>,
    /// Ticks since the last load report; the next answer brings one if there are any.
    pub(super) report_age: Cell<u32>,
    pub(super) duties: Duties,
    pub(super) streams: Streams,
    pub(super) rare: RareFrames,
    pub(super) open: Cell<bool>,
    /// Told when the connection is to be cut.
    pub(super) cut: Notify,
}

impl ServerConn {
    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    pub(super) fn node(&self) -> &Arc<str> {
        &self.node
    }

    pub(super) fn duties(&self) -> &Duties {
        &self.duties
    }

    /// Appends a load report if there is one to give.
    pub(super) fn report(&self) {
        let load = self.load.borrow().clone();
        if let Some(load) = load {
            self.report_age.set(0);
            let report = load();
            self.outbox.append(|out| append_load_report(out, report));
        }
    }

    /// Every [`REPORT_TICK`]: from now on a report is due with the next answer, or without one.
    pub(super) fn tick(&self) {
        let age = self.report_age.get() + 1;
        self.report_age.set(age);
        // Who does not read is not told more and more.
        if REPORT_IDLE_TICKS <= age && self.outbox.len() <= SERVER_OUT_BYTES_PAUSE {
            self.report();
        }
    }

    /// Appends an answer, or to one that nobody wants any more that the request is over. What
    /// `append` returns says whether that was all of it; otherwise a stream follows.
    pub(super) fn answer(
        &self,
        id: u32,
        append: impl FnOnce(&mut Vec<u8>) -> Result<bool, Flaw>,
    ) -> Result<(), Flaw> {
        let mut is_whole = true;
        if self.open.get() {
            if self.duties.is_wanted(id) {
                is_whole = self.outbox.append(|out| self.append_first(out, append))?;
            } else {
                self.outbox.append(|out| append_reset(out, id, ResetReason::Cancelled));
            }
            if SERVER_OUT_BYTES_MAX < self.outbox.len() {
                self.cut.notify_one();
            }
        }
        if is_whole {
            self.settle(id);
        }
        Ok(())
    }

    fn append_first(
        &self,
        out: &mut Vec<u8>,
        append: impl FnOnce(&mut Vec<u8>) -> Result<bool, Flaw>,
    ) -> Result<bool, Flaw> {
        let start = out.len();
        let is_whole = append(out)?;
        if !is_whole && self.streams.is_full() {
            out.truncate(start);
            return Err(Flaw("too many streams"));
        }
        Ok(is_whole)
    }

    /// The request is over.
    fn settle(&self, id: u32) {
        self.duties.finish(id);
        if !self.streams.is_empty() {
            self.streams.close(id, Loss::Reset);
        }
        if self.report_age.get() != 0 && self.open.get() {
            self.report();
        }
    }
}

impl End for ServerConn {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The rest of a request is not needed for its answer.
    fn unread(&self, id: u32) {
        self.streams.discard(id);
    }

    fn written(&self, id: u32) {
        self.streams.close_out(id);
        self.settle(id);
    }

    fn unwritten(&self, id: u32) {
        let is_wanted = self.duties.is_wanted(id);
        let reason = if is_wanted { ResetReason::Aborted } else { ResetReason::Cancelled };
        if self.open.get() {
            self.outbox.append(|out| append_reset(out, id, reason));
        }
        self.settle(id);
    }
}
