//! A page of an account's transactions: first what only the journal has yet, then the blocks.

use crate::{
    block,
    engine::PAGE_BYTES_MAX,
    error::EngineError,
    records::{Range, Records, SEQ_MAX},
    views::{Before, Views},
};
use ledger::{Object, ObjectKey};
use std::collections::BTreeMap;
use wire::{
    PartitionId, Posting, Seq, ServiceTag, Timestamp, TransactionId,
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
    page.look_up_reversals(views, partition)?;
    Ok((page.rows, page.more))
}

/// A page as it fills, newest first.
struct Page<'a> {
    history: &'a History,
    rows: Vec<Posting>,
    /// What the journal's tail has reversed of the account, and by what.
    reversals: BTreeMap<TransactionId, TransactionId>,
    bytes: usize,
    more: bool,
    /// Nothing older can be on it.
    is_over: bool,
}

impl Page<'_> {
    fn new(history: &History) -> Page<'_> {
        let reversals = BTreeMap::new();
        Page { history, rows: Vec::new(), reversals, bytes: 0, more: false, is_over: false }
    }

    fn filter(&self) -> &Filter {
        &self.history.filter
    }

    /// The next older posting.
    fn offer(&mut self, mut posting: Posting) {
        // What reverses is newer than what it reverses, and so has been seen.
        if let Some(original) = posting.reverses() {
            self.reversals.insert(original, posting.id);
        }
        posting.reversed_by = self.reversals.remove(&posting.id);
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

    /// What of the page was reversed, and is not known yet to be.
    fn look_up_reversals(
        &mut self,
        views: &impl Views,
        partition: PartitionId,
    ) -> Result<(), EngineError> {
        let rest: Vec<_> = self.rows.iter_mut().filter(|row| may_be_reversed(row)).collect();
        let keys: Vec<_> =
            rest.iter().map(|row| (partition, ObjectKey::reversal(row.id))).collect();
        for (row, object) in rest.into_iter().zip(views.objects(&keys)?) {
            if let Some(Object::Reversal { by, .. }) = object {
                row.reversed_by = Some(by);
            }
        }
        Ok(())
    }

    /// True when a time is before all that is asked for: times never go back along a journal.
    fn is_past(&self, at: Timestamp) -> bool {
        self.filter().from.is_some_and(|from| at < from)
    }
}

fn may_be_reversed(posting: &Posting) -> bool {
    let is_reversible = posting.transfer().is_none() && posting.reverses().is_none();
    is_reversible && posting.reversed_by.is_none()
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
                if *item.action.account() != page.history.account {
                    continue;
                }
                if let Some(posting) = record.posting(service, index) {
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
