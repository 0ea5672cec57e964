//! An account's statement: what its balance was at the start of a period, what was booked, and what
//! it was at the end. Put together of pages of its history, within a bound, and written in one of
//! three forms.

mod camt;
pub(super) mod csv;
mod json;

use super::{
    answer::Answer,
    ask::Ask,
    limits::{STATEMENT_BYTES_MAX, STATEMENT_ENTRIES_MAX},
    mistake::{Mistake, clip},
    request::Request,
    service::Service,
};
use net::clock;
use std::rc::Rc;
use stdx::Moment;
use wire::{
    AccountId, AccountState, Call, Kind, Posting, Reply, Timestamp,
    call::Failure,
    limits::PAGE_ROWS_MAX,
    query::{Filter, History, Query},
};

/// The form of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Json,
    /// RFC 4180.
    Csv,
    /// ISO 20022, camt.053.001.08.
    Camt053,
}

impl Format {
    /// As in a query.
    pub(super) fn parse(text: &str) -> Result<Format, Mistake> {
        Ok(match text {
            "json" => Format::Json,
            "csv" => Format::Csv,
            "camt.053" => Format::Camt053,
            _ => {
                let text = clip(text);
                let detail = format!("{text:?} is no form; json, csv or camt.053 is wanted");
                return Err(Mistake::in_field("format", detail));
            }
        })
    }

    /// What an `Accept` is to leave room for.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv",
            Format::Camt053 => "application/xml",
        }
    }
}

/// What a statement is to be about. Times as in a list: `from` is inclusive, `to` exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) account: AccountId,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) format: Format,
}

/// A statement on its way.
pub(super) struct Statement {
    service: Rc<Service>,
    wanted: Wanted,
    deadline: Moment,
    attempts: u8,
    trace: Box<str>,
    request_id: Box<str>,
}

/// Everything that is on a statement.
#[derive(Clone, Debug)]
struct Sheet<'a> {
    service: &'a str,
    account: AccountState,
    from: Timestamp,
    to: Timestamp,
    opening: i64,
    closing: i64,
    /// Oldest first.
    entries: Vec<Posting>,
    /// When it was made.
    at: Timestamp,
}

/// Why there is no statement.
enum Failed {
    Failure(Failure),
    Mistake(Mistake),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed::Failure(failure)
    }
}

impl Statement {
    /// Nothing is asked yet.
    pub(super) fn new(
        service: &Rc<Service>,
        wanted: Wanted,
        deadline: Moment,
        request: &Request<'_>,
    ) -> Result<Statement, Mistake> {
        if wanted.from.zip(wanted.to).is_some_and(|(from, to)| to <= from) {
            return Err(Mistake::in_field("to", "it is not after from"));
        }
        Ok(Statement {
            service: Rc::clone(service),
            wanted,
            deadline,
            attempts: request.attempts,
            trace: request.trace.into(),
            request_id: request.request_id.into(),
        })
    }

    /// Asks for what is needed; answers by the deadline.
    pub(super) async fn answer(self) -> Answer {
        let body = self.sheet().await.and_then(|sheet| {
            let body = match self.wanted.format {
                Format::Json => json::write(&sheet),
                Format::Csv => csv::write(&sheet),
                Format::Camt053 => camt::write(&sheet),
            };
            if STATEMENT_BYTES_MAX < body.len() { Err(self.too_long()) } else { Ok(body) }
        });
        match body {
            Ok(body) => Answer::statement(self.wanted.format, body),
            Err(Failed::Mistake(mistake)) => Answer::mistake(&mistake, &self.request_id),
            Err(Failed::Failure(failure)) => {
                Answer::of(&self.service.name, Err(failure), &self.request_id)
            }
        }
    }

