//! The TLS side of a listener: which certificate answers which name, and whom it lets in.

pub(crate) mod certificate;
pub(crate) mod error;
mod resolver;

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::ciphers::provider;
use crate::resources::tls::certificate::Certificate;
use crate::resources::tls::error::FileFault;
use crate::resources::tls::resolver::CertificatesByName;
use meridian_core::config::TlsConfig;

pub use crate::resources::tls::certificate::{CertificateFacts, certificate_facts, warnings};
pub use crate::resources::tls::error::TlsError;

/// The server side of TLS 1.2 and 1.3 for `tls`, with every file read and checked at `now`: a
/// certificate is refused when it has ended, has not begun or is not the key's. It offers HTTP/2
/// before HTTP/1.1 and X25519MLKEM768 before other groups, resumes by tickets whose keys live in
/// this configuration only, and takes no early data, which could be replayed.
pub fn server_config(tls: &TlsConfig, now: SystemTime) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider());
    let resolver = Arc::new(resolver(tls, &provider, now)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificate::read_authorities(path)? {
                roots.add(authority).map_err(|error| {
                    TlsError::file(path, FileFault::BadCertificate(error.to_string()))
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| {
                    TlsError::file(path, FileFault::BadCertificate(error.to_string()))
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    // Tickets hold all there is to resume; a store would be a lock that workers share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    // By our order: most clients offer AES-256 first and care little.
    config.ignore_client_order = true;
    // Each takes a hash and a cipher of its own; a viewer's next connection needs one.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn resolver(
    tls: &TlsConfig,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<CertificatesByName, TlsError> {
    let mut certificates = Vec::with_capacity(tls.certificates.len());
    for files in &tls.certificates {
        let certificate = Certificate::read(&files.cert)?;
        certificate.facts().check_dates(now)?;
        certificates.push(certificate.with_key(&files.key, provider)?);
    }
    CertificatesByName::new(certificates).ok_or(TlsError::NoCertificates)
}
