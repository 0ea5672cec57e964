//! One state of journal and views, read in a transaction that only reads.

use crate::{
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        link::{Link, Open, param},
        schema::Schema,
    },
    records::{CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX, Fence, Order, Range, RawRecord, Records},
    tail::Head,
    views::{self, AccountRow, Balance, Before, BlockVisit, Views},
};
use ledger::{Chain, Hash, Object, ObjectKey};
use tokio_postgres::Row;
use wire::{AccountId, AccountState, Contra, Currency, Epoch, PartitionId, Seq, Timestamp};

/// One state of everything, from the first statement on.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Blocks that are fetched at once: a page of history takes one or two.
const BLOCKS_MAX: usize = 8;
/// Accounts that are fetched at once to be summed.
const BALANCES_MAX: i64 = 10_000;

/// What [`account`] reads, in its order.
pub(crate) const ACCOUNT_COLUMNS: &str = "a.id, a.currency, a.status, a.posted, a.held, \
    a.overdraft_limit, a.version, a.created_at, a.updated_at, a.metadata";

/// The statements of a reader.
pub(crate) struct Reads {
    rows: String,
    rows_back: String,
    end: String,
    time: String,
    fence: String,
    mark: String,
    external: String,
    objects: String,
    open_objects: String,
    accounts: String,
    blocks: String,
    accounts_before: String,
    balances: String,
}

impl Reads {
    pub(crate) fn of(schema: &Schema) -> Reads {
        let rows = |direction: &str| {
            schema.sql(&format!(
                "SELECT seq, hash, record FROM (
                    SELECT seq, hash, record, sum(octet_length(record))
                        OVER (ORDER BY seq {direction}) - octet_length(record) AS before
                    FROM @journal WHERE partition = $1 AND seq BETWEEN $2 AND $3
                    ORDER BY seq {direction} LIMIT $4
                 ) AS chunk WHERE before < $5 ORDER BY seq {direction}"
            ))
        };
        Reads {
            rows: rows("ASC"),
            rows_back: rows("DESC"),
            end: schema.sql("SELECT max(seq) FROM @journal WHERE partition = $1"),
            time: schema.sql("SELECT time FROM @journal WHERE partition = $1 AND seq = $2"),
            fence: schema.sql("SELECT owner, epoch, seq, hash, time FROM @part WHERE part_id = $1"),
            mark: schema.sql("SELECT seq, hash, time FROM @marks WHERE partition = $1"),
            external: schema.sql(
                "SELECT currency, balance::text FROM @external WHERE partition = $1 ORDER BY 1",
            ),
            objects: schema.sql(
                "SELECT o.data, w.at FROM unnest($1::int4[], $2::bytea[])
                    WITH ORDINALITY AS w(partition, key, at)
                 JOIN @objects o ON o.partition = w.partition AND o.key = w.key",
            ),
            open_objects: schema.sql("SELECT data FROM @objects WHERE partition = $1 AND open"),
            accounts: schema.sql(&format!(
                "SELECT {ACCOUNT_COLUMNS}, w.at FROM unnest($1::int4[], $2::text[])
                    WITH ORDINALITY AS w(partition, id, at)
                 JOIN @accounts a ON a.partition = w.partition AND a.id = w.id"
            )),
            blocks: schema.sql(
                "SELECT b.first_version, b.last_time, b.postings FROM @accounts a
                 JOIN @blocks b ON b.account = a.number
                 WHERE a.partition = $1 AND a.id = $2 AND b.first_version < $3
                   AND b.first_time < $4
                 ORDER BY b.first_version DESC LIMIT $5",
            ),
            accounts_before: schema.sql(&format!(
                "SELECT {ACCOUNT_COLUMNS}, a.partition FROM @accounts a
                 WHERE (a.created_at, a.id) < ($1, $2) AND a.partition = ANY($3)
                 ORDER BY a.created_at DESC, a.id DESC LIMIT $4"
            )),
            balances: schema.sql(
                "SELECT number, partition, id, currency, posted FROM @accounts
                 WHERE $1 < number AND partition = ANY($2) ORDER BY number LIMIT $3",
            ),
        }
    }
}

/// One state, until it is dropped. To be held for one call, never longer.
pub(crate) struct Reading<'a> {
    link: &'a Link,
    reads: &'a Reads,
    /// `None` where there is but one statement.
    _open: Option<Open<'a>>,
}

