//! What can go wrong with a statement, and what is known after it.

use crate::error::{EngineError, Kind};
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why a call gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database said no, and what the statement did is undone for certain.
    Refused(Refusal),
    /// Nothing was sent: there is no connection to be had.
    Unreached(String),
    /// The connection ended, or no answer came in time: what was under way may have happened.
    Broken(String),
    /// Not the database's.
    Told(EngineError),
}

/// What the database said.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: SqlState,
    what: String,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::Told(error)
    }
}

impl Failure {
    /// Of a statement's error.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(said) if is_certain(said) => {
                Failure::Refused(Refusal { code: said.code().clone(), what: sentence(said) })
            }
            Some(said) => Failure::Broken(sentence(said)),
            None => Failure::Broken(error.to_string()),
        }
    }

    /// Of an attempt to connect.
    pub(crate) fn unreached(error: &tokio_postgres::Error) -> Failure {
        Failure::Unreached(error.as_db_error().map_or_else(|| error.to_string(), sentence))
    }

    /// The database's code, if it said one.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Failure::Refused(refusal) => Some(&refusal.code),
            Failure::Unreached(_) | Failure::Broken(_) | Failure::Told(_) => None,
        }
    }

    /// Whether it ran into somebody else who was about the same thing: another try does better.
    pub(crate) fn is_collision(&self) -> bool {
        let collisions = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_SCHEMA,
            SqlState::DUPLICATE_TABLE,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        self.code().is_some_and(|code| collisions.contains(code))
    }

    /// For people and for whoever called. `place` is what to look at.
    pub(crate) fn told(self, place: &str) -> EngineError {
        match self {
            Failure::Told(error) => error,
            Failure::Refused(refusal) => EngineError::new(kind(&refusal.code), place, refusal.what),
            Failure::Unreached(what) => {
                EngineError::new(Kind::Unavailable, place, format!("cannot be reached: {what}"))
            }
            Failure::Broken(what) => EngineError::new(Kind::Unavailable, place, what),
        }
    }
}

/// An error of a statement undoes it, and is told after that. What ends the session says nothing
/// of a COMMIT that it ended.
fn is_certain(said: &DbError) -> bool {
    let is_error = match said.parsed_severity() {
        Some(Severity::Error) => true,
        Some(_) => false,
        None => said.severity() == "ERROR",
    };
    let unknown = [
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_FAILURE,
        SqlState::CONNECTION_DOES_NOT_EXIST,
    ];
    is_error && !unknown.contains(said.code())
}

fn sentence(said: &DbError) -> String {
    let detail = said.detail().map(|it| format!(" ({it})")).unwrap_or_default();
    format!("{}{detail} [{}]", said.message(), said.code().code())
}

fn kind(code: &SqlState) -> Kind {
    match code.code() {
        "53100" => Kind::Full,
        "42501" | "0A000" => Kind::Unsupported, // Not permitted; not a feature of it.
        // Data or an index is damaged; a text that its encoding has not; a table that is missing.
        "XX001" | "XX002" | "22021" | "42P01" | "42703" | "3F000" => Kind::Corrupt,
        code if code.starts_with("23") => Kind::Corrupt,
        _ => Kind::Unavailable,
    }
}
