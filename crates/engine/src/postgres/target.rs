//! Which database: a URL as libpq has them, taken apart.
//!
//! `sslmode` and the files of TLS are read here, for the client library knows only some of their
//! values. Of several hosts one is taken that takes writes, whatever the URL says of
//! `target_session_attrs`: on a standby there is nothing for us to do. The one that was there last
//! is tried first, then the others in order, each a little after the one before, without waiting
//! for what a dead one may say.

use crate::{
    error::{EngineError, Kind},
    postgres::{
        failure::Failure,
        tls::{Tls, Trust},
    },
    url::PostgresUrl,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
};

/// For one host to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// What a host has ahead of the next: one that is there and well needs less.
const AHEAD: Duration = Duration::from_millis(100);
/// Silence after which the kernel asks whether the other side is there, between its questions, and
/// how many may stay unanswered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
const KEEPALIVES_MAX: u32 = 3;
/// For what was sent to be acknowledged by the other side's kernel.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(4);

/// A connection, and the half of it that somebody has to drive.
pub(crate) type Connected = (Client, Connection<Socket, <Tls as MakeTlsConnect<Socket>>::Stream>);

/// A database, and how it is to be reached.
pub(crate) struct Target {
    /// One for each host, in the order of the URL; at least one.
    hosts: Vec<Config>,
    /// Which of them was there last.
    last: AtomicUsize,
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
        let tls = Tls::new(&trust).map_err(|error| wrong(error.to_string()))?;
        Ok(Target { hosts: one_by_one(&config), last: AtomicUsize::new(0), tls, shown })
    }

    /// For a whole connection: every host may have to be tried, and be asked what it is.
    pub(crate) fn connect_max(&self) -> Duration {
        let others = u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX);
        AHEAD.saturating_mul(others) + CONNECT_MAX * 2
    }

    /// Connects to a host that takes writes. `tell` adds to each one's configuration.
    ///
    /// # Errors
    /// What the last of them said, when all have failed. A host that says nothing is waited for:
    /// the caller has a limit of his own, [`Target::connect_max`].
    pub(crate) async fn connect(&self, tell: impl Fn(&mut Config)) -> Result<Connected, Failure> {
        let (count, first) = (self.hosts.len(), self.last.load(Ordering::Relaxed));
        let mut left = (0..count).map(|at| (first + at) % count);
        let mut attempts = JoinSet::new();
        let mut failure = Failure::Unreached("no host can be asked".to_owned());
        loop {
            if let Some(at) = left.next() {
                let (mut config, tls) = (self.hosts[at].clone(), self.tls.clone());
                tell(&mut config);
                attempts.spawn(async move { (at, config.connect(tls).await) });
            }
            let ahead = if left.len() == 0 { Duration::MAX } else { AHEAD };
            match timeout(ahead, attempts.join_next()).await {
                Err(_) => (), // The next one, beside it.
                Ok(None) => return Err(failure),
                Ok(Some(Ok((at, Ok(connected))))) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(connected);
                }
                Ok(Some(Ok((_, Err(error))))) => failure = Failure::unreached(&error),
                Ok(Some(Err(error))) => failure = Failure::Unreached(error.to_string()),
            }
        }
    }
}

/// The same for each of its hosts alone.
fn one_by_one(all: &Config) -> Vec<Config> {
    let (hosts, addrs, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let alone = |at: usize| {
        let mut one = Config::new();
        match hosts.get(at) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => (),
        }
        addrs.get(at).map(|addr| one.hostaddr(*addr));
        // One port is every host's.
        ports.get(at).or(ports.first()).map(|port| one.port(*port));
        all.get_user().map(|it| one.user(it));
        all.get_password().map(|it| one.password(it));
        all.get_dbname().map(|it| one.dbname(it));
        all.get_options().map(|it| one.options(it));
        one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
        one.channel_binding(all.get_channel_binding());
        one.load_balance_hosts(all.get_load_balance_hosts());
        one.target_session_attrs(TargetSessionAttrs::ReadWrite);
        one.connect_timeout(CONNECT_MAX).tcp_user_timeout(UNACKNOWLEDGED_MAX);
        one.keepalives(true).keepalives_idle(KEEPALIVE_IDLE);
        one.keepalives_interval(KEEPALIVE_EVERY).keepalives_retries(KEEPALIVES_MAX);
        one
    };
    (0..hosts.len().max(addrs.len())).map(alone).collect()
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
        for (at, name) in ["a", "b"].into_iter().enumerate() {
            let one = &it.hosts[at];
            assert_eq!(one.get_hosts(), [Host::Tcp(name.to_owned())]);
            assert_eq!(one.get_ports(), [1 + u16::try_from(at).unwrap()]);
            assert_eq!((one.get_user(), one.get_password()), (Some("u"), Some(&b"p"[..])));
            assert_eq!(one.get_dbname(), Some("x"));
            assert_eq!(one.get_ssl_mode(), SslMode::Require);
            assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        }
        assert_eq!(it.connect_max(), Duration::from_millis(2_100));
        assert!(!it.shown.contains(":p@"));
        let local = target("postgres:///x?host=/run/postgresql&sslmode=verify-full").unwrap();
        assert_eq!(local.hosts[0].get_ssl_mode(), SslMode::Disable);
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
