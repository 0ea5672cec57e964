//! Headers as pairs of bytes: a list that was written once is never parsed as text again.

use super::limits::{HEADERS_BYTES_MAX, HEADERS_MAX};
use crate::{Decoder, Encoder, Flaw};

/// The headers of a message, borrowed. Names are lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Invariant: `count` times a short name and a short value, nothing else.
    pairs: &'a [u8],
    count: u16,
}

impl<'a> Headers<'a> {
    /// No headers at all.
    pub const NONE: Headers<'static> = Headers { pairs: &[], count: 0 };

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut decoder = Decoder::new(self.pairs);
        std::iter::from_fn(move || Some((decoder.short().ok()?, decoder.short().ok()?)))
    }

    /// The first value under this lower-case name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(it, _)| *it == name.as_bytes()).map(|(_, value)| value)
    }

    pub(super) fn read(decoder: &mut Decoder<'a>) -> Result<Headers<'a>, Flaw> {
        let count = decoder.u16()?;
        let pairs = decoder.short()?;
        if HEADERS_MAX < usize::from(count) || HEADERS_BYTES_MAX < pairs.len() {
            return Err(Flaw("too many headers"));
        }
        let mut rest = Decoder::new(pairs);
        for _ in 0..count {
            rest.short()?;
            rest.short()?;
        }
        rest.end()?;
        Ok(Headers { pairs, count })
    }

    pub(super) fn write(&self, encoder: &mut Encoder<'_>) {
        encoder.u16(self.count);
        encoder.short(self.pairs);
    }
}

/// Gathers headers to be sent. May be cleared and used again.
#[derive(Clone, Debug, Default)]
pub struct HeaderList {
    pairs: Vec<u8>,
    count: u16,
}

impl HeaderList {
    /// An empty list; allocates nothing yet.
    pub const fn new() -> HeaderList {
        HeaderList { pairs: Vec::new(), count: 0 }
    }

    /// An empty list with memory for so many bytes of names, values and four more for each header.
    pub fn with_capacity(bytes: usize) -> HeaderList {
        HeaderList { pairs: Vec::with_capacity(bytes), count: 0 }
    }

    /// Adds a header. The name is to be lower case.
    pub fn push(&mut self, name: &str, value: &[u8]) -> Result<(), Flaw> {
        let bytes = self.pairs.len() + name.len() + value.len() + 4;
        if HEADERS_MAX <= usize::from(self.count) || HEADERS_BYTES_MAX < bytes {
            return Err(Flaw("too many headers"));
        }
        let mut encoder = Encoder(&mut self.pairs);
        encoder.short(name.as_bytes());
        encoder.short(value);
        self.count += 1;
        Ok(())
    }

    /// Forgets all headers and keeps the memory.
    pub fn clear(&mut self) {
        self.pairs.clear();
        self.count = 0;
    }

    /// What was gathered.
    pub fn as_ref(&self) -> Headers<'_> {
        Headers { pairs: &self.pairs, count: self.count }
    }
}
