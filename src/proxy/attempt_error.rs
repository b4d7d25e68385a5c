//! Why an attempt brought no answer.

use crate::upstream::connect::DialError;
use crate::upstream::exchange::ExchangeError;
use meridian_core::model::outcome::ErrorKind;

/// Why an attempt has no response head.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A connection, but no head.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The viewer's body broke off under it.
    #[error("the viewer's body broke off")]
    ViewerBody,
    /// The response's body broke off while it was buffered.
    #[error("the response's body broke off: {0}")]
    BodyBroken(String),
    /// The region has no address.
    #[error("the region has no address to dial")]
    NoEndpoint,
    /// The request cannot be framed for this origin.
    #[error("the request cannot be written for this origin: {0}")]
    Unsendable(String),
}

impl AttemptError {
    pub(super) fn unsendable(error: impl std::fmt::Display) -> Self {
        Self::Unsendable(error.to_string())
    }

    /// The error's kind for metrics and the retry rule.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Dial(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::BodyBroken(_) => ErrorKind::BodyBroken,
            Self::NoEndpoint => ErrorKind::NoEndpoint,
            Self::ViewerBody | Self::Unsendable(_) => ErrorKind::ViewerBody,
        }
    }

    /// Whether it speaks against the endpoint: a connection that aged in the pool does not.
    pub(super) fn blames_the_origin(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_our_own(),
            Self::Exchange(error) => !matches!(
                error,
                ExchangeError::Reset { reused: true, .. } | ExchangeError::ClosedBeforeSend
            ),
            Self::BodyBroken(_) => true,
            Self::NoEndpoint | Self::ViewerBody | Self::Unsendable(_) => false,
        }
    }
}
