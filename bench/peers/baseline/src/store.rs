//! Accounts and entries in PostgreSQL.

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::NoTls;

/// Connections of the pool. Tried on two cores: 8 and 16 were slower at 256 clients, 64 no faster.
const CONNECTIONS: usize = 32;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS account (
        id text PRIMARY KEY, currency text NOT NULL, balance bigint NOT NULL, version bigint NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE IF NOT EXISTS entry (
        id bigserial PRIMARY KEY, account text NOT NULL, key text NOT NULL, amount bigint NOT NULL,
        balance_after bigint NOT NULL, version bigint NOT NULL,
        at timestamptz NOT NULL DEFAULT now(), UNIQUE (account, key)
    );";

// The update waits for the row's lock; whoever had it before has committed or not when it goes on.
const CHANGE: &str = "
    WITH moved AS (
        UPDATE account SET balance = balance + $3, version = version + 1
         WHERE id = $1 AND currency = $2 AND balance + $3 >= 0 RETURNING balance, version)
    INSERT INTO entry (account, key, amount, balance_after, version)
    SELECT $1, $4, $3, balance, version FROM moved RETURNING id, balance_after, version";
const KEYED: &str = "SELECT id, balance_after, version FROM entry WHERE account = $1 AND key = $2";
const LOOK: &str = "SELECT balance, version FROM account WHERE id = $1 AND currency = $2";
const STORE: &str = "UPDATE account SET balance = $2, version = $3 WHERE id = $1";
const NOTE: &str = "
    INSERT INTO entry (account, key, amount, balance_after, version)
    VALUES ($1, $2, $3, $4, $5) RETURNING id";

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub enum Outcome {
    Done { id: i64, balance: i64, version: i64 },
    Refused,
}

pub struct Store(Pool);

impl Store {
    pub async fn connect(url: &str) -> Result<Store, Failure> {
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(url.parse()?, NoTls, fast);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        pool.get().await?.batch_execute(SCHEMA).await?;
        Ok(Store(pool))
    }

    /// False: it is there already.
    pub async fn open(&self, id: &str, currency: &str) -> Result<bool, Failure> {
        let insert = "INSERT INTO account VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING";
        Ok(self.0.get().await?.execute(insert, &[&id, &currency]).await? == 1)
    }

    /// One statement, one transaction, one round trip.
    pub async fn change(
        &self,
        account: &str,
        currency: &str,
        key: &str,
        change: i64,
    ) -> Result<Outcome, Failure> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(CHANGE).await?;
        match client.query_opt(&statement, &[&account, &currency, &change, &key]).await {
            Ok(Some(row)) => {
                Ok(Outcome::Done { id: row.get(0), balance: row.get(1), version: row.get(2) })
            }
            // Refused, or a repeat of a debit that emptied the account.
            Ok(None) => keyed(&client, account, key).await,
            // The key is there: nothing was changed, and the first outcome is the outcome.
            Err(err) if err.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) => {
                keyed(&client, account, key).await
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Reads, decides, writes; for whoever holds the account's lock elsewhere.
    pub async fn change_in_steps(
        &self,
        account: &str,
        currency: &str,
        key: &str,
        change: i64,
    ) -> Result<Outcome, Failure> {
        let mut client = self.0.get().await?;
        if let Outcome::Done { id, balance, version } = keyed(&client, account, key).await? {
            return Ok(Outcome::Done { id, balance, version });
        }
        let transaction = client.transaction().await?;
        let look = transaction.prepare_cached(LOOK).await?;
        let Some(row) = transaction.query_opt(&look, &[&account, &currency]).await? else {
            return Ok(Outcome::Refused);
        };
        let (balance, version): (i64, i64) = (row.get(0), row.get(1));
        let Some(balance) = balance.checked_add(change).filter(|it| 0 <= *it) else {
            return Ok(Outcome::Refused);
        };
        let version = version + 1;
        let (store, note) =
            (transaction.prepare_cached(STORE).await?, transaction.prepare_cached(NOTE).await?);
        transaction.execute(&store, &[&account, &balance, &version]).await?;
        let noted =
            transaction.query_one(&note, &[&account, &key, &change, &balance, &version]).await?;
        let id = noted.get(0);
        transaction.commit().await?;
        Ok(Outcome::Done { id, balance, version })
    }
}

async fn keyed(
    client: &deadpool_postgres::Client,
    account: &str,
    key: &str,
) -> Result<Outcome, Failure> {
    let statement = client.prepare_cached(KEYED).await?;
    Ok(match client.query_opt(&statement, &[&account, &key]).await? {
        Some(row) => Outcome::Done { id: row.get(0), balance: row.get(1), version: row.get(2) },
        None => Outcome::Refused,
    })
}
