//! Which certificate answers which name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its key, and the names it is for.
#[derive(Debug)]
pub(super) struct NamedKey {
    /// Lower-case; a wildcard starts with `*.`.
    pub(super) names: Vec<String>,
    pub(super) key: Arc<CertifiedKey>,
}

/// Certificates by the name the viewer asks for (SNI, RFC 6066, section 3): the whole name, then
/// the wildcard for its first label (RFC 6125, section 6.4.3), then the default. Where several
/// are for one name, the first that the viewer can verify: so RSA may stand behind ECDSA for
/// viewers of old.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    exact: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    default: Arc<CertifiedKey>,
}

impl CertificatesByName {
    /// The first of `certificates` is the default; `None` if there is none.
    pub(super) fn new(certificates: Vec<NamedKey>) -> Option<Self> {
        let mut all = Self {
            exact: BTreeMap::new(),
            wildcard: BTreeMap::new(),
            default: Arc::clone(&certificates.first()?.key),
        };
        for NamedKey { names, key } in certificates {
            for name in names {
                let keys = match name.strip_prefix("*.") {
                    Some(parent) => all.wildcard.entry(parent.to_owned()).or_default(),
                    None => all.exact.entry(name).or_default(),
                };
                keys.push(Arc::clone(&key));
            }
        }
        Some(all)
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let keys = self.exact.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(parent)
        });
        let Some(keys) = keys else {
            return Arc::clone(&self.default);
        };
        let usable = keys
            .iter()
            .find(|certified| certified.key.choose_scheme(schemes).is_some());
        Arc::clone(usable.or_else(|| keys.first()).unwrap_or(&self.default))
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name(), hello.signature_schemes()))
    }
}
