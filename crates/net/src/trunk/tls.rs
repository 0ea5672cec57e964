//! TLS on the trunk: both sides show a certificate of the cluster's own authority.
//!
//! Whoever holds such a certificate may connect; which node it is, the proof within says. So the
//! names in the certificates do not matter, and one may serve all nodes or each have its own.

use crate::tls::{self, Renewable, TlsError, unfit};
use std::{io, path::PathBuf, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
        SignatureScheme,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_cert_signed_by_trust_anchor,
        },
        crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
        server::{ParsedCertificate, WebPkiClientVerifier},
        version::TLS13,
    },
};

/// The files of one node, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The cluster's authorities.
    pub ca: PathBuf,
    /// The node's certificate, and those between it and the authority.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Both ends of TLS, shared by all connections of a node, also when they are renewed.
#[derive(Clone)]
pub struct TrunkTls {
    ends: Renewable<Ends>,
}

#[derive(Clone)]
struct Ends {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for TrunkTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrunkTls(…)")
    }
}

impl TrunkTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read or does not fit the others.
    pub fn load(files: &TlsFiles) -> Result<TrunkTls, TlsError> {
        let paths = [&files.ca, &files.cert, &files.key].map(PathBuf::as_path);
        let fingerprint = tls::fingerprint(paths)?;
        let (provider, roots) = (tls::provider(), Arc::new(tls::authorities(&files.ca)?));
        let chain = tls::certificates(&files.cert)?;
        let key = tls::private_key(&files.key)?;

        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|err| unfit(&files.cert, err))?
            .dangerous() // As rustls calls whatever checks in its place: see `Authority`.
            .with_custom_certificate_verifier(Authority::new(&roots, &provider))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|err| unfit(&files.key, err))?;

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier
            .build()
            .map_err(|err| unfit(&files.ca, rustls::Error::General(err.to_string())))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|err| unfit(&files.cert, err))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|err| unfit(&files.key, err))?;
        // A connection lives for minutes: nothing is gained by resuming one.
        server.send_tls13_tickets = 0;
        let ends = Ends {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
        };
        Ok(TrunkTls { ends: Renewable::new(ends, fingerprint) })
    }

    /// Goes by the files as they were read for `fresh`, with connections that are made from now on.
    /// False when the files are the same.
    pub fn renew(&self, fresh: &TrunkTls) -> bool {
        self.ends.renew(&fresh.ends)
    }

    /// The handshake of the side that connected.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("trunk").expect("a name like any other");
        Ok(self.ends.get().connector.connect(name, stream).await?.into())
    }

    /// The handshake of the side that was connected to.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Ok(self.ends.get().acceptor.accept(stream).await?.into())
    }
}

/// Lets in who shows a certificate of the authority, whatever name is in it.
#[derive(Debug)]
struct Authority {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Authority {
    fn new(roots: &Arc<RootCertStore>, provider: &CryptoProvider) -> Arc<Authority> {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Authority { roots: Arc::clone(roots), algorithms })
    }
}

impl ServerCertVerifier for Authority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Only TLS 1.3 is spoken.
        Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A connection before it is taken into its halves.
pub(super) enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}
