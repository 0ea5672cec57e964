//! What one thread remembers for the audit, within a bound.

use crate::{
    audit::{Read, Total, Unknown, Write, transfers::Transfer},
    body::{self, TransferEnd, Transferred},
    letter::Key,
    limits::UNKNOWN_MAX,
    work::{Deed, Op},
};

/// A write whose outcome is unknown, with what it takes to ask about it again.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    pub(crate) op: Op,
    /// The whole of a batch, `op` its first; empty of any other write.
    pub(crate) batch: Box<[Op]>,
    pub(crate) key: Key,
    pub(crate) sent: stdx::Moment,
}

/// A transfer that was acknowledged without an end.
#[derive(Clone, Debug)]
pub(crate) struct OnTheWay {
    pub(crate) op: Op,
    pub(crate) id: Box<str>,
    pub(crate) sent: stdx::Moment,
}

/// Acknowledged operations; those of all accounts while they fit, of every second, fourth, …
/// account when they do not.
#[derive(Debug)]
pub(crate) struct Log {
    /// Histories are kept of the accounts whose number is a multiple of this; 0 means of none.
    pub(crate) every: u32,
    /// Reads are kept: false once there were too many.
    pub(crate) has_reads: bool,
    pub(crate) writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) on_the_way: Vec<OnTheWay>,
    pub(crate) doubts: Vec<Doubt>,
    /// Doubts and transfers on their way that were not kept.
    pub(crate) forgotten: u64,
    /// Of every account.
    pub(crate) totals: Vec<Total>,
    bound: usize,
}

impl Log {
    /// Keeps at most `bound` operations.
    pub(crate) fn new(accounts: u32, bound: usize) -> Log {
        let accounts = usize::try_from(accounts).expect("accounts fit memory");
        Log {
            every: 1,
            has_reads: true,
            // Room that is not touched costs nothing; to grow would cost a pause.
            writes: Vec::with_capacity(bound),
            reads: Vec::with_capacity(bound),
            transfers: Vec::new(),
            on_the_way: Vec::new(),
            doubts: Vec::new(),
            forgotten: 0,
            totals: vec![Total::default(); accounts],
            bound,
        }
    }

    /// True when the account's history is to be looked at.
    pub(crate) fn keeps(&self, account: u32) -> bool {
        self.every != 0 && account.is_multiple_of(self.every)
    }

    pub(crate) fn wrote(&mut self, write: Write) {
        let place = usize::try_from(write.account).expect("accounts fit memory");
        self.totals[place].add(write.entry.deed, write.entry.amount);
        if self.keeps(write.account) {
            self.writes.push(write);
            self.shrink();
        }
    }

    pub(crate) fn read(&mut self, read: Read) {
        if self.has_reads && self.keeps(read.account) {
            self.reads.push(read);
            self.shrink();
        }
    }

    /// Takes down what an answer says of a transfer: its end, or that it has none yet.
    pub(crate) fn transferred(
        &mut self,
        op: Op,
        told: &Transferred<'_>,
        sent: stdx::Moment,
        answered: stdx::Moment,
    ) {
        let (from, to, amount) = (op.account, op.to.unwrap_or(op.account), i64::from(op.amount));
        let Some(end) = told.end else {
            match self.on_the_way.len() < UNKNOWN_MAX {
                true => self.on_the_way.push(OnTheWay { op, id: (&*told.id).into(), sent }),
                false => self.forgotten += 1,
            }
            return;
        };
        let (credit, target) = match end {
            TransferEnd::Completed(credit) => (Some(credit), to),
            TransferEnd::Returned => (None, from),
        };
        for (account, deed) in [(from, Deed::Debit), (target, Deed::Credit)] {
            self.totals[usize::try_from(account).expect("accounts fit memory")].add(deed, amount);
        }
        if self.keeps(from) || self.keeps(to) {
            let (id, debit) = (body::identity(&told.id), told.debit);
            let transfer = Transfer { id, from, to, amount, debit, credit, sent, answered };
            self.transfers.push(transfer);
            self.shrink();
        }
    }

    pub(crate) fn doubt(&mut self, doubt: Doubt) {
        match self.doubts.len() < UNKNOWN_MAX {
            true => self.doubts.push(doubt),
            false => self.forgotten += 1,
        }
    }

    fn shrink(&mut self) {
        if self.writes.len() + self.reads.len() + self.transfers.len() < self.bound {
            return;
        }
        if self.has_reads && !self.reads.is_empty() {
            self.forget_reads();
            return;
        }
        let accounts = u32::try_from(self.totals.len()).expect("a number of accounts");
        let every = self.every.saturating_mul(2);
        // When nothing but one account is left, and it is too much, no history is looked at.
        self.thin(if every < accounts { every } else { 0 });
    }

    /// Forgets all reads.
    pub(crate) fn forget_reads(&mut self) {
        self.has_reads = false;
        self.reads.clear();
    }

    /// Keeps the histories of every so manieth account only.
    pub(crate) fn thin(&mut self, every: u32) {
        self.every = every;
        let keeps = |account: u32| every != 0 && account.is_multiple_of(every);
        self.writes.retain(|it| keeps(it.account));
        self.reads.retain(|it| keeps(it.account));
        self.transfers.retain(|it| keeps(it.from) || keeps(it.to));
    }

