//! Certificates made on the spot, and viewers that trust them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meridian::resources::tls::server_config;
use meridian_core::config::{CertificateFiles, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tempfile::TempDir;

/// 2027-01-15; the certificates here are valid from 1975 to 4096 unless a test says otherwise.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A certificate authority, and a folder of the files made with it.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        Self { issuer, folder }
    }

    /// Writes a file of the name and content given.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes a certificate with an ECDSA key, the files named after `file`.
    pub(crate) fn certificate(&self, file: &str, names: &[&str]) -> CertificateFiles {
        self.certified(file, &params(names), &KeyPair::generate().unwrap())
    }

    /// The same for the `key` given, with all that `params` say.
    pub(crate) fn certified(
        &self,
        file: &str,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> CertificateFiles {
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        CertificateFiles {
            cert: self.file(&format!("{file}.pem"), certificate.pem()),
            key: self.file(&format!("{file}.key"), key.serialize_pem()),
        }
    }

    /// What serves `names` by a certificate that ended long ago.
    pub(crate) fn expired(&self, names: &[&str]) -> Arc<ServerConfig> {
        let mut old = params(names);
        old.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = old.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key);
        Arc::new(config.unwrap())
    }

    /// Requires viewers to show a certificate of this authority.
    pub(crate) fn for_viewers(&self, certificates: &[CertificateFiles]) -> TlsConfig {
        TlsConfig {
            client_ca: Some(self.file("viewers.pem", self.issuer.pem())),
            ..tls(certificates)
        }
    }

    /// A viewer that trusts this authority.
    pub(crate) fn viewer(&self) -> ViewerSetup<'_> {
        ViewerSetup {
            authority: self,
            provider: aws_lc_rs::default_provider(),
            versions: rustls::DEFAULT_VERSIONS.to_vec(),
            alpn: &[],
            certificate: None,
        }
    }
}

/// What a viewer is able to do; all that rustls can, unless changed.
pub(crate) struct ViewerSetup<'a> {
    authority: &'a Authority,
    pub(crate) provider: CryptoProvider,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: &'a [&'a str],
    pub(crate) certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

impl ViewerSetup<'_> {
    pub(crate) fn build(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Arc::new(config)
    }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

pub(crate) fn tls(certificates: &[CertificateFiles]) -> TlsConfig {
    TlsConfig {
        certificates: certificates.to_vec(),
        client_ca: None,
    }
}

/// What serves viewers by `tls`.
pub(crate) fn serve(tls: &TlsConfig) -> Arc<ServerConfig> {
    server_config(tls, now()).unwrap()
}

/// The name, without its ending, of the file that `certificate` (DER) is in.
pub(crate) fn file_of(authority: &Authority, certificate: &[u8]) -> String {
    let folder = std::fs::read_dir(authority.folder.path()).unwrap();
    let same = folder.map(|entry| entry.unwrap().path()).find(|path| {
        CertificateDer::from_pem_file(path).is_ok_and(|der| der.as_ref() == certificate)
    });
    same.unwrap()
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// A certificate that `issuer` made for a viewer.
pub(crate) fn viewer_certificate(
    issuer: &Authority,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["viewer"]).signed_by(&key, &issuer.issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    (certificate.der().clone(), key)
}

/// What a viewer sends first.
pub(crate) fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from("api.test").unwrap();
    let mut session = ClientConnection::new(authority.viewer().build(), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}
