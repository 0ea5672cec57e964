//! Where a service keeps its accounts.

use std::{fmt, path::PathBuf};

/// An engine's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineUrl {
    /// A folder on this machine.
    Sqlite(PathBuf),
    /// The URL of a PostgreSQL database, whole.
    Postgres(String),
}

/// Reads `sqlite:FOLDER` or `postgres://…`.
pub(crate) fn parse(text: &str) -> Result<EngineUrl, String> {
    if let Some(folder) = text.strip_prefix("sqlite:").filter(|it| !it.is_empty()) {
        return Ok(EngineUrl::Sqlite(PathBuf::from(folder)));
    }
    let host = ["postgres://", "postgresql://"].into_iter().find_map(|it| text.strip_prefix(it));
    match host {
        Some(host) if !host.is_empty() => Ok(EngineUrl::Postgres(text.to_owned())),
        Some(_) | None => Err("\"sqlite:FOLDER\" or \"postgres://…\"".to_owned()),
    }
}

/// As in the file, a database's password left out.
impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineUrl::Sqlite(folder) => write!(f, "sqlite:{}", folder.display()),
            EngineUrl::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    let Some((login, _)) = authority.rsplit_once('@') else { return url.to_owned() };
    let Some((user, _)) = login.split_once(':') else { return url.to_owned() };
    format!("{scheme}://{user}:***{}", &rest[login.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_engines() {
        assert_eq!(parse("sqlite:data/a"), Ok(EngineUrl::Sqlite("data/a".into())));
        for good in ["postgres://db", "postgresql://u:p@db:5432/x"] {
            assert_eq!(parse(good), Ok(EngineUrl::Postgres(good.to_owned())));
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
        ] {
            assert_eq!(parse(url).unwrap().to_string(), shown);
        }
    }
}
