//! What the operator says of a region.

use serde::{Deserialize, Serialize};

/// The operator's word on a region, kept beside what probes say.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// As probes and traffic say.
    #[default]
    Auto,
    /// Out.
    Drained,
    /// In, whatever probes say.
    Forced,
}

impl AdminState {
    /// The word as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Drained => "drained",
            Self::Forced => "forced",
        }
    }
}
