//! A copy of one partition's views, for `verify`.
//!
//! Accounts, external balances and mark come out of one snapshot. Blocks are never changed and only
//! ever added, so those up to an account's version in that snapshot may be read after it. Keys are
//! moved from run to run, and dropped with their day, and not changed otherwise.

use crate::runs::{ENTRY_BYTES, Entry};
use ledger::{Chain, Hash, Object, ObjectKey};
use std::collections::BTreeMap;
use wire::{AccountId, AccountState, Contra, Posting};

/// The views of one partition at its mark.
#[derive(Debug)]
pub(crate) struct ViewsCopy {
    pub(crate) mark: Chain,
    pub(crate) external: Vec<(Contra, i128)>,
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
    pub(crate) accounts: BTreeMap<AccountId, Copied>,
    /// What is wrong in them whatever the journal says.
    pub(crate) problems: Vec<String>,
}

impl ViewsCopy {
    /// Takes in the bytes of an object and whether its row says that it is open.
    pub(crate) fn add_object(&mut self, data: &[u8], is_open: bool) {
        match Object::decode(data) {
            Ok(object) if object.is_open() == is_open => {
                self.objects.insert(object.key(), object);
            }
            Ok(object) => {
                let what = format!("{object:?} has another state than its row says");
                self.problems.push(format!("views: {what}"));
            }
            Err(flaw) => self.problems.push(format!("views: an object makes no sense: {flaw}")),
        }
    }
}

/// An account, and its postings as a digest.
#[derive(Debug)]
pub(crate) struct Copied {
    /// The views' own number of the account.
    pub(crate) number: i64,
    pub(crate) state: AccountState,
    pub(crate) postings: Digest,
}

/// Stands for a list of postings: equal ones have equal digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) count: u64,
    hash: Hash,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest { count: 0, hash: Hash::NONE }
    }
}

impl Digest {
    /// Takes in the next posting, as a block has it.
    pub(crate) fn add(&mut self, posting: &[u8]) {
        self.count += 1;
        self.hash = Hash::of(&[&self.hash.0, posting].concat());
    }
}

/// Stands for a set of keys and their places, in whatever order: equal ones have equal digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeysDigest {
    pub(crate) count: u64,
    sum: u128,
}

impl KeysDigest {
    pub(crate) fn add(&mut self, entry: &Entry) {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES);
        entry.encode(&mut bytes);
        let hash = *Hash::of(&bytes).0.first_chunk().expect("a hash has 32 bytes");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(hash));
    }
}

/// What a block's row says of its postings: versions, times, count.
pub(crate) fn of_postings(postings: &[Posting]) -> Option<[i64; 5]> {
    let (first, last) = (postings.first()?, postings.last()?);
    let number = |version| i64::try_from(version).ok();
    Some([
        number(first.version)?,
        number(last.version)?,
        first.created_at.0,
        last.created_at.0,
        i64::try_from(postings.len()).ok()?,
    ])
}
