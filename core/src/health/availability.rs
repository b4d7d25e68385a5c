//! Whether a region is up, and gets traffic.

use crate::model::time::Timestamp;

/// The one word on whether a region is up or down. Who serves, the stage of its failback and what
/// is shown of it follow from this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// It has an endpoint that is not unhealthy, or none at all.
    #[default]
    Up,
    /// It is unhealthy and keeps its traffic: its ejection is suppressed, by the limit on ejections
    /// or because all regions fell together.
    Suppressed {
        /// Since when it has been unhealthy.
        since: Timestamp,
        /// Whether that was told.
        told: bool,
    },
    /// It is unhealthy and gets no traffic.
    Out {
        /// Since when it has been unhealthy.
        since: Timestamp,
    },
}

impl Availability {
    /// Whether it gets no traffic because of its health.
    #[must_use]
    pub fn is_out(self) -> bool {
        matches!(self, Self::Out { .. })
    }

    /// Since when it has been unhealthy.
    #[must_use]
    pub fn down_since(self) -> Option<Timestamp> {
        match self {
            Self::Up => None,
            Self::Suppressed { since, .. } | Self::Out { since } => Some(since),
        }
    }
}
