//! How one try at an endpoint ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::seconds;

/// The time each phase of one exchange took; a phase that did not happen is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Name to address.
    pub dns: Option<Duration>,
    /// TCP handshake.
    pub connect: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// From the request's last byte written to the response's first byte read.
    pub first_byte: Option<Duration>,
}

/// What one probe of one endpoint found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// The endpoint answered as it should.
    Passed {
        /// What each phase took.
        phases: Phases,
        /// Whether the exchange reused a connection.
        warm: bool,
    },
    /// It did not.
    Failed(ProbeFailure),
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum ProbeFailure {
    /// TCP said no.
    #[error("connection refused")]
    Refused,
    /// The address cannot be reached, or the connection broke.
    #[error("connection failed: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// No whole answer within the probe's timeout.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// The timeout.
        #[serde(rename = "limit_seconds", with = "seconds")]
        limit: Duration,
    },
    /// The answer's status is not in the expected range.
    #[error("status {0}")]
    Status(u16),
    /// The answer's body lacks the expected text.
    #[error("the body lacks {0:?}")]
    Text(String),
    /// A JSON field of the answer is absent or differs.
    #[error("{field} is {found}, not {expected}")]
    Json {
        /// The field's dotted path.
        field: String,
        /// What was there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// The answer names another region.
    #[error("answered as region {0:?}")]
    WrongRegion(String),
    /// The exchange broke off or was no HTTP.
    #[error("broken answer: {0}")]
    Protocol(String),
}

impl ProbeFailure {
    /// The failure as a closed label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Status(_) => "status",
            Self::Text(_) => "text",
            Self::Json { .. } => "json",
            Self::WrongRegion(_) => "wrong_region",
            Self::Protocol(_) => "protocol",
        }
    }
}

/// How one attempt to forward a request failed: the closed set that the retry table, the
/// metrics and `Proxy-Status` speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The region has no address to dial.
    NoEndpoint,
    /// TCP said no.
    ConnectRefused,
    /// No TCP connection within `timeouts.connect`.
    ConnectTimeout,
    /// The address cannot be reached, or this machine cannot dial.
    ConnectFailed,
    /// The origin's certificate or handshake was refused.
    TlsFailed,
    /// No TLS session within `timeouts.connect`.
    TlsTimeout,
    /// A pooled connection was closed before the request was written to it.
    ClosedBeforeSend,
    /// The origin proved it did not process the request (REFUSED_STREAM, GOAWAY below it).
    Unprocessed,
    /// A reused connection broke before any byte of a response.
    ReusedReset,
    /// A fresh connection broke before any byte of a response.
    FreshReset,
    /// No response head within `timeouts.first_byte`.
    FirstByteTimeout,
    /// The response head was no HTTP, or beyond a limit.
    BadResponse,
    /// The region answered 502, 503 or 504.
    GatewayStatus,
    /// The response's body broke off or stood still before any of it was passed on.
    BodyBroken,
    /// The viewer's own body broke off; no region is to blame.
    ViewerBody,
}

impl ErrorKind {
    /// All kinds, in the order of declaration.
    pub const ALL: [Self; 15] = [
        Self::NoEndpoint,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::TlsFailed,
        Self::TlsTimeout,
        Self::ClosedBeforeSend,
        Self::Unprocessed,
        Self::ReusedReset,
        Self::FreshReset,
        Self::FirstByteTimeout,
        Self::BadResponse,
        Self::GatewayStatus,
        Self::BodyBroken,
        Self::ViewerBody,
    ];

    /// The kind as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::TlsFailed => "tls_failed",
            Self::TlsTimeout => "tls_timeout",
            Self::ClosedBeforeSend => "closed_before_send",
            Self::Unprocessed => "unprocessed",
            Self::ReusedReset => "reused_reset",
            Self::FreshReset => "fresh_reset",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::BadResponse => "bad_response",
            Self::GatewayStatus => "gateway_status",
            Self::BodyBroken => "body_broken",
            Self::ViewerBody => "viewer_body",
        }
    }

    /// Whether no byte of the request can have reached an application.
    #[must_use]
    pub fn nothing_sent(self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::ConnectRefused
                | Self::ConnectTimeout
                | Self::ConnectFailed
                | Self::TlsFailed
                | Self::TlsTimeout
                | Self::ClosedBeforeSend
        )
    }
}
