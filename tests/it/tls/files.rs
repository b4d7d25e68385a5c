//! What is said of the files of certificates and keys.

use std::path::Path;
use std::time::SystemTime;

use meridian::resources::tls::{TlsError, certificate_facts, server_config, warnings};
use meridian_core::config::{CertificateFiles, TlsConfig};
use rcgen::KeyPair;

use crate::support::authority::{Authority, now, params, tls};

#[test]
fn a_certificates_file_at_fault_is_named_with_its_fault() {
    let authority = Authority::new();
    let good = authority.certificate("good", &["api.test"]);
    let text = std::fs::read_to_string(&good.cert).unwrap();
    let end = "-----END CERTIFICATE-----";
    let mut old = params(&["api.test"]);
    old.not_after = rcgen::date_time_ymd(2026, 12, 31);
    let mut new = params(&["api.test"]);
    new.not_before = rcgen::date_time_ymd(2027, 2, 1);
    let key = KeyPair::from_pem(&std::fs::read_to_string(&good.key).unwrap()).unwrap();

    for (cert, fault) in [
        (
            authority.folder.path().join("missing.pem"),
            "cannot be read: ",
        ),
        (authority.folder.path().to_owned(), "cannot be read: "),
        (authority.file("empty.pem", ""), "no certificate in it"),
        (authority.file("blank.pem", " \n"), "no certificate in it"),
        (good.key.clone(), "no certificate in it"),
        (
            authority.file("der.pem", authority.issuer.der()),
            "is not PEM",
        ),
        (
            authority.file("long.pem", vec![b'-'; (4 << 20) + 1]),
            "is larger than",
        ),
        (authority.file("cut.pem", text.replace(end, "")), end),
        (
            authority.file("typo.pem", text.replace("MI", "M*")),
            "broken PEM",
        ),
        (
            authority.file("nonsense.pem", section("CERTIFICATE")),
            "cannot be used: ",
        ),
        (
            authority.certified("old", &old, &key).cert,
            "expired on Thu, 31 Dec 2026",
        ),
        (
            authority.certified("new", &new, &key).cert,
            "not valid before Mon, 01 Feb 2027",
        ),
    ] {
        // A good certificate before it does not hide it.
        let files = CertificateFiles {
            cert: cert.clone(),
            ..good.clone()
        };
        says(&refused(&tls(&[good.clone(), files])), &cert, fault);
    }
}

#[test]
fn a_keys_file_at_fault_is_named_with_its_fault() {
    let authority = Authority::new();
    let good = authority.certificate("good", &["api.test"]);
    let other = authority.certificate("other", &["api.test"]);
    for (key, fault) in [
        (
            authority.folder.path().join("missing.key"),
            "cannot be read: ",
        ),
        (authority.file("empty.key", "\n"), "no private key in it"),
        (good.cert.clone(), "no private key in it"),
        (
            authority.file("der.key", authority.issuer.der()),
            "is not PEM",
        ),
        (
            authority.file("locked.key", section("ENCRYPTED PRIVATE KEY")),
            "decrypt it first",
        ),
        (
            authority.file("nonsense.key", section("PRIVATE KEY")),
            "cannot be used: ",
        ),
        (other.key, "does not match the certificate in "),
    ] {
        let files = CertificateFiles {
            key: key.clone(),
            ..good.clone()
        };
        says(&refused(&tls(&[files])), &key, fault);
    }
}

/// A section of PEM that holds three bytes of nothing.
fn section(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
}

fn says(error: &TlsError, path: &Path, fault: &str) {
    assert_eq!(error.path(), Some(path), "{error}");
    let message = error.to_string();
    let told = message.strip_prefix(&path.display().to_string());
    assert!(told.is_some_and(|told| told.contains(fault)), "{message}");
}

#[test]
fn a_key_may_stand_in_the_certificates_file() {
    let authority = Authority::new();
    let files = authority.certificate("api", &["api.test"]);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let both = authority.file("both.pem", read(&files.key) + &read(&files.cert));
    let files = CertificateFiles {
        cert: both.clone(),
        key: both,
    };
    assert!(server_config(&tls(&[files]), now()).is_ok());
}

#[test]
fn authorities_that_would_let_nobody_in_are_refused() {
    let authority = Authority::new();
    let certificate = authority.certificate("api", &["api.test"]);
    for (content, text) in [
        ("", "no certificate authority in it"),
        ("rubbish", "is not PEM"),
        (&section("CERTIFICATE"), "cannot be used"),
    ] {
        let path = authority.file("viewers.pem", content);
        let error = refused(&TlsConfig {
            client_ca: Some(path.clone()),
            ..tls(std::slice::from_ref(&certificate))
        });
        says(&error, &path, text);
    }
}

#[test]
fn a_listener_without_certificates_is_refused() {
    assert!(matches!(refused(&tls(&[])), TlsError::NoCertificates));
}

fn refused(tls: &TlsConfig) -> TlsError {
    server_config(tls, now()).err().unwrap()
}

#[test]
fn facts_are_read_even_of_a_certificate_that_has_ended() {
    let authority = Authority::new();
    let mut old = params(&["API.test", "*.shop.test", "192.0.2.1"]);
    old.not_before = rcgen::date_time_ymd(2020, 1, 1);
    old.not_after = rcgen::date_time_ymd(2027, 1, 25);
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let old = authority.certified("old", &old, &rsa);
    let new = authority.certificate("new", &["new.test"]);

    let facts = certificate_facts(&tls(&[old.clone(), new])).unwrap();
    assert_eq!(facts[0].path, old.cert);
    assert_eq!(facts[0].names, ["api.test", "*.shop.test", "192.0.2.1"]);
    assert_eq!(facts[0].key, "RSA");
    assert_eq!(facts[1].key, "ECDSA");
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(seconds(facts[0].not_before).as_secs(), 1_577_836_800);
    assert_eq!(seconds(facts[0].not_after).as_secs(), 1_800_835_200);

    let warnings = warnings(&facts, now());
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|(path, _)| *path == old.cert));
    assert!(warnings[1].1.contains("ends in 9 days"));
}
