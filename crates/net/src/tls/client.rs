//! TLS towards servers of others: whom to believe that a server is the one that was meant.

use super::{TlsError, authorities, provider, unfit};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, CertificateError, ClientConfig, RootCertStore, pki_types::ServerName},
};

/// Where systems keep the authorities that they trust, in the order of Go's `crypto/x509`.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL 6
    "/etc/ssl/ca-bundle.pem",             // openSUSE
    "/etc/pki/tls/cacert.pem",            // OpenELEC
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS, RHEL 7
    "/etc/ssl/cert.pem",                  // Alpine, macOS
];

/// What is to be spoken within TLS, as it is agreed on there (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    Http2,
    /// What nobody has to agree on: mail.
    Smtp,
}

impl Spoken {
    fn alpn(self) -> Option<&'static [u8]> {
        match self {
            Spoken::Http1 => Some(b"http/1.1"),
            Spoken::Http2 => Some(b"h2"),
            Spoken::Smtp => None,
        }
    }
}

/// TLS 1.2 and 1.3 as a client. Clones share it; two are equal that trust the same authorities and
/// speak the same.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    spoken: Spoken,
    trusted: blake3::Hash,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTls({:?}, …)", self.spoken)
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &ClientTls) -> bool {
        (self.spoken, self.trusted) == (other.spoken, other.trusted)
    }
}

impl Eq for ClientTls {}

impl ClientTls {
    /// Trusts the authorities of this PEM file and no others; without one those of the system.
    ///
    /// # Errors
    /// When the file cannot be used, or the system's authorities are at none of the usual places.
    pub fn load(ca: Option<&Path>, spoken: Spoken) -> Result<ClientTls, TlsError> {
        let (path, roots) = match ca {
            Some(path) => (path.to_owned(), authorities(path)?),
            None => system_bundle()?,
        };
        let mut hasher = blake3::Hasher::new();
        for root in &roots.roots {
            for part in [root.subject.as_ref(), root.subject_public_key_info.as_ref()] {
                hasher.update(&part.len().to_be_bytes()).update(part);
            }
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|err| unfit(&path, err))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = spoken.alpn().into_iter().map(<[u8]>::to_vec).collect();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(ClientTls { connector, spoken, trusted: hasher.finalize() })
    }

    /// The handshake with a server that has to prove to be `host`, a name or an address without
    /// brackets. How long it may take is for the caller to say.
    ///
    /// # Errors
    /// When the connection fails, or the server is not whom it should be. Nothing was sent then.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<Box<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failure(format!("{host} is no name that a certificate can have")))?;
        let stream = Box::pin(self.connector.connect(name, stream)).await;
        let stream = stream.map_err(|err| explain(host, err))?;
        let agreed = stream.get_ref().1.alpn_protocol();
        match (agreed, self.spoken) {
            (Some(agreed), spoken) if Some(agreed) == spoken.alpn() => Ok(Box::new(stream)),
            // Who does not take part in this speaks what is older than it.
            (None, Spoken::Http1) | (_, Spoken::Smtp) => Ok(Box::new(stream)),
            (_, Spoken::Http1) => Err(failure("TLS: it does not speak HTTP/1.1".to_owned())),
            (_, Spoken::Http2) => Err(failure("TLS: it does not speak HTTP/2".to_owned())),
        }
    }
}

/// The authorities that this system trusts.
///
/// # Errors
/// When they are at none of the usual places.
pub fn system() -> Result<RootCertStore, TlsError> {
    system_bundle().map(|(_, roots)| roots)
}

/// The authorities of the first bundle that there is. One that cannot be read as a certificate of
/// an authority is left out, as everybody does.
fn system_bundle() -> Result<(PathBuf, RootCertStore), TlsError> {
    for path in BUNDLES.map(Path::new).into_iter().filter(|it| it.is_file()) {
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(super::certificates(path)?).0 != 0 {
            return Ok((path.to_owned(), roots));
        }
    }
    Err(TlsError::NoAuthorities)
}

fn failure(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What went wrong, in words that tell people what to look at.
fn explain(host: &str, error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    let Some(tls) = tls else {
        return match error.kind() == io::ErrorKind::UnexpectedEof {
            true => failure("TLS: it hung up during the handshake".to_owned()),
            false => error,
        };
    };
    let why = if let rustls::Error::InvalidCertificate(error) = tls {
        certificate(host, error)
    } else if matches!(tls, rustls::Error::InvalidMessage(_)) {
        "it speaks no TLS there".to_owned()
    } else if let rustls::Error::AlertReceived(alert) = tls {
        format!("it refused the handshake: {alert:?}")
    } else {
        tls.to_string()
    };
    failure(format!("TLS: {why}"))
}

fn certificate(host: &str, error: &CertificateError) -> String {
    use CertificateError as Is;
    if matches!(error, Is::UnknownIssuer) {
        "its certificate is of no authority that is trusted here".to_owned()
    } else if matches!(error, Is::NotValidForName | Is::NotValidForNameContext { .. }) {
        format!("its certificate is not for {host}")
    } else if matches!(error, Is::Expired | Is::ExpiredContext { .. }) {
        "its certificate has expired".to_owned()
    } else if matches!(error, Is::NotValidYet | Is::NotValidYetContext { .. }) {
        "its certificate is not valid yet".to_owned()
    } else if matches!(error, Is::Revoked) {
        "its certificate was revoked".to_owned()
    } else {
        format!("its certificate is not sound: {error:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_problems_are_told_apart() {
        for (error, want) in [
            (CertificateError::UnknownIssuer, "no authority that is trusted"),
            (CertificateError::NotValidForName, "not for rates"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (CertificateError::BadEncoding, "BadEncoding"),
        ] {
            let error = rustls::Error::InvalidCertificate(error);
            let error = explain("rates", io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(error.to_string().contains(want), "{error}");
        }
        let refused: io::Error = io::ErrorKind::ConnectionReset.into();
        assert_eq!(explain("rates", refused).kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_bundle_that_is_not_there_is_said_by_its_name() {
        let error = ClientTls::load(Some(Path::new("/nowhere/ca.pem")), Spoken::Http1);
        assert!(error.unwrap_err().to_string().contains("/nowhere/ca.pem"));
    }
}
