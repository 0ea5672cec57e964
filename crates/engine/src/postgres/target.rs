//! Which database: a URL as libpq has them, taken apart.
//!
//! `sslmode` and the files of TLS are read here, for the client library knows only some of their
//! values. Several hosts are tried in order until one takes writes, whatever the URL says of
//! `target_session_attrs`: on a standby there is nothing for us to do.

use crate::{
    error::{EngineError, Kind},
    postgres::tls::{Tls, Trust},
    url::PostgresUrl,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

/// For one host to take a connection; a host that is away costs this once, then the next is tried.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Silence after which the kernel asks whether the other side is there, between its questions, and
/// how many may stay unanswered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
const KEEPALIVES_MAX: u32 = 3;
/// For what was sent to be acknowledged by the other side's kernel.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(4);

/// A database, and how it is to be reached.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// For people: the URL without its password.
    pub(crate) shown: String,
}

/// What the URL says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    mode: Option<String>,
    root: Option<PathBuf>,
}

impl Target {
    /// # Errors
    /// When the URL makes no sense, or names files that do not.
    pub(crate) fn of(url: &PostgresUrl) -> Result<Target, EngineError> {
        let shown = url.to_string();
        let wrong = |what: String| EngineError::new(Kind::Unsupported, &shown, what);
        let (rest, words) = split(url.secret());
        let mut config: Config = rest.parse().map_err(|error| wrong(format!("{error}")))?;
        let (mode, trust) = words.meaning().map_err(wrong)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        let is_local = |host: &Host| match host {
            Host::Tcp(_) => false,
            Host::Unix(_) => true,
        };
        // As in libpq: within this machine nobody is to be kept out by TLS.
        let is_local = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_local);
        config.ssl_mode(if is_local { SslMode::Disable } else { mode });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(CONNECT_MAX).tcp_user_timeout(UNACKNOWLEDGED_MAX);
        config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(KEEPALIVES_MAX);
        let tls = Tls::new(&trust).map_err(|error| wrong(error.to_string()))?;
        Ok(Target { config, tls, shown })
    }

    /// For a whole connection: every host may have to be tried, and be asked what it is.
    pub(crate) fn connect_max(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        CONNECT_MAX * u32::try_from(hosts).unwrap_or(u32::MAX) + CONNECT_MAX
    }
}

/// Takes what is ours out of the parameters.
fn split(url: &str) -> (String, Words) {
    let mut words = Words::default();
    let Some((head, parameters)) = url.split_once('?') else { return (url.to_owned(), words) };
    let mut rest = Vec::new();
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", mode)) => words.mode = Some(mode.to_owned()),
            Some(("sslrootcert", path)) => words.root = Some(PathBuf::from(unescape(path))),
            Some(("target_session_attrs", _)) => (),
            Some(_) | None => rest.push(parameter),
        }
    }
    let rest = if rest.is_empty() { head.to_owned() } else { format!("{head}?{}", rest.join("&")) };
    (rest, words)
}

/// Percent signs and what stands after them; what is no escape stays.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..2).and_then(|it| str::from_utf8(it).ok());
        match code.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &others[2..];
            }
            Some(_) | None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Words {
    /// What libpq means by them. A root that is named makes `require` ask for a certificate of it.
    fn meaning(&self) -> Result<(SslMode, Trust), String> {
        let root = || match self.root.as_deref() {
            Some(path) if path != Path::new("system") => Some(path.to_owned()),
            Some(_) | None => None,
        };
        Ok(match (self.mode.as_deref(), &self.root) {
            (Some("disable"), _) => (SslMode::Disable, Trust::Anybody),
            (Some("allow" | "prefer") | None, _) => (SslMode::Prefer, Trust::Anybody),
            (Some("require"), None) => (SslMode::Require, Trust::Anybody),
            (Some("require" | "verify-ca"), _) => {
                (SslMode::Require, Trust::Authority { root: root() })
            }
            (Some("verify-full"), _) => (SslMode::Require, Trust::Name { root: root() }),
            (Some(other), _) => {
                let wanted = "disable, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode is {other:?}: want {wanted}"));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineUrl;

    fn target(text: &str) -> Result<Target, EngineError> {
        match EngineUrl::parse(text).unwrap() {
            EngineUrl::Postgres(url) => Target::of(&url),
            EngineUrl::Sqlite(_) => unreachable!(),
        }
    }

    #[test]
    fn a_url_says_where_and_how() {
        let it = target("postgres://u:p@a:1,b:2/x?sslmode=require&application_name=n").unwrap();
        assert_eq!((it.config.get_ports(), it.config.get_dbname()), (&[1, 2][..], Some("x")));
        assert_eq!(it.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(it.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(it.connect_max(), Duration::from_secs(3));
        assert!(!it.shown.contains(":p@"));
        let local = target("postgres:///x?host=/run/postgresql&sslmode=verify-full").unwrap();
        assert_eq!(local.config.get_ssl_mode(), SslMode::Disable);
        for bad in ["postgres://a/x?sslmode=maybe", "postgres://a/x?nonsense=1"] {
            let Err(error) = target(bad) else { panic!("{bad}") };
            assert_eq!(error.kind, Kind::Unsupported, "{bad}");
        }
    }

    #[test]
    fn modes_mean_what_libpq_means() {
        let meaning = |parameters: &str| {
            let (_, words) = split(&format!("postgres://a/x?{parameters}"));
            words.meaning().unwrap()
        };
        let root = || Some(PathBuf::from("/a b.pem"));
        let authority = |root| (SslMode::Require, Trust::Authority { root });
        assert_eq!(meaning(""), (SslMode::Prefer, Trust::Anybody));
        assert_eq!(meaning("sslmode=disable"), (SslMode::Disable, Trust::Anybody));
        assert_eq!(meaning("sslmode=require"), (SslMode::Require, Trust::Anybody));
        assert_eq!(meaning("sslmode=require&sslrootcert=/a%20b.pem"), authority(root()));
        assert_eq!(meaning("sslmode=verify-ca"), authority(None));
        let full = (SslMode::Require, Trust::Name { root: None });
        assert_eq!(meaning("sslmode=verify-full&sslrootcert=system"), full);
    }
}
