//! Names of things: accounts, partitions, epochs, records, transactions, holds, transfers.

use crate::{Text, limits, time::Timestamp};
use std::fmt;

/// An account's id: 1 to 128 of `A–Z a–z 0–9 . _ : -`, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Text);

impl AccountId {
    /// `None` when `text` breaks the rule.
    pub fn parse(text: &str) -> Option<AccountId> {
        let bytes = text.as_bytes();
        let fits = (1..=limits::ACCOUNT_ID_BYTES_MAX).contains(&bytes.len());
        let clean = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(b));
        (fits && clean && text != "." && text != "..").then(|| AccountId(text.into()))
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition this account lives in: hash version 1, 64 bits of BLAKE3 modulo the count.
    /// The count is fixed when a service is created; a stored count that differs refuses to open.
    pub fn partition(&self, count: u16) -> PartitionId {
        let hash = blake3::hash(self.0.as_bytes());
        let low = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"));
        PartitionId(u16::try_from(low % u64::from(count)).expect("below a u16"))
    }
}

impl std::borrow::Borrow<str> for AccountId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a partition within its service, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

/// The number of a tenure of a partition: one more at every change of owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The number of a record in its partition's journal: the first is 1, 0 is "none yet", no gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    pub fn next(self) -> Seq {
        Seq(self.0.checked_add(1).expect("a journal ends before 2^64 records"))
    }
}

/// Twelve bits that stand for a service within ids, from its name. `tollgate check` refuses two
/// services of one tree that share a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceTag(u16);

impl ServiceTag {
    /// The tag of the service of this name.
    pub fn of(name: &str) -> ServiceTag {
        let hash = blake3::hash(name.as_bytes());
        let low = u16::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"));
        ServiceTag(low & 0xfff)
    }
}

/// Digits of base 32 that hold 128 bits.
const ID_DIGITS: usize = 26;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Record numbers that an id can bear: 17 years at 2,000 records a second.
const ID_SEQ_BITS: u32 = 40;

/// An id that says where and when a command was journaled: a prefix and 26 characters of
/// Crockford's base 32.
///
/// From the highest bit: 48 bits of milliseconds, 12 of service tag, 12 of partition, 40 of record
/// number, 16 of place in the record. So ids sort by time, no two commands make the same one, and
/// one look-up finds what it names.
macro_rules! place_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id of what the `index`-th command of record `seq` made.
            ///
            /// # Panics
            /// When the partition or the record number is beyond what an id can bear.
            pub fn new(
                time: Timestamp,
                service: ServiceTag,
                partition: PartitionId,
                seq: Seq,
                index: u16,
            ) -> $name {
                $name(place_bits(time, service, partition, seq, index))
            }

            #[doc = concat!("Reads `", $prefix, "…`; `None` when it is not one of ours.")]
            pub fn parse(text: &str) -> Option<$name> {
                parse_base32(text.strip_prefix($prefix)?).map($name)
            }

            /// The 128 bits, for the codec and indexes.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// Reads what `bits` gives. Every pattern is an id; whether there is such a thing only
            /// the journal knows.
            pub const fn from_bits(bits: u128) -> $name {
                $name(bits)
            }

            /// The tag of the service that it belongs to.
            pub fn service(self) -> ServiceTag {
                ServiceTag(low_bits(self.0 >> 68, 12))
            }

            /// The partition that journaled it.
            pub fn partition(self) -> PartitionId {
                PartitionId(low_bits(self.0 >> 56, 12))
            }

            /// The record that holds the command.
            pub fn seq(self) -> Seq {
                let mask = (1_u128 << ID_SEQ_BITS) - 1;
                Seq(u64::try_from((self.0 >> 16) & mask).expect("masked"))
            }

            /// Its place in that record.
            pub fn index(self) -> u16 {
                low_bits(self.0, 16)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(base32(self.0, &mut [0; ID_DIGITS]))
            }
        }
    };
}

