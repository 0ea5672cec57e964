//! TLS before clients: which certificate, and whether the client has to show one.

use crate::tls::{
    Renewable, TlsError, authorities, certificates, fingerprint, private_key, provider, unfit,
};
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

/// TLS as the files have it. Clones share it, also when it is renewed.
#[derive(Clone)]
pub struct EdgeTls {
    acceptor: Renewable<TlsAcceptor>,
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
        let paths = [cert, key].into_iter().chain(client_ca).map(PathBuf::as_path);
        let fingerprint = fingerprint(paths)?;
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
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(EdgeTls { acceptor: Renewable::new(acceptor, fingerprint) })
    }

    /// Goes by the files as they were read for `fresh`, with connections that come from now on;
    /// those that are open go on. False when the files are the same.
    pub fn renew(&self, fresh: &EdgeTls) -> bool {
        self.acceptor.renew(&fresh.acceptor)
    }

    /// What a connection that comes now is received with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.get()
    }
}
