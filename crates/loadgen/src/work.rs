//! What is asked for: which account, debit, credit or read, and how much.

use std::{str::FromStr, sync::Arc};
use stdx::Rng;

/// Largest amount of one write, in minor units. Amounts differ so that a history that shows a
/// wrong one is found out.
const AMOUNT_MAX: usize = 1_000;
/// Of `mixed`, one operation in so many is a debit.
const MIXED_WRITE_EVERY: usize = 5;
/// The exponent of `zipf`, as in YCSB (Cooper et al. 2010).
const ZIPF_EXPONENT: f64 = 0.99;

/// A mixture of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Debits, every account as likely as another.
    Debits,
    /// Credits, likewise.
    Credits,
    /// Debits of one account.
    Hot,
    /// Balances, every account as likely as another.
    Reads,
    /// Four balances for one debit.
    Mixed,
    /// Debits, the account of rank k with a weight of 1/k^0.99.
    Zipf,
    /// As `Debits`, many in one request to one service.
    Batch,
    /// From one account to another, of another service where there are several.
    Transfers,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 8] = [
        Workload::Debits,
        Workload::Credits,
        Workload::Hot,
        Workload::Reads,
        Workload::Mixed,
        Workload::Zipf,
        Workload::Batch,
        Workload::Transfers,
    ];

    /// As it is written on the command line.
    pub const fn text(self) -> &'static str {
        match self {
            Workload::Debits => "debits",
            Workload::Credits => "credits",
            Workload::Hot => "hot",
            Workload::Reads => "reads",
            Workload::Mixed => "mixed",
            Workload::Zipf => "zipf",
            Workload::Batch => "batch",
            Workload::Transfers => "transfers",
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        Workload::ALL.into_iter().find(|it| it.text() == text).ok_or_else(|| {
            let names: Vec<&str> = Workload::ALL.iter().map(|it| it.text()).collect();
            format!("want one of {}", names.join(", "))
        })
    }
}

/// What one operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Debit,
    Credit,
    Read,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// Number of the account.
    pub(crate) account: u32,
    pub(crate) deed: Deed,
    /// Minor units; 0 of a read.
    pub(crate) amount: u32,
    /// Of a transfer: who is to receive what the debit takes.
    pub(crate) to: Option<u32>,
}

/// Chooses one operation after the other; the same seed, the same sequence.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    rng: Rng,
    workload: Workload,
    accounts: usize,
    /// Sums of the weights of the ranks so far; empty unless the workload is skewed.
    ranks: Arc<[f64]>,
}

impl Chooser {
    pub(crate) fn new(workload: Workload, accounts: u32, seed: u64) -> Chooser {
        let ranks = match workload {
            Workload::Zipf => zipf(accounts),
            Workload::Debits
            | Workload::Credits
            | Workload::Hot
            | Workload::Reads
            | Workload::Mixed
            | Workload::Batch
            | Workload::Transfers => Arc::default(),
        };
        let accounts = usize::try_from(accounts).expect("accounts fit memory");
        Chooser { rng: Rng::new(seed), workload, accounts, ranks }
    }

    /// The same mixture for another thread.
    pub(crate) fn reseeded(&self, seed: u64) -> Chooser {
        Chooser { rng: Rng::new(seed), ..self.clone() }
    }

    pub(crate) fn next(&mut self) -> Op {
        let account = match self.workload {
            Workload::Hot => 0,
            Workload::Zipf => self.ranked(),
            Workload::Debits
            | Workload::Credits
            | Workload::Reads
            | Workload::Mixed
            | Workload::Batch
            | Workload::Transfers => self.rng.below(self.accounts),
        };
        let deed = match self.workload {
            Workload::Debits
            | Workload::Hot
            | Workload::Zipf
            | Workload::Batch
            | Workload::Transfers => Deed::Debit,
            Workload::Credits => Deed::Credit,
            Workload::Reads => Deed::Read,
            Workload::Mixed if self.rng.below(MIXED_WRITE_EVERY) == 0 => Deed::Debit,
            Workload::Mixed => Deed::Read,
        };
        let amount = match deed {
            Deed::Read => 0,
            Deed::Debit | Deed::Credit => 1 + self.rng.below(AMOUNT_MAX),
        };
        Op {
            account: u32::try_from(account).expect("one of at most 2^32 accounts"),
            deed,
            amount: u32::try_from(amount).expect("a small number"),
            to: None,
        }
    }

    /// `count` operations on accounts of one service, of which there are `services`: account by
    /// account they take turns.
    pub(crate) fn batch(&mut self, count: u32, services: usize) -> Box<[Op]> {
        let services = u32::try_from(services).expect("a handful of services");
        let service = self.next().account % services;
        let accounts = u32::try_from(self.accounts).expect("at most 2^32 accounts");
        let mut of_service = || {
            let op = self.next();
            let account = op.account - op.account % services + service;
            // The last turn may not have reached this service.
            Op { account: if accounts <= account { service } else { account }, ..op }
        };
        (0..count).map(|_| of_service()).collect()
    }

