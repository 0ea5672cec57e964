//! Every transaction of a service, from its journal, beside whoever writes it.

use crate::{
    error::EngineError,
    postgres::archive::PostgresArchive,
    records::{Range, SEQ_MAX},
    sqlite::archive::SqliteArchive,
    url::EngineUrl,
    verify::Archive,
};
use wire::{PartitionId, Posting, Seq, ServiceTag};

/// Shows `visit` every transaction that the engine at `url` has, partition by partition, oldest
/// first. A transaction that was reversed later does not say so: the one that reverses it does.
///
/// # Errors
/// When there is no such engine, it is another service's, or it cannot be read.
pub fn transactions(
    url: &EngineUrl,
    service: &str,
    visit: impl FnMut(Posting),
) -> Result<(), EngineError> {
    match url {
        EngineUrl::Sqlite(folder) => walk(&SqliteArchive::open(folder, service)?, service, visit),
        EngineUrl::Postgres(url) => walk(&PostgresArchive::open(url, service)?, service, visit),
    }
}

fn walk(
    archive: &impl Archive,
    service: &str,
    mut visit: impl FnMut(Posting),
) -> Result<(), EngineError> {
    let tag = ServiceTag::of(service);
    for partition in (0..archive.partitions()).map(PartitionId) {
        let range = Range { partition, first: Seq(1), last: SEQ_MAX };
        archive.for_each(range, |record, _| {
            for (index, _) in (0_u16..).zip(&record.items) {
                if let Some(posting) = record.posting(tag, index) {
                    visit(posting);
                }
            }
        })?;
    }
    Ok(())
}
