//! Where a service keeps its accounts, and the engine that is there.

use crate::{
    engine::{Engine, Settings},
    error::EngineError,
    postgres::Postgres,
    sqlite::Sqlite,
};
use std::{fmt, path::PathBuf};

/// An engine's URL. Shown, to people and in logs, without a database's password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineUrl {
    /// A folder on this machine.
    Sqlite(PathBuf),
    /// A PostgreSQL database; each service has a schema of its own there.
    Postgres(PostgresUrl),
}

/// The URL of a PostgreSQL database, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// Opens the engine at `url` and joins it.
///
/// # Errors
/// When what is there is another service's, cannot be reached, or cannot keep a journal; when a
/// live node has the same name.
pub fn open(url: &EngineUrl, settings: &Settings) -> Result<Box<dyn Engine>, EngineError> {
    match url {
        EngineUrl::Sqlite(folder) => Ok(Box::new(Sqlite::open(folder, settings)?)),
        EngineUrl::Postgres(url) => Ok(Box::new(Postgres::open(url, settings)?)),
    }
}

impl EngineUrl {
    /// Reads `sqlite:FOLDER` or `postgres://…`; if it is neither, what was wanted.
    pub fn parse(text: &str) -> Result<EngineUrl, String> {
        if let Some(folder) = text.strip_prefix("sqlite:").filter(|it| !it.is_empty()) {
            return Ok(EngineUrl::Sqlite(PathBuf::from(folder)));
        }
        let scheme = ["postgres://", "postgresql://"];
        let host = scheme.into_iter().find_map(|it| text.strip_prefix(it));
        match host {
            Some(host) if !host.is_empty() => Ok(EngineUrl::Postgres(PostgresUrl(text.to_owned()))),
            Some(_) | None => Err("\"sqlite:FOLDER\" or \"postgres://…\"".to_owned()),
        }
    }

    /// As in the topology file: with the password, for nobody's eyes.
    pub fn secret(&self) -> String {
        match self {
            EngineUrl::Sqlite(_) => self.to_string(),
            EngineUrl::Postgres(url) => url.secret().to_owned(),
        }
    }
}

impl PostgresUrl {
    /// With the password: for whoever connects.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineUrl::Sqlite(folder) => write!(f, "sqlite:{}", folder.display()),
            EngineUrl::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const HIDDEN: &str = "***";

/// A password stands after the user, or among the parameters.
fn without_password(url: &str) -> String {
    let url = match login(url) {
        Some((scheme, user, rest)) => format!("{scheme}://{user}:{HIDDEN}{rest}"),
        None => url.to_owned(),
    };
    let Some((head, parameters)) = url.split_once('?') else { return url };
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}={HIDDEN}"),
        Some(_) | None => parameter.to_owned(),
    };
    let parameters: Vec<String> = parameters.split('&').map(hide).collect();
    format!("{head}?{}", parameters.join("&"))
}

/// Scheme, user, and what follows the password, if there is one.
fn login(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let (login, _) = authority.rsplit_once('@')?;
    let (user, _) = login.split_once(':')?;
    Some((scheme, user, &rest[login.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_engines() {
        let parse = EngineUrl::parse;
        assert_eq!(parse("sqlite:data/a"), Ok(EngineUrl::Sqlite("data/a".into())));
        for good in ["postgres://db", "postgresql://u:p@db:5432/x"] {
            assert_eq!(parse(good), Ok(EngineUrl::Postgres(PostgresUrl(good.to_owned()))));
            assert_eq!(parse(good).unwrap().secret(), good);
        }
        for bad in ["", "sqlite:", "data/a", "mysql://db", "postgres://", "postgres:db"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u:p@db/x", "postgres://u:***@db/x"),
            ("postgres://u:p@q@db/x", "postgres://u:***@db/x"),
            ("postgres://u@db", "postgres://u@db"),
            ("postgres://db/x:y@z", "postgres://db/x:y@z"),
            (
                "postgres://u:p@a,b:1/x?target_session_attrs=any",
                "postgres://u:***@a,b:1/x?target_session_attrs=any",
            ),
            (
                "postgres:///x?user=u&password=p&host=/run",
                "postgres:///x?user=u&password=***&host=/run",
            ),
            ("postgres://db/x?sslpassword=p", "postgres://db/x?sslpassword=***"),
            ("postgres://u:p?q@db", "postgres://u:***@db"),
        ] {
            let parsed = EngineUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert!(format!("{parsed:?}").contains(shown), "{parsed:?}");
        }
    }
}
