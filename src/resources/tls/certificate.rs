//! Certificates and keys as files hold them.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::resources::tls::error::{FileFault, TlsError};
use crate::resources::tls::resolver::NamedKey;
use meridian_core::config::TlsConfig;

/// Bytes of a file at most; the bundle of all public authorities has a quarter of a megabyte.
const MAX_FILE: u64 = 4 << 20;

/// How long before its end a certificate is worth a warning. Renewal is usually tried 30 days
/// ahead, so at 14 it has failed for a while.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The last second that [`httpdate`] can write, the end of the year 9999.
const LAST_DATE: u64 = 253_402_300_799;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The file it is in.
    pub path: PathBuf,
    /// The host names (lower-case, wildcards as `*.example.com`) and addresses it is for.
    pub names: Vec<String>,
    /// Its first second; the epoch if that is before.
    pub not_before: SystemTime,
    /// Its last second.
    pub not_after: SystemTime,
    /// The kind of its key: `"ECDSA"`, `"RSA"`, `"Ed25519"` or `"other"`.
    pub key: &'static str,
}

impl CertificateFacts {
    /// An error if the certificate does not hold at `now`.
    pub(super) fn check_dates(&self, now: SystemTime) -> Result<(), TlsError> {
        let fault = if now < self.not_before {
            let from = date(self.not_before);
            FileFault::NotYetValid { from }
        } else if self.not_after < now {
            let on = date(self.not_after);
            FileFault::Expired { on }
        } else {
            return Ok(());
        };
        Err(TlsError::file(&self.path, fault))
    }

    fn parse(path: &Path, der: &[u8]) -> Result<Self, FileFault> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(bad_certificate)?;
        let validity = certificate.validity();
        Ok(Self {
            path: path.to_owned(),
            names: names(&certificate)?,
            not_before: system_time(validity.not_before),
            not_after: system_time(validity.not_after),
            key: key_kind(&certificate),
        })
    }
}

/// The facts of every certificate of `tls`, in its order. Keys are not read and dates not judged.
pub fn certificate_facts(tls: &TlsConfig) -> Result<Vec<CertificateFacts>, TlsError> {
    tls.certificates
        .iter()
        .map(|files| Certificate::read(&files.cert).map(|certificate| certificate.facts))
        .collect()
}

/// What an operator should know about certificates that work, each with its file.
#[must_use]
pub fn warnings(facts: &[CertificateFacts], now: SystemTime) -> Vec<(PathBuf, String)> {
    let mut warnings = Vec::new();
    for facts in facts {
        let mut warn = |text: String| warnings.push((facts.path.clone(), text));
        if facts.key == "RSA" {
            warn(
                "an RSA key costs 3.5 times the CPU per handshake; use ECDSA P-256 if every viewer \
                 knows it"
                    .to_owned(),
            );
        }
        if facts.names.is_empty() {
            warn("the certificate names no host, so browsers refuse it".to_owned());
        }
        if let Ok(left) = facts.not_after.duration_since(now)
            && left < ENDS_SOON
        {
            warn(format!(
                "the certificate ends in {} days, on {}",
                left.as_secs() / (24 * 60 * 60),
                date(facts.not_after)
            ));
        }
    }
    warnings
}

/// A certificate with the chain behind it, read and understood; no date was judged.
pub(super) struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    facts: CertificateFacts,
}

impl Certificate {
    /// Reads the chain in `path`, leaf first.
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        let at = |fault| TlsError::file(path, fault);
        let chain = certificates(&content(path).map_err(at)?).map_err(at)?;
        let leaf = chain.first().ok_or_else(|| at(FileFault::NoCertificate))?;
        let facts = CertificateFacts::parse(path, leaf).map_err(at)?;
        Ok(Self { chain, facts })
    }

    /// What its leaf says.
    pub(super) fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Joins it with the key in the file `path`, if that is its key.
    pub(super) fn with_key(
        self,
        path: &Path,
        provider: &CryptoProvider,
    ) -> Result<NamedKey, TlsError> {
        let at = |fault| TlsError::file(path, fault);
        let key = content(path)
            .and_then(|content| private_key(&content))
            .map_err(at)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| at(FileFault::BadKey(error.to_string())))?;
        let certified = CertifiedKey::new(self.chain, key);
        match certified.keys_match() {
            // Not every kind of key can be compared; one that cannot is believed.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(NamedKey {
                names: self.facts.names,
                key: Arc::new(certified),
            }),
            Err(Error::InconsistentKeys(_)) => Err(at(FileFault::KeyMismatch {
                cert: self.facts.path,
            })),
            Err(error) => Err(TlsError::file(&self.facts.path, bad_certificate(error))),
        }
    }
}

/// The authorities in the file `path`, at least one.
pub(super) fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let authorities = content(path)
        .and_then(|content| certificates(&content))
        .map_err(|fault| TlsError::file(path, fault))?;
    if authorities.is_empty() {
        Err(TlsError::file(path, FileFault::NoAuthority))
    } else {
        Ok(authorities)
    }
}

fn content(path: &Path) -> Result<Vec<u8>, FileFault> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content))
        .map_err(FileFault::Unreadable)?;
    if content.len() as u64 > MAX_FILE {
        return Err(FileFault::TooLarge { limit: MAX_FILE });
    }
    let blank = content.iter().all(u8::is_ascii_whitespace);
    if !blank && !contains(&content, b"-----BEGIN") {
        return Err(FileFault::NotPem);
    }
    Ok(content)
}