    /// A transfer from one account to another, of another service where there are several.
    pub(crate) fn transfer(&mut self, services: usize) -> Op {
        let op = self.next();
        let services = u32::try_from(services).expect("a handful of services");
        let accounts = u32::try_from(self.accounts).expect("at most 2^32 accounts");
        let step = u32::try_from(1 + self.rng.below(self.accounts - 1)).expect("one of them");
        let after = |account: u32, step: u32| match accounts - account {
            left if left <= step => step - left,
            _ => account + step,
        };
        let mut to = after(op.account, step);
        // The last account and the first may be of one service.
        while to == op.account || (1 < services && to % services == op.account % services) {
            to = after(to, 1);
        }
        Op { to: Some(to), ..op }
    }

    fn ranked(&mut self) -> usize {
        let whole = self.ranks.last().copied().unwrap_or(0.0);
        let fraction = (self.rng.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let place = self.ranks.partition_point(|sum| *sum <= fraction * whole);
        place.min(self.accounts - 1)
    }
}

fn zipf(accounts: u32) -> Arc<[f64]> {
    let mut sum = 0.0;
    let weigh = |rank: u32| {
        sum += f64::from(rank).powf(-ZIPF_EXPONENT);
        sum
    };
    (1..=accounts).map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(workload: Workload, accounts: u32) -> (Vec<usize>, Vec<Op>) {
        let mut chooser = Chooser::new(workload, accounts, 7);
        let ops: Vec<Op> = (0..10_000).map(|_| chooser.next()).collect();
        let mut counts = vec![0; usize::try_from(accounts).unwrap()];
        for op in &ops {
            counts[usize::try_from(op.account).unwrap()] += 1;
        }
        (counts, ops)
    }

    #[test]
    fn spread_workloads_reach_every_account_about_as_often() {
        for workload in [Workload::Debits, Workload::Credits, Workload::Reads, Workload::Mixed] {
            let (counts, _) = counts(workload, 10);
            assert!(counts.iter().all(|it| (850..1_150).contains(it)), "{counts:?}");
        }
    }

    #[test]
    fn skewed_workloads_prefer_the_first() {
        assert_eq!(counts(Workload::Hot, 10).0[0], 10_000);
        let (counts, _) = counts(Workload::Zipf, 1_000);
        // The first of 1,000 ranks has 1/7.7 of the weight, the second half of that.
        assert!((1_150..1_450).contains(&counts[0]), "{}", counts[0]);
        assert!((550..750).contains(&counts[1]), "{}", counts[1]);
        assert!(counts.iter().filter(|it| 0 < **it).count() > 500);
    }

    #[test]
    fn a_mixture_is_four_reads_for_a_debit_and_amounts_differ() {
        let (_, ops) = counts(Workload::Mixed, 10);
        let debits: Vec<&Op> = ops.iter().filter(|it| it.deed == Deed::Debit).collect();
        assert!((1_850..2_150).contains(&debits.len()), "{}", debits.len());
        assert!(debits.iter().all(|it| 1 <= it.amount && it.amount <= 1_000));
        assert!(ops.iter().all(|it| (it.deed == Deed::Read) == (it.amount == 0)));
        assert!(debits.windows(2).any(|it| it[0].amount != it[1].amount));
    }

    #[test]
    fn a_batch_is_of_one_service() {
        let mut chooser = Chooser::new(Workload::Batch, 5, 7);
        let batches: Vec<_> = (0..50).map(|_| chooser.batch(20, 2)).collect();
        for batch in &batches {
            let service = batch[0].account % 2;
            assert!(batch.iter().all(|op| op.account % 2 == service && op.account < 5));
        }
        assert!(batches.iter().any(|it| it[0].account % 2 == 0));
        assert!(batches.iter().any(|it| it[0].account % 2 == 1));
    }

    #[test]
    fn a_transfer_is_to_another_service() {
        for (accounts, services) in [(2, 2), (5, 2), (7, 3), (9, 1), (2, 1), (2, 3)] {
            let mut chooser = Chooser::new(Workload::Transfers, accounts, 7);
            let ops: Vec<Op> = (0..500).map(|_| chooser.transfer(services)).collect();
            for op in &ops {
                let (from, to) = (op.account, op.to.unwrap());
                let count = u32::try_from(services).unwrap();
                assert!(to < accounts && to != from, "{op:?}");
                assert!(services == 1 || from % count != to % count, "{op:?}");
            }
            let reached = |account| ops.iter().any(|it| it.to == Some(account));
            assert!((0..accounts).all(reached), "{accounts} of {services}");
        }
    }

    #[test]
    fn workloads_are_read_as_they_are_written() {
        for workload in Workload::ALL {
            assert_eq!(workload.text().parse(), Ok(workload));
        }
        let complaint = "other".parse::<Workload>().unwrap_err();
        let all = "want one of debits, credits, hot, reads, mixed, zipf, batch, transfers";
        assert_eq!(complaint, all);
    }
}
