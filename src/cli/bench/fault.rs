//! What comes instead of a whole answer.

use std::error::Error;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::upstream::connect::DialError;

/// The kinds that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    ConnectRefused,
    ConnectFailed,
    TlsFailed,
    Closed,
    StreamReset,
    NotHttp,
    TimedOut,
    Other,
}

impl FaultKind {
    /// Its name in the output.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::Closed => "closed",
            Self::StreamReset => "stream_reset",
            Self::NotHttp => "not_http",
            Self::TimedOut => "timed_out",
            Self::Other => "other",
        }
    }
}

/// What came, in a word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestFault {
    pub(super) kind: FaultKind,
    pub(super) text: String,
}

impl RequestFault {
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }

    /// No answer in time.
    pub(super) fn late(timeout: Duration) -> Self {
        let text = format!("no whole answer within {timeout:?} of when the request was due");
        Self::new(FaultKind::TimedOut, text)
    }

    /// An exchange that broke.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        Self::new(kind_of_exchange(error), chain(error))
    }
}

impl From<DialError> for RequestFault {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::Refused => FaultKind::ConnectRefused,
            DialError::ConnectTimeout(_) | DialError::Connect(_) => FaultKind::ConnectFailed,
            DialError::Tls(_)
            | DialError::TlsTimeout(_)
            | DialError::ServerName(_)
            | DialError::NoTls => FaultKind::TlsFailed,
        };
        let advice = match &error {
            DialError::Refused => Some("is the process running, and the port right?"),
            DialError::Tls(error) => tls_advice(error),
            _ if error.is_our_own() => Some("raise `ulimit -n`, or lower --connections"),
            _ => None,
        };
        match advice {
            Some(advice) => Self::new(kind, format!("{error} ({advice})")),
            None => Self::new(kind, error.to_string()),
        }
    }
}

/// What to do about a failed handshake.
fn tls_advice(error: &std::io::Error) -> Option<&'static str> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match inner {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some("ask by a name that is in the certificate, or do not check it: --insecure"),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Some("it must be renewed; --insecure does not check it"),
        rustls::Error::InvalidCertificate(_) => {
            Some("trust its authority with --ca FILE, or do not check it: --insecure")
        }
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Some(
            "the server does not speak the HTTP version asked for; try with or without --http2",
        ),
        rustls::Error::InvalidMessage(_) => Some("is it TLS there? try http://"),
        _ => None,
    }
}

fn kind_of_exchange(error: &hyper::Error) -> FaultKind {
    if error.is_parse() {
        return FaultKind::NotHttp;
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return FaultKind::Closed;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(stream) = cause.downcast_ref::<h2::Error>() {
            // What this side ends a connection for is what it could not understand.
            let is_closed = stream.is_io() || (stream.is_go_away() && stream.is_remote());
            return match (is_closed, stream.is_reset()) {
                (true, _) => FaultKind::Closed,
                (false, true) => FaultKind::StreamReset,
                (false, false) => FaultKind::NotHttp,
            };
        }
        if cause.is::<std::io::Error>() {
            return FaultKind::Closed;
        }
        source = cause.source();
    }
    FaultKind::Other
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_handshake_says_what_to_do() {
        let fault = |error: rustls::Error| {
            RequestFault::from(DialError::Tls(std::io::Error::other(error))).text
        };
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(fault(unknown).contains("--ca FILE"));
        let other = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        assert!(fault(other).contains("--insecure"));
        let no_http2 = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert!(fault(no_http2).contains("--http2"));
        assert!(
            RequestFault::from(DialError::Refused)
                .text
                .contains("running")
        );
    }
}
