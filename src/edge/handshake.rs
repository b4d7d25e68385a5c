//! The viewer's TLS handshake.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why a handshake failed; a closed set, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// Not done in time.
    #[error("no TLS session in time")]
    Timeout,
    /// The viewer went away in the middle.
    #[error("the viewer closed the connection in the handshake")]
    Closed,
    /// What came is no TLS.
    #[error("the viewer does not speak TLS")]
    NotTls,
    /// The viewer showed no certificate, or one that does not verify, where one is required.
    #[error("the viewer's certificate is missing or refused")]
    ViewerCertificate,
    /// The viewer refused us, by an alert.
    #[error("the viewer refused the handshake")]
    Alert,
    /// No version, cipher or group in common, or a broken handshake.
    #[error("the handshake failed")]
    Protocol,
}

impl HandshakeFailure {
    /// Every failure, in the order of [`Self::index`].
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::ViewerCertificate,
        Self::Alert,
        Self::Protocol,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The failure as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::ViewerCertificate => "viewer_certificate",
            Self::Alert => "alert",
            Self::Protocol => "protocol",
        }
    }

    fn of(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        match inner {
            None => Self::Closed,
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                Self::ViewerCertificate
            }
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Protocol,
        }
    }
}

/// Makes a TLS session over `io` until `deadline`; at a failure the viewer was told by an alert
/// if it could be, and `io` is closed. The session is boxed: its state is over a
/// kilobyte and would otherwise be copied with every future that holds it.
pub async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    io: T,
    deadline: Instant,
) -> Result<Box<TlsStream<T>>, HandshakeFailure> {
    match timeout_at(deadline, TlsAcceptor::from(config).accept(io)).await {
        Err(_) => Err(HandshakeFailure::Timeout),
        Ok(Err(error)) => {
            // The kind is for metrics; which alert or cipher it was, only this line tells.
            tracing::debug!(%error, "TLS handshake failed");
            Err(HandshakeFailure::of(&error))
        }
        Ok(Ok(stream)) => Ok(Box::new(stream)),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn each_failure_has_its_own_place_and_label() {
        for (index, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), index);
            let same = HandshakeFailure::ALL
                .into_iter()
                .filter(|f| f.label() == failure.label());
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn what_rustls_says_has_a_kind() {
        let kinds = [
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                HandshakeFailure::NotTls,
            ),
            (
                rustls::Error::NoCertificatesPresented,
                HandshakeFailure::ViewerCertificate,
            ),
            (
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
                HandshakeFailure::ViewerCertificate,
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::BadCertificate),
                HandshakeFailure::Alert,
            ),
            (
                rustls::Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                HandshakeFailure::Protocol,
            ),
        ];
        for (error, kind) in kinds {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(HandshakeFailure::of(&error), kind, "{error}");
        }
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(HandshakeFailure::of(&reset), HandshakeFailure::Closed);
    }
}
