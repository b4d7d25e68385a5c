//! TLS towards the origins of one region.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::ciphers::provider;
use meridian_core::table::origin::{UpstreamHttp, UpstreamSpec};

/// Sessions kept for resumption, per region; one endpoint needs a handful.
const SESSIONS: usize = 256;

/// Why no TLS towards a region could be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// A PEM file cannot be read or holds nothing of use.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refused the combination.
    #[error("TLS settings refused: {0}")]
    Refused(#[from] rustls::Error),
}

impl UpstreamTlsError {
    /// The file at fault, if one is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Refused(_) => None,
        }
    }
}

/// The client side of TLS for `upstream`: verified against its CA file or the system's roots,
/// with session resumption, offering the HTTP versions it may speak.
pub fn client_config(upstream: &UpstreamSpec) -> Result<Arc<ClientConfig>, UpstreamTlsError> {
    let provider = Arc::new(provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &upstream.ca {
        Some(path) => builder.with_root_certificates(roots_from(path)?),
        None if system_has_roots() => builder.with_platform_verifier()?,
        None => {
            let mut roots = rustls::RootCertStore::empty();
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            tracing::warn!("the system has no root certificates; using the built-in Mozilla set");
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match &upstream.client_certificate {
        Some((cert, key)) => builder.with_client_auth_cert(read_chain(cert)?, read_key(key)?)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match upstream.http {
        UpstreamHttp::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamHttp::Http2 => vec![b"h2".to_vec()],
        UpstreamHttp::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// Where Linux distributions keep the bundle, the places the platform verifier looks too.
fn system_has_roots() -> bool {
    const BUNDLES: [&str; 5] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    ];
    std::env::var_os("SSL_CERT_FILE").is_some()
        || std::env::var_os("SSL_CERT_DIR").is_some()
        || BUNDLES.iter().any(|bundle| Path::new(bundle).exists())
        || !cfg!(target_os = "linux")
}

fn roots_from(path: &Path) -> Result<rustls::RootCertStore, UpstreamTlsError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|error| at(path, error))?;
    }
    Ok(roots)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| at(path, error))?;
    if chain.is_empty() {
        Err(at(path, "no certificate in it"))
    } else {
        Ok(chain)
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, UpstreamTlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| at(path, error))
}

fn at(path: &Path, reason: impl std::fmt::Display) -> UpstreamTlsError {
    UpstreamTlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
