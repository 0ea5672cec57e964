//! One stream under way.

use stdx::Moment;

/// What a buffer may keep when it is not needed: a usual answer's or request's length.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A request and what has come of its answer. The buffers are reused.
#[derive(Debug)]
pub(super) struct Slot {
    /// When it was begun.
    pub(super) sent: Moment,
    /// How many bytes of the connection came before it.
    pub(super) begins: u64,
    /// What may be sent on it.
    pub(super) window: i64,
    /// A body that did not fit the windows, and how much of this has been sent since.
    pub(super) rest: Vec<u8>,
    pub(super) poured: usize,
    /// Of the answer; 0 before its head has come.
    pub(super) status: u16,
    pub(super) has_key: bool,
    pub(super) key: Vec<u8>,
    /// What has come of its body and was not the end of it.
    pub(super) body: Vec<u8>,
}

impl Slot {
    /// Free.
    pub(super) fn new() -> Slot {
        Slot {
            sent: Moment::ZERO,
            begins: 0,
            window: 0,
            rest: Vec::new(),
            poured: 0,
            status: 0,
            has_key: false,
            key: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Makes it ready for another request. True when a part of the body was still to be sent.
    pub(super) fn clear(&mut self) -> bool {
        let is_cut = !self.rest.is_empty();
        (self.status, self.has_key, self.poured) = (0, false, 0);
        self.body = emptied(std::mem::take(&mut self.body));
        self.rest = emptied(std::mem::take(&mut self.rest));
        is_cut
    }
}

/// The buffer without its content, and without its room where that is uncommonly large.
pub(super) fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    if KEPT_BYTES_MAX < buffer.capacity() {
        return Vec::new();
    }
    buffer.clear();
    buffer
}
