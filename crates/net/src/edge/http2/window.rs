//! Windows of flow control (RFC 9113 §5.2).

/// Every window at the beginning, until settings say otherwise.
pub(super) const FIRST: u32 = 65_535;
/// The largest that a window may be.
pub(super) const MAX: u32 = (1 << 31) - 1;

/// What may be sent to a client. A change of its settings can take it below nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing(i64);

impl Outgoing {
    pub(super) fn new(size: u32) -> Outgoing {
        Outgoing(size.into())
    }

    /// Bytes that may be sent.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// Notes bytes that are sent; there is room for them.
    pub(super) fn take(&mut self, bytes: usize) {
        self.0 -= i64::try_from(bytes).expect("no more than a window");
    }

    /// Widens it, or narrows it; false when that is more than a window may be.
    #[must_use]
    pub(super) fn widen(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= i64::from(MAX)
    }
}

/// What a client may send. It is opened anew when half of it was used and read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    size: u32,
    /// What it may still send.
    left: u32,
    /// What it has sent and was read since the window was opened last.
    read: u32,
}

impl Incoming {
    pub(super) fn new(size: u32) -> Incoming {
        Incoming { size, left: size, read: 0 }
    }

    /// Notes bytes that came; false when they are more than there was room for.
    #[must_use]
    pub(super) fn take(&mut self, bytes: u32) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Notes bytes that were read, and returns by how much the client is to be told that the window
    /// is wider.
    #[must_use]
    pub(super) fn read(&mut self, bytes: u32) -> Option<u32> {
        self.read += bytes;
        if self.read < self.size / 2 {
            return None;
        }
        let by = std::mem::take(&mut self.read);
        self.left += by;
        Some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_opened_anew_when_half_of_it_was_read() {
        let mut window = Incoming::new(100);
        assert!(window.take(60));
        assert_eq!(window.read(49), None);
        assert!(window.take(40));
        assert!(!window.take(1));
        assert_eq!(window.read(11), Some(60));
        assert!(window.take(60));
        assert_eq!(window.read(40), None);
        assert_eq!(window.read(60), Some(100));
    }

    #[test]
    fn what_may_be_sent_falls_below_nothing_and_never_above_the_most() {
        let mut window = Outgoing::new(10);
        window.take(10);
        assert!(window.widen(-3));
        assert_eq!(window.room(), 0);
        assert!(window.widen(5));
        assert_eq!(window.room(), 2);
        assert!(window.widen(i64::from(MAX) - 2));
        assert!(!window.widen(1));
    }
}
