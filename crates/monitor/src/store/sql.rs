//! The same statements for every database: how values go in and rows come out.
//!
//! Statements are written once, in the words that SQLite and PostgreSQL share, with `?1`, `?2` and
//! so on for their values.

use serde::de::DeserializeOwned;
use wire::Timestamp;

/// Why nothing could be stored or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct StoreError {
    /// A path, or a database and a schema.
    pub place: String,
    /// The cause, as a sentence.
    pub what: String,
    /// What was asked is refused, now and whenever it is asked again.
    pub is_refused: bool,
}

impl StoreError {
    /// Nothing can be stored now.
    pub(crate) fn away() -> StoreError {
        StoreError::new("the store", "it takes nothing now")
    }

    pub(super) fn new(place: impl ToString, what: impl ToString) -> StoreError {
        StoreError { place: place.to_string(), what: what.to_string(), is_refused: false }
    }
}

/// A value for a statement. What may be missing says of which type it would be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Value::Int(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(Some(value))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(Some(value))
    }
}

impl<'a> From<&'a Option<String>> for Value<'a> {
    fn from(value: &'a Option<String>) -> Self {
        Value::Text(value.as_deref())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Bytes(value)
    }
}

/// The values of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use values;

/// What stands in one column of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row that was read.
#[derive(Clone, Debug)]
pub(super) struct Fields(pub(super) Vec<Cell>);

impl Fields {
    /// A number that may be missing.
    pub(super) fn maybe_int(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(at) {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Int(value)) => Ok(Some(*value)),
            Some(Cell::Text(_) | Cell::Bytes(_)) | None => Err(wrong(at, "a number")),
        }
    }

    pub(super) fn int(&self, at: usize) -> Result<i64, StoreError> {
        self.maybe_int(at)?.ok_or_else(|| wrong(at, "a number"))
    }

    /// A number that is never below zero.
    pub(super) fn count(&self, at: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(at)?).map_err(|_| wrong(at, "a count"))
    }

    pub(super) fn time(&self, at: usize) -> Result<Timestamp, StoreError> {
        self.int(at).map(Timestamp)
    }

    /// A text that may be missing.
    pub(super) fn maybe_text(&self, at: usize) -> Result<Option<&str>, StoreError> {
        match self.0.get(at) {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(value)) => Ok(Some(value)),
            Some(Cell::Int(_) | Cell::Bytes(_)) | None => Err(wrong(at, "a text")),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<&str, StoreError> {
        self.maybe_text(at)?.ok_or_else(|| wrong(at, "a text"))
    }

    pub(super) fn bytes(&self, at: usize) -> Result<&[u8], StoreError> {
        match self.0.get(at) {
            Some(Cell::Bytes(value)) => Ok(value),
            Some(Cell::Null | Cell::Int(_) | Cell::Text(_)) | None => Err(wrong(at, "bytes")),
        }
    }

    /// A column that holds JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, at: usize) -> Result<T, StoreError> {
        serde_json::from_str(self.text(at)?).map_err(|err| StoreError::new("a stored value", err))
    }
}

fn wrong(at: usize, wanted: &str) -> StoreError {
    StoreError::new(format_args!("column {at}"), format_args!("{wanted} was expected"))
}

/// A connection to what keeps everything. It is opened anew by itself after it broke.
pub(super) trait Database: Send {
    /// Begins a transaction.
    fn begin(&self) -> Result<(), StoreError>;
    /// Makes what was put since durable; after an error nobody knows.
    fn commit(&self) -> Result<(), StoreError>;
    /// Undoes what was put since.
    fn undo(&self);
    /// A statement that changes something. Within a transaction it may be sent as late as the
    /// commit.
    fn put(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError>;
    /// The rows of a question.
    fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fields>, StoreError>;

    /// The first row, if there is one.
    fn row(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<Fields>, StoreError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }
}

/// As JSON, for a column of text.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|err| StoreError::new("a value to be stored", err))
}

/// A count as databases know them.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
