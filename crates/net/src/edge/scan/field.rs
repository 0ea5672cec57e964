//! What the headers of one request say about its body.

use super::Flaw;

/// The longest name that matters.
const NAME_BYTES_MAX: usize = "transfer-encoding".len();
const CHUNKED: &[u8; 7] = b"chunked";
/// Digits of a length.
const LENGTH_DIGITS_MAX: u8 = 18;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Length,
    Coding,
}

/// The header at hand, and what those before it said.
#[derive(Debug, Default)]
pub(super) struct Field {
    pub(super) is_1_0: bool,
    kind: Kind,
    name: [u8; NAME_BYTES_MAX],
    name_bytes: usize,
    length: Option<u64>,
    /// Digits of the length, or characters of the coding, that were there.
    matched: u8,
    /// White space came after them.
    is_over: bool,
    is_chunked: bool,
    has_upgrade: bool,
}

impl Field {
    /// A further header begins.
    pub(super) fn begin(&mut self) {
        self.name_bytes = 0;
        self.kind = Kind::Other;
    }

    /// The next bytes of its name.
    pub(super) fn name(&mut self, bytes: &[u8]) {
        let end = self.name_bytes + bytes.len();
        if let Some(places) = self.name.get_mut(self.name_bytes..end) {
            places.copy_from_slice(bytes);
        }
        self.name_bytes = end;
    }

    /// The name is over.
    pub(super) fn name_end(&mut self) -> Result<(), Flaw> {
        self.matched = 0;
        self.is_over = false;
        // One that is longer than the memory for it is none of those that matter.
        let name = self.name.get(..self.name_bytes).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Flaw::Lengths);
            }
            self.length = Some(0);
            self.kind = Kind::Length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked {
                return Err(Flaw::Codings);
            }
            self.is_chunked = true;
            self.kind = Kind::Coding;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.has_upgrade = true;
        }
        Ok(())
    }

    /// Whether its value says something about the body.
    pub(super) fn is_framing(&self) -> bool {
        self.kind != Kind::Other
    }

    /// The next bytes of its value.
    pub(super) fn value(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        if self.kind == Kind::Other {
            return Ok(());
        }
        for byte in bytes {
            if *byte == b' ' || *byte == b'\t' {
                self.is_over = self.matched != 0;
            } else if self.kind == Kind::Length {
                let digit = char::from(*byte).to_digit(10).ok_or(Flaw::Length)?;
                if self.is_over || self.matched == LENGTH_DIGITS_MAX {
                    return Err(Flaw::Length);
                }
                self.length = self.length.map(|length| length * 10 + u64::from(digit));
                self.matched += 1;
            } else {
                let expected = CHUNKED.get(usize::from(self.matched));
                if self.is_over || expected != Some(&byte.to_ascii_lowercase()) {
                    return Err(Flaw::Coding);
                }
                self.matched += 1;
            }
        }
        Ok(())
    }

    /// The value is over.
    pub(super) fn end(&mut self) -> Result<(), Flaw> {
        match self.kind {
            Kind::Length if self.matched == 0 => Err(Flaw::Length),
            Kind::Coding if usize::from(self.matched) != CHUNKED.len() => Err(Flaw::Coding),
            Kind::Other | Kind::Length | Kind::Coding => Ok(()),
        }
    }

    /// Whether all headers together make sense.
    pub(super) fn check(&self) -> Result<(), Flaw> {
        if self.is_chunked && self.is_1_0 {
            return Err(Flaw::CodingIn10);
        }
        if self.is_chunked && self.length.is_some() {
            return Err(Flaw::LengthAndCoding);
        }
        Ok(())
    }

    /// The length of the body; `None` when it comes in chunks.
    pub(super) fn body_length(&self) -> Option<u64> {
        if self.is_chunked { None } else { Some(self.length.unwrap_or(0)) }
    }

    /// Whether the request may be asking to leave HTTP.
    pub(super) fn is_upgrade(&self) -> bool {
        self.has_upgrade && !self.is_1_0
    }
}
