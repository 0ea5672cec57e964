//! Reads the bodies of the API's answers, as far as they matter here.

use crate::{
    audit::{Entry, Identity, Position, TrialLine},
    work::Deed,
};
use serde::Deserialize;
use std::borrow::Cow;
use wire::Code;

#[derive(Deserialize)]
struct TransactionBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    amount: i64,
    posted_after: i64,
    version: u64,
    #[serde(borrow, default)]
    transfer: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PartyBody<'a> {
    #[serde(borrow)]
    service: Cow<'a, str>,
    #[serde(borrow)]
    account: Cow<'a, str>,
}

#[derive(Deserialize)]
struct TransferBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    from: PartyBody<'a>,
    #[serde(borrow)]
    to: PartyBody<'a>,
    amount: i64,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    debit: Cow<'a, str>,
    #[serde(borrow)]
    credit: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct OutcomesBody<'a> {
    #[serde(borrow)]
    outcomes: Vec<OutcomeBody<'a>>,
}

#[derive(Deserialize)]
struct OutcomeBody<'a> {
    status: u16,
    #[serde(borrow, default)]
    transaction: Option<TransactionBody<'a>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
}

/// What a batch says of one of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// Of a success, and of this item's account.
    pub(crate) entry: Option<Entry>,
    pub(crate) code: Option<Code>,
}

#[derive(Deserialize)]
struct BalanceBody<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    posted: i64,
    version: u64,
}

#[derive(Deserialize)]
struct PageBody<'a> {
    #[serde(borrow)]
    data: Vec<TransactionBody<'a>>,
    has_more: bool,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct TrialBody {
    balanced: bool,
    currencies: Vec<TrialCurrency>,
}

#[derive(Deserialize)]
struct TrialCurrency {
    currency: String,
    debits: i128,
    credits: i128,
    sum: i128,
}

#[derive(Deserialize)]
struct ProblemBody<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferEnd {
    /// By this transaction of the target.
    Completed(Identity),
    /// The source has it back.
    Returned,
}

/// What an answer says of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transferred<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) debit: Identity,
    /// `None` while it is on its way.
    pub(crate) end: Option<TransferEnd>,
}

/// Who a transaction is: its id, hashed, for ids of other makers may be of any form.
pub(crate) fn identity(id: &str) -> Identity {
    let hash = blake3::hash(id.as_bytes());
    let bytes = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
    Identity(u128::from_le_bytes(*bytes))
}

/// A transaction of `account`; `None` when the body is none or of another account.
pub(crate) fn transaction(body: &[u8], account: &str) -> Option<Entry> {
    entry(&json(body)?, account)
}

/// A transfer between these two, each a service and an account; `None` when the body is none or of
/// other accounts or another amount.
pub(crate) fn transfer<'a>(
    body: &'a [u8],
    parties: [(&str, String); 2],
    amount: u32,
) -> Option<Transferred<'a>> {
    let body: TransferBody<'a> = json(body)?;
    let is = |it: &PartyBody<'_>, (service, account): &(&str, String)| {
        it.service == *service && it.account == *account
    };
    let is_asked = is(&body.from, &parties[0])
        && is(&body.to, &parties[1])
        && body.amount == i64::from(amount);
    let end = match (&*body.status, &body.credit) {
        ("pending", None) => None,
        ("completed", Some(credit)) => Some(TransferEnd::Completed(identity(credit))),
        ("returned", None) => Some(TransferEnd::Returned),
        _ => return None,
    };
    is_asked.then(|| Transferred { id: body.id, debit: identity(&body.debit), end })
}

/// The outcomes of a batch of items on `accounts`, in their order; `None` when they are not as many.
pub(crate) fn outcomes(
    body: &[u8],
    accounts: impl ExactSizeIterator<Item = String>,
) -> Option<Vec<Outcome>> {
    let body: OutcomesBody<'_> = json(body)?;
    let read = |(it, account): (&OutcomeBody<'_>, String)| Outcome {
        status: it.status,
        entry: it.transaction.as_ref().and_then(|it| entry(it, &account)),
        code: it.code.as_deref().and_then(named),
    };
    (body.outcomes.len() == accounts.len())
        .then(|| body.outcomes.iter().zip(accounts).map(read).collect())
}

/// Looks once whether all of it is UTF-8, not at each string.
fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

fn named(text: &str) -> Option<Code> {
    Code::ALL.into_iter().find(|it| it.text() == text)
}

fn entry(body: &TransactionBody<'_>, account: &str) -> Option<Entry> {
    let deed = match &*body.kind {
        "debit" => Deed::Debit,
        "credit" => Deed::Credit,
        _ => return None,
    };
    (body.account == account).then(|| Entry {
        id: identity(&body.id),
        deed,
        amount: body.amount,
        after: Position { posted: body.posted_after, version: body.version },
    })
}

/// A balance of `account`, likewise.
pub(crate) fn balance(body: &[u8], account: &str) -> Option<Position> {
    let body: BalanceBody<'_> = json(body)?;
    (body.account == account).then_some(Position { posted: body.posted, version: body.version })
}

/// An entry of a history, and the transfer that it is part of.
pub(crate) type Row = (Entry, Option<Identity>);

/// A page of the history of `account`, and the cursor of the next.
pub(crate) fn page(body: &[u8], account: &str) -> Option<(Vec<Row>, Option<String>)> {
    let page: PageBody<'_> = json(body)?;
    let row = |it: &TransactionBody<'_>| {
        Some((entry(it, account)?, it.transfer.as_deref().map(identity)))
    };
    let rows = page.data.iter().map(row).collect::<Option<Vec<_>>>()?;
    match (page.has_more, page.next_cursor) {
        (true, Some(cursor)) if !cursor.is_empty() => Some((rows, Some(cursor))),
        (false, None) => Some((rows, None)),
        (true | false, Some(_) | None) => None,
    }
}

