//! The certificates of the regions: one that holds and one that has expired.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::setup::certified_name;

/// What a region does TLS with.
#[derive(Clone)]
pub(crate) struct Certificates {
    /// The certificate of the authority, in PEM.
    pub(crate) authority: String,
    pub(crate) good: TlsAcceptor,
    pub(crate) expired: TlsAcceptor,
}

impl Certificates {
    /// Makes an authority and its certificates.
    pub(crate) fn new() -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than its certificates have, or OpenSSL takes these for their own issuers.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "the authority of the regions");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        Ok(Self {
            authority: issuer.pem(),
            good: acceptor(&issuer, false)?,
            expired: acceptor(&issuer, true)?,
        })
    }
}

fn acceptor(issuer: &CertifiedIssuer<'_, KeyPair>, is_expired: bool) -> io::Result<TlsAcceptor> {
    let mut params = CertificateParams::new([certified_name()]).map_err(io::Error::other)?;
    if is_expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, issuer).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
