//! Where the next page of a list begins: opaque to clients, bound to the list it came from.
//!
//! ```text
//! u8 version · u8 list · list 1: i64 created_at, account id · list 2: filter, u64 version
//! · 8 bytes of BLAKE3 over service, account and all that
//! ```
//! in base64url. The hash keeps cursors from being mixed up, it keeps no secret: a cursor shows
//! nothing that the list does not.

use super::mistake::Mistake;
use data_encoding::BASE64URL_NOPAD;
use wire::{
    AccountId, Decoder, Encoder, Flaw, Timestamp, command,
    query::{Filter, Mark},
};

const VERSION: u8 = 1;
const LIST_ACCOUNTS: u8 = 1;
const LIST_TRANSACTIONS: u8 = 2;
const LIST_EVENTS: u8 = 3;
const HASH_BYTES: usize = 8;
/// Characters of a cursor: the longest has a place in each of 512 partitions in it.
const CURSOR_CHARS_MAX: usize = 7_168;

/// A list that pages belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum List<'a> {
    Accounts { service: &'a str },
    Transactions { service: &'a str, account: &'a AccountId },
    Events { service: &'a str },
}

/// The place after which the next page of accounts begins.
pub(super) type AccountsPlace = (Timestamp, AccountId);

/// The filter of a list of transactions, and the version below which its next page begins.
pub(super) type TransactionsPlace = (Filter, u64);

/// The cursor after `place`.
pub(super) fn seal_accounts(service: &str, place: (Timestamp, &AccountId)) -> String {
    seal(List::Accounts { service }, |out| {
        out.i64(place.0.0);
        out.short(place.1.as_str().as_bytes());
    })
}

/// The cursor below version `before`.
pub(super) fn seal_transactions(
    service: &str,
    account: &AccountId,
    filter: &Filter,
    before: u64,
) -> String {
    seal(List::Transactions { service, account }, |out| {
        filter.encode(out);
        out.u64(before);
    })
}

/// Reads what [`seal_accounts`] wrote for this very service.
pub(super) fn open_accounts(service: &str, cursor: &str) -> Result<AccountsPlace, Mistake> {
    open(List::Accounts { service }, cursor, |from| {
        Ok((Timestamp(from.i64()?), command::account_id(from)?))
    })
}

/// Reads what [`seal_transactions`] wrote for this very account.
pub(super) fn open_transactions(
    service: &str,
    account: &AccountId,
    cursor: &str,
) -> Result<TransactionsPlace, Mistake> {
    open(List::Transactions { service, account }, cursor, |from| {
        Ok((Filter::decode(from)?, from.u64()?))
    })
}

/// The cursor at these places of a service's partitions.
pub(super) fn seal_events(service: &str, marks: &[Mark]) -> String {
    seal(List::Events { service }, |out| marks.iter().for_each(|mark| mark.encode(out)))
}

/// Reads what [`seal_events`] wrote for this very service.
pub(super) fn open_events(
    service: &str,
    partitions: u16,
    cursor: &str,
) -> Result<Vec<Mark>, Mistake> {
    let opened = open(List::Events { service }, cursor, |from| {
        (0..partitions).map(|_| Mark::decode(from)).collect()
    });
    opened.map_err(|_| Mistake::in_field("after", "it is no id of an event of this service"))
}

fn seal(list: List<'_>, write: impl FnOnce(&mut Encoder<'_>)) -> String {
    let mut bytes = vec![VERSION, list.number()];
    write(&mut Encoder(&mut bytes));
    let hash = list.hash(&bytes);
    bytes.extend_from_slice(&hash);
    BASE64URL_NOPAD.encode(&bytes)
}

fn open<T>(
    list: List<'_>,
    cursor: &str,
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Flaw>,
) -> Result<T, Mistake> {
    let mistake =
        |_| Mistake::in_field("starting_after", "it is no next_cursor of a page of this list");
    let no_cursor = Flaw("no cursor of this list");
    if CURSOR_CHARS_MAX < cursor.len() {
        return Err(mistake(no_cursor));
    }
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| mistake(no_cursor))?;
    let (sealed, hash) =
        bytes.split_last_chunk::<HASH_BYTES>().ok_or_else(|| mistake(no_cursor))?;
    if *hash != list.hash(sealed) {
        return Err(mistake(no_cursor));
    }
    let mut from = Decoder::new(sealed);
    if from.array().map_err(mistake)? != [VERSION, list.number()] {
        return Err(mistake(no_cursor));
    }
    let place = read(&mut from).map_err(mistake)?;
    from.end().map_err(mistake)?;
    Ok(place)
}

