//! The schema as `verify` reads it, beside whoever writes.

use crate::{
    block,
    copy::{Copied, Digest, ViewsCopy, of_postings},
    engine::KeyMark,
    error::{EngineError, Kind},
    key_scan::Part,
    postgres::{
        Doors,
        failure::Failure,
        key_reads, keys,
        limits::Purpose,
        link::{Link, param},
        reading::{ACCOUNT_COLUMNS, Reading, Reads, account},
        schema::{self, Schema},
    },
    records::{Fence, Order, Range, RawRecord, Records},
    url::PostgresUrl,
    verify::{Archive, KEYS_WANTED, check_service},
    views::Views,
};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use wire::{AccountId, PartitionId, Posting, Seq, ServiceTag};

/// Accounts or objects that are fetched at once.
const ACCOUNTS_MAX: i64 = 5_000;
/// Accounts whose blocks are asked for at once, and blocks of one answer: two megabytes.
const OWNERS_MAX: usize = 500;
const BLOCKS_MAX: usize = 64;

/// A service's schema, to be read.
pub(crate) struct PostgresArchive {
    link: Link,
    schema: Schema,
    reads: Reads,
    service: ServiceTag,
    partitions: u16,
    accounts: String,
    objects: String,
    blocks: String,
    orphans: String,
}

/// A block's row: its account, what it says of its postings, and they.
type Block<'a> = (i64, [i64; 5], &'a [u8]);

impl PostgresArchive {
    /// # Errors
    /// When there is no engine in the schema, or the database is out of reach.
    pub(crate) fn open(url: &PostgresUrl, service: &str) -> Result<PostgresArchive, EngineError> {
        let doors = Doors::of(url, service, 0)?;
        let link = doors.link(Purpose::Read)?;
        if !schema::is_there(&link, &doors.schema).map_err(|failure| link.told(failure))? {
            let what = "there is no such service in this database";
            return Err(EngineError::new(Kind::Mismatch, link.place(), what));
        }
        let meta = schema::read(&link, &doors.schema)?;
        meta.check_format(link.place())?;
        check_service(link.place(), &meta.service, service)?;
        let sql = |text: &str| doors.schema.sql(text);
        Ok(PostgresArchive {
            partitions: meta.partitions(link.place())?,
            reads: Reads::of(&doors.schema),
            schema: doors.schema.clone(),
            service: doors.service,
            accounts: sql(&format!(
                "SELECT {ACCOUNT_COLUMNS}, a.number FROM @accounts a
                 WHERE a.partition = $1 AND $2 < a.number ORDER BY a.number LIMIT $3"
            )),
            objects: sql("SELECT data, open, key FROM @objects WHERE partition = $1 AND $2 < key
                 ORDER BY key LIMIT $3"),
            blocks: sql(
                "SELECT account, first_version, last_version, first_time, last_time, count::bigint,
                    postings
                 FROM @blocks WHERE account = ANY($1) AND (account, first_version) > ($2, $3)
                 ORDER BY account, first_version LIMIT $4",
            ),
            orphans: sql("SELECT count(*) FROM @blocks b WHERE NOT EXISTS (
                    SELECT 1 FROM @accounts a
                    WHERE a.number = b.account AND b.last_version <= a.version
                 )"),
            link,
        })
    }

    /// Each statement sees the state of its own time.
    fn plain(&self) -> Reading<'_> {
        Reading::plain(&self.link, &self.reads)
    }

    fn snapshot(&self, partition: PartitionId) -> Result<ViewsCopy, EngineError> {
        let state = Reading::begin(&self.link, &self.reads)?;
        let (mark, external) = (state.mark(partition)?, state.external(partition)?);
        let (accounts, objects, problems) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut copy = ViewsCopy { mark, external, objects, accounts, problems };
        let id = i32::from(partition.0);
        self.copy_objects(id, &mut copy)?;
        let mut last = i64::MIN;
        loop {
            let params = [param(&id), param(&last), param(&ACCOUNTS_MAX)];
            let rows = self.ask(&self.accounts, &params)?;
            for row in &rows {
                last = self.told(self.link.get(row, 10))?;
                match account(&self.link, row) {
                    Ok(state) => {
                        let copied = Copied { number: last, state, postings: Digest::default() };
                        let _none = copy.accounts.insert(copied.state.id.clone(), copied);
                    }
                    Err(_) => {
                        copy.problems.push(format!("views: account number {last} makes no sense"));
                    }
                }
            }
            if i64::try_from(rows.len()).unwrap_or(0) < ACCOUNTS_MAX {
                return Ok(copy);
            }
        }
    }

