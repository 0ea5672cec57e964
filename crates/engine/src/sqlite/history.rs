//! A page of an account's transactions: first what only the journal has yet, then the blocks.

use crate::{
    block,
    engine::PAGE_BYTES_MAX,
    error::EngineError,
    sqlite::{
        files::corrupt,
        journal::{Range, SEQ_MAX},
        reader::SqliteReader,
        views,
    },
};
use ledger::Verdict;
use rusqlite::{Connection, params};
use wire::{
    Done, Outcome, PartitionId, Posting, Seq, Timestamp,
    query::{Filter, History},
};

/// Bytes of a posting besides its texts.
const POSTING_BYTES: usize = 256;

/// A page, and whether older transactions remain.
pub(crate) fn page(
    reader: &SqliteReader,
    partition: PartitionId,
    history: &History,
) -> Result<(Vec<Posting>, bool), EngineError> {
    let snapshot = reader.snapshot()?;
    let mark = views::mark(&reader.files, &snapshot, partition)?;
    let mut page = Page::new(history);
    tail(reader, partition, mark.seq, &mut page)?;
    if !page.is_over {
        blocks(reader, &snapshot, partition, &mut page)?;
    }
    Ok((page.rows, page.more))
}

/// A page as it fills, newest first.
struct Page<'a> {
    history: &'a History,
    rows: Vec<Posting>,
    bytes: usize,
    more: bool,
    /// Nothing older can be on it.
    is_over: bool,
}

impl Page<'_> {
    fn new(history: &History) -> Page<'_> {
        Page { history, rows: Vec::new(), bytes: 0, more: false, is_over: false }
    }

    fn filter(&self) -> &Filter {
        &self.history.filter
    }

    /// The next older posting.
    fn offer(&mut self, posting: Posting) {
        if self.is_over || self.history.before.is_some_and(|before| before <= posting.version) {
            return;
        }
        if self.is_past(posting.created_at) {
            self.is_over = true;
            return;
        }
        let reference = posting.reference.as_deref();
        if !self.filter().admits(posting.created_at, posting.kind, reference) {
            return;
        }
        let limit = usize::try_from(self.history.limit).unwrap_or(usize::MAX);
        if limit <= self.rows.len() || PAGE_BYTES_MAX <= self.bytes {
            (self.more, self.is_over) = (true, true);
            return;
        }
        let texts = posting.metadata.len() + reference.map_or(0, str::len);
        self.bytes += POSTING_BYTES + posting.account.as_str().len() + texts;
        self.rows.push(posting);
    }

    /// True when a time is before all that is asked for: times never go back along a journal.
    fn is_past(&self, at: Timestamp) -> bool {
        self.filter().from.is_some_and(|from| at < from)
    }
}

fn tail(
    reader: &SqliteReader,
    partition: PartitionId,
    watermark: Seq,
    page: &mut Page<'_>,
) -> Result<(), EngineError> {
    let mut rest = Range { partition, first: watermark.next(), last: SEQ_MAX };
    while rest.first <= rest.last && !page.is_over {
        let records = reader.journal.chunk_back(rest)?;
        let Some((oldest, _)) = records.last() else { break };
        rest.last = Seq(oldest.header.seq.0.saturating_sub(1));
        for (record, _) in &records {
            let items = (0_u16..).zip(&record.items).collect::<Vec<_>>();
            for (index, item) in items.into_iter().rev() {
                if !matches!(item.verdict, Verdict::Posted { .. })
                    || *item.action.account() != page.history.account
                {
                    continue;
                }
                if let Some(Outcome::Done(Done::Posted(posting))) =
                    record.outcome(reader.service, index)
                {
                    page.offer(posting);
                }
            }
        }
    }
    Ok(())
}

fn blocks(
    reader: &SqliteReader,
    snapshot: &Connection,
    partition: PartitionId,
    page: &mut Page<'_>,
) -> Result<(), EngineError> {
    let account = &page.history.account;
    let Some((number, _)) = views::find_account(&reader.files, snapshot, partition, account)?
    else {
        return Ok(());
    };
    let before = page.history.before.map_or(i64::MAX, |it| i64::try_from(it).unwrap_or(i64::MAX));
    let to = page.filter().to.map_or(i64::MAX, |to| to.0);
    let failed = |error| reader.failed(&error);
    // The times come before the postings in the row, so a block that is out of them is skipped
    // without a look at its postings.
    let mut statement = snapshot
        .prepare_cached(
            "SELECT last_time, postings FROM blocks
             WHERE account = ? AND first_version < ? AND first_time < ?
             ORDER BY first_version DESC",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![number, before, to]).map_err(failed)?;
    while !page.is_over
        && let Some(row) = rows.next().map_err(failed)?
    {
        if page.is_past(Timestamp(row.get(0).map_err(failed)?)) {
            page.is_over = true;
            break;
        }
        let data = row.get_ref(1).map_err(failed)?;
        let data = data.as_blob().map_err(|error| failed(error.into()))?;
        let postings = block::decode(data, reader.service, partition, account)
            .map_err(|flaw| corrupt(&reader.path, format!("a block of {account}: {}", flaw.0)))?;
        for posting in postings.into_iter().rev() {
            page.offer(posting);
        }
    }
    Ok(())
}
