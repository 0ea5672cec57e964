//! An HTTP service that is not ours, as the topology file tells it.

use crate::config::HashBy;
use balance::{CheckRule, Policy};
use net::tls::{ClientTls, Spoken, TlsError};
use std::{num::NonZeroU32, path::PathBuf, time::Duration};

/// One HTTP service. To hold one is proof that the topology file was sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServiceConfig {
    pub name: String,
    /// Never empty.
    pub endpoints: Vec<HttpEndpoint>,
    pub protocol: Protocol,
    /// Set, every endpoint is spoken to within TLS.
    pub tls: Option<ServiceTls>,
    /// What is sent as `Host`; the client's own without.
    pub host: Option<String>,
    pub policy: Policy,
    /// What [`Policy::Hash`] goes by.
    pub hash: HashBy,
    pub check: CheckConfig,
}

/// How the endpoints of a service prove that they are meant: by a certificate for the service's
/// `host`, or for their own where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTls {
    /// The authorities that are trusted, in PEM; those of the system without it.
    pub ca: Option<PathBuf>,
    /// What [`HttpServiceConfig::load_tls`] made of the file. Until then no endpoint is reached.
    pub client: Option<ClientTls>,
}

impl HttpServiceConfig {
    /// Reads the authorities of a service that is spoken to within TLS.
    ///
    /// # Errors
    /// When their file cannot be used.
    pub fn load_tls(&mut self) -> Result<(), TlsError> {
        let spoken = match self.protocol {
            Protocol::Http1 => Spoken::Http1,
            Protocol::Http2 => Spoken::Http2,
        };
        if let Some(tls) = &mut self.tls {
            tls.client = Some(ClientTls::load(tls.ca.as_deref(), spoken)?);
        }
        Ok(())
    }

    /// The scheme of its URLs.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether connections of the other may carry requests of this one.
    pub(super) fn shares_connections(&self, other: &HttpServiceConfig) -> bool {
        let is_same_name = self.tls.is_none() || self.host == other.host;
        (self.protocol, &self.tls) == (other.protocol, &other.tls) && is_same_name
    }
}

/// Where one process of the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    pub port: u16,
    /// Its part of the work beside the others'.
    pub weight: NonZeroU32,
    /// Somebody took it out of rotation: it finishes what it has and gets nothing new.
    pub drained: bool,
}

impl HttpEndpoint {
    /// Whether both are the same process, whatever its weight.
    pub(super) fn is_same(&self, other: &HttpEndpoint) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Host and port as a URL has them. The endpoint is called so.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// What is spoken to a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http1,
    /// In cleartext with prior knowledge (RFC 9113 §3.3), within TLS as agreed on there.
    Http2,
}

/// How the endpoints of a service are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// What is asked with GET; 2xx and 3xx pass. Without one it is enough to connect.
    pub path: Option<String>,
    pub every: Duration,
    pub timeout: Duration,
    pub rule: CheckRule,
}

impl Default for CheckConfig {
    fn default() -> CheckConfig {
        let [rise, fall] = [2, 3].map(|count| NonZeroU32::new(count).expect("not zero"));
        CheckConfig {
            path: None,
            every: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rule: CheckRule { rise, fall },
        }
    }
}
