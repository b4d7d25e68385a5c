//! Why a listener's TLS could not be set up.

use std::io;
use std::path::{Path, PathBuf};

/// Why a listener's TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is at fault.
    #[error("{}: {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: FileFault,
    },
    /// The listener speaks TLS and names no certificate.
    #[error("no certificate is named")]
    NoCertificates,
    /// rustls refused the combination, or had no random bytes for its ticket keys.
    #[error("TLS settings refused: {0}")]
    Refused(#[from] rustls::Error),
}

impl TlsError {
    /// The file at fault, if one is.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::NoCertificates | Self::Refused(_) => None,
        }
    }

    pub(super) fn file(path: &Path, fault: FileFault) -> Self {
        Self::File {
            path: path.to_owned(),
            fault,
        }
    }
}

/// What is wrong with a certificate's or a key's file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// Missing, or may not be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// Longer than any bundle of certificates.
    #[error("is larger than {limit} bytes, so it is no PEM file of certificates or keys")]
    TooLarge {
        /// Bytes at most.
        limit: u64,
    },
    /// Has content, but no PEM section.
    #[error("is not PEM (it has no \"-----BEGIN\" line; DER files must be converted)")]
    NotPem,
    /// A PEM section cannot be decoded.
    #[error("is broken PEM: {0}")]
    BrokenPem(String),
    /// Has no certificate.
    #[error("has no certificate in it")]
    NoCertificate,
    /// Has no private key.
    #[error("has no private key in it")]
    NoKey,
    /// Its private key needs a passphrase, which nobody is there to type.
    #[error("has an encrypted private key in it; decrypt it first")]
    EncryptedKey,
    /// A certificate cannot be understood.
    #[error("has a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// The private key cannot be understood or is of no supported kind.
    #[error("has a private key that cannot be used: {0}")]
    BadKey(String),
    /// The private key is another certificate's.
    #[error("the private key does not match the certificate in {}", cert.display())]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
    },
    /// The certificate has ended.
    #[error("the certificate expired on {on}")]
    Expired {
        /// Its end, as HTTP writes dates.
        on: String,
    },
    /// The certificate has not begun.
    #[error("the certificate is not valid before {from}")]
    NotYetValid {
        /// Its begin, as HTTP writes dates.
        from: String,
    },
    /// No authority is in the file of those that sign viewers' certificates, so that every viewer
    /// would be refused.
    #[error("has no certificate authority in it, so no viewer could connect")]
    NoAuthority,
}