    fn copy_objects(&self, partition: i32, copy: &mut ViewsCopy) -> Result<(), EngineError> {
        let mut last: Vec<u8> = Vec::new();
        loop {
            let params = [param(&partition), param(&last), param(&ACCOUNTS_MAX)];
            let rows = self.ask(&self.objects, &params)?;
            for row in &rows {
                let data: &[u8] = self.told(self.link.get(row, 0))?;
                copy.add_object(data, self.told(self.link.get(row, 1))?);
            }
            let Some(row) = rows.last() else { return Ok(()) };
            last = self.told(self.link.get(row, 2))?;
        }
    }

    /// Reads the blocks of these accounts into their digests.
    fn postings(
        &self,
        partition: PartitionId,
        owners: &mut BTreeMap<i64, (&AccountId, u64, &mut Digest)>,
        problems: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let numbers: Vec<i64> = owners.keys().copied().collect();
        let limit = i64::try_from(BLOCKS_MAX).expect("a few");
        let mut last = (i64::MIN, i64::MIN);
        loop {
            let params = [param(&numbers), param(&last.0), param(&last.1), param(&limit)];
            let rows = self.ask(&self.blocks, &params)?;
            for row in &rows {
                let (number, header, data) = self.told(self.block(row))?;
                last = (number, header[0]);
                let Some((id, version, digest)) = owners.get_mut(&number) else { continue };
                if i64::try_from(*version).is_ok_and(|version| version < header[0]) {
                    continue; // It came after the snapshot.
                }
                if let Err(what) = self.take_in(partition, id, (header, data), digest) {
                    problems.push(format!("views: a block of account {id} {what}"));
                }
            }
            if rows.len() < BLOCKS_MAX {
                return Ok(());
            }
        }
    }

    fn block<'a>(&self, row: &'a Row) -> Result<Block<'a>, Failure> {
        let at = |at| self.link.get::<i64>(row, at);
        let header = [at(1)?, at(2)?, at(3)?, at(4)?, at(5)?];
        Ok((at(0)?, header, self.link.get(row, 6)?))
    }

    /// What is wrong with a block, if anything is.
    fn take_in(
        &self,
        partition: PartitionId,
        id: &AccountId,
        (header, data): ([i64; 5], &[u8]),
        digest: &mut Digest,
    ) -> Result<(), String> {
        let mut found: Vec<Posting> = Vec::new();
        let read = block::each(data, self.service, partition, id, |posting, bytes| {
            digest.add(bytes);
            found.push(posting);
        });
        read.map_err(|flaw| format!("makes no sense: {}", flaw.0))?;
        match of_postings(&found) == Some(header) {
            true => Ok(()),
            false => Err("says other things of its postings than they do".to_string()),
        }
    }

    fn ask(
        &self,
        sql: &str,
        params: &[crate::postgres::link::Param<'_>],
    ) -> Result<Vec<Row>, EngineError> {
        self.told(self.link.query(sql, params))
    }

    fn told<T>(&self, done: Result<T, Failure>) -> Result<T, EngineError> {
        done.map_err(|failure| self.link.told(failure))
    }
}

impl Records for PostgresArchive {
    fn place(&self) -> String {
        self.link.place().to_owned()
    }

    fn rows(&self, range: Range, order: Order) -> Result<Vec<RawRecord>, EngineError> {
        self.plain().rows(range, order)
    }

    fn end(&self, partition: PartitionId) -> Result<Seq, EngineError> {
        self.plain().end(partition)
    }

    fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError> {
        self.plain().fence(partition)
    }
}

impl Archive for PostgresArchive {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    fn fence_and_end(&self, partition: PartitionId) -> Result<(Fence, Seq), EngineError> {
        let state = Reading::begin(&self.link, &self.reads)?;
        Ok((state.fence(partition)?, state.end(partition)?))
    }

    fn views(&self, partition: PartitionId) -> Result<Option<ViewsCopy>, EngineError> {
        let mut copy = self.snapshot(partition)?;
        let mut problems = Vec::new();
        let mut rest = copy.accounts.values_mut();
        loop {
            let mut owners: BTreeMap<i64, (&AccountId, u64, &mut Digest)> = rest
                .by_ref()
                .take(OWNERS_MAX)
                .map(|it| (it.number, (&it.state.id, it.state.version, &mut it.postings)))
                .collect();
            if owners.is_empty() {
                break;
            }
            self.postings(partition, &mut owners, &mut problems)?;
        }
        copy.problems.extend(problems);
        Ok(Some(copy))
    }

    fn keys(&self, partition: PartitionId, from: Option<KeyMark>) -> Result<Part, EngineError> {
        let part = || key_reads::part(&self.link, &self.schema, &[partition], from, KEYS_WANTED);
        self.told(key_reads::again_without_a_day(part))
    }

    fn key_days(&self) -> Result<Vec<i64>, EngineError> {
        self.told(keys::days(&self.link, &self.schema))
    }

    fn orphans(&self) -> Result<u64, EngineError> {
        self.told((|| {
            let row = self.link.query_one(&self.orphans, &[])?;
            Ok(self.link.get::<i64>(&row, 0)?.unsigned_abs())
        })())
    }
}
