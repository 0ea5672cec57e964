//! What TLS needs of files, and the algorithms it may use.

mod client;
mod renewable;

pub use self::client::{ClientTls, Spoken, system};
pub(crate) use self::renewable::Renewable;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// Why TLS cannot be had with these files. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not PEM: {source}", path.display())]
    Malformed { path: PathBuf, source: pem::Error },
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    #[error("this system's authorities are at none of the usual places: name a PEM file (ca)")]
    NoAuthorities,
    #[error("{}: {source}", path.display())]
    Unfit { path: PathBuf, source: tokio_rustls::rustls::Error },
}

/// The algorithms: ring's, chosen once for the whole program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(tokio_rustls::rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM file, in order.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|err| malformed(path, err))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|err| malformed(path, err))
}

/// The authorities of a PEM file, all of them trusted.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|err| unfit(path, err))?;
    }
    Ok(roots)
}

/// What tells the contents of files from others.
pub(crate) fn fingerprint<'a>(
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<blake3::Hash, TlsError> {
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let bytes = read(path)?;
        hasher.update(&bytes.len().to_be_bytes()).update(&bytes);
    }
    Ok(hasher.finalize())
}

/// What rustls says of what a file holds.
pub(crate) fn unfit(path: &Path, source: tokio_rustls::rustls::Error) -> TlsError {
    TlsError::Unfit { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn malformed(path: &Path, source: pem::Error) -> TlsError {
    TlsError::Malformed { path: path.to_owned(), source }
}
