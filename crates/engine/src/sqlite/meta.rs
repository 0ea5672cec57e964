//! The journal's tables, and what was fixed when they were made: it must match at every start.
//!
//! ```text
//! meta     what decides where an account lives, and which folder this is
//! node     who opened the engine: one row per start of a process
//! part     the fence: one row per partition, with its owner, epoch, and the end of its journal
//! pin      where partitions were moved by hand
//! journal  the records, in the order in which they were committed
//! place    where in that order a partition's records are: see `PLACE_SPAN`
//! ```

use crate::{
    engine::{Place, Settings},
    error::{EngineError, Kind},
    sqlite::{
        backup::Purpose,
        files::{Files, corrupt, disk, sql},
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::{fs, os::unix::fs::MetadataExt};
use wire::{PartitionId, Seq, limits};

/// Of the tables, the rows in them, and the records. Version 2 had no places, and an index of all
/// records.
const FORMAT_VERSION: i64 = 3;
/// A record's row is fewer than so many after one of its partition that has a place: the last one
/// that is not behind the record. To find a record is to look up one place and to pass over so
/// many rows at the most; an index of every record would change as many pages in every commit as
/// there are partitions in it.
pub(crate) const PLACE_SPAN: i64 = 128;
/// Of the hash that places an account, `wire::AccountId::partition`.
const HASH_VERSION: i64 = 1;
/// Bits of a record's number below a partition's, where one number names both: as many as a
/// transaction's id can bear.
const SEQ_BITS: u32 = 40;

const SCHEMA: &str = "
    CREATE TABLE meta (
        format_version INTEGER NOT NULL, service TEXT NOT NULL, partitions INTEGER NOT NULL,
        hash_version INTEGER NOT NULL, place INTEGER NOT NULL, incarnation TEXT NOT NULL,
        device TEXT NOT NULL, inode TEXT NOT NULL
    ) STRICT;
    CREATE TABLE node (
        node_id INTEGER PRIMARY KEY, name TEXT NOT NULL, pid INTEGER NOT NULL,
        started INTEGER NOT NULL, state TEXT NOT NULL CHECK (state IN ('active', 'gone'))
    ) STRICT;
    CREATE TABLE part (
        part_id INTEGER PRIMARY KEY, owner INTEGER, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        hash BLOB NOT NULL, time INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE journal (
        number INTEGER PRIMARY KEY, partition INTEGER NOT NULL, seq INTEGER NOT NULL,
        hash BLOB NOT NULL, record BLOB NOT NULL
    ) STRICT;
";

const SCHEMA_PLACES: &str = "
    CREATE TABLE place (
        partition INTEGER NOT NULL, seq INTEGER NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (partition, seq)
    ) STRICT, WITHOUT ROWID;
";

/// Of a journal of version 2 every record gets a place.
const FROM_VERSION_2: &str = "
    INSERT INTO place SELECT partition, seq, number FROM journal ORDER BY partition, seq;
    UPDATE meta SET format_version = 3;
";

/// Came later: what has it not gets it.
const SCHEMA_PINS: &str = "
    CREATE TABLE IF NOT EXISTS pin (part_id INTEGER PRIMARY KEY, node TEXT NOT NULL) STRICT;
";

/// What the `meta` row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) format_version: i64,
    pub(crate) service: String,
    pub(crate) partitions: i64,
    pub(crate) hash_version: i64,
    pub(crate) place: i64,
    pub(crate) incarnation: String,
    pub(crate) device: String,
    pub(crate) inode: String,
}

/// Makes the tables where there are none, and checks what is there against the settings. To be
/// called at the turnstile.
pub(crate) fn create_or_check(
    files: &Files,
    connection: &mut Connection,
    settings: &Settings,
) -> Result<Meta, EngineError> {
    let path = files.journal();
    let failed = |error| sql(&path, &error);
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begun.map_err(failed)?;
    if !has_tables(&transaction).map_err(failed)? {
        let (device, inode) = identity(files)?;
        create(&transaction, settings, &device, &inode).map_err(failed)?;
    }
    transaction.execute_batch(SCHEMA_PINS).map_err(failed)?;
    if read(files, &transaction)?.format_version == 2 {
        transaction.execute_batch(SCHEMA_PLACES).map_err(failed)?;
        transaction.execute_batch(FROM_VERSION_2).map_err(failed)?;
    }
    let meta = read(files, &transaction)?;
    transaction.commit().map_err(failed)?;
    check(files, &meta, settings)?;
    Ok(meta)
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'meta'";
    Ok(connection.query_row(sql, [], |_| Ok(())).optional()?.is_some())
}

/// Makes the tables of a copy of the journal that `of` describes.
pub(crate) fn create_copy(
    files: &Files,
    connection: &Connection,
    of: &Meta,
    purpose: Purpose,
) -> Result<(), EngineError> {
    let path = files.journal();
    let failed = |error| sql(&path, &error);
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let fresh = match purpose {
        // It stays a copy of that very file, and no node opens it.
        Purpose::Keep => of.clone(),
        Purpose::GoOn(incarnation) => {
            let (device, inode) = identity(files)?;
            Meta { incarnation: format!("{incarnation:032x}"), device, inode, ..of.clone() }
        }
    };
    let partitions = of.partitions(files)?;
    tables(&transaction, &fresh, partitions).map_err(failed)?;
    transaction.execute_batch(SCHEMA_PINS).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn create(
    transaction: &Transaction<'_>,
    settings: &Settings,
    device: &str,
    inode: &str,
) -> rusqlite::Result<()> {
    let meta = Meta {
        format_version: FORMAT_VERSION,
        service: settings.service.clone(),
        partitions: settings.partitions.into(),
        hash_version: HASH_VERSION,
        place: settings.place.code().into(),
        incarnation: format!("{:032x}", settings.incarnation),
        device: device.to_owned(),
        inode: inode.to_owned(),
    };
    tables(transaction, &meta, settings.partitions)
}

/// The tables of a journal that has no record yet.
fn tables(transaction: &Transaction<'_>, meta: &Meta, partitions: u16) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(SCHEMA_PLACES)?;
    transaction.execute(
        "INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            meta.format_version,
            meta.service,
            meta.partitions,
            meta.hash_version,
            meta.place,
            meta.incarnation,
            meta.device,
            meta.inode,
        ],
    )?;
    let mut insert = transaction.prepare("INSERT INTO part VALUES (?, NULL, 0, 0, ?, 0)")?;
    for partition in 0..partitions {
        insert.execute(params![partition, [0_u8; 32]])?;
    }
    Ok(())
}

/// Reads the `meta` row.
pub(crate) fn read(files: &Files, connection: &Connection) -> Result<Meta, EngineError> {
    let path = files.journal();
    let read = connection.query_row("SELECT * FROM meta", [], |row| {
        Ok(Meta {
            format_version: row.get("format_version")?,
            service: row.get("service")?,
            partitions: row.get("partitions")?,
            hash_version: row.get("hash_version")?,
            place: row.get("place")?,
            incarnation: row.get("incarnation")?,
            device: row.get("device")?,
            inode: row.get("inode")?,
        })
    });
    read.optional()
        .map_err(|error| sql(&path, &error))?
        .ok_or_else(|| corrupt(&path, "has no meta row"))
}

impl Meta {
    /// Partitions of the service.
    pub(crate) fn partitions(&self, files: &Files) -> Result<u16, EngineError> {
        u16::try_from(self.partitions)
            .ok()
            .filter(|count| (1..=limits::PARTITIONS_MAX).contains(count))
            .ok_or_else(|| {
                corrupt(&files.journal(), format!("claims {} partitions", self.partitions))
            })
    }

    /// Refuses a format that this program cannot read.
    pub(crate) fn check_format(&self, files: &Files) -> Result<(), EngineError> {
        same(files, "format version", self.format_version, FORMAT_VERSION)?;
        same(files, "hash version", self.hash_version, HASH_VERSION)
    }
}

fn check(files: &Files, meta: &Meta, settings: &Settings) -> Result<(), EngineError> {
    meta.check_format(files)?;
    same(files, "service", meta.service.as_str(), settings.service.as_str())?;
    same(files, "partitions", meta.partitions, i64::from(settings.partitions))?;
    let place = "place among the service's engines";
    same(files, place, Place::shown(meta.place), Place::shown(settings.place.code().into()))?;
    let (device, inode) = identity(files)?;
    if (&meta.device, &meta.inode) != (&device, &inode) {
        let what = format!(
            "was copied here: it was created as inode {} of device {} and now is inode {inode} of \
             device {device}. Two continuations of one journal would spend the same money twice, \
             so it does not open; to go on from a copy, make it a new one with `tollgate restore`",
            meta.inode, meta.device,
        );
        return Err(EngineError::new(Kind::Copied, files.journal().display(), what));
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(
    files: &Files,
    name: &str,
    stored: T,
    wanted: T,
) -> Result<(), EngineError> {
    EngineError::unless_same(files.journal().display(), name, stored, wanted)
}

/// Which file the journal is to the kernel. Asked by name: opening it is for SQLite alone.
fn identity(files: &Files) -> Result<(String, String), EngineError> {
    let path = files.journal();
    let stat = fs::metadata(&path).map_err(|error| disk(&path, &error))?;
    Ok((stat.dev().to_string(), stat.ino().to_string()))
}

/// One number for a record of the service; `None` for a number beyond what it can bear.
pub(crate) fn record_id(partition: PartitionId, seq: Seq) -> Option<i64> {
    let seq = i64::try_from(seq.0).ok().filter(|seq| *seq < 1 << SEQ_BITS)?;
    Some((i64::from(partition.0) << SEQ_BITS) | seq)
}

/// Where the record of this number stands; `None` for a number that is none of ours.
pub(crate) fn record_place(id: i64) -> Option<(PartitionId, Seq)> {
    let partition = u16::try_from(id >> SEQ_BITS).ok()?;
    let seq = u64::try_from(id & ((1 << SEQ_BITS) - 1)).ok()?;
    Some((PartitionId(partition), Seq(seq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_partition_and_number() {
        for (partition, seq) in [(0, 1), (4_095, (1 << 40) - 1), (7, 0)] {
            let place = (PartitionId(partition), Seq(seq));
            assert_eq!(record_place(record_id(place.0, place.1).unwrap()), Some(place));
        }
        assert_eq!(record_id(PartitionId(0), Seq(1 << 40)), None);
        assert_eq!(record_id(PartitionId(0), Seq(u64::MAX)), None);
        assert_eq!(record_place(-1), None);
    }
}
