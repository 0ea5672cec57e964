//! What the monitor keeps: in SQLite, in a folder of its own, or in a PostgreSQL database.
//!
//! Whatever belongs together is one transaction: a change of state, its incident and the letters
//! about it. Transactions of many beats are committed together by one thread, so that a beat is
//! durable before it is answered and ten thousand a second still fit one disk. Another thread
//! reads, so that no beat waits for somebody who looks at a year.

mod history;
mod load;
mod log;
mod postgres;
mod reader;
mod rolling;
mod row;
mod schema;
mod sql;
mod sqlite;
mod writer;

pub use self::{
    history::{History, Letters},
    load::Loaded,
    log::Known,
    reader::Archive,
    row::{Bucket, Old, Ping, Rolled, Row, Tallied},
    sql::StoreError,
    writer::{Store, Trouble},
};

use self::{postgres::Postgres, sql::Database, sqlite::Sqlite};
use engine::url::PostgresUrl;
use std::path::PathBuf;

/// Where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// `monitor.db` in this folder.
    Folder(PathBuf),
    /// A schema of this monitor's own in a database, named after it.
    Database { url: PostgresUrl, monitor: String },
}

impl Site {
    /// The first connection, which sees to it that the tables are there, and which writes: who has
    /// opened the same before writes no more.
    fn create(&self) -> Result<Box<dyn Database>, StoreError> {
        match self {
            Site::Folder(folder) => Ok(Box::new(Sqlite::create(folder)?)),
            Site::Database { url, monitor } => Ok(Box::new(Postgres::create(url, monitor)?)),
        }
    }

    /// Another one, which reads.
    fn open(&self) -> Result<Box<dyn Database>, StoreError> {
        match self {
            Site::Folder(folder) => Ok(Box::new(Sqlite::open(folder)?)),
            Site::Database { url, monitor } => Ok(Box::new(Postgres::open(url, monitor)?)),
        }
    }
}