impl<'a> Reading<'a> {
    pub(crate) fn begin(link: &'a Link, reads: &'a Reads) -> Result<Reading<'a>, EngineError> {
        let begun = link.begin(BEGIN);
        let open = begun.map_err(|failure| link.told(failure))?;
        Ok(Reading { link, reads, _open: Some(open) })
    }

    /// With what the load of a partition looks at first, in the same round trip.
    pub(crate) fn begin_at_head(
        link: &'a Link,
        reads: &'a Reads,
        partition: PartitionId,
    ) -> Result<(Reading<'a>, Head), EngineError> {
        let id = i32::from(partition.0);
        let params = [param(&id)];
        let head = [&reads.mark, &reads.external, &reads.open_objects, &reads.fence];
        let begun = link.begin_with(BEGIN, &head.map(|sql| (sql.as_str(), &params[..])));
        let (open, rows) = begun.map_err(|failure| link.told(failure))?;
        let state = Reading { link, reads, _open: Some(open) };
        let [marks, external, open, fence] = &rows[..] else {
            return Err(link.corrupt("four statements have four answers".to_owned()));
        };
        let head = state.read(|_| {
            Ok(Head {
                watermark: state.mark_of(marks)?,
                external: external.iter().map(|row| contra(link, row)).collect::<Result<_, _>>()?,
                open: open.iter().map(|row| object(link, row)).collect::<Result<_, _>>()?,
                fence: state.fence_of(fence, id)?.chain,
            })
        })?;
        Ok((state, head))
    }

    /// Each statement sees the state of its own time.
    pub(crate) fn plain(link: &'a Link, reads: &'a Reads) -> Reading<'a> {
        Reading { link, reads, _open: None }
    }

    fn read<T>(&self, read: impl FnOnce(&Link) -> Result<T, Failure>) -> Result<T, EngineError> {
        read(self.link).map_err(|failure| self.link.told(failure))
    }

    fn mark_of(&self, rows: &[Row]) -> Result<Chain, Failure> {
        rows.first().map_or(Ok(Chain::EMPTY), |row| self.chain(row, 0))
    }

    fn fence_of(&self, rows: &[Row], id: i32) -> Result<Fence, Failure> {
        let Some(row) = rows.first() else {
            let what = format!("has no partition {id}");
            return Err(EngineError::new(Kind::Mismatch, self.link.place(), what).into());
        };
        let epoch = Epoch(self.number(self.link.get(row, 1)?)?);
        Ok(Fence { owner: self.link.get(row, 0)?, epoch, chain: self.chain(row, 2)? })
    }

    fn chain(&self, row: &Row, first: usize) -> Result<Chain, Failure> {
        let seq = self.number(self.link.get(row, first)?)?;
        let hash = hash(self.link, row, first + 1)?;
        Ok(Chain { seq: Seq(seq), hash, time: Timestamp(self.link.get(row, first + 2)?) })
    }

    fn number(&self, number: i64) -> Result<u64, Failure> {
        let what = || self.link.corrupt(format!("{number} is no number of a record or an epoch"));
        u64::try_from(number).map_err(|_| what().into())
    }
}

impl Records for Reading<'_> {
    fn place(&self) -> String {
        self.link.place().to_owned()
    }

    fn rows(&self, range: Range, order: Order) -> Result<Vec<RawRecord>, EngineError> {
        let select = match order {
            Order::Forward => &self.reads.rows,
            Order::Backward => &self.reads.rows_back,
        };
        let number = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
        let (first, last) = (number(range.first), number(range.last));
        let partition = i32::from(range.partition.0);
        let bytes_max = i64::try_from(CHUNK_BYTES_MAX).expect("megabytes");
        let records_max = i64::from(CHUNK_RECORDS_MAX);
        let params = [
            param(&partition),
            param(&first),
            param(&last),
            param(&records_max),
            param(&bytes_max),
        ];
        self.read(|link| {
            let raw = |row: &Row| {
                // The query asked for no negative ones.
                let seq = Seq(link.get::<i64>(row, 0)?.unsigned_abs());
                Ok(RawRecord { seq, hash: hash(link, row, 1)?, bytes: link.get(row, 2)? })
            };
            link.query(select, &params)?.iter().map(raw).collect()
        })
    }

    /// Only for want of rows does a chunk end before it is full.
    fn is_surely_last(&self, rows: &[RawRecord]) -> bool {
        let bytes: usize = rows.iter().map(|row| row.bytes.len()).sum();
        rows.len() < CHUNK_RECORDS_MAX as usize && bytes < CHUNK_BYTES_MAX
    }

    fn end(&self, partition: PartitionId) -> Result<Seq, EngineError> {
        let partition = i32::from(partition.0);
        self.read(|link| {
            let row = link.query_one(&self.reads.end, &[param(&partition)])?;
            Ok(Seq(self.number(link.get::<Option<i64>>(&row, 0)?.unwrap_or(0))?))
        })
    }

    fn fence(&self, partition: PartitionId) -> Result<Fence, EngineError> {
        let id = i32::from(partition.0);
        self.read(|link| self.fence_of(&link.query(&self.reads.fence, &[param(&id)])?, id))
    }

    fn time(&self, partition: PartitionId, seq: Seq) -> Result<Option<Timestamp>, EngineError> {
        let Ok(seq) = i64::try_from(seq.0) else { return Ok(None) };
        let partition = i32::from(partition.0);
        self.read(|link| {
            let rows = link.query(&self.reads.time, &[param(&partition), param(&seq)])?;
            rows.first().map(|row| Ok(Timestamp(link.get(row, 0)?))).transpose()
        })
    }
}

