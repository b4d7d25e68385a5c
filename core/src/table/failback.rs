//! How traffic returns to a region that was out, as the operator wrote it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of a table's failback policies: 0 is the table's own, further ones those that routes
/// write. A position in [`RoutingTable::failbacks`](crate::table::RoutingTable::failbacks).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailbackId(pub u16);

impl FailbackId {
    /// The table's own.
    pub const TABLE: Self = Self(0);

    /// The id of the policy at `position`.
    #[must_use]
    pub fn at(position: usize) -> Self {
        Self(u16::try_from(position).unwrap_or(u16::MAX))
    }

    /// The position of its policy.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// `[failback]`: how traffic returns to a region that is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailbackConfig {
    /// `"auto"`: by itself, after the hold-down. `"confirm"`: after the hold-down it waits for
    /// `meridian confirm REGION`. `"manual"`: it waits for that, without a hold-down. The command
    /// leaves out what is left of a hold-down, and the ramp follows.
    pub mode: FailbackMode,
    /// How long a region that was down must stay well before it gets viewers again: as long as it
    /// was down, and this at most. Doubled, up to 16 times as long, each time it falls again after
    /// that; ten calm minutes take a doubling back.
    pub hold_down: Duration,
    /// But so long at least: what is back for a moment may be gone the next. Where `hold_down` is
    /// shorter, that holds.
    pub hold_down_at_least: Duration,
    /// How long its share of the viewers then takes to grow: twice as long as it was down, and this
    /// at most; 5, 10, 25 and 50 % for a quarter of it each, then all. Stands still while the region
    /// does worse than others, and goes back when that lasts. `"0s"`: all at once.
    pub ramp: Duration,
}

impl Default for FailbackConfig {
    /// A cold region must not meet the whole herd at once.
    fn default() -> Self {
        Self {
            mode: FailbackMode::Auto,
            hold_down: Duration::from_secs(60),
            hold_down_at_least: Duration::from_secs(2),
            ramp: Duration::from_secs(300),
        }
    }
}

/// Who decides that traffic returns to a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