    async fn sheet(&self) -> Result<Sheet<'_>, Failed> {
        let query = Query::Account(self.wanted.account.clone());
        let Reply::Account(account) = self.ask(query).await? else {
            return Err(Failure::Malformed.into());
        };
        let entries = self.entries().await?;
        let (opening, closing) = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => (before(first)?, last.posted_after),
            (None, _) | (_, None) => {
                let standing = self.standing().await?;
                (standing, standing)
            }
        };
        let at = clock::wall();
        let last = entries.last().map_or(at, |last| last.created_at);
        Ok(Sheet {
            service: &self.service.name,
            from: self.wanted.from.unwrap_or(account.created_at),
            // Without an end it is about everything up to now, whose clock that ever is.
            to: self.wanted.to.unwrap_or(Timestamp(at.0.max(last.0.saturating_add(1)))),
            account,
            opening,
            closing,
            entries,
            at,
        })
    }

    /// What was booked in the period, oldest first.
    async fn entries(&self) -> Result<Vec<Posting>, Failed> {
        let Wanted { from, to, .. } = self.wanted;
        let filter = Filter { from, to, ..Filter::default() };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut before = None;
        loop {
            let (rows, more) = self.page(filter.clone(), before, PAGE_ROWS_MAX).await?;
            bytes += rows.iter().map(bytes_of).sum::<usize>();
            if STATEMENT_ENTRIES_MAX < entries.len() + rows.len() || STATEMENT_BYTES_MAX < bytes {
                return Err(self.too_long());
            }
            let oldest = rows.last().map(|row| row.version);
            entries.extend(rows);
            if !more {
                entries.reverse();
                return Ok(entries);
            }
            // A page that is empty and says that there is more would go on for ever.
            before = Some(oldest.ok_or(Failure::Malformed)?);
        }
    }

    /// The balance throughout a period in which nothing was booked.
    async fn standing(&self) -> Result<i64, Failed> {
        let Some(until) = self.wanted.from.or(self.wanted.to) else { return Ok(0) };
        let filter = Filter { to: Some(until), ..Filter::default() };
        let (rows, _) = self.page(filter, None, 1).await?;
        Ok(rows.first().map_or(0, |last| last.posted_after))
    }

    /// Nothing is cut off in silence.
    fn too_long(&self) -> Failed {
        let (service, account) = (&self.service.name, self.wanted.account.as_str());
        let detail = format!(
            "the period has more than a statement holds, {STATEMENT_ENTRIES_MAX} entries or {} MiB: \
             ask for a shorter one, as in from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z, or page \
             by page for /v1/{service}/accounts/{account}/transactions",
            STATEMENT_BYTES_MAX / (1024 * 1024),
        );
        Failed::Mistake(Mistake::in_field("from", detail))
    }

    async fn page(
        &self,
        filter: Filter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<(Vec<Posting>, bool), Failed> {
        let account = self.wanted.account.clone();
        let history = History { account, filter, before, limit };
        let reply = self.ask(Query::Transactions(history)).await?;
        let Reply::Transactions { rows, more } = reply else {
            return Err(Failure::Malformed.into());
        };
        Ok((rows, more))
    }

    async fn ask(&self, query: Query) -> Result<Reply, Failure> {
        let partition = self.wanted.account.partition(self.service.partitions);
        let ask = Ask::new(&Call::Query(query), self.deadline, self.attempts, &self.trace);
        ask.owner(&self.service, partition).await
    }
}

/// What the balance was before `posting`.
fn before(posting: &Posting) -> Result<i64, Failure> {
    let before = match posting.kind {
        Kind::Debit => posting.posted_after.checked_add(posting.amount.minor()),
        Kind::Credit => posting.posted_after.checked_sub(posting.amount.minor()),
    };
    // The ledger books nothing that starts beyond 64 bits.
    before.ok_or(Failure::Malformed)
}

/// About what an entry takes, in whichever form.
fn bytes_of(posting: &Posting) -> usize {
    const USUAL: usize = 256;
    USUAL + posting.metadata.len() + posting.reference.as_deref().map_or(0, str::len)
}

impl Sheet<'_> {
    /// How many of a kind there are, and their sum.
    fn sum(&self, kind: Kind) -> (usize, i128) {
        let of_kind = self.entries.iter().filter(|entry| entry.kind == kind);
        let amounts = of_kind.map(|entry| i128::from(entry.amount.minor()));
        amounts.fold((0, 0), |(count, sum), amount| (count + 1, sum + amount))
    }
}

#[cfg(test)]
mod tests;
