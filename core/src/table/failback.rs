//! How traffic returns to a region that was out, as the operator wrote it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[failback]`: how traffic returns to a region that is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailbackConfig {
    /// Who decides.
    pub mode: FailbackMode,
    /// How long a region must be well first.
    pub hold: Duration,
    /// How long its share then takes to grow to all.
    pub ramp: Duration,
}

impl Default for FailbackConfig {
    /// A cold region must not meet the whole herd at once.
    fn default() -> Self {
        Self {
            mode: FailbackMode::Auto,
            hold: Duration::from_secs(60),
            ramp: Duration::from_secs(300),
        }
    }
}

/// Who decides that traffic returns to a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailbackMode {
    /// The proxy.
    #[default]
    Auto,
    /// The proxy, after an operator agrees.
    Confirm,
    /// An operator only.
    Manual,
}
