//! The store in a PostgreSQL database: a schema for each monitor, named after it.
//!
//! Every transaction asks first whether this process is still the last that opened the schema, and
//! does nothing if it is not. So a monitor that another has taken the place of, or one of another
//! tree that bears the same name, writes nothing over what is not its own any more.

use super::{
    schema,
    sql::{Cell, Database, Fields, StoreError, Value},
};
use engine::{
    EngineError, Kind,
    postgres::session::{Datum, Put, Session, Use},
    url::PostgresUrl,
};
use std::{cell::RefCell, collections::BTreeMap};

/// What the schemas of monitors begin with.
const SCHEMA: &str = "tollgate_monitor";
/// Statements whose words in PostgreSQL are kept.
const STATEMENTS_MAX: usize = 256;

/// Rows that one statement puts into a table: the greatest of these that there are.
const ROWS_AT_ONCE: [usize; 4] = [256, 64, 16, 4];

/// A connection to the schema of a monitor.
#[derive(Debug)]
pub(super) struct Postgres {
    session: Session,
    schema: String,
    /// Which opening of the schema this is. Only of who writes.
    tenure: Option<i64>,
    /// What is to be done at the commit; `None` outside a transaction.
    puts: RefCell<Option<Vec<Put>>>,
    /// Statements as they are here.
    words: RefCell<BTreeMap<String, String>>,
}

impl Postgres {
    /// Makes the tables where they are missing, and becomes the one who writes.
    pub(super) fn create(url: &PostgresUrl, monitor: &str) -> Result<Postgres, StoreError> {
        let setup = Postgres::new(url, monitor, Use::Setup)?;
        setup.session.make(&setup.schema, &schema::tables_of_postgres()).map_err(told)?;
        let take = "INSERT INTO meta VALUES ('tenure', 1) \
                    ON CONFLICT (name) DO UPDATE SET value = meta.value + 1 RETURNING value";
        let tenure = setup.row(take, &[])?.map_or(Ok(1), |row| row.int(0))?;
        Ok(Postgres { tenure: Some(tenure), ..Postgres::new(url, monitor, Use::Write)? })
    }

    /// A connection that reads.
    pub(super) fn open(url: &PostgresUrl, monitor: &str) -> Result<Postgres, StoreError> {
        Postgres::new(url, monitor, Use::Read)
    }

    fn new(url: &PostgresUrl, monitor: &str, of: Use) -> Result<Postgres, StoreError> {
        let schema = Session::schema(SCHEMA, monitor).map_err(told)?;
        let id = (net::ids::seed() >> 1).cast_signed(); // Not negative.
        Ok(Postgres {
            session: Session::new(url, id, &schema, of).map_err(told)?,
            schema,
            tenure: None,
            puts: RefCell::default(),
            words: RefCell::default(),
        })
    }

    /// A statement in the words of PostgreSQL.
    fn words(&self, sql: &str) -> String {
        let mut words = self.words.borrow_mut();
        if let Some(known) = words.get(sql) {
            return known.clone();
        }
        if STATEMENTS_MAX <= words.len() {
            words.clear();
        }
        let translated = translated(sql, &self.schema);
        words.insert(sql.to_owned(), translated.clone());
        translated
    }
}

/// With the schema before each table, and `$` before the numbers of values.
fn translated(sql: &str, schema: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for word in sql.replace('?', "$").split(' ') {
        let is_place = matches!(out.last().map(String::as_str), Some("FROM" | "INTO" | "UPDATE"));
        let name: &str = word.trim_end_matches([')', ',']);
        match is_place && schema::NAMES.contains(&name) {
            true => out.push(format!("\"{schema}\".{word}")),
            false => out.push(word.to_owned()),
        }
    }
    out.join(" ")
}

/// Rows that follow each other into the same table as statements of many rows.
fn gathered(puts: Vec<Put>) -> Vec<Put> {
    let mut out: Vec<Put> = Vec::new();
    let mut rest = puts.into_iter().peekable();
    while let Some(first) = rest.next() {
        if !is_plain_insert(&first) {
            out.push(first);
            continue;
        }
        let mut run = vec![first];
        while let Some(next) = rest.next_if(|it| it.sql == run[0].sql) {
            run.push(next);
        }
        while !run.is_empty() {
            // Of few lengths, so that there are few statements.
            let count = ROWS_AT_ONCE.into_iter().find(|it| *it <= run.len()).unwrap_or(1);
            out.push(joined(run.drain(..count).collect()));
        }
    }
    out
}

/// Whether it puts one row of values into a table, and that is all.
fn is_plain_insert(put: &Put) -> bool {
    let values = put.sql.split_once(" VALUES (").map(|it| it.1);
    put.rows.is_none()
        && put.sql.starts_with("INSERT INTO ")
        && values.is_some_and(|it| it.find(')') == Some(it.len() - 1))
}

