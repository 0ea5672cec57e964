//! Fetches the books when all is quiet, account by account, and has them audited.

use crate::{
    audit::{
        Case, Entry, Fault, Position, Read, Unknown, audit, audit_balance, audit_trial,
        transfers::{self, Leg, audit_pairs, audit_sum},
    },
    body::{self, Row},
    errand::{After, Errands},
    letter::{Key, Letters},
    limits::{FAULTS_LISTED_MAX, PAGE_ROWS},
    log::Log,
    news::News,
    work::{Deed, Op},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use stdx::Moment;

/// What the audit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Accounts whose balance was compared with what was acknowledged.
    pub balances: u64,
    /// Accounts whose whole history was compared too.
    pub histories: u64,
    /// Entries of those.
    pub entries: u64,
    /// Acknowledged writes that were looked for in them.
    pub writes: u64,
    /// Reads that were compared with them.
    pub reads: u64,
    /// Writes of unknown outcome that turned out to be executed, or were when asked again.
    pub settled_executed: u64,
    /// Those that turned out to be refused.
    pub settled_refused: u64,
    /// Transfers that were acknowledged on their way, and were seen to end later.
    #[serde(default)]
    pub ended_later: u64,
    /// Acknowledged transfers of which both entries were looked for.
    #[serde(default)]
    pub transfers: u64,
    /// Those of which nobody knows.
    pub unknown: u64,
    /// Services whose trial balance was looked at.
    pub trials: u64,
    /// What is wrong; at most [`FAULTS_LISTED_MAX`].
    pub faults: Vec<String>,
    pub faults_count: u64,
    /// Why the audit is not whole, where it is not.
    pub gaps: Vec<String>,
}

impl AuditReport {
    /// Everything was as it should.
    pub fn is_clean(&self) -> bool {
        self.faults_count == 0
    }

    pub(crate) fn fault(&mut self, text: String) {
        self.faults_count += 1;
        if self.faults.len() < FAULTS_LISTED_MAX {
            self.faults.push(text);
        }
    }
}

/// One request for the books.
pub(crate) enum Ask {
    Balance(u32),
    /// A page of the history; the balance and the entries so far go with it.
    Page {
        account: u32,
        balance: Position,
        rows: Vec<Row>,
        cursor: String,
    },
    Trial(String),
}

/// All accounts of a run and its services.
pub(crate) struct Books<'a> {
    letters: &'a Letters,
    log: &'a Log,
    openings: &'a [Position],
    unknown: Vec<Unknown>,
    /// Account and place of each end of an acknowledged transfer, in the order of accounts.
    ends: Vec<(u32, usize)>,
    /// The entries of transfers that all histories show.
    legs: Vec<Leg>,
    /// What all accounts have together.
    sum: i128,
    services: Vec<String>,
    begun: u32,
    count: u32,
    pub(crate) report: AuditReport,
    news: &'a mut dyn FnMut(News<'_>),
}

