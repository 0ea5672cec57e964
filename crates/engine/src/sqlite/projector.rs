//! Brings records into the views: per account one change of its row, and one block of postings.
//!
//! One transaction at the views' turnstile. It begins by comparing each partition's mark with
//! where its records would continue, so a projector whose partition somebody else projects writes
//! nothing at all.
//!
//! CPU a transaction, checkpoints included (release, 2 cores, `bench_project`), in µs; a row set per
//! transaction costs 13:
//!
//! ```text
//! transactions a call          2,000              20,000
//! keys                    minted  clients'    minted  clients'
//!     1,000 accounts         3.3       3.7       0.6       0.8
//! 1,000,000 accounts        22.5      22.4      12.4      12.5
//! ```
//!
//! What is dear is each page changed for one row alone, so larger calls are the cheaper ones.

use crate::{
    block,
    change::{Change, Changes, Posted},
    ends::Ends,
    engine::Projector,
    error::{EngineError, ProjectError},
    key_days,
    sqlite::{
        committer::is_failing_disk,
        files::{Files, Mode, corrupt, sql},
        keys,
        turnstile::{self, Turnstile},
        views,
        wal::Wal,
    },
};
use ledger::{Chain, Hash, Object, ObjectKey, Record};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use wire::{AccountId, AccountState, PartitionId, ServiceTag, Timestamp};

/// The views are checkpointed when their WAL is this long: 16 MB. They are synced only then, so
/// longer is cheaper; a page changed by many transactions is written back once.
const WAL_PAGES_MAX: i32 = 4_000;
/// The projector's page cache: the tables of a million accounts half fit.
const CACHE_KIBIBYTES: i64 = 64 * 1024;

/// The projector thread's end of the engine.
#[derive(Debug)]
pub(crate) struct SqliteProjector {
    files: Files,
    path: PathBuf,
    connection: Connection,
    turnstile: Turnstile,
    wal: Wal,
    service: ServiceTag,
    /// Set while the views are made again: keys of days before this one are over.
    keys_from: i64,
    /// Set by a failing disk: a sync is not tried again.
    dead: Option<EngineError>,
}

impl SqliteProjector {
    pub(crate) fn open(files: &Files, service: ServiceTag) -> Result<SqliteProjector, EngineError> {
        let path = files.views();
        let mut connection = files.open_views(Mode::Write)?;
        let failed = |error| sql(&path, &error);
        connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES).map_err(failed)?;
        let wal = Wal::watch(&mut connection, WAL_PAGES_MAX).map_err(failed)?;
        let turnstile = Turnstile::open(&files.folder, turnstile::VIEWS)?;
        let files = files.clone();
        let (keys_from, dead) = (i64::MIN, None);
        Ok(SqliteProjector { files, path, connection, turnstile, wal, service, keys_from, dead })
    }

    /// For a journal that is brought into the views anew, and ends at this time: the keys that are
    /// too old by then are left out.
    pub(crate) fn leave_out_keys_before(&mut self, end: Timestamp) {
        self.keys_from = key_days::first_day(end);
    }
}

impl Projector for SqliteProjector {
    fn project(&mut self, records: &[(Arc<Record>, Hash)]) -> Result<(), ProjectError> {
        if let Some(error) = &self.dead {
            return Err(error.clone().into());
        }
        let ends = Ends::of(records, || self.path.display().to_string())?;
        let changes = Changes::of(records, self.service);
        let turn = self.turnstile.enter()?;
        let done = self.write(&ends, changes);
        if done.is_err()
            && !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.dead = Some(sql(&self.path, &error));
        }
        // Once committed, the records are in the views whatever comes of this; what it says about
        // the disk counts from the next call on.
        let checkpoint = match done {
            Ok(()) => self.wal.checkpoint_if_long(&self.connection),
            Err(_) => Ok(()),
        };
        drop(turn);
        if let Err(error) = checkpoint {
            tracing::error!(%error, path = %self.path.display(), "checkpoint failed");
            if is_failing_disk(&error) {
                self.dead = Some(sql(&self.path, &error));
            }
        }
        done.map_err(|failure| self.told(failure))
    }

    fn watermark(&mut self, partition: PartitionId) -> Result<Chain, EngineError> {
        views::mark(&self.files, &self.connection, partition)
    }
}