/// Several rows as one statement.
fn joined(run: Vec<Put>) -> Put {
    let width = run[0].values.len();
    let row = |at: usize| {
        let places: Vec<String> = (1..=width).map(|it| format!("${}", at * width + it)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..run.len()).map(row).collect();
    let (head, _) = run[0].sql.split_once(" VALUES (").unwrap_or((&run[0].sql, ""));
    let sql = format!("{head} VALUES {}", rows.join(", "));
    Put { sql, values: run.into_iter().flat_map(|it| it.values).collect(), rows: None }
}

fn datum(value: &Value<'_>) -> Datum {
    match value {
        Value::Int(it) => Datum::Int(*it),
        // A text of PostgreSQL's holds every character but this one.
        Value::Text(it) => Datum::Text(it.map(|it| it.replace('\0', "\u{fffd}"))),
        Value::Bytes(it) => Datum::Bytes(Some(it.to_vec())),
    }
}

fn cell(datum: Datum) -> Cell {
    match datum {
        Datum::Int(Some(it)) => Cell::Int(it),
        Datum::Text(Some(it)) => Cell::Text(it),
        Datum::Bytes(Some(it)) => Cell::Bytes(it),
        Datum::Int(None) | Datum::Text(None) | Datum::Bytes(None) => Cell::Null,
    }
}

fn told(err: EngineError) -> StoreError {
    StoreError { is_refused: err.kind == Kind::Corrupt, ..StoreError::new(&err.place, &err.what) }
}

impl Database for Postgres {
    fn begin(&self) -> Result<(), StoreError> {
        let asks = self.tenure.map(|tenure| Put {
            sql: self
                .words("SELECT value FROM meta WHERE name = 'tenure' AND value = ?1 FOR SHARE"),
            values: vec![Datum::Int(Some(tenure))],
            rows: Some(1),
        });
        self.puts.replace(Some(asks.into_iter().collect()));
        Ok(())
    }

    fn commit(&self) -> Result<(), StoreError> {
        let puts = gathered(self.puts.take().unwrap_or_default());
        self.session.commit(&puts).map_err(told)
    }

    fn undo(&self) {
        self.puts.replace(None);
    }

    fn put(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        let put =
            Put { sql: self.words(sql), values: values.iter().map(datum).collect(), rows: None };
        match &mut *self.puts.borrow_mut() {
            Some(puts) => puts.push(put),
            None => self.session.commit(&[put]).map_err(told)?,
        }
        Ok(())
    }

    fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Fields>, StoreError> {
        let values: Vec<Datum> = values.iter().map(datum).collect();
        let rows = self.session.rows(&self.words(sql), &values).map_err(told)?;
        Ok(rows.into_iter().map(|row| Fields(row.into_iter().map(cell).collect())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_for_one_table_are_one_statement() {
        let put = |sql: &str, value: i64| Put {
            sql: sql.to_owned(),
            values: vec![Datum::Int(Some(value)), Datum::Int(None)],
            rows: None,
        };
        let (insert, other) = ("INSERT INTO a VALUES ($1, $2)", "UPDATE a SET b = $1 WHERE c = $2");
        let upsert = "INSERT INTO a VALUES ($1, $2) ON CONFLICT (b) DO NOTHING";
        let all = [(other, 1), (upsert, 2), (upsert, 3)]
            .into_iter()
            .chain((4..10).map(|it| (insert, it)))
            .chain([(other, 10), (insert, 11)]);
        let puts: Vec<Put> = all.map(|(sql, value)| put(sql, value)).collect();
        let wanted: Vec<Datum> = puts.iter().flat_map(|it| it.values.clone()).collect();
        let got = gathered(puts);
        let values: Vec<Datum> = got.iter().flat_map(|it| it.values.clone()).collect();
        assert_eq!(values, wanted, "in order");
        let sql: Vec<&str> = got.iter().map(|it| it.sql.as_str()).collect();
        let four = "INSERT INTO a VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8)";
        assert_eq!(sql, [other, upsert, upsert, four, insert, insert, other, insert]);
    }

    #[test]
    fn tables_are_found_where_they_stand() {
        let of = |sql| translated(sql, "s");
        assert_eq!(
            of("INSERT INTO rollups (maintenance) SELECT ?1 WHERE EXISTS (SELECT 1 FROM checks)"),
            "INSERT INTO \"s\".rollups (maintenance) SELECT $1 WHERE EXISTS \
             (SELECT 1 FROM \"s\".checks)"
        );
        assert_eq!(
            of("UPDATE checks SET beats = ?2 WHERE id = ?1"),
            "UPDATE \"s\".checks SET beats = $2 WHERE id = $1"
        );
        assert_eq!(
            of("DELETE FROM blind ON CONFLICT DO UPDATE SET a = b"),
            "DELETE FROM \"s\".blind ON CONFLICT DO UPDATE SET a = b"
        );
    }
}