fn certificates(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(broken_pem)
}

fn private_key(content: &[u8]) -> Result<PrivateKeyDer<'static>, FileFault> {
    // Both ways to write an encrypted key: PKCS #8's own section, and a header in older ones.
    let encrypted = contains(content, b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(content) {
        Ok(key) => Ok(key),
        Err(_) if encrypted => Err(FileFault::EncryptedKey),
        Err(pem::Error::NoItemsFound) => Err(FileFault::NoKey),
        Err(error) => Err(broken_pem(error)),
    }
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// The names in the subject's alternative names (RFC 5280, section 4.2.1.6); the common name
/// counts no longer, as for viewers.
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, FileFault> {
    let alternatives = certificate
        .subject_alternative_name()
        .map_err(bad_certificate)?;
    let names = alternatives
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

fn key_kind(certificate: &X509Certificate<'_>) -> &'static str {
    match certificate
        .public_key()
        .algorithm
        .algorithm
        .to_id_string()
        .as_str()
    {
        "1.2.840.10045.2.1" => "ECDSA",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.3.101.112" => "Ed25519",
        _ => "other",
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_DATE))
}

/// Writes `time`, limited to the years 1970 to 9999.
fn date(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_DATE);
    httpdate::fmt_http_date(time.clamp(SystemTime::UNIX_EPOCH, last))
}

fn bad_certificate(error: impl std::fmt::Display) -> FileFault {
    FileFault::BadCertificate(error.to_string())
}

fn broken_pem(error: pem::Error) -> FileFault {
    FileFault::BrokenPem(match error {
        // rustls's own words list the bytes as numbers.
        pem::Error::MissingSectionEnd { end_marker } => {
            let section = String::from_utf8_lossy(&end_marker).into_owned();
            format!("no \"-----END {section}-----\" line")
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(&line).into_owned();
            format!("malformed line {:?}", line.trim_end())
        }
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn facts(key: &'static str, ends_in: Duration) -> CertificateFacts {
        CertificateFacts {
            path: "api.pem".into(),
            names: vec!["api.test".to_owned()],
            not_before: SystemTime::UNIX_EPOCH,
            not_after: now() + ends_in,
            key,
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn texts(facts: &[CertificateFacts]) -> Vec<String> {
        let warnings = warnings(facts, now()).into_iter();
        warnings.map(|(_, text)| text).collect()
    }

    #[test]
    fn an_ecdsa_certificate_with_weeks_left_gives_no_warning() {
        assert_eq!(texts(&[facts("ECDSA", DAY * 14)]), Vec::<String>::new());
    }

    #[test]
    fn an_rsa_key_near_its_end_gives_two_warnings() {
        let texts = texts(&[facts("RSA", DAY * 14 - Duration::from_secs(1))]);
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("3.5 times the CPU"), "{}", texts[0]);
        assert_eq!(
            texts[1],
            "the certificate ends in 13 days, on Fri, 29 Jan 2027 07:59:59 GMT"
        );
    }

    #[test]
    fn a_certificate_without_names_gives_a_warning() {
        let nameless = CertificateFacts {
            names: Vec::new(),
            ..facts("ECDSA", DAY * 90)
        };
        assert!(texts(&[nameless])[0].contains("names no host"));
    }

    #[test]
    fn the_first_and_the_last_second_of_a_certificate_count() {
        let facts = facts("ECDSA", DAY);
        let second = Duration::from_secs(1);
        assert!(facts.check_dates(facts.not_before).is_ok());
        assert!(facts.check_dates(facts.not_after).is_ok());
        assert!(facts.check_dates(facts.not_before - second).is_err());
        assert!(facts.check_dates(facts.not_after + second).is_err());
    }

    #[test]
    fn dates_that_http_cannot_write_are_limited() {
        let beyond = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_DATE + 1);
        assert_eq!(date(beyond), "Fri, 31 Dec 9999 23:59:59 GMT");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(date(before), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn addresses_of_neither_family_are_no_names() {
        assert_eq!(address(&[192, 0, 2, 1]), Some([192, 0, 2, 1].into()));
        assert_eq!(address(&[0; 16]), Some([0_u8; 16].into()));
        assert_eq!(address(&[1, 2, 3]), None);
    }

    #[test]
    fn no_damaged_certificate_makes_it_panic() {
        let names = vec!["api.test".to_owned(), "192.0.2.1".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        let der = certified.cert.der();
        let path = Path::new("api.pem");
        let facts = CertificateFacts::parse(path, der).unwrap();
        assert_eq!(facts.names, ["api.test", "192.0.2.1"]);
        for place in 0..der.len() {
            for value in [0, 1, 0x30, 0x7f, 0x80, 0xff] {
                let mut damaged = der.to_vec();
                damaged[place] = value;
                // Whether it can still be read is not the point.
                if let Ok(facts) = CertificateFacts::parse(path, &damaged) {
                    let _ = facts.check_dates(now());
                    let _ = warnings(&[facts], now());
                }
                let _ = CertificateFacts::parse(path, &der[..place]);
            }
        }
    }
}