impl Views for Reading<'_> {
    fn place(&self) -> String {
        self.link.place().to_owned()
    }

    fn mark(&self, partition: PartitionId) -> Result<Chain, EngineError> {
        let partition = i32::from(partition.0);
        self.read(|link| self.mark_of(&link.query(&self.reads.mark, &[param(&partition)])?))
    }

    fn external(&self, partition: PartitionId) -> Result<Vec<(Contra, i128)>, EngineError> {
        let partition = i32::from(partition.0);
        self.read(|link| {
            let rows = link.query(&self.reads.external, &[param(&partition)])?;
            rows.iter().map(|row| contra(link, row)).collect()
        })
    }

    fn objects(
        &self,
        keys: &[(PartitionId, ObjectKey)],
    ) -> Result<Vec<Option<Object>>, EngineError> {
        let partitions: Vec<i32> = keys.iter().map(|(it, _)| i32::from(it.0)).collect();
        let names: Vec<Vec<u8>> = keys.iter().map(|(_, it)| it.bytes().to_vec()).collect();
        let mut found = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        self.read(|link| {
            for row in link.query(&self.reads.objects, &[param(&partitions), param(&names)])? {
                let at = usize::try_from(link.get::<i64>(&row, 1)?).unwrap_or(0);
                if let Some(place) = at.checked_sub(1).and_then(|at| found.get_mut(at)) {
                    *place = Some(object(link, &row)?);
                }
            }
            Ok(found)
        })
    }

    fn open_objects(&self, partition: PartitionId) -> Result<Vec<Object>, EngineError> {
        let partition = i32::from(partition.0);
        self.read(|link| {
            let rows = link.query(&self.reads.open_objects, &[param(&partition)])?;
            rows.iter().map(|row| object(link, row)).collect()
        })
    }

    fn accounts(
        &self,
        ids: &[(PartitionId, AccountId)],
    ) -> Result<Vec<Option<AccountState>>, EngineError> {
        let partitions: Vec<i32> = ids.iter().map(|(it, _)| i32::from(it.0)).collect();
        let names: Vec<&str> = ids.iter().map(|(_, it)| it.as_str()).collect();
        let mut found = vec![None; ids.len()];
        if ids.is_empty() {
            return Ok(found);
        }
        self.read(|link| {
            for row in link.query(&self.reads.accounts, &[param(&partitions), param(&names)])? {
                let at = usize::try_from(link.get::<i64>(&row, 10)?).unwrap_or(0);
                if let Some(place) = at.checked_sub(1).and_then(|at| found.get_mut(at)) {
                    *place = Some(account(link, &row)?);
                }
            }
            Ok(found)
        })
    }

    fn blocks(
        &self,
        (partition, account): (PartitionId, &AccountId),
        before: Before,
        each: BlockVisit<'_>,
    ) -> Result<(), EngineError> {
        let (partition, id) = (i32::from(partition.0), account.as_str());
        let mut version = before.version;
        let limit = i64::try_from(BLOCKS_MAX).expect("a few");
        loop {
            let params = [
                param(&partition),
                param(&id),
                param(&version),
                param(&before.time.0),
                param(&limit),
            ];
            let rows = self.read(|link| link.query(&self.reads.blocks, &params))?;
            for row in &rows {
                let block = self.read(|link| Ok((link.get(row, 1)?, link.get(row, 2)?)));
                let (last_time, data): (i64, &[u8]) = block?;
                if !each(Timestamp(last_time), data)? {
                    return Ok(());
                }
                version = self.read(|link| link.get(row, 0))?;
            }
            if rows.len() < BLOCKS_MAX {
                return Ok(());
            }
        }
    }

    fn accounts_before(
        &self,
        partitions: &[PartitionId],
        (at, id): (Timestamp, &str),
        wanted: usize,
    ) -> Result<Vec<(PartitionId, AccountState)>, EngineError> {
        let partitions: Vec<i32> = partitions.iter().map(|it| it.0.into()).collect();
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let params = [param(&at.0), param(&id), param(&partitions), param(&wanted)];
        self.read(|link| {
            let read = |row: &Row| Ok((partition(link, row, 10)?, account(link, row)?));
            link.query(&self.reads.accounts_before, &params)?.iter().map(read).collect()
        })
    }

    fn each_balance(
        &self,
        partitions: &[PartitionId],
        each: &mut dyn FnMut(Balance<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let partitions: Vec<i32> = partitions.iter().map(|it| it.0.into()).collect();
        let mut last = i64::MIN;
        loop {
            let params = [param(&last), param(&partitions), param(&BALANCES_MAX)];
            let rows = self.read(|link| link.query(&self.reads.balances, &params))?;
            for row in &rows {
                let link = self.link;
                let read = || -> Result<(i64, PartitionId, &str, &str, i64), Failure> {
                    let (number, partition) = (link.get(row, 0)?, partition(link, row, 1)?);
                    let (id, currency) = (link.get(row, 2)?, link.get(row, 3)?);
                    Ok((number, partition, id, currency, link.get(row, 4)?))
                };
                let (number, partition, id, currency, posted) = self.read(|_| read())?;
                let currency = Currency::parse(currency)
                    .ok_or_else(|| link.corrupt(format!("account {id} has no currency")))?;
                each(Balance { partition, id, currency, posted })?;
                last = number;
            }
            if i64::try_from(rows.len()).unwrap_or(0) < BALANCES_MAX {
                return Ok(());
            }
        }
    }
}

