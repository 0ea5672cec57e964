//! The files as `verify` reads them, beside whoever writes.

use crate::{
    copy::ViewsCopy,
    engine::KeyMark,
    error::EngineError,
    key_scan::Part,
    records::{Fence, Order, Range, RawRecord, Records},
    sqlite::{files::Files, journal::Journal, views_copy::ViewsReader},
    verify::{Archive, check_service},
};
use std::path::Path;
use wire::{PartitionId, Seq, ServiceTag};

/// A service's folder, to be read.
pub(crate) struct SqliteArchive {
    journal: Journal,
    /// `None` where there are no views.
    views: Option<ViewsReader>,
    partitions: u16,
}

impl SqliteArchive {
    /// # Errors
    /// When there is no engine in the folder, or another service's.
    pub(crate) fn open(folder: &Path, service: &str) -> Result<SqliteArchive, EngineError> {
        let files = Files::existing(folder)?;
        let journal = Journal::open(&files)?;
        let meta = journal.meta()?;
        meta.check_format(&files)?;
        check_service(&folder.display().to_string(), &meta.service, service)?;
        let partitions = meta.partitions(&files)?;
        let views = ViewsReader::open(&files, ServiceTag::of(service))?;
        Ok(SqliteArchive { journal, views, partitions })
    }
}

impl Records for SqliteArchive {
    fn place(&self) -> String {
        self.journal.place()
    }

    fn rows(&self, range: Range, order: Order) -> Result<Vec<RawRecord>, EngineError> {
        self.journal.rows(range, order)
    }

    fn end(&self, partition: PartitionId) -> Result<Seq, EngineError> {
        self.journal.end(partition)
    }

    fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError> {
        self.journal.fence(partition)
    }
}

impl Archive for SqliteArchive {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    fn fence_and_end(&self, partition: PartitionId) -> Result<(Fence, Seq), EngineError> {
        self.journal.fence_and_end(partition)
    }

    fn views(&self, partition: PartitionId) -> Result<Option<ViewsCopy>, EngineError> {
        self.views.as_ref().map(|views| views.copy(partition)).transpose()
    }

    fn keys(&self, partition: PartitionId, from: Option<KeyMark>) -> Result<Part, EngineError> {
        let none = Part { keys: Vec::new(), next: None };
        self.views.as_ref().map_or(Ok(none), |views| views.keys(partition, from))
    }

    fn key_days(&self) -> Result<Vec<i64>, EngineError> {
        self.views.as_ref().map_or(Ok(Vec::new()), ViewsReader::key_days)
    }

    fn orphans(&self) -> Result<u64, EngineError> {
        self.views.as_ref().map_or(Ok(0), ViewsReader::orphans)
    }
}