impl List<'_> {
    fn number(self) -> u8 {
        match self {
            List::Accounts { .. } => LIST_ACCOUNTS,
            List::Transactions { .. } => LIST_TRANSACTIONS,
            List::Events { .. } => LIST_EVENTS,
        }
    }

    fn hash(self, sealed: &[u8]) -> [u8; HASH_BYTES] {
        let (service, account) = match self {
            List::Accounts { service } | List::Events { service } => (service, ""),
            List::Transactions { service, account } => (service, account.as_str()),
        };
        let mut hasher = blake3::Hasher::new();
        // Neither name can have a slash in it.
        for part in [service, "/", account, "/"] {
            hasher.update(part.as_bytes());
        }
        hasher.update(sealed);
        *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
    }
}

/// The filters of a page that continues: those of its cursor. A filter that is given beside it has
/// to be the same.
pub(super) fn same_filter(cursor: Filter, given: &Filter) -> Result<Filter, Mistake> {
    let differs = [
        ("from", given.from.is_some() && given.from != cursor.from),
        ("to", given.to.is_some() && given.to != cursor.to),
        ("kind", given.kind.is_some() && given.kind != cursor.kind),
        ("reference", given.reference.is_some() && given.reference != cursor.reference),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(cursor),
        Some((field, _)) => Err(Mistake::in_field(
            field,
            "it differs from the filter in starting_after; a cursor carries its filters",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Kind;

    fn id(text: &str) -> AccountId {
        AccountId::parse(text).unwrap()
    }

    fn filter() -> Filter {
        Filter {
            from: Some(Timestamp(5)),
            to: None,
            kind: Some(Kind::Credit),
            reference: Some("é".repeat(128).into()),
        }
    }

    #[test]
    fn a_cursor_opens_again() {
        let longest = id(&"x".repeat(128));
        let cursor = seal_accounts("a", (Timestamp(17), &longest));
        assert_eq!(open_accounts("a", &cursor), Ok((Timestamp(17), longest.clone())));
        let cursor = seal_transactions("a", &longest, &filter(), 9);
        assert!(cursor.len() < CURSOR_CHARS_MAX, "{}", cursor.len());
        assert_eq!(open_transactions("a", &longest, &cursor), Ok((filter(), 9)));
        let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(cursor.bytes().all(url_safe));
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let accounts = seal_accounts("a", (Timestamp(17), &id("x")));
        assert!(open_accounts("b", &accounts).is_err());
        assert!(open_transactions("a", &id("x"), &accounts).is_err());
        let transactions = seal_transactions("a", &id("x"), &filter(), 9);
        assert!(open_transactions("a", &id("y"), &transactions).is_err());
        assert!(open_transactions("b", &id("x"), &transactions).is_err());
        assert!(open_accounts("a", &transactions).is_err());
    }

    #[test]
    fn a_cursor_that_was_tampered_with_is_refused() {
        let cursor = seal_transactions("a", &id("x"), &filter(), 9);
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(open_transactions("a", &id("x"), &changed).is_err(), "{at}");
            assert!(open_transactions("a", &id("x"), &cursor[..at]).is_err(), "{at}");
        }
        for text in ["", "AAAA", "not base64!", &"A".repeat(100_000)] {
            let mistake = open_accounts("a", text).unwrap_err();
            assert_eq!(mistake.field.as_deref(), Some("starting_after"), "{text}");
        }
    }

    #[test]
    fn filters_beside_a_cursor_must_be_its_own() {
        assert_eq!(same_filter(filter(), &Filter::default()), Ok(filter()));
        assert_eq!(same_filter(filter(), &filter()), Ok(filter()));
        let others = [
            ("from", Filter { from: Some(Timestamp(6)), ..Filter::default() }),
            ("to", Filter { to: Some(Timestamp(5)), ..Filter::default() }),
            ("kind", Filter { kind: Some(Kind::Debit), ..Filter::default() }),
            ("reference", Filter { reference: Some("e".into()), ..Filter::default() }),
        ];
        for (field, other) in others {
            let mistake = same_filter(filter(), &other).unwrap_err();
            assert_eq!(mistake.field.as_deref(), Some(field));
        }
    }
}