impl<'a> Books<'a> {
    /// Sorts the log by account, so that each account's part of it is a slice.
    pub(crate) fn new(
        letters: &'a Letters,
        log: &'a mut Log,
        openings: &'a [Position],
        services: &[String],
        news: &'a mut dyn FnMut(News<'_>),
    ) -> Books<'a> {
        log.writes.sort_unstable_by_key(|it| it.account);
        log.reads.sort_unstable_by_key(|it| it.account);
        let mut unknown = log.unknown();
        unknown.sort_unstable_by_key(|it| it.account);
        let mut report =
            AuditReport { unknown: log.doubted() + log.forgotten, ..AuditReport::default() };
        match log.every {
            0 => report.gaps.push("too many writes to one account: no history was read".to_owned()),
            1 => (),
            every => report.gaps.push(format!("only every {every}th history was read")),
        }
        if !log.has_reads {
            report.gaps.push("too many reads to remember: none was compared".to_owned());
        }
        if 0 < log.forgotten {
            report.gaps.push(format!("{} unknown writes were not remembered", log.forgotten));
        }
        for transfer in &log.on_the_way {
            let from = letters.account(transfer.op.account);
            report.fault(format!("{from}: transfer {} is still on its way", transfer.id));
        }
        let places = log.transfers.iter().enumerate();
        let mut ends: Vec<_> = places.flat_map(|(at, it)| [(it.from, at), (it.to, at)]).collect();
        ends.sort_unstable();
        Books {
            letters,
            log,
            openings,
            unknown,
            ends,
            legs: Vec::new(),
            sum: 0,
            services: services.to_vec(),
            begun: 0,
            count: u32::try_from(openings.len()).expect("a number of accounts"),
            report,
            news,
        }
    }

    fn opening(&self, account: u32) -> Position {
        self.openings[usize::try_from(account).expect("accounts fit memory")]
    }

    fn unknown_of(&self, account: u32) -> &[Unknown] {
        &self.unknown[range(&self.unknown, account, |it| it.account)]
    }

    fn balance(&mut self, account: u32, balance: Position) -> After<Ask> {
        self.report.balances += 1;
        self.sum += i128::from(balance.posted);
        let total = self.log.totals[usize::try_from(account).expect("accounts fit memory")];
        let unknown = self.unknown_of(account);
        if let Some(fault) = audit_balance(self.opening(account), total, unknown, balance) {
            self.fault(account, &fault);
        }
        match self.log.keeps(account) {
            true => {
                let (rows, cursor) = (Vec::new(), String::new());
                After::Then(Ask::Page { account, balance, rows, cursor })
            }
            false => After::Done,
        }
    }

    fn history(&mut self, account: u32, balance: Position, rows: &[Row]) {
        let history: Vec<Entry> = rows.iter().map(|(entry, _)| *entry).collect();
        let legs: Vec<Leg> = rows
            .iter()
            .filter_map(|(entry, transfer)| {
                Some(Leg { transfer: (*transfer)?, account, entry: *entry })
            })
            .collect();
        let ends = &self.ends[range(&self.ends, account, |it| it.0)];
        let moved = ends.iter().map(|(_, at)| &self.log.transfers[*at]);
        let (mut writes, mut faults) = transfers::writes(account, moved, &legs);
        self.legs.extend(legs);
        writes
            .extend_from_slice(&self.log.writes[range(&self.log.writes, account, |it| it.account)]);
        let reads: &[Read] = &self.log.reads[range(&self.log.reads, account, |it| it.account)];
        let opening = self.opening(account);
        let unknown = self.unknown_of(account);
        let case = Case { opening, writes: &writes, unknown, reads, balance, history: &history };
        faults.extend(audit(&case));
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        self.report.histories += 1;
        self.report.entries += count(history.len());
        self.report.writes += count(writes.len());
        self.report.reads += count(reads.len());
        for fault in faults {
            self.fault(account, &fault);
        }
    }

    /// What only all accounts together show, once they have been read.
    pub(crate) fn close(mut self) -> AuditReport {
        self.report.transfers = u64::try_from(self.log.transfers.len()).unwrap_or(u64::MAX);
        // Where not every history was read, an entry's counterpart may be in another.
        if self.log.every == 1 {
            for (account, fault) in audit_pairs(&mut self.legs) {
                self.fault(account, &fault);
            }
        }
        if !self.legs.is_empty() || !self.log.transfers.is_empty() {
            self.sum();
        }
        self.report
    }

    /// Nothing but transfers was asked for, so the accounts have together what they had.
    fn sum(&mut self) {
        let opened = self.openings.iter().map(|it| i128::from(it.posted)).sum();
        let debits = self.unknown.iter().filter(|it| it.deed == Deed::Debit);
        let unknown = debits.map(|it| i128::from(it.amount)).sum();
        if self.log.forgotten == 0
            && let Some(fault) = audit_sum(opened, self.sum, unknown)
        {
            self.report.fault(fault);
        }
    }

    fn fault(&mut self, account: u32, fault: &Fault) {
        let (service, id) = (self.letters.service(account), self.letters.account(account));
        self.report.fault(format!("{service}/{id}: {fault}"));
    }
}

/// Where an account's part of a sorted list lies.
fn range<T>(list: &[T], account: u32, of: impl Fn(&T) -> u32) -> Range<usize> {
    let start = list.partition_point(|it| of(it) < account);
    start..start + list[start..].partition_point(|it| of(it) == account)
}

impl Errands for Books<'_> {
    type Errand = Ask;

    fn next(&mut self) -> Option<Ask> {
        if self.begun < self.count {
            self.begun += 1;
            return Some(Ask::Balance(self.begun - 1));
        }
        self.services.pop().map(Ask::Trial)
    }

    fn write(&self, ask: &Ask, out: &mut Vec<u8>) {
        match ask {
            Ask::Balance(account) => {
                let op = Op { account: *account, deed: Deed::Read, amount: 0, to: None };
                self.letters.op(out, op, &Key::None);
            }
            Ask::Page { account, cursor, .. } => {
                self.letters.history(out, *account, PAGE_ROWS, cursor);
            }
            Ask::Trial(service) => self.letters.trial(out, service),
        }
    }

    fn answered(&mut self, ask: Ask, _now: Moment, status: u16, body: &[u8]) -> After<Ask> {
        if matches!(status, 408 | 429 | 500..) {
            return After::Again(ask);
        }
        let unread = || After::Failed(format!("the books cannot be read: status {status}"));
        if status != 200 {
            return unread();
        }
        match ask {
            Ask::Balance(account) => match body::balance(body, &self.letters.account(account)) {
                Some(balance) => self.balance(account, balance),
                None => unread(),
            },
            Ask::Page { account, balance, mut rows, .. } => {
                let Some((more, next)) = body::page(body, &self.letters.account(account)) else {
                    return unread();
                };
                rows.extend(more);
                match next {
                    Some(cursor) => After::Then(Ask::Page { account, balance, rows, cursor }),
                    None => {
                        self.history(account, balance, &rows);
                        After::Done
                    }
                }
            }
            Ask::Trial(service) => {
                let Some((says, lines)) = body::trial(body) else { return unread() };
                self.report.trials += 1;
                for fault in audit_trial(says, &lines) {
                    self.report.fault(format!("trial balance of {service}: {fault}"));
                }
                After::Done
            }
        }
    }

    fn gave_up(&mut self, _ask: Ask) -> Result<(), String> {
        Err("the books could not be read".to_owned())
    }

    fn tell(&mut self) {
        let (done, whole) = (self.report.balances, u64::from(self.count));
        (self.news)(News::Step { label: "auditing", done, whole });
    }
}
