//! How an HTTP service is spoken to, balanced and checked.

use super::{duration, endpoint, hash, path, policy, url};
use crate::topology::reader::{Field, Placed, Section, Walk};
use balance::{CheckRule, Policy};
use proxy::{
    config::HashBy,
    upstream::config::{CheckConfig, HttpEndpoint, HttpServiceConfig, Protocol, ServiceTls},
};
use std::{num::NonZeroU32, path::PathBuf, time::Duration};

/// The keys of a service that only an HTTP service has, beside `http`.
pub(crate) const KEYS: [&str; 6] = ["protocol", "host", "policy", "hash", "check", "ca"];
const URL_KEYS: [&str; 2] = ["url", "weight"];
const CHECK_KEYS: [&str; 5] = ["path", "every", "timeout", "rise", "fall"];
/// A check more often than this is an attack.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// Checks in a row; more is a slip of the keyboard.
const ROW_MAX: i64 = 100;

/// Where one process of a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightedUrl {
    pub(crate) url: url::HttpUrl,
    /// Its part of the work beside the others'.
    pub(crate) weight: NonZeroU32,
}

/// Reads `http = ["http://a:1", { url = "http://b:1", weight = 3 }]`.
pub(in crate::topology) fn read_urls<'a>(
    walk: &mut Walk<'a>,
    service: &Section<'a>,
) -> Field<Vec<Placed<WeightedUrl>>> {
    service.strings_or_tables(walk, "http", parse_url, &URL_KEYS, read_url)
}

fn parse_url(text: &str) -> Result<WeightedUrl, String> {
    url::parse(text).map(|url| WeightedUrl { url, weight: NonZeroU32::MIN })
}

fn read_url<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<WeightedUrl> {
    let url = table.string(walk, "url", url::parse);
    if url.is_missing() {
        let want = "http(s)://HOST:PORT, as in \"http://127.0.0.1:9100\"";
        walk.complaints.missing(table.line, &table.key("url"), want);
    }
    let weight = endpoint::read_weight(walk, table)?;
    Some(WeightedUrl { url: url.good()?.value.clone(), weight })
}

/// What the file says beside the URLs.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    protocol: Protocol,
    host: Option<String>,
    policy: Policy,
    hash: HashBy,
    check: CheckConfig,
    /// Whom endpoints within TLS are believed by.
    pub(in crate::topology) ca: Option<PathBuf>,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            protocol: Protocol::Http1,
            host: None,
            policy: Policy::LeastLoad,
            hash: HashBy::Account,
            check: CheckConfig::default(),
            ca: None,
        }
    }
}

impl Manner {
    /// Reads the keys of a service.
    pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, service: &Section<'a>) -> Manner {
        let default = Manner::default();
        let policy = service.string(walk, "policy", policy::parse);
        let hash = service.string(walk, "hash", hash::parse);
        let by_hash = policy.good().is_some_and(|it| it.value == Policy::Hash);
        match &hash {
            Field::Good(hash) if !by_hash => {
                walk.complaints.unfit(hash, "policy = \"hash\" beside it");
            }
            Field::Good(_) | Field::Missing | Field::Bad => {}
        }
        Manner {
            protocol: service.string(walk, "protocol", parse_protocol).value_or(default.protocol),
            host: service.string(walk, "host", parse_host).good().map(|it| it.value.clone()),
            policy: policy.value_or(default.policy),
            hash: hash.value_or(default.hash),
            check: read_check(walk, service),
            ca: service.string(walk, "ca", path::parse_file).good().map(|it| it.value.clone()),
        }
    }

    /// The service that has these URLs, all of one scheme.
    pub(in crate::topology) fn at(
        &self,
        name: &str,
        urls: impl IntoIterator<Item = WeightedUrl>,
    ) -> HttpServiceConfig {
        let urls: Vec<WeightedUrl> = urls.into_iter().collect();
        let is_tls = urls.iter().any(|it| it.url.tls);
        let tls = is_tls.then(|| ServiceTls { ca: self.ca.clone(), client: None });
        let endpoint = |WeightedUrl { url, weight }: WeightedUrl| HttpEndpoint {
            host: url.host,
            port: url.port,
            weight,
            drained: false,
        };
        HttpServiceConfig {
            name: name.to_owned(),
            endpoints: urls.into_iter().map(endpoint).collect(),
            protocol: self.protocol,
            tls,
            host: self.host.clone(),
            policy: self.policy,
            hash: self.hash.clone(),
            check: self.check.clone(),
        }
    }
}

fn read_check<'a>(walk: &mut Walk<'a>, service: &Section<'a>) -> CheckConfig {
    let default = CheckConfig::default();
    let Some(table) = service.table(walk, "check", &CHECK_KEYS) else { return default };
    let path = table.string(walk, "path", path::parse_check);
    let every = table.string(walk, "every", duration::parse);
    if let Field::Good(every) = &every
        && every.value < EVERY_MIN
    {
        walk.complaints.unfit(every, "100ms or longer");
    }
    let timeout = table.string(walk, "timeout", duration::parse);
    let mut row = |key, default: NonZeroU32| {
        let count = table.integer::<u32>(walk, key, 1..=ROW_MAX);
        count.good().and_then(|it| NonZeroU32::new(it.value)).unwrap_or(default)
    };
    let rule =
        CheckRule { rise: row("rise", default.rule.rise), fall: row("fall", default.rule.fall) };
    CheckConfig {
        path: path.good().map(|it: &Placed<String>| it.value.clone()),
        every: every.value_or(default.every),
        timeout: timeout.value_or(default.timeout),
        rule,
    }
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http1" => Ok(Protocol::Http1),
        "http2" => Ok(Protocol::Http2),
        _ => Err(policy::one_of(text, &["http1", "http2"])),
    }
}

/// What a client would write there: a name or an address, with a port or without.
fn parse_host(text: &str) -> Result<String, String> {
    match url::parse(&format!("http://{text}")) {
        Ok(_) if !text.ends_with('/') => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("HOST or HOST:PORT, as in \"rates.internal\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_protocols() {
        for good in ["rates", "rates.internal:8080", "127.0.0.1", "[::1]:80"] {
            assert!(parse_host(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/", "a:0", "http://a"] {
            assert!(parse_host(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_protocol("http2"), Ok(Protocol::Http2));
        assert!(parse_protocol("h2").is_err());
    }
}
