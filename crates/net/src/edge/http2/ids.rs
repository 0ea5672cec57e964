//! Which streams a client has begun, and which of them it may still send on (RFC 9113 §5.1).

use super::frame::Reason;

/// Streams that a client has not ended, above which the oldest are no longer known.
pub(super) const OPEN_MAX: usize = 256;

/// Streams of one client.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The highest stream that the client has begun.
    highest: u32,
    /// Streams that the client has begun and not ended, in order.
    open: Vec<u32>,
    /// Of streams up to this one it is not known whether the client ended them.
    forgotten: u32,
}

impl Ids {
    /// The last stream that the client began.
    pub(super) fn highest(&self) -> u32 {
        self.highest
    }

    /// Notes that a stream begins; false when it is one that has begun already.
    pub(super) fn begin(&mut self, stream: u32) -> Result<bool, Reason> {
        if stream <= self.highest {
            return Ok(false);
        }
        if stream.is_multiple_of(2) {
            return Err(Reason::ProtocolError); // Those are a server's.
        }
        self.highest = stream;
        self.open.push(stream);
        if OPEN_MAX < self.open.len() {
            self.forgotten = self.open.remove(0);
        }
        Ok(true)
    }

    /// Whether the client may still send on a stream.
    pub(super) fn check_open(&self, stream: u32) -> Result<(), Reason> {
        self.check_begun(stream)?;
        let has_ended = self.forgotten < stream && self.open.binary_search(&stream).is_err();
        if has_ended { Err(Reason::StreamClosed) } else { Ok(()) }
    }

    /// Whether the client has begun a stream.
    pub(super) fn check_begun(&self, stream: u32) -> Result<(), Reason> {
        let is_begun = stream <= self.highest && !stream.is_multiple_of(2);
        if is_begun { Ok(()) } else { Err(Reason::ProtocolError) }
    }

    /// Notes that the client has ended a stream.
    pub(super) fn end(&mut self, stream: u32) {
        if let Ok(at) = self.open.binary_search(&stream) {
            self.open.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_begin_and_end_once() {
        let mut ids = Ids::default();
        assert_eq!(ids.check_open(1), Err(Reason::ProtocolError));
        assert_eq!(ids.begin(2), Err(Reason::ProtocolError));
        assert_eq!(ids.begin(5), Ok(true));
        assert_eq!(ids.begin(5), Ok(false));
        assert_eq!(ids.begin(3), Ok(false));
        assert_eq!(ids.check_open(3), Err(Reason::StreamClosed)); // It was passed over.
        assert_eq!(ids.check_open(5), Ok(()));
        ids.end(5);
        assert_eq!(ids.check_open(5), Err(Reason::StreamClosed));
        assert_eq!(ids.check_begun(5), Ok(()));
        assert_eq!(ids.check_begun(4), Err(Reason::ProtocolError));
        assert_eq!(ids.check_begun(7), Err(Reason::ProtocolError));
        assert_eq!(ids.highest(), 5);
    }

    #[test]
    fn the_oldest_of_many_are_forgotten() {
        let mut ids = Ids::default();
        for at in 0..=u32::try_from(OPEN_MAX).unwrap() {
            assert_eq!(ids.begin(2 * at + 1), Ok(true));
        }
        for _ in 0..2 {
            assert_eq!(ids.check_open(1), Ok(()));
            ids.end(1);
        }
        ids.end(3);
        assert_eq!(ids.check_open(3), Err(Reason::StreamClosed));
    }
}
