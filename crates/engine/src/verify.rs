//! Re-derives the books from the journal alone, and compares them with everything that is stored.
//!
//! Works beside a running tree: of the views a copy of one partition is taken first, in short
//! reads; then the partition's journal is audited as far as that copy reaches, compared with it,
//! and audited to its end. Memory: one partition's accounts twice, and 40 bytes an account for the
//! digest of its postings. Of clients' keys it is said how many of a day are missing, not which.

mod audit;

use crate::{
    copy::ViewsCopy,
    engine::KeyMark,
    error::{EngineError, Kind},
    key_scan::Part,
    postgres::archive::PostgresArchive,
    records::{Fence, Records},
    sqlite::archive::SqliteArchive,
    url::EngineUrl,
};
use audit::Audit;
use ledger::Chain;
use wire::{Epoch, PartitionId, Seq, ServiceTag, query::CurrencyBooks};

/// Keys that are read at a time.
pub(crate) const KEYS_WANTED: usize = 50_000;
/// Complaints of one partition that are listed one by one; the rest are counted.
pub const PROBLEMS_MAX: usize = 100;

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Report {
    pub service: String,
    pub partitions: Vec<PartitionReport>,
}

/// What it found in one partition.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    pub partition: PartitionId,
    /// The end of the journal as far as it was audited.
    pub head: Chain,
    /// The fence row's.
    pub epoch: Epoch,
    /// Commands decided, refusals among them.
    pub commands_count: u64,
    /// Debits and credits booked.
    pub transactions_count: u64,
    pub accounts_count: u64,
    /// The last record that the views had; 0 when there are none.
    pub watermark: Seq,
    /// The books at `head`.
    pub currencies: Vec<CurrencyBooks>,
    /// What is wrong, as sentences, at most [`PROBLEMS_MAX`]; empty when all is well.
    pub problems: Vec<String>,
    /// Problems beyond those.
    pub problems_more: u64,
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub partition: PartitionId,
    pub partitions_count: u16,
    pub records_done: u64,
    /// Of this partition.
    pub records_count: u64,
}

/// Why nothing could be verified: not what is wrong with the books, which is in the report.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct VerifyError(#[from] pub EngineError);

impl Report {
    /// True when nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.partitions.iter().all(|it| it.problems.is_empty())
    }
}

/// What a verification reads of an engine.
pub(crate) trait Archive: Records {
    /// Partitions of the service.
    fn partitions(&self) -> u16;

    /// The fence row of a partition and the number of its last record, in one snapshot.
    fn fence_and_end(&self, partition: PartitionId) -> Result<(Fence, Seq), EngineError>;

    /// The views of one partition; `None` where there are none: they are made again.
    fn views(&self, partition: PartitionId) -> Result<Option<ViewsCopy>, EngineError>;

    /// A part of the keys of a partition, as the views have them.
    fn keys(&self, partition: PartitionId, from: Option<KeyMark>) -> Result<Part, EngineError>;

    /// The days of keys that the views have.
    fn key_days(&self) -> Result<Vec<i64>, EngineError>;

    /// Blocks of the views that belong to no account, or reach beyond its version.
    fn orphans(&self) -> Result<u64, EngineError>;
}

/// Verifies the engine at `url`, beside whoever runs on it.
///
/// # Errors
/// When there is no such engine, it is another service's, or it cannot be read at all.
pub fn verify(
    url: &EngineUrl,
    service: &str,
    progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    match url {
        EngineUrl::Sqlite(folder) => {
            audit(&SqliteArchive::open(folder, service)?, service, progress)
        }
        EngineUrl::Postgres(url) => audit(&PostgresArchive::open(url, service)?, service, progress),
    }
}

fn audit(
    archive: &impl Archive,
    service: &str,
    mut progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    let partitions_count = archive.partitions();
    let tag = ServiceTag::of(service);
    let mut partitions = Vec::with_capacity(usize::from(partitions_count));
    for partition in (0..partitions_count).map(PartitionId) {
        let mut audit = Audit::new(archive, tag, partition);
        let mut told = |records_done, records_count| {
            progress(Progress { partition, partitions_count, records_done, records_count });
        };
        if let Err(error) = audit.run(&mut told) {
            audit.failed(error)?;
        }
        partitions.push(audit.report);
    }
    if let Some(first) = partitions.first_mut() {
        match archive.orphans() {
            Ok(0) => (),
            Ok(count) => first.problem(format!("views: {count} blocks are no account's")),
            Err(error) if error.kind == Kind::Corrupt => first.problem(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Report { service: service.to_string(), partitions })
}

/// Refuses to verify one service as another.
pub(crate) fn check_service(place: &str, stored: &str, wanted: &str) -> Result<(), EngineError> {
    if stored == wanted {
        return Ok(());
    }
    let what = format!("is service {stored:?}, not {wanted:?}");
    Err(EngineError::new(Kind::Mismatch, place, what))
}

impl PartitionReport {
    fn new(partition: PartitionId) -> PartitionReport {
        PartitionReport {
            partition,
            head: Chain::EMPTY,
            epoch: Epoch(0),
            commands_count: 0,
            transactions_count: 0,
            accounts_count: 0,
            watermark: Seq(0),
            currencies: Vec::new(),
            problems: Vec::new(),
            problems_more: 0,
        }
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        } else {
            self.problems_more += 1;
        }
    }
}