enum Failure {
    Sql(rusqlite::Error),
    Flaw(wire::Flaw),
    Told(ProjectError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<keys::Failure> for Failure {
    fn from(failure: keys::Failure) -> Failure {
        match failure {
            keys::Failure::Sql(error) => Failure::Sql(error),
            keys::Failure::Flaw(flaw) => Failure::Flaw(flaw),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::Told(error.into())
    }
}

impl SqliteProjector {
    fn told(&mut self, failure: Failure) -> ProjectError {
        match failure {
            Failure::Told(error) => error,
            Failure::Flaw(flaw) => corrupt(&self.path, flaw.0).into(),
            Failure::Sql(error) => {
                let told = sql(&self.path, &error);
                if is_failing_disk(&error) {
                    self.dead = Some(told.clone());
                }
                told.into()
            }
        }
    }

    fn write(&self, ends: &Ends, changes: Changes<'_>) -> Result<(), Failure> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        self.compare_and_set(ends)?;
        keys::write(&self.connection, ends, &changes.keys, self.keys_from)?;
        self.write_external(&changes.external)?;
        self.write_objects(&changes.objects)?;
        let mut accounts: Vec<_> = changes.accounts.into_iter().collect();
        accounts.sort_unstable_by_key(|(key, _)| *key); // The order of the index of ids.
        let mut statements = Statements::prepare(&self.connection)?;
        for ((partition, id), change) in &accounts {
            self.write_account(&mut statements, *partition, id, change)?;
        }
        drop(statements);
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn compare_and_set(&self, ends: &Ends) -> Result<(), Failure> {
        let mut deposed = Vec::new();
        let replace = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)";
        let mut replace = self.connection.prepare_cached(replace)?;
        for (partition, (before, after)) in &ends.partitions {
            let mark = views::mark(&self.files, &self.connection, *partition)?;
            if (mark.seq, mark.hash) == (before.seq, before.hash) {
                let seq = self.number(after.seq.0)?;
                replace.execute(params![partition.0, seq, after.hash.0, after.time.0])?;
            } else {
                deposed.push(*partition);
            }
        }
        if deposed.is_empty() {
            return Ok(());
        }
        Err(Failure::Told(ProjectError::Deposed(deposed)))
    }

    fn write_external(
        &self,
        external: &BTreeMap<(PartitionId, wire::Contra), i128>,
    ) -> Result<(), Failure> {
        let replace = "INSERT OR REPLACE INTO external VALUES (?, ?, ?)";
        let mut replace = self.connection.prepare_cached(replace)?;
        for ((partition, contra), balance) in external {
            let row = params![partition.0, contra.to_string(), balance.to_string()];
            replace.execute(row)?;
        }
        Ok(())
    }

    /// What has ended stays so, whatever comes.
    fn write_objects(
        &self,
        objects: &BTreeMap<(PartitionId, ObjectKey), Object>,
    ) -> Result<(), Failure> {
        if objects.is_empty() {
            return Ok(());
        }
        let insert = "INSERT INTO objects VALUES (?, ?, ?, ?)
                      ON CONFLICT (partition, key)
                      DO UPDATE SET open = excluded.open, data = excluded.data WHERE open = 1";
        let mut insert = self.connection.prepare_cached(insert)?;
        let mut data = Vec::new();
        for ((partition, key), object) in objects {
            data.clear();
            object.encode(&mut data);
            insert.execute(params![partition.0, key.bytes(), object.is_open(), data])?;
        }
        Ok(())
    }

    fn write_account(
        &self,
        statements: &mut Statements<'_>,
        partition: PartitionId,
        id: &AccountId,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        let number = match (&change.patch.state, change.patch.last) {
            // The usual case: postings alone.
            (None, Some(last)) => {
                let version = self.number(last.version)?;
                let row =
                    params![last.posted, version, last.time.0, partition.0, id.as_str(), last.held];
                statements.post.query_row(row, |row| row.get(0)).optional()?
            }
            (None, None) => return Ok(()),
            (Some(_), _) => {
                let before = views::find_account(&self.files, &self.connection, partition, id)?;
                let state = change.patch.apply(before.map(|(_, state)| state));
                let state = state.ok_or_else(|| corrupt(&self.path, "an account of no state"))?;
                Some(self.replace(statements, partition, &state)?)
            }
        };
        let Some(number) = number else {
            let what = format!("partition {}: account {id} is missing, or too new", partition.0);
            return Err(corrupt(&self.path, what).into());
        };
        self.write_blocks(statements, number, &change.postings)
    }

    fn replace(
        &self,
        statements: &mut Statements<'_>,
        partition: PartitionId,
        state: &AccountState,
    ) -> Result<i64, Failure> {
        let row = params![
            partition.0,
            state.id.as_str(),
            state.currency.code(),
            state.status as u8,
            state.posted,
            state.held,
            state.overdraft_limit,
            self.number(state.version)?,
            state.created_at.0,
            state.updated_at.0,
            &*state.metadata,
        ];
        Ok(statements.replace.query_row(row, |row| row.get(0))?)
    }

    fn write_blocks(
        &self,
        statements: &mut Statements<'_>,
        account: i64,
        postings: &[Posted<'_>],
    ) -> Result<(), Failure> {
        let mut rest = postings;
        let mut data = Vec::new();
        while !rest.is_empty() {
            data.clear();
            let mut count = 0;
            for posted in rest.iter().take(block::BLOCK_POSTINGS_MAX) {
                block::encode(posted, &mut data);
                count += 1;
                if block::BLOCK_BYTES_MAX <= data.len() {
                    break;
                }
            }
            let (these, others) = rest.split_at(count);
            rest = others;
            let (Some(first), Some(last)) = (these.first(), these.last()) else { break };
            statements.block.execute(params![
                account,
                self.number(first.version)?,
                self.number(last.version)?,
                first.time.0,
                last.time.0,
                i64::try_from(count).expect("at most BLOCK_POSTINGS_MAX"),
                data,
            ])?;
        }
        Ok(())
    }

    /// A number of the journal as SQLite has numbers.
    fn number(&self, number: u64) -> Result<i64, EngineError> {
        i64::try_from(number).map_err(|_| corrupt(&self.path, "a number is beyond 2^63"))
    }
}

/// The statements that run once or more per account.
struct Statements<'a> {
    post: CachedStatement<'a>,
    replace: CachedStatement<'a>,
    block: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    fn prepare(connection: &'a Connection) -> rusqlite::Result<Statements<'a>> {
        Ok(Statements {
            post: connection.prepare_cached(
                "UPDATE accounts SET posted = ?1, version = ?2, updated_at = ?3,
                    held = coalesce(?6, held)
                 WHERE partition = ?4 AND id = ?5 AND version < ?2 RETURNING number",
            )?,
            replace: connection.prepare_cached(
                "INSERT INTO accounts (partition, id, currency, status, posted, held,
                    overdraft_limit, version, created_at, updated_at, metadata)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (partition, id) DO UPDATE SET
                    status = excluded.status, posted = excluded.posted, held = excluded.held,
                    overdraft_limit = excluded.overdraft_limit, version = excluded.version,
                    updated_at = excluded.updated_at, metadata = excluded.metadata
                 RETURNING number",
            )?,
            block: connection.prepare_cached(
                "INSERT INTO blocks (account, first_version, last_version, first_time, last_time,
                    count, postings)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )?,
        })
    }
}