pub(crate) fn hash(link: &Link, row: &Row, at: usize) -> Result<Hash, Failure> {
    let bytes: &[u8] = link.get(row, at)?;
    let hash = <[u8; 32]>::try_from(bytes);
    hash.map(Hash).map_err(|_| link.corrupt("a hash is not of 32 bytes".to_owned()).into())
}

pub(crate) fn partition(link: &Link, row: &Row, at: usize) -> Result<PartitionId, Failure> {
    let number: i32 = link.get(row, at)?;
    let id = u16::try_from(number);
    id.map(PartitionId).map_err(|_| link.corrupt(format!("{number} is no partition")).into())
}

/// Reads a row of the external balances.
fn contra(link: &Link, row: &Row) -> Result<(Contra, i128), Failure> {
    let (name, balance): (&str, &str) = (link.get(row, 0)?, link.get(row, 1)?);
    let nonsense = || link.corrupt(format!("contra account {name} {balance:?}"));
    views::contra(name, balance).ok_or_else(|| nonsense().into())
}

/// Reads a row that begins with an object's bytes.
fn object(link: &Link, row: &Row) -> Result<Object, Failure> {
    let nonsense = |flaw| link.corrupt(format!("an object makes no sense: {flaw}"));
    Object::decode(link.get(row, 0)?).map_err(|flaw| nonsense(flaw).into())
}

/// Reads a row that begins with [`ACCOUNT_COLUMNS`].
pub(crate) fn account(link: &Link, row: &Row) -> Result<AccountState, Failure> {
    let status: i32 = link.get(row, 2)?;
    let found = AccountRow {
        id: link.get(row, 0)?,
        currency: link.get(row, 1)?,
        status: status.into(),
        posted: link.get(row, 3)?,
        held: link.get(row, 4)?,
        overdraft_limit: link.get(row, 5)?,
        version: link.get(row, 6)?,
        created_at: link.get(row, 7)?,
        updated_at: link.get(row, 8)?,
        metadata: link.get(row, 9)?,
    };
    let nonsense = || link.corrupt(format!("the row of account {} makes no sense", found.id));
    found.state().ok_or_else(|| nonsense().into())
}
