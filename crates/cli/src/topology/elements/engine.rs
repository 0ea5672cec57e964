//! Where a service keeps its accounts.

pub(crate) use engine::{EngineUrl, url::PostgresUrl};

/// Reads `sqlite:FOLDER` or `postgres://…`.
pub(crate) fn parse(text: &str) -> Result<EngineUrl, String> {
    EngineUrl::parse(text)
}

/// Reads `postgres://…`.
pub(crate) fn parse_database(text: &str) -> Result<PostgresUrl, String> {
    match EngineUrl::parse(text) {
        Ok(EngineUrl::Postgres(url)) => Ok(url),
        Ok(EngineUrl::Sqlite(_)) | Err(_) => Err("\"postgres://…\"".to_owned()),
    }
}
