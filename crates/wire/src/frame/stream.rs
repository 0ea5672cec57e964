//! How much of a stream may be under way: what its reader has granted and its writer has used.
//!
//! Each direction of each message that does not fit its first frame has a window of its own: the
//! bytes of data frames that the writer may send before the reader has consumed some. Who does not
//! read holds up its own stream and nothing else.

use super::{Part, limits::WINDOW_BYTES_MAX};
use crate::Flaw;

/// The reading end of a stream: holds the writer to what was granted and announced.
#[derive(Debug)]
pub struct Inflow {
    /// What the writer may send at most without an answer.
    window: usize,
    /// What it may still send.
    granted: usize,
    /// What was consumed and is not granted again yet.
    consumed: usize,
    /// What is still to come, if the first frame said.
    rest: Option<usize>,
}

impl Inflow {
    /// The stream that `part` begins, with the window that our hello promised.
    pub fn new(part: &Part<'_>, window: u32) -> Inflow {
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        let rest = part.total.map(|total| total - part.bytes.len());
        Inflow { window, granted: window, consumed: 0, rest }
    }

    /// Takes the length of a data frame.
    pub fn take(&mut self, bytes: usize, end: bool) -> Result<(), Flaw> {
        if self.granted < bytes {
            return Err(Flaw("more data than the window allows"));
        }
        if let Some(rest) = self.rest {
            if rest < bytes || (end && rest != bytes) {
                return Err(Flaw("a message is not as long as it says"));
            }
            self.rest = Some(rest - bytes);
        }
        self.granted -= bytes;
        Ok(())
    }

    /// Says that so many bytes were consumed. Returns what is to be granted in a window frame, once
    /// that is worth one: half of the window.
    pub fn consume(&mut self, bytes: usize) -> Option<u32> {
        self.consumed += bytes;
        if self.consumed < self.window / 2 {
            return None;
        }
        let credit = std::mem::take(&mut self.consumed);
        self.granted += credit;
        u32::try_from(credit).ok().filter(|&credit| credit != 0)
    }

    /// What the writer may still send, also when the stream is over for us.
    pub fn granted(&self) -> usize {
        self.granted
    }
}

/// The writing end of a stream.
#[derive(Debug)]
pub struct Outflow {
    granted: usize,
}

impl Outflow {
    /// A stream with the window that the peer's hello promised.
    pub fn new(window: u32) -> Outflow {
        Outflow { granted: usize::try_from(window).unwrap_or(usize::MAX) }
    }

    /// Takes the credit of a window frame.
    pub fn widen(&mut self, credit: u32) -> Result<(), Flaw> {
        let credit = usize::try_from(credit).unwrap_or(usize::MAX);
        self.granted = self.granted.saturating_add(credit);
        if credit == 0 || WINDOW_BYTES_MAX < self.granted {
            return Err(Flaw("a window of no bytes, or too wide"));
        }
        Ok(())
    }

    /// How many of the wanted bytes may be sent now: they count as sent.
    pub fn take(&mut self, wanted: usize) -> usize {
        let bytes = wanted.min(self.granted);
        self.granted -= bytes;
        bytes
    }

    /// What may be sent now.
    pub fn granted(&self) -> usize {
        self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::limits::STREAM_WINDOW_BYTES;
    use stdx::Rng;

    fn part(total: Option<usize>) -> Part<'static> {
        Part { id: 1, total, bytes: &[0; 10] }
    }

    /// Whoever sends what it may and reads what it has gets to the end, whatever the sizes and the
    /// order of things; and never is more under way than the window.
    #[test]
    fn a_stream_never_stalls_and_never_exceeds_its_window() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let window = 1 + rng.below(2_000);
            let bytes = rng.below(20_000);
            let known = rng.below(2) == 0;
            let width = u32::try_from(window).unwrap();
            let mut inflow = Inflow::new(&part(known.then_some(bytes + 10)), width);
            let mut outflow = Outflow::new(width);
            let (mut sent, mut unread, mut credits) = (0, 0, Vec::new());
            let mut steps = 0;
            while sent < bytes || unread != 0 {
                steps += 1;
                assert!(steps < 1_000_000, "seed {seed} stalls");
                match rng.below(3) {
                    0 => {
                        let piece = outflow.take((bytes - sent).min(1 + rng.below(900)));
                        sent += piece;
                        unread += piece;
                        inflow.take(piece, sent == bytes && piece != 0).unwrap();
                    }
                    1 => {
                        let piece = unread.min(1 + rng.below(900));
                        unread -= piece;
                        credits.extend(inflow.consume(piece));
                    }
                    _ => credits.drain(..).for_each(|it| outflow.widen(it).unwrap()),
                }
                assert!(unread <= window, "seed {seed}");
            }
        }
    }

    #[test]
    fn who_sends_more_than_was_granted_or_announced_is_found() {
        let over = Err(Flaw("more data than the window allows"));
        let mut inflow = Inflow::new(&part(None), 100);
        inflow.take(100, false).unwrap();
        assert_eq!((inflow.take(1, false), inflow.granted()), (over, 0));
        assert_eq!((inflow.consume(49), inflow.consume(1)), (None, Some(50)));
        inflow.take(50, true).unwrap();

        let wrong = Err(Flaw("a message is not as long as it says"));
        let mut inflow = Inflow::new(&part(Some(30)), 100);
        assert_eq!(inflow.take(21, false), wrong);
        assert_eq!(inflow.take(19, true), wrong);
        inflow.take(19, false).unwrap();
        inflow.take(1, false).unwrap();
        inflow.take(0, true).unwrap();
    }

    #[test]
    fn a_window_has_a_widest() {
        let mut outflow = Outflow::new(STREAM_WINDOW_BYTES);
        assert!(outflow.widen(0).is_err());
        assert!(Outflow::new(STREAM_WINDOW_BYTES).widen(u32::MAX).is_err());
        outflow.take(usize::MAX);
        assert_eq!(outflow.granted(), 0);
        outflow.widen(7).unwrap();
        assert_eq!((outflow.take(9), outflow.granted()), (7, 0));
    }
}
