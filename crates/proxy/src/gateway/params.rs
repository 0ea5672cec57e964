//! The query of a request: the parameters of lists, and none elsewhere.

use super::{
    body,
    mistake::{Mistake, clip},
    statement::Format,
};
use crate::escapes::percent_decode;
use std::borrow::Cow;
use wire::{Kind, Timestamp, limits, query::Filter};

/// What a query asks of a list. What it leaves out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params {
    pub(super) limit: Option<u32>,
    /// The cursor, still sealed.
    pub(super) starting_after: Option<Box<str>>,
    pub(super) filter: Filter,
    /// Of a statement.
    pub(super) format: Option<Format>,
    /// Of events: a cursor, still sealed, or `now`.
    pub(super) after: Option<Box<str>>,
}

/// Which parameters a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    None,
    /// `limit` and `starting_after`.
    Page,
    /// These and the filters of transactions.
    Transactions,
    /// `from`, `to` and `format`.
    Statement,
    /// `after`.
    Events,
}

/// Parameters of one request, repeated ones included: more are refused unread.
const PARAMS_MAX: usize = 32;

impl Params {
    /// Reads what stands behind the `?`.
    pub(super) fn read(query: &str, allowed: Allowed) -> Result<Params, Mistake> {
        let mut params = Params::default();
        for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if PARAMS_MAX <= count {
                let detail = format!("more than {PARAMS_MAX} query parameters");
                return Err(Mistake::in_body(detail));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) =
                (percent_decode(name, true), percent_decode(value, true))
            else {
                let detail = "a % in the query begins no sound escape";
                return Err(Mistake::in_field(name, detail));
            };
            params.take(&name, value, allowed)?;
        }
        Ok(params)
    }

    /// Rows of the page.
    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_ROWS_DEFAULT)
    }

    fn take(&mut self, name: &str, value: Cow<'_, str>, allowed: Allowed) -> Result<(), Mistake> {
        match (name, allowed) {
            ("limit", Allowed::Page | Allowed::Transactions) => {
                once(name, &mut self.limit, limit(&value)?)
            }
            ("starting_after", Allowed::Page | Allowed::Transactions) => {
                once(name, &mut self.starting_after, value.into())
            }
            ("from" | "to", Allowed::Transactions | Allowed::Statement) => {
                let filter = &mut self.filter;
                let slot = if name == "from" { &mut filter.from } else { &mut filter.to };
                once(name, slot, time(name, &value)?)
            }
            ("after", Allowed::Events) => once(name, &mut self.after, value.into()),
            ("format", Allowed::Statement) => once(name, &mut self.format, Format::parse(&value)?),
            ("kind", Allowed::Transactions) => once(name, &mut self.filter.kind, kind(&value)?),
            ("reference", Allowed::Transactions) => {
                body::check_reference(&value)?;
                once(name, &mut self.filter.reference, value.into())
            }
            _ => {
                let known = match allowed {
                    Allowed::None => "no query parameter is known here",
                    Allowed::Page => "not known here; known are limit, starting_after",
                    Allowed::Transactions => {
                        "not known here; known are limit, starting_after, from, to, kind, reference"
                    }
                    Allowed::Statement => "not known here; known are from, to, format",
                    Allowed::Events => "not known here; known is after",
                };
                Err(Mistake::in_field(name, known))
            }
        }
    }
}

fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), Mistake> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Mistake::in_field(name, "the parameter is given more than once")),
    }
}

fn limit(text: &str) -> Result<u32, Mistake> {
    let max = limits::PAGE_ROWS_MAX;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| digits && (1..=max).contains(limit)).ok_or_else(|| {
        let text = clip(text);
        Mistake::in_field("limit", format!("{text:?}; an integer from 1 to {max} is wanted"))
    })
}

fn time(name: &str, text: &str) -> Result<Timestamp, Mistake> {
    Timestamp::parse(text).ok_or_else(|| {
        let text = clip(text);
        let detail = format!(
            "{text:?} is no time from 1970 to 9999-12-30; RFC 3339 is wanted, as in \
             2026-11-22T11:00:00Z, a + written %2B"
        );
        Mistake::in_field(name, detail)
    })
}

fn kind(text: &str) -> Result<Kind, Mistake> {
    [Kind::Debit, Kind::Credit].into_iter().find(|kind| kind.text() == text).ok_or_else(|| {
        let text = clip(text);
        Mistake::in_field("kind", format!("{text:?} is no kind; debit or credit is wanted"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(query: &str, allowed: Allowed, expected: &str) {
        let mistake = Params::read(query, allowed).expect_err(query);
        let got = format!("{}: {}", mistake.field.unwrap_or_default(), mistake.detail);
        assert_eq!(got, expected, "{query}");
    }

    #[test]
    fn reads_what_lists_know() {
        let query = "limit=7&starting_after=abc&from=2026-11-22T11:00:00Z\
                     &to=2026-11-22T13:00:00%2B01:00&kind=debit&reference=order+17%26";
        let params = Params::read(query, Allowed::Transactions).unwrap();
        assert_eq!((params.limit(), params.starting_after.as_deref()), (7, Some("abc")));
        assert_eq!(params.filter.from, Timestamp::parse("2026-11-22T11:00:00Z"));
        assert_eq!(params.filter.to, Timestamp::parse("2026-11-22T12:00:00Z"));
        assert_eq!(params.filter.kind, Some(Kind::Debit));
        assert_eq!(params.filter.reference.as_deref(), Some("order 17&"));
        for empty in ["", "&", "&&"] {
            let params = Params::read(empty, Allowed::None).unwrap();
            assert_eq!((params.limit(), params), (50, Params::default()));
        }
    }

    #[test]
    fn refuses_limits() {
        for text in ["", "0", "-1", "+5", "1001", "1.0", "ten", "99999999999999999999"] {
            let expected = format!("limit: {text:?}; an integer from 1 to 1000 is wanted");
            refused(&format!("limit={}", text.replace('+', "%2B")), Allowed::Page, &expected);
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        refused("x=1", Allowed::None, "x: no query parameter is known here");
        refused(
            "kind=debit",
            Allowed::Page,
            "kind: not known here; known are limit, starting_after",
        );
        refused(
            "Limit=5",
            Allowed::Transactions,
            "Limit: not known here; known are limit, starting_after, from, to, kind, reference",
        );
        refused("limit=5&limit=5", Allowed::Page, "limit: the parameter is given more than once");
        refused("limit=%zz", Allowed::Page, "limit: a % in the query begins no sound escape");
        refused(&"a&".repeat(40), Allowed::None, "a: no query parameter is known here");
    }

    #[test]
    fn refuses_filters() {
        let all = Allowed::Transactions;
        refused("kind=hold", all, "kind: \"hold\" is no kind; debit or credit is wanted");
        refused(
            "from=yesterday",
            all,
            "from: \"yesterday\" is no time from 1970 to 9999-12-30; RFC 3339 is wanted, as in 2026-11-22T11:00:00Z, \
             a + written %2B",
        );
        refused("reference=%0A", all, "reference: it has a control character in it");
        let long = format!("reference={}", "x".repeat(257));
        refused(&long, all, "reference: 257 bytes; 256 at most");
    }
}