place_id! {
    /// A debit or credit, named for the place of its command: `tx_…`.
    TransactionId, "tx_"
}
place_id! {
    /// A hold, named for the place of the command that placed it: `hold_…`.
    HoldId, "hold_"
}
place_id! {
    /// A transfer, named for the place of the command that sent it: `tr_…`.
    TransferId, "tr_"
}

impl TransferId {
    /// The debit at the source: the same command, and so the same place.
    pub fn debit(self) -> TransactionId {
        TransactionId(self.0)
    }
}

fn place_bits(
    time: Timestamp,
    service: ServiceTag,
    partition: PartitionId,
    seq: Seq,
    index: u16,
) -> u128 {
    assert!(partition.0 < limits::PARTITIONS_MAX);
    assert!(seq.0 < 1 << ID_SEQ_BITS);
    (u128::from(time.millis()) << 80)
        | (u128::from(service.0) << 68)
        | (u128::from(partition.0) << 56)
        | (u128::from(seq.0) << 16)
        | u128::from(index)
}

fn low_bits(value: u128, bits: u32) -> u16 {
    u16::try_from(value & ((1 << bits) - 1)).expect("at most 16 bits")
}

/// 128 bits as 26 digits of Crockford's base 32: the same order as the number. Written into
/// `space`.
pub fn base32(value: u128, space: &mut [u8; ID_DIGITS]) -> &str {
    let mut rest = value;
    for digit in space.iter_mut().rev() {
        *digit = CROCKFORD[usize::from(low_bits(rest, 5))];
        rest >>= 5;
    }
    std::str::from_utf8(space).expect("digits are ASCII")
}

/// Reads what [`base32`] writes; `None` when it is something else.
pub fn parse_base32(digits: &str) -> Option<u128> {
    // 26 digits hold 130 bits: the first may use only its lower three.
    if digits.len() != ID_DIGITS || b'7' < digits.as_bytes()[0] {
        return None;
    }
    digits.bytes().try_fold(0, |value: u128, digit| {
        let digit = CROCKFORD.iter().position(|&it| it == digit)?;
        Some((value << 5) | digit as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_keep_to_their_alphabet() {
        for good in ["a", "alice", "A.b_c:d-9", "...", &"x".repeat(128)] {
            assert!(AccountId::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert!(AccountId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn where_an_account_lives_never_changes() {
        // Pinned: another answer for an existing account would lose it.
        let at = |id| AccountId::parse(id).unwrap().partition(16).0;
        assert_eq!([at("alice"), at("bob"), at("carol")], [1, 4, 10]);
    }

    #[test]
    fn ids_carry_their_place_and_sort_by_time() {
        let id = |ms: i64, seq| {
            TransactionId::new(
                Timestamp(ms * 1_000),
                ServiceTag::of("a"),
                PartitionId(4_095),
                Seq(seq),
                65_535,
            )
        };
        let one = id(1_795_000_000_000, (1 << 40) - 1);
        let text = one.to_string();
        assert_eq!(text.len(), 29);
        let read = TransactionId::parse(&text).unwrap();
        assert_eq!(read, one);
        assert_eq!(read.service(), ServiceTag::of("a"));
        assert_eq!(
            (read.partition().0, read.seq().0, read.index()),
            (4_095, (1 << 40) - 1, 65_535)
        );
        assert!(text < id(1_795_000_000_001, 1).to_string());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "tx_", "tx_0", "tr_00000000000000000000000000", "tx_8zzz"] {
            assert_eq!(TransactionId::parse(text), None, "{text}");
        }
        assert_eq!(HoldId::parse("hold_00000000000000000000000007").map(HoldId::bits), Some(7));
        assert_eq!(
            TransferId::parse("tr_00000000000000000000000007").map(TransferId::bits),
            Some(7)
        );
        assert_eq!(HoldId::parse("tx_00000000000000000000000007"), None);
        assert_eq!(TransactionId::parse("tx_80000000000000000000000000"), None); // 131 bits
        assert_eq!(TransactionId::parse("tx_0000000000000000000000000U"), None); // no such digit
    }
}