/// A service's books: whether it says that they balance, and its sums.
pub(crate) fn trial(body: &[u8]) -> Option<(bool, Vec<TrialLine>)> {
    let body: TrialBody = json(body)?;
    let line = |it: TrialCurrency| TrialLine {
        currency: it.currency,
        debits: it.debits,
        credits: it.credits,
        sum: it.sum,
    };
    Some((body.balanced, body.currencies.into_iter().map(line).collect()))
}

/// The code of a refusal; `None` when it has none that is in the list.
pub(crate) fn code(body: &[u8]) -> Option<Code> {
    let body: ProblemBody<'_> = json(body)?;
    named(&body.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"id":"tx_1","service":"a","account":"x","kind":"debit","amount":5,"currency":"EUR","posted_after":-7,"version":3,"reference":"caf\u00e9"}"#;

    fn row() -> Entry {
        let after = Position { posted: -7, version: 3 };
        Entry { id: identity("tx_1"), deed: Deed::Debit, amount: 5, after }
    }

    #[test]
    fn bodies_are_read_as_far_as_they_matter() {
        assert_eq!(transaction(ROW.as_bytes(), "x"), Some(row()));
        let text =
            r#"{"account":"x","currency":"EUR","posted":9,"held":0,"available":9,"version":2}"#;
        let position = Position { posted: 9, version: 2 };
        assert_eq!(balance(text.as_bytes(), "x"), Some(position));
        let last = format!(r#"{{"data":[{ROW}],"has_more":false,"next_cursor":null}}"#);
        assert_eq!(page(last.as_bytes(), "x"), Some((vec![(row(), None)], None)));
        let more = format!(r#"{{"data":[{ROW}],"has_more":true,"next_cursor":"c"}}"#);
        assert_eq!(page(more.as_bytes(), "x"), Some((vec![(row(), None)], Some("c".to_owned()))));
        assert_eq!(code(br#"{"type":"x","code":"overloaded"}"#), Some(Code::Overloaded));
    }

    #[test]
    fn outcomes_are_read_item_by_item() {
        let no = r#"{"key":"k/1","status":409,"code":"insufficient_funds","detail":"x"}"#;
        let text =
            format!(r#"{{"outcomes":[{{"key":"k/0","status":201,"transaction":{ROW}}},{no}]}}"#);
        let ids = |ids: [&str; 2]| ids.map(str::to_owned).into_iter();
        let read = outcomes(text.as_bytes(), ids(["x", "y"])).unwrap();
        assert_eq!((read[0].status, read[0].entry), (201, Some(row())));
        assert_eq!((read[1].status, read[1].code), (409, Some(Code::InsufficientFunds)));
        let other = outcomes(text.as_bytes(), ids(["y", "x"])).unwrap();
        assert_eq!(other[0].entry, None, "of another account");
        assert_eq!(outcomes(text.as_bytes(), ["x".to_owned()].into_iter()), None);
    }

    #[test]
    fn a_body_of_something_else_is_none() {
        assert_eq!(transaction(ROW.as_bytes(), "y"), None);
        assert_eq!(transaction(b"{}", "x"), None);
        assert_eq!(balance(ROW.as_bytes(), "x"), None);
        let lost = format!(r#"{{"data":[{ROW}],"has_more":true,"next_cursor":null}}"#);
        assert_eq!(page(lost.as_bytes(), "x"), None, "more of what cannot be asked for");
        assert_eq!(code(br#"{"code":"new"}"#), None);
    }

    #[test]
    fn a_transfer_is_read_with_its_end() {
        let body = |status: &str, credit: &str| {
            format!(
                r#"{{"id":"tr_1","from":{{"service":"a","account":"x"}},"to":{{"service":"b","account":"y"}},"amount":5,"currency":"EUR","status":"{status}","reason":null,"debit":"tx_1","credit":{credit}}}"#
            )
        };
        let read = |status: &str, credit: &str, to: &str, amount: u32| {
            let body = body(status, credit);
            let parties = [("a", "x".to_owned()), ("b", to.to_owned())];
            transfer(body.as_bytes(), parties, amount).map(|it| it.end)
        };
        let completed = Some(TransferEnd::Completed(identity("tx_2")));
        assert_eq!(read("completed", r#""tx_2""#, "y", 5), Some(completed));
        assert_eq!(read("returned", "null", "y", 5), Some(Some(TransferEnd::Returned)));
        assert_eq!(read("pending", "null", "y", 5), Some(None));
        for (status, to, amount) in
            [("completed", "y", 5), ("pending", "z", 5), ("pending", "y", 6)]
        {
            assert_eq!(read(status, "null", to, amount), None, "{status}");
        }
        let row = ROW.replace("\"version\":3", "\"version\":3,\"transfer\":\"tr_1\"");
        let body = format!(r#"{{"data":[{row}],"has_more":false,"next_cursor":null}}"#);
        let (rows, _) = page(body.as_bytes(), "x").unwrap();
        assert_eq!(rows[0].1, Some(identity("tr_1")));
    }

    #[test]
    fn sums_are_wider_than_money() {
        let big = i128::from(i64::MAX) * 1_000;
        let text = format!(
            r#"{{"service":"a","balanced":true,"currencies":[{{"currency":"EUR","debits":{big},"credits":{big},"sum":0}}],"heads":{{"0":17}}}}"#
        );
        let (balanced, lines) = trial(text.as_bytes()).unwrap();
        assert!(balanced);
        assert_eq!((lines[0].debits, lines[0].credits, lines[0].sum), (big, big, 0));
    }
}
