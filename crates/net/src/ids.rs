//! Mints what must be unique: request ids, idempotency keys, boot ids, challenges.
//!
//! Each thread has a generator of its own, seeded once by the operating system, so that minting
//! costs no system call.

use crate::clock;
use std::cell::RefCell;
use wire::id::{base32, parse_base32};

/// Random bytes that are made at a time.
const POOL_BYTES: usize = 1024;
/// What stands before the 26 digits.
const REQUEST_PREFIX: [u8; 4] = *b"req_";
const KEY_PREFIX: [u8; 4] = *b"tgk_";
/// Bits of an id below its milliseconds.
const RANDOM_BITS: u32 = 80;

/// A minted id: four characters that say what it is, 26 of base 32. Sorts by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minted([u8; 30]);

impl Minted {
    fn new(prefix: [u8; 4]) -> Minted {
        let random = u128::from_le_bytes(random()) & ((1 << RANDOM_BITS) - 1);
        let number = (u128::from(clock::wall().millis()) << RANDOM_BITS) | random;
        let mut bytes = [0; 30];
        bytes[..4].copy_from_slice(&prefix);
        let digits = bytes.last_chunk_mut().expect("26 of 30 bytes");
        base32(number, digits);
        Minted(bytes)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }

    /// The text form as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A new request id, `req_…`.
pub fn request_id() -> Minted {
    Minted::new(REQUEST_PREFIX)
}

/// A new idempotency key, `tgk_…`.
pub fn idempotency_key() -> Minted {
    Minted::new(KEY_PREFIX)
}

/// When a key of ours was minted, in milliseconds since 1970; `None` for a key of another form.
pub fn minted_at(key: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(key.strip_prefix(&KEY_PREFIX)?).ok()?;
    u64::try_from(parse_base32(digits)? >> RANDOM_BITS).ok()
}

/// A number that tells this process from the one before.
pub fn boot_id() -> u64 {
    u64::from_le_bytes(random())
}

/// What a peer has to answer in its hello.
pub fn challenge() -> [u8; 32] {
    random()
}

/// A number for a trace; not 0, but for once in 2^128.
pub(crate) fn trace_id() -> [u8; 16] {
    random()
}

/// A number for a part of a trace.
pub(crate) fn span_id() -> [u8; 8] {
    random()
}

/// Where a pseudo-random generator may begin.
pub fn seed() -> u64 {
    u64::from_le_bytes(random())
}

/// `N` random bytes.
fn random<const N: usize>() -> [u8; N] {
    thread_local! {
        static POOL: RefCell<Pool> = RefCell::new(Pool::new());
    }
    POOL.with_borrow_mut(Pool::take)
}

/// The output of BLAKE3 keyed with a seed that never leaves the thread.
struct Pool {
    source: blake3::OutputReader,
    bytes: [u8; POOL_BYTES],
    used: usize,
}

impl Pool {
    fn new() -> Pool {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).expect("the operating system has random bytes");
        let source = blake3::Hasher::new_keyed(&seed).finalize_xof();
        Pool { source, bytes: [0; POOL_BYTES], used: POOL_BYTES }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= POOL_BYTES) };
        if POOL_BYTES - self.used < N {
            self.source.fill(&mut self.bytes);
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + N];
        let bytes = (&*taken).try_into().expect("N of them");
        taken.fill(0);
        self.used += N;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_differ_and_tell_their_time() {
        let before = clock::wall().millis();
        let ids: BTreeSet<_> = (0..1_000).map(|_| idempotency_key()).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            let at = minted_at(id.as_bytes()).unwrap();
            assert!(before <= at && at <= clock::wall().millis());
        }
    }

    #[test]
    fn a_key_of_another_form_was_not_minted() {
        for key in ["", "tgk_", "tgk_0", "order 17", request_id().as_str()] {
            assert_eq!(minted_at(key.as_bytes()), None, "{key}");
        }
        assert_eq!(minted_at(b"tgk_\xff"), None);
    }
}