    /// Puts another thread's log to this one; what either has forgotten is forgotten.
    pub(crate) fn absorb(&mut self, mut other: Log) {
        let every = match (self.every, other.every) {
            (0, _) | (_, 0) => 0,
            (ours, theirs) => ours.max(theirs),
        };
        self.thin(every);
        other.thin(every);
        if !(self.has_reads && other.has_reads) {
            self.forget_reads();
            other.forget_reads();
        }
        self.writes.append(&mut other.writes);
        self.reads.append(&mut other.reads);
        self.transfers.append(&mut other.transfers);
        self.on_the_way.append(&mut other.on_the_way);
        self.doubts.append(&mut other.doubts);
        self.forgotten += other.forgotten;
        for (total, more) in self.totals.iter_mut().zip(other.totals) {
            total.count += more.count;
            total.sum += more.sum;
        }
    }

    /// Writes of unknown outcome, each item of a batch for itself.
    pub(crate) fn doubted(&self) -> u64 {
        let ops: usize = self.doubts.iter().map(|it| it.batch.len().max(1)).sum();
        u64::try_from(ops).unwrap_or(u64::MAX)
    }

    /// What is in doubt, for the auditor: entries that may be there or not.
    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        let alone = |it: &&Doubt| it.batch.is_empty();
        let single = self.doubts.iter().filter(alone).map(|it| &it.op);
        let batches = self.doubts.iter().flat_map(|it| &it.batch);
        let ops = single.chain(batches).chain(self.on_the_way.iter().map(|it| &it.op));
        let entries = ops.flat_map(|op| {
            let of = |account, deed| Unknown { account, deed, amount: i64::from(op.amount) };
            // A transfer may have reached its target or have come back.
            let credits = op.to.map(|to| [of(to, Deed::Credit), of(op.account, Deed::Credit)]);
            [of(op.account, op.deed)].into_iter().chain(credits.into_iter().flatten())
        });
        entries.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Entry, Identity, Position};
    use stdx::Moment;

    fn write(account: u32) -> Write {
        let after = Position { posted: 1, version: 1 };
        let entry = Entry { id: Identity(1), deed: Deed::Debit, amount: 5, after };
        Write { account, entry, sent: Moment::ZERO, answered: Moment::ZERO }
    }

    fn read(account: u32) -> Read {
        let shown = Position { posted: 1, version: 1 };
        Read { account, shown, sent: Moment::ZERO, answered: Moment::ZERO }
    }

    #[test]
    fn what_does_not_fit_is_forgotten_account_by_account() {
        let mut log = Log::new(8, 16);
        for number in 0..8 {
            log.wrote(write(number));
            log.read(read(number));
        }
        assert!(!log.has_reads && log.reads.is_empty(), "reads go first");
        assert_eq!((log.every, log.writes.len()), (1, 8));
        for number in 0..8 {
            log.wrote(write(number));
        }
        assert_eq!(log.every, 2);
        assert!(log.writes.iter().all(|it| it.account % 2 == 0));
        assert!(log.totals.iter().all(|it| it.count == 2 && it.sum == -10), "all are counted");
    }

    #[test]
    fn one_account_that_is_too_much_is_not_looked_at() {
        let mut log = Log::new(1, 4);
        (0..10).for_each(|_| log.wrote(write(0)));
        assert!(!log.keeps(0) && log.writes.is_empty());
        assert_eq!(log.totals[0].count, 10);
    }

    #[test]
    fn a_transfer_is_of_two_accounts() {
        let mut log = Log::new(4, 100);
        let op = Op { account: 1, deed: Deed::Debit, amount: 5, to: Some(2) };
        let told = |end| Transferred { id: "tr_1".into(), debit: Identity(1), end };
        let mut take = |end| log.transferred(op, &told(end), Moment::ZERO, Moment::ZERO);
        take(Some(TransferEnd::Completed(Identity(2))));
        take(Some(TransferEnd::Returned));
        take(None);
        let totals: Vec<_> = log.totals.iter().map(|it| (it.count, it.sum)).collect();
        assert_eq!(totals, [(0, 0), (3, -5), (1, 5), (0, 0)]);
        assert_eq!((log.transfers.len(), log.on_the_way.len()), (2, 1));
        let unknown: Vec<_> = log.unknown().iter().map(|it| (it.account, it.deed)).collect();
        assert_eq!(unknown, [(1, Deed::Debit), (2, Deed::Credit), (1, Deed::Credit)]);
        log.thin(2);
        assert_eq!(log.transfers.len(), 2, "one of its accounts is kept");
        log.thin(4);
        assert_eq!(log.transfers.len(), 0);
    }

    #[test]
    fn two_logs_are_as_forgetful_as_the_worse() {
        let (mut ours, mut theirs) = (Log::new(4, 100), Log::new(4, 100));
        for number in 0..4 {
            ours.wrote(write(number));
            ours.read(read(number));
            theirs.wrote(write(number));
        }
        theirs.thin(2);
        theirs.forget_reads();
        ours.absorb(theirs);
        assert_eq!((ours.every, ours.writes.len(), ours.reads.len()), (2, 4, 0));
        assert!(ours.totals.iter().all(|it| it.count == 2));
    }
}
