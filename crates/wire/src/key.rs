//! Idempotency keys as the ledger sees them: hashed with their scope.

use crate::id::AccountId;

/// Who calls: the first eight bytes of the hash of the API key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

impl Caller {
    /// The caller who presents this API key.
    pub fn from_api_key(key: &str) -> Caller {
        Caller::of_hash(blake3::hash(key.as_bytes()).as_bytes())
    }

    /// The caller who presents the API key of this BLAKE3 hash.
    pub fn of_hash(hash: &[u8; 32]) -> Caller {
        Caller(u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes")))
    }
}

/// An idempotency key within its scope: 128 bits of BLAKE3 over caller, account and key. Equal
/// hashes are taken for equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// Scope: per caller and account (of a creation: the account to be).
    pub fn new(caller: Caller, account: &AccountId, key: &[u8]) -> KeyHash {
        let (id, length) = (account.as_str().as_bytes(), account.as_str().len());
        let length = [u8::try_from(length).expect("an id is short")];
        let hash = digest([&caller.0.to_le_bytes(), &length, id, key]);
        KeyHash(u128::from_le_bytes(first(hash)))
    }

    /// The key of what nodes do by themselves for the object of an id. It is none of a client's:
    /// in the scope of one no account's id is as long as this begins.
    pub fn own(purpose: &str, bits: u128) -> KeyHash {
        let hash = digest([&[0xff; 16], purpose.as_bytes(), &bits.to_le_bytes()]);
        KeyHash(u128::from_le_bytes(first(hash)))
    }
}

/// What the key was first used for: 64 bits of BLAKE3 over method, path and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of a request, its body taken byte for byte.
    pub fn new(method: &str, path: &str, body: &[u8]) -> Fingerprint {
        let hash = digest([method.as_bytes(), b" ", path.as_bytes(), b"\n", body]);
        Fingerprint(u64::from_le_bytes(first(hash)))
    }
}

/// Bytes that are put together on the stack before they are hashed.
const GATHERED_MAX: usize = 512;

/// The hash of the parts, one after the other. Hashing what lies together takes half of the time of
/// hashing it part by part.
fn digest<const N: usize>(parts: [&[u8]; N]) -> blake3::Hash {
    let mut gathered = [0; GATHERED_MAX];
    let mut length = 0;
    for part in parts {
        let Some(room) = gathered.get_mut(length..length + part.len()) else {
            let mut hasher = blake3::Hasher::new();
            parts.into_iter().for_each(|part| _ = hasher.update(part));
            return hasher.finalize();
        };
        room.copy_from_slice(part);
        length += part.len();
    }
    blake3::hash(&gathered[..length])
}

fn first<const N: usize>(hash: blake3::Hash) -> [u8; N] {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_part_of_the_key() {
        let id = |text| AccountId::parse(text).unwrap();
        let base = KeyHash::new(Caller(1), &id("a"), b"bk");
        assert_eq!(base, KeyHash::new(Caller(1), &id("a"), b"bk"));
        assert_ne!(base, KeyHash::new(Caller(2), &id("a"), b"bk"));
        assert_ne!(base, KeyHash::new(Caller(1), &id("ab"), b"k"));
    }

    #[test]
    fn a_hash_is_that_of_all_the_parts_however_long() {
        for length in [0, 1, 63, 64, 500, 503, 504, 505, 512, 513, 5_000] {
            let body = vec![7; length];
            let whole = [&b"POST /\n"[..], &body].concat();
            let expected = *blake3::hash(&whole).as_bytes().first_chunk().unwrap();
            assert_eq!(Fingerprint::new("POST", "/", &body).0, u64::from_le_bytes(expected));
        }
    }
}
