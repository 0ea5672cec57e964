//! How values become bytes: little-endian, lengths first, nothing implied.
//!
//! Used for calls on the trunk and for the journal's records alike. A decoder trusts nothing: it
//! returns a [`Flaw`] and never panics, whatever the bytes say.

use std::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw(pub &'static str);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Flaw {}

/// Appends values to a buffer that the caller owns and may reuse.
#[derive(Debug)]
pub struct Encoder<'a>(pub &'a mut Vec<u8>);

macro_rules! put {
    ($($name:ident $int:ty),*) => { $(
        #[doc = concat!("Appends a little-endian `", stringify!($int), "`.")]
        pub fn $name(&mut self, value: $int) {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    )* };
}

impl Encoder<'_> {
    put!(u8 u8, u16 u16, u32 u32, u64 u64, i64 i64, u128 u128, i128 i128);

    /// Appends a flag as 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Appends bytes whose length the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends a `u16` length and the bytes.
    ///
    /// # Panics
    /// When they are longer than 65,535: every field that comes here has a lower limit.
    pub fn short(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).expect("a short field is below 64 KiB"));
        self.raw(bytes);
    }

    /// Appends a `u32` length and the bytes.
    ///
    /// # Panics
    /// When they are longer than 4 GiB.
    pub fn long(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("a long field is below 4 GiB"));
        self.raw(bytes);
    }
}

/// Reads values off the front of a slice.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

macro_rules! take {
    ($($name:ident $int:ty),*) => { $(
        #[doc = concat!("Reads a little-endian `", stringify!($int), "`.")]
        pub fn $name(&mut self) -> Result<$int, Flaw> {
            let (head, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
            self.rest = rest;
            Ok(<$int>::from_le_bytes(*head))
        }
    )* };
}

const CUT_SHORT: Flaw = Flaw("cut short");

impl<'a> Decoder<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes }
    }

    take!(u8 u8, u16 u16, u32 u32, u64 u64, i64 i64, u128 u128, i128 i128);

    /// Reads a flag: 0 or 1, nothing else.
    pub fn bool(&mut self) -> Result<bool, Flaw> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Flaw("a flag is neither 0 nor 1")),
        }
    }

    /// Reads `length` bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], Flaw> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(CUT_SHORT)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Reads a `u16` length and that many bytes.
    pub fn short(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.u16()?;
        self.raw(usize::from(length))
    }

    /// Reads a `u32` length and that many bytes.
    pub fn long(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.u32()?;
        self.raw(usize::try_from(length).map_err(|_| CUT_SHORT)?)
    }

    /// Reads a short field as UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.short()?).map_err(|_| Flaw("a text is not UTF-8"))
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading: nothing may be left over.
    pub fn end(self) -> Result<(), Flaw> {
        if self.rest.is_empty() { Ok(()) } else { Err(Flaw("bytes left over")) }
    }
}
