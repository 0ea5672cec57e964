//! The verification of one partition.

use crate::{
    block,
    change::{Posted, used},
    copy::{Digest, KeysDigest, ViewsCopy},
    error::{EngineError, Kind},
    key_days::{day, first_day},
    records::{Fence, Order, Range, RawRecord},
    runs::Entry,
    verify::{Archive, PartitionReport},
};
use ledger::{Auditor, Record};
use std::collections::BTreeMap;
use stdx::Map;
use wire::{AccountId, Epoch, PartitionId, Seq, ServiceTag};

pub(super) struct Audit<'a, A> {
    archive: &'a A,
    auditor: Auditor,
    /// Digests of the postings as far as the views reach.
    postings: Map<AccountId, Digest>,
    /// Digests of clients' keys as far as the views reach, by the day of their use.
    keys: BTreeMap<i64, KeysDigest>,
    /// The epoch of the last record audited.
    epoch_last: Epoch,
    /// A record was wrong, and what follows it cannot be checked.
    is_broken: bool,
    pub(super) report: PartitionReport,
}

impl<'a, A: Archive> Audit<'a, A> {
    pub(super) fn new(archive: &'a A, service: ServiceTag, partition: PartitionId) -> Audit<'a, A> {
        Audit {
            archive,
            auditor: Auditor::new(service, partition),
            postings: Map::default(),
            keys: BTreeMap::new(),
            epoch_last: Epoch(0),
            is_broken: false,
            report: PartitionReport::new(partition),
        }
    }

    /// What cannot be read for being damaged is a finding; what cannot be read at all ends it.
    pub(super) fn failed(&mut self, error: EngineError) -> Result<(), EngineError> {
        if error.kind != Kind::Corrupt {
            return Err(error);
        }
        self.report.problem(error.to_string());
        Ok(())
    }

    /// The views are copied first, so that the journal reaches at least as far.
    pub(super) fn run(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), EngineError> {
        let copy = self.copy()?;
        let (fence, end) = self.archive.fence_and_end(self.report.partition)?;
        self.report.epoch = fence.epoch;
        if let Some(copy) = copy {
            let mark = copy.mark.seq;
            let keys = self.copy_keys(mark)?;
            if end < mark {
                let what = format!("views: they are at record {}, the journal ends with", mark.0);
                self.report.problem(format!("{what} {}", end.0));
            } else if self.advance(mark, end, true, progress)? {
                if let Some(keys) = keys {
                    self.compare_keys(&keys, first_day(fence.chain.time));
                }
                self.compare(copy);
            }
        }
        self.postings.clear();
        let is_whole = self.advance(end, end, false, progress)?;
        self.check_fence(&fence, end, is_whole);
        self.check_books();
        Ok(())
    }

    fn copy(&mut self) -> Result<Option<ViewsCopy>, EngineError> {
        match self.archive.views(self.report.partition) {
            Ok(None) => Ok(None),
            Ok(Some(mut copy)) => {
                self.report.watermark = copy.mark.seq;
                copy.problems.drain(..).for_each(|what| self.report.problem(what));
                Ok(Some(copy))
            }
            Err(error) => self.failed(error).map(|()| None),
        }
    }

    /// Digests of the keys up to the mark, by the day that they are kept under. `None`: they are
    /// damaged, which is in the report.
    fn copy_keys(&mut self, mark: Seq) -> Result<Option<BTreeMap<i64, KeysDigest>>, EngineError> {
        match self.read_keys(mark) {
            Ok(keys) => Ok(Some(keys)),
            Err(error) => self.failed(error).map(|()| None),
        }
    }

    fn read_keys(&self, mark: Seq) -> Result<BTreeMap<i64, KeysDigest>, EngineError> {
        let mut keys: BTreeMap<i64, KeysDigest> = BTreeMap::new();
        let mut from = None;
        loop {
            let part = self.archive.keys(self.report.partition, from)?;
            for (day, _, entry) in part.keys.iter().filter(|(.., entry)| entry.seq <= mark) {
                keys.entry(*day).or_default().add(entry);
            }
            from = part.next;
            if from.is_none() {
                break;
            }
        }
        // One that was dropped meanwhile was not read to its end.
        let days = self.archive.key_days()?;
        Ok(days.into_iter().map(|day| (day, keys.remove(&day).unwrap_or_default())).collect())
    }

    /// Audits as far as record `to`. False when it could not get there: why is in the report.
    fn advance(
        &mut self,
        to: Seq,
        end: Seq,
        is_projected: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<bool, EngineError> {
        let partition = self.report.partition;
        while !self.is_broken && self.auditor.chain().seq < to {
            let first = self.auditor.chain().seq.next();
            let records =
                self.archive.rows(Range { partition, first, last: to }, Order::Forward)?;
            if records.is_empty() {
                self.report.problem(format!("record {} is missing", first.0));
                self.is_broken = true;
            }
            for raw in records {
                if let Err(wrong) = self.auditor.record(raw.seq, raw.hash, &raw.bytes) {
                    self.report.problem(format!("record {}: {}", wrong.seq.0, wrong.what));
                    self.is_broken = true;
                    break;
                }
                self.count(&raw, is_projected);
            }
            progress(self.auditor.chain().seq.0, end.0);
        }
        Ok(!self.is_broken)
    }

    fn count(&mut self, raw: &RawRecord, is_projected: bool) {
        let record = Record::decode(&raw.bytes).expect("the auditor decoded it");
        self.epoch_last = record.header.epoch;
        let mut bytes = Vec::with_capacity(block::POSTING_BYTES);
        for (index, item) in (0_u16..).zip(&record.items) {
            self.report.commands_count += 1;
            if is_projected
                && let Some((key, _, seq, index, time)) = used(&record.header, index, item)
            {
                self.keys.entry(day(time)).or_default().add(&Entry { key, seq, index });
            }
            let Some(posted) = Posted::of(&record, index, item) else { continue };
            self.report.transactions_count += 1;
            if is_projected {
                bytes.clear();
                block::encode(&posted, &mut bytes);
                self.postings.entry_ref(item.action.account()).or_default().add(&bytes);
            }
        }
    }

    /// The keys that were read, by day, against the journal's; views that were made again need none
    /// of days before `first`.
    ///
    /// A key whose day was over when it was projected, because a clock was wrong, is kept under the
    /// newest day of that time. So the newest two have all of their own, and may have others.
    fn compare_keys(&mut self, found: &BTreeMap<i64, KeysDigest>, first: i64) {
        let Some(newest) = found.keys().next_back() else { return };
        let first = first.max(newest.saturating_sub(1));
        let is_moved = self.keys.keys().any(|day| *day < first);
        for (day, found) in found.range(first..) {
            let derived = self.keys.get(day).copied().unwrap_or_default();
            if *found == derived || (derived.count < found.count && is_moved) {
                continue;
            }
            let what = format!("have {} keys of clients of day {day} since 1970", found.count);
            let journal = format!("the journal gives {}", derived.count);
            let others = if found.count == derived.count { " others" } else { "" };
            self.report.problem(format!("views: they {what}, {journal}{others}"));
        }
    }

    /// The views as they were copied against the books at the same record.
    fn compare(&mut self, mut copy: ViewsCopy) {
        let report = &mut self.report;
        if copy.mark != self.auditor.chain() {
            report.problem("views: their mark has another hash or time than its record".into());
        }
        let external: Vec<_> = self.auditor.external().collect();
        if copy.external != external {
            let what = format!("{:?}, the journal gives {external:?}", copy.external);
            report.problem(format!("views: the contra accounts are {what}"));
        }
        for derived in self.auditor.objects() {
            let copied = copy.objects.remove(&derived.key());
            if copied.as_ref() != Some(derived) {
                let what = format!("{copied:?}, the journal gives {derived:?}");
                report.problem(format!("views: an object is {what}"));
            }
        }
        for object in copy.objects.values() {
            report.problem(format!("views: nothing in the journal made {object:?}"));
        }
        for derived in self.auditor.accounts() {
            let Some(copied) = copy.accounts.remove(&derived.id) else {
                report.problem(format!("views: account {} is missing", derived.id));
                continue;
            };
            if copied.state != *derived {
                let what = format!("{:?}, the journal gives {derived:?}", copied.state);
                report.problem(format!("views: an account is {what}"));
            }
            let postings = self.postings.get(&derived.id).copied().unwrap_or_default();
            if copied.postings != postings {
                let what = format!("{} transactions of account", copied.postings.count);
                let journal = format!("the {} in the journal", postings.count);
                report.problem(format!("views: the {what} {} are not {journal}", derived.id));
            }
        }
        for id in copy.accounts.keys() {
            report.problem(format!("views: account {id} was never opened"));
        }
    }

    fn check_fence(&mut self, fence: &Fence, end: Seq, is_whole: bool) {
        let report = &mut self.report;
        report.head = self.auditor.chain();
        if fence.chain.seq != end {
            let what = format!("the fence row names record {}", fence.chain.seq.0);
            report.problem(format!("the journal ends with record {}, {what}", end.0));
        } else if is_whole && fence.chain != report.head {
            report.problem("the fence row has another hash or time than the last record".into());
        }
        if fence.epoch < self.epoch_last {
            let what = format!("the last record at {}", self.epoch_last.0);
            report.problem(format!("the fence row is at epoch {}, {what}", fence.epoch.0));
        }
    }

    fn check_books(&mut self) {
        let books = self.auditor.books();
        for it in &books.currencies {
            if it.debits != it.credits {
                let what = format!("{}: debits {}, credits {}", it.currency, it.debits, it.credits);
                self.report.problem(format!("the books do not balance in {what}"));
            }
        }
        self.report.currencies = books.currencies;
        self.report.accounts_count =
            u64::try_from(self.auditor.accounts().len()).expect("a count fits 64 bits");
    }
}
