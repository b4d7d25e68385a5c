//! The cryptography of both sides, in our order.

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// aws-lc's, with AES-128 before AES-256. Both are far beyond reach, but the 256-bit suites of
/// TLS 1.3 hash with SHA-384, which no processor here has instructions for: a resumed handshake
/// takes a quarter less with SHA-256, and a large body a tenth. BoringSSL and Go choose alike.
#[must_use]
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    // Stable: among others the order stays.
    provider
        .cipher_suites
        .sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 3,
            _ => 4,
        });
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_that_processors_are_made_for_comes_first_and_none_is_lost() {
        let ours = provider().cipher_suites;
        let theirs = aws_lc_rs::default_provider().cipher_suites;
        assert_eq!(ours.len(), theirs.len());
        assert!(theirs.iter().all(|suite| ours.contains(suite)));
        assert_eq!(ours[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(ours[2].suite(), CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
}
