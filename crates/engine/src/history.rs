//! A page of an account's transactions: first what only the journal has yet, then the blocks.

use crate::{
    block,
    engine::PAGE_BYTES_MAX,
    error::EngineError,
    records::{Range, Records, SEQ_MAX},
    views::{Before, Views},
};
use ledger::Verdict;
use wire::{
    Done, Outcome, PartitionId, Posting, Seq, ServiceTag, Timestamp,
    query::{Filter, History},
};

/// Bytes of a posting besides its texts.
const POSTING_BYTES: usize = 256;

/// A page, and whether older transactions remain. `views` were looked at first.
pub(crate) fn page(
    journal: &impl Records,
    views: &impl Views,
    service: ServiceTag,
    partition: PartitionId,
    history: &History,
) -> Result<(Vec<Posting>, bool), EngineError> {
    let mark = views.mark(partition)?;
    let mut page = Page::new(history);
    tail(journal, service, (partition, mark.seq), &mut page)?;
    if !page.is_over {
        blocks(views, service, partition, &mut page)?;
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
    journal: &impl Records,
    service: ServiceTag,
    (partition, watermark): (PartitionId, Seq),
    page: &mut Page<'_>,
) -> Result<(), EngineError> {
    let mut rest = Range { partition, first: watermark.next(), last: SEQ_MAX };
    while rest.first <= rest.last && !page.is_over {
        let records = journal.chunk_back(rest)?;
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
                if let Some(Outcome::Done(Done::Posted(posting))) = record.outcome(service, index) {
                    page.offer(posting);
                }
            }
        }
    }
    Ok(())
}

fn blocks(
    views: &impl Views,
    service: ServiceTag,
    partition: PartitionId,
    page: &mut Page<'_>,
) -> Result<(), EngineError> {
    let account = &page.history.account;
    let version = page.history.before.map_or(i64::MAX, |it| i64::try_from(it).unwrap_or(i64::MAX));
    let time = page.filter().to.unwrap_or(Timestamp(i64::MAX));
    views.blocks((partition, account), Before { version, time }, &mut |last_time, data| {
        if page.is_past(last_time) {
            page.is_over = true;
            return Ok(false);
        }
        let postings = block::decode(data, service, partition, account)
            .map_err(|flaw| views.corrupt(format!("a block of {account}: {}", flaw.0)))?;
        for posting in postings.into_iter().rev() {
            page.offer(posting);
        }
        Ok(!page.is_over)
    })
}
