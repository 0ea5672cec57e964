//! A database for something that is no journal: a schema of its own, and statements whose values
//! are numbers, texts and bytes. The connection, its TLS and its limits are those of the engine.

use crate::{
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        limits::Purpose,
        link::{Link, Param, param},
        target::Target,
    },
    url::PostgresUrl,
};
use std::sync::Arc;
use tokio_postgres::{Row, types::Type};

/// Statements that are sent before the first of their answers is waited for.
const PIPELINE_MAX: usize = 512;
/// Bytes of a name in PostgreSQL.
const NAME_BYTES_MAX: usize = 63;

/// What a session is for: how long its statements may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Setup,
    Write,
    Read,
}

/// A value that is sent or that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Datum {
    fn param(&self) -> Param<'_> {
        match self {
            Datum::Int(it) => param(it),
            Datum::Text(it) => (it, Type::TEXT),
            Datum::Bytes(it) => (it, Type::BYTEA),
        }
    }
}

/// A statement and its values.
#[derive(Clone, Debug)]
pub struct Put {
    pub sql: String,
    pub values: Vec<Datum>,
    /// It has to find this many rows, or nothing of its transaction is done.
    pub rows: Option<u64>,
}

/// A connection, opened when it is first used and anew after it broke. Its calls block, and must
/// not be made by who drives another runtime on the same thread.
#[derive(Debug)]
pub struct Session {
    link: Link,
}

impl Session {
    /// # Errors
    /// When the URL makes no sense; when the process has no file descriptors left.
    pub fn new(url: &PostgresUrl, id: i64, schema: &str, of: Use) -> Result<Session, EngineError> {
        let target = Target::of(url)?;
        let purpose = match of {
            Use::Setup => Purpose::Setup,
            Use::Write => Purpose::Commit,
            Use::Read => Purpose::Read,
        };
        let place = format!("{}, schema {schema}", target.shown);
        Ok(Session { link: Link::new(&Arc::new(target), purpose, id, place)? })
    }

    /// The name of a schema: what comes first, then a name, cut where PostgreSQL would cut it.
    ///
    /// # Errors
    /// When it is too long, and might be another's after it was cut.
    pub fn schema(first: &str, name: &str) -> Result<String, EngineError> {
        let schema = format!("{first}_{name}");
        if NAME_BYTES_MAX < schema.len() || schema.contains('"') {
            let what = format!("no name of at most {NAME_BYTES_MAX} bytes for a schema");
            return Err(EngineError::new(Kind::Unsupported, schema, what));
        }
        Ok(schema)
    }

    /// Statements without values, in one transaction with the schema, which is made if need be, as
    /// the place of names without one.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses them.
    pub fn make(&self, schema: &str, sql: &str) -> Result<(), EngineError> {
        let script = format!(
            "CREATE SCHEMA IF NOT EXISTS \"{schema}\"; SET LOCAL search_path TO \"{schema}\"; {sql}"
        );
        let done = self.link.begin("BEGIN").and_then(|open| {
            self.link.run(&script)?;
            open.commit()
        });
        done.map_err(|failure| self.link.told(failure))
    }

    /// All of these in one transaction.
    ///
    /// # Errors
    /// When nothing was done, or nobody knows what: only of the kind [`Kind::Corrupt`] it is certain
    /// that nothing was, nor will be another time.
    pub fn commit(&self, puts: &[Put]) -> Result<(), EngineError> {
        self.transact(puts).map_err(|failure| self.link.told(failure))
    }

    fn transact(&self, puts: &[Put]) -> Result<(), Failure> {
        let open = self.link.begin("BEGIN")?;
        for part in puts.chunks(PIPELINE_MAX) {
            let values: Vec<Vec<Param<'_>>> =
                part.iter().map(|put| put.values.iter().map(Datum::param).collect()).collect();
            let batch: Vec<(&str, &[Param<'_>])> = part
                .iter()
                .zip(&values)
                .map(|(put, values)| (put.sql.as_str(), values.as_slice()))
                .collect();
            let counts = self.link.pipeline(&batch)?;
            for (put, count) in part.iter().zip(counts) {
                if put.rows.is_some_and(|rows| rows != count) {
                    let what = "somebody else has opened what is kept there";
                    return Err(EngineError::new(Kind::Deposed, self.link.place(), what).into());
                }
            }
        }
        open.commit()
    }

    /// The rows of a question.
    ///
    /// # Errors
    /// When the database cannot be reached or refuses it.
    pub fn rows(&self, sql: &str, values: &[Datum]) -> Result<Vec<Vec<Datum>>, EngineError> {
        let values: Vec<Param<'_>> = values.iter().map(Datum::param).collect();
        let rows = self.link.query(sql, &values).map_err(|failure| self.link.told(failure))?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &Row) -> Result<Vec<Datum>, EngineError> {
        let cell = |(at, column): (usize, &tokio_postgres::Column)| {
            let wrong = |error: tokio_postgres::Error| self.link.corrupt(error.to_string());
            match *column.type_() {
                Type::INT8 => row.try_get(at).map(Datum::Int).map_err(wrong),
                Type::INT4 => {
                    let value: Option<i32> = row.try_get(at).map_err(wrong)?;
                    Ok(Datum::Int(value.map(i64::from)))
                }
                Type::TEXT => row.try_get(at).map(Datum::Text).map_err(wrong),
                Type::BYTEA => row.try_get(at).map(Datum::Bytes).map_err(wrong),
                ref other => Err(self.link.corrupt(format!("a column of type {other}"))),
            }
        };
        row.columns().iter().enumerate().map(cell).collect()
    }
}
