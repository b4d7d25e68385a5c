//! A certificate for the proxies and the origins: ECDSA P-256, as `rcgen` makes it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// The name in the certificate.
pub(crate) const NAME: &str = "localhost";
/// Files in a proxy's folder.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
pub(crate) const KEY: &str = "key.pem";
/// Both in one, as HAProxy reads them.
pub(crate) const BOTH: &str = "both.pem";
pub(crate) const AUTHORITY: &str = "authority.pem";

/// The certificate, its key, and who signed it.
pub(crate) struct Certificates {
    authority: String,
    authority_der: CertificateDer<'static>,
    certificate: String,
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Certificates {
    pub(crate) fn new() -> io::Result<Self> {
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "the authority of the bench");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new([NAME.to_owned()]).map_err(io::Error::other)?;
        let signed = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
        Ok(Self {
            authority: issuer.pem(),
            authority_der: issuer.der().clone(),
            certificate: signed.pem(),
            der: signed.der().clone(),
            key,
        })
    }

    /// Writes the files that settings name.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let key = self.key.serialize_pem();
        fs::write(folder.join(CERTIFICATE), &self.certificate)?;
        fs::write(folder.join(KEY), &key)?;
        fs::write(folder.join(BOTH), format!("{}{key}", self.certificate))?;
        fs::write(folder.join(AUTHORITY), &self.authority)
    }

    /// TLS as the origins speak it.
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// TLS as our own viewers speak it: each connection from the start.
    pub(crate) fn viewer(&self, protocol: &str) -> io::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        let authority = self.authority_der.clone();
        roots.add(authority).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}
