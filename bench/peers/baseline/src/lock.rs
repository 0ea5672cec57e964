//! Locks in Redis, as its documentation has them for one instance: SET NX PX with a token, and a
//! script that deletes the key only if the token is still there. Nothing fences the database
//! against a holder whose time ran out; that is what such a design has.

use redis::{Script, aio::ConnectionManager};
use std::time::Duration;

/// After so long a lock ends by itself.
const HOLD_MS: u64 = 5_000;
/// The first wait for a lock that is taken, doubled each time.
const PAUSE: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(8);
/// Then the request is refused.
const TRIES_MAX: u32 = 1_000;

pub struct Locks {
    connection: ConnectionManager,
    release: Script,
}

impl Locks {
    pub async fn connect(url: &str) -> redis::RedisResult<Locks> {
        let connection = redis::Client::open(url)?.get_connection_manager().await?;
        let release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";
        Ok(Locks { connection, release: Script::new(release) })
    }

    /// The token that gives it back.
    pub async fn take(&self, account: &str) -> Result<String, String> {
        let token = uuid::Uuid::now_v7().to_string();
        let mut pause = PAUSE;
        for _ in 0..TRIES_MAX {
            let mut set = redis::cmd("SET");
            set.arg(format!("lock:{account}")).arg(&token).arg("NX").arg("PX").arg(HOLD_MS);
            let taken: Option<String> = set
                .query_async(&mut self.connection.clone())
                .await
                .map_err(|err| err.to_string())?;
            if taken.is_some() {
                return Ok(token);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err("the account's lock was not to be had".to_owned())
    }

    pub async fn release(&self, account: &str, token: &str) -> redis::RedisResult<()> {
        let mut call = self.release.prepare_invoke();
        call.key(format!("lock:{account}")).arg(token);
        call.invoke_async(&mut self.connection.clone()).await
    }
}
