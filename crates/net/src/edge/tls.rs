//! TLS before clients: which certificate, and whether the client has to show one.

use crate::tls::{TlsError, authorities, certificates, private_key, provider, unfit};
use std::{fmt, path::PathBuf, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, server::WebPkiClientVerifier},
};

/// What is agreed on within TLS, the best first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate and its key are, each in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The roots of clients' certificates. Set, a client without one is hung up on.
    pub client_ca: Option<PathBuf>,
}

/// TLS as the files have it. Clones share it.
#[derive(Clone)]
pub struct EdgeTls {
    pub(super) acceptor: TlsAcceptor,
}

impl fmt::Debug for EdgeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdgeTls(…)")
    }
}

impl EdgeTls {
    /// Reads the files: TLS 1.2 and 1.3.
    pub fn load(files: &TlsFiles) -> Result<EdgeTls, TlsError> {
        let TlsFiles { cert, key, client_ca } = files;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|err| unfit(cert, err))?;
        let config = match client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let unfit_roots = |err: tokio_rustls::rustls::server::VerifierBuilderError| {
                    unfit(path, tokio_rustls::rustls::Error::General(err.to_string()))
                };
                config.with_client_cert_verifier(verifier.build().map_err(unfit_roots)?)
            }
        };
        let mut config = config
            .with_single_cert(certificates(cert)?, private_key(key)?)
            .map_err(|err| unfit(key, err))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(EdgeTls { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}
