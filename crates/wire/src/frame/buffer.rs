//! What has been read from a connection and not yet cut into frames.

use super::{Frame, limits::FRAME_BYTES_MAX};
use crate::Flaw;

/// Room for two frames of the longest kind: a read takes much at once, and whatever is left of one
/// always leaves room for the rest.
const BUFFER_BYTES: usize = 2 * (FRAME_BYTES_MAX + LENGTH_BYTES);
const LENGTH_BYTES: usize = 4;
/// A read of less than this is not worth its system call.
const SPACE_BYTES_MIN: usize = 32 * 1024;

/// A buffer that never grows. The caller reads into [`FrameBuffer::space`], says how much came,
/// and takes frames until there is none.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for FrameBuffer {
    fn default() -> FrameBuffer {
        FrameBuffer::new()
    }
}

impl FrameBuffer {
    /// An empty buffer.
    pub fn new() -> FrameBuffer {
        FrameBuffer { bytes: vec![0; BUFFER_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Where the next bytes go; never empty once all whole frames have been taken.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.bytes.len() - self.end < SPACE_BYTES_MIN {
            // What is left is less than one frame.
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes were written into the space.
    ///
    /// # Panics
    /// When that is more than there was space.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end);
        self.end += count;
    }

    /// Whether [`FrameBuffer::next_frame`] has one to return.
    pub fn holds_frame(&self) -> Result<bool, Flaw> {
        self.next_length().map(|length| length.is_some())
    }

    /// The next frame, if all of it is here.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Flaw> {
        let Some(length) = self.next_length()? else { return Ok(None) };
        let start = self.start + LENGTH_BYTES;
        self.start = start + length;
        Frame::read(&self.bytes[start..start + length]).map(Some)
    }

    /// The length of the next frame, if all of it is here.
    fn next_length(&self) -> Result<Option<usize>, Flaw> {
        let here = &self.bytes[self.start..self.end];
        let Some((length, rest)) = here.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length))
            .map_err(|_| Flaw("a frame is too long"))?;
        if FRAME_BYTES_MAX < length {
            return Err(Flaw("a frame is too long"));
        }
        Ok((length <= rest.len()).then_some(length))
    }
}
